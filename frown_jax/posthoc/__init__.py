"""What follows training: another last layer, offsets to logits, thresholds.

It may import data and member.
"""

__all__ = [
    "adjustment",
    "offsets",
    "refit",
    "thresholds",
]
