"""What a data set holds, before anything is trained on it.

It may import schema, config, metrics, runtime, data, member, training and report.
"""

__all__: list[str] = []
