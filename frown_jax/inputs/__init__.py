"""What networks are shown of images: the pixels, or features of a frozen network.

It may import runtime, models, data and member.
"""

__all__ = [
    "encoder",
    "images",
    "trunk",
]
