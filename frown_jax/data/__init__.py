"""Data: readers, cache, splits. `load.load` is the entry."""
