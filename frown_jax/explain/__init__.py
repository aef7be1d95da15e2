"""Where networks look: relevance propagation, its measures, and what they say about groups."""
