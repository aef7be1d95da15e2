"""Metrics: performance and fairness with their uncertainty, for the predictions of any model. Usable alone.

It may import errors and schema.

>>> from frown_jax.metrics import GroupFrame
>>> frame = GroupFrame.of([1, 1, 0, 0], [1, 0, 0, 0], attributes={"sex": ["f", "f", "m", "m"]}, metrics=["accuracy"])
>>> frame.by_group["accuracy"].to_dict()
{'f': 0.5, 'm': 1.0}
"""

from frown_jax.errors import OutcomesError
from frown_jax.metrics.analysis import Analysis, AnalysisSettings, analyse
from frown_jax.metrics.bootstrap import Bootstrap
from frown_jax.metrics.catalogue import METRICS, Metric
from frown_jax.metrics.frame import GroupFrame
from frown_jax.metrics.outcomes import Attribute, Outcomes
from frown_jax.metrics.predictions_table import outcomes as read_outcomes

__all__ = [
    "METRICS",
    "Analysis",
    "AnalysisSettings",
    "Attribute",
    "Bootstrap",
    "GroupFrame",
    "Metric",
    "Outcomes",
    "OutcomesError",
    "analyse",
    "analysis",
    "arbitrariness",
    "auroc",
    "bootstrap",
    "catalogue",
    "comparison",
    "draws",
    "intervals",
    "label_sensitivity",
    "levelling",
    "looks",
    "multiverse",
    "outcomes",
    "permutation",
    "plan",
    "planning",
    "predictions_table",
    "read_outcomes",
    "resample",
    "results_table",
    "significance",
    "small_cells",
    "variance",
    "verdicts",
]
