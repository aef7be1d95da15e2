"""The predictions table: one row per member, split and image, with all that the metrics need."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frown_jax.data.dataset import Dataset
from frown_jax.metrics.predictions_table import DECISION, TRUE_LABEL, probability_column
from frown_jax.posthoc.thresholds import HALF
from frown_jax.training.grid import Spec


def predictions_frame(
    spec: Spec, data: Dataset, split: str, probabilities: np.ndarray, thresholds: np.ndarray | None = None
) -> pd.DataFrame:
    """One member's predictions on one split.

    Args:
      spec: the member.
      data: the split's images and labels.
      split: its name.
      probabilities: [N, K].
      thresholds: [K] of many labels; None: 0.5.

    Returns:
      Columns member, method, seed, split, draw (of a run with a cohort), id, subject (if known), emotion, prediction,
      p_<class> (float32) and the attributes; of Action Units y_true_<unit> (1, 0, -1), y_pred_<unit> and p_<unit> in
      place of emotion and prediction.
    """
    names = np.array(data.classes, object)
    if data.multilabel:
        decided = probabilities >= (HALF if thresholds is None else thresholds)
        truth = {
            **{f"{TRUE_LABEL}{c}": data.labels[:, k].astype(np.int8) for k, c in enumerate(names)},
            **{f"{DECISION}{c}": decided[:, k].astype(np.int8) for k, c in enumerate(names)},
        }
    else:
        truth = {"emotion": data.table["emotion"].to_numpy(object), "prediction": names[probabilities.argmax(1)]}
    return pd.DataFrame(
        {
            "member": spec.member,
            "method": spec.method,
            "seed": spec.seed,
            "split": split,
            **spec.drawn,
            "id": data.table["id"].to_numpy(object),
            **({"subject": data.table["subject"].to_numpy(object)} if "subject" in data.table else {}),
            **truth,
            **{probability_column(c): probabilities[:, k].astype(np.float32) for k, c in enumerate(data.classes)},
            **{a: data.table[a].to_numpy(object) for a in data.attributes},
        }
    )
