"""Where networks look: relevance propagation, its measures, and what they say about groups.

It may import errors, metrics, runtime, models, faces, data, member, inputs, posthoc, mitigations, training, report
and inference.
"""

__all__: list[str] = []
