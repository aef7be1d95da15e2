"""The predictions table: one row per member, split and image, with all that the metrics need."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frown_jax.data.dataset import Dataset
from frown_jax.members import Spec
from frown_jax.metrics.read import probability_column


def predictions_frame(spec: Spec, data: Dataset, split: str, probabilities: np.ndarray) -> pd.DataFrame:
    """One member's predictions on one split.

    Args:
      spec: the member.
      data: the split's images and labels.
      split: its name.
      probabilities: [N, K].

    Returns:
      Columns member, method, seed, split, id, subject (if known), emotion, prediction, p_<class> (float32) and the
      attributes.
    """
    names = np.array(data.classes, object)
    return pd.DataFrame(
        {
            "member": spec.member,
            "method": spec.method,
            "seed": spec.seed,
            "split": split,
            "id": data.table["id"].to_numpy(object),
            **({"subject": data.table["subject"].to_numpy(object)} if "subject" in data.table else {}),
            "emotion": data.table["emotion"].to_numpy(object),
            "prediction": names[probabilities.argmax(1)],
            **{probability_column(c): probabilities[:, k].astype(np.float32) for k, c in enumerate(data.classes)},
            **{a: data.table[a].to_numpy(object) for a in data.attributes},
        }
    )
