"""What people look at: text, tables, figures, pages.

It may import errors, schema, metrics, runtime, faces and runs.
"""

__all__ = [
    "draws",
    "files",
    "folder",
    "occurrences",
    "robustness",
    "style",
]
