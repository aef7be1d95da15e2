"""Where the programs of a run are trained: in this process, or as jobs of a cluster."""
