"""Metrics: performance, fairness, tables. Usable alone."""
