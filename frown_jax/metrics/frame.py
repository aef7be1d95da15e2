"""A table of metrics by group, in the spirit of fairlearn's MetricFrame, for one run or many at once."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from frown_jax.errors import OutcomesError
from frown_jax.metrics import bootstrap, catalogue, fairness
from frown_jax.metrics.classification import largest, smallest
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Plan, grouping

DEFAULT = ("accuracy", "balanced_accuracy", "macro_f1")
_METHODS = ("between_groups", "to_overall")


class GroupFrame:
    """Metrics of each group of an attribute, or of any intersection of attributes.

    A frame of one run has Series and DataFrames with groups as rows and metrics as columns; with several runs every
    table has the run as first index level(s), all computed at once. Undefined is NaN, and `warnings` says why.

    >>> frame = GroupFrame.of(
    ...     y_true=[1, 1, 1, 1, 1, 0, 0, 1, 1, 0],
    ...     y_pred=[0, 1, 1, 1, 1, 0, 0, 0, 1, 1],
    ...     attributes={"sex": ["Female"] * 5 + ["Male"] * 5},
    ...     metrics=["accuracy"],
    ... )
    >>> frame.by_group["accuracy"].to_dict()
    {'Female': 0.8, 'Male': 0.6}
    >>> float(frame.difference()["accuracy"].round(12))
    0.2
    """

    def __init__(
        self,
        outcomes: Outcomes,
        by: str | Sequence[str] | None = None,
        metrics: Iterable[str] | None = None,
        *,
        scored: str | Mapping[str, Sequence[str]] = "all",
        fewest: int = 1,
        weights: Any = None,
        settings: bootstrap.Bootstrap | None = None,
    ):
        """Plans the table; values are computed when asked for.

        Args:
          outcomes: what is measured.
          by: attribute, or attributes whose intersection is meant; all attributes by default.
          metrics: names of metrics of groups, or of groups and targets (then columns are (metric, target)).
          scored: the groups that `group_min`, `difference` and the like compare: 'all', 'studies' or by attribute.
          fewest: groups with fewer images are not compared.
          weights: float [N], counts images more than once.
          settings: of `intervals`.

        Raises:
          OutcomesError: an attribute or a metric that these outcomes do not have.
          ValueError: a metric that is not one of groups.
        """
        attributes = (by,) if isinstance(by, str) else tuple(outcomes.attributes if by is None else by)
        if not attributes:
            raise OutcomesError("there is no attribute to group by")
        names = DEFAULT if metrics is None else tuple(metrics)
        for name in names:
            if catalogue.metric(name).of_attribute:
                raise ValueError(f"{name} compares groups; a frame has metrics of groups, and compares them itself")
        self.outcomes = outcomes
        self.settings = settings or bootstrap.Bootstrap()
        self._groups = grouping(outcomes, attributes, scored, fewest)
        self._plan = Plan.of(outcomes, [grouping(outcomes), self._groups], names)
        self._weights = None if weights is None else np.asarray(weights, np.float64)
        self._flat = all(not m.of_target for m in self._plan.metrics)

    @classmethod
    def of(
        cls,
        y_true: Any,
        y_pred: Any = None,
        probabilities: Any = None,
        attributes: Mapping[str, Any] | pd.DataFrame | None = None,
        metrics: Iterable[str] | None = None,
        by: str | Sequence[str] | None = None,
        **options: Any,
    ) -> GroupFrame:
        """From arrays: see Outcomes.of (targets, runs, subjects, ids, threshold) and the constructor."""
        ours = {k: options.pop(k) for k in ("scored", "fewest", "weights", "settings") if k in options}
        return cls(Outcomes.of(y_true, y_pred, probabilities, attributes, **options), by, metrics, **ours)

    @functools.cached_property
    def _tallies(self):
        return self._plan.tallies(self.outcomes, self._weights)

    @functools.cached_property
    def _values(self) -> np.ndarray:
        return self._plan.values(self._tallies)

    def _cube(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(overall [R, C], by group [R, M, C]) of values [R, Q]; C columns are metrics or (metric, target)."""
        rows = self._plan.rows
        everybody = (rows["attribute"] == "").to_numpy()
        parts, groups = [], len(self._groups.names)
        for m in self._plan.metrics:
            width = len(self._plan.targets) if m.of_target else 1
            at = np.flatnonzero((~everybody) & (rows["metric"] == m.name).to_numpy())
            parts.append(values[:, at].reshape(len(values), groups, width))
        return values[:, everybody], np.concatenate(parts, -1)

    @property
    def _columns(self) -> pd.Index:
        if self._flat:
            return pd.Index([m.name for m in self._plan.metrics], name="metric")
        pairs = [(m.name, t) for m in self._plan.metrics for t in (self._plan.targets if m.of_target else ("",))]
        return pd.MultiIndex.from_tuples(pairs, names=["metric", "target"])

    @property
    def _single(self) -> bool:
        return len(self.outcomes.runs) == 1

    @functools.cached_property
    def _run_index(self) -> pd.Index:
        runs = self.outcomes.runs
        return pd.MultiIndex.from_frame(runs) if runs.shape[1] > 1 else pd.Index(runs.iloc[:, 0])

    @functools.cached_property
    def _group_index(self) -> pd.Index:
        vocabularies = [self.outcomes.attributes[a].vocabulary for a in self._groups.attributes]
        if len(vocabularies) == 1:
            return pd.Index(vocabularies[0], name=self._groups.attributes[0])
        return pd.MultiIndex.from_product(vocabularies, names=self._groups.attributes)

    def _by_run(self, values: np.ndarray) -> pd.Series | pd.DataFrame:
        """[R, C] as a Series for one run, else a row a run."""
        if self._single:
            return pd.Series(values[0], index=self._columns)
        return pd.DataFrame(values, index=self._run_index, columns=self._columns)

    def _by_run_and_group(self, cube: np.ndarray) -> pd.DataFrame:
        if self._single:
            return pd.DataFrame(cube[0], index=self._group_index, columns=self._columns)
        runs = self._run_index
        frames = [pd.DataFrame(x, index=self._group_index, columns=self._columns) for x in cube]
        return pd.concat(frames, keys=list(runs), names=list(runs.names))

    @property
    def overall(self) -> pd.Series | pd.DataFrame:
        """Everybody's values, also of those in no group."""
        return self._by_run(self._cube(self._values)[0])

    @property
    def by_group(self) -> pd.DataFrame:
        """A row a group (of each run)."""
        return self._by_run_and_group(self._cube(self._values)[1])

    @property
    def n(self) -> pd.DataFrame:
        """Images that each value of `by_group` rests on."""
        return self._by_run_and_group(self._cube(self._plan.n(self._tallies))[1]).astype(int)

    def _compared(self) -> tuple[np.ndarray, np.ndarray]:
        overall, groups = self._cube(self._values)
        return overall, np.where(self._groups.scored[:, None], groups, np.nan)

    def group_min(self) -> pd.Series | pd.DataFrame:
        """Lowest value over groups."""
        return self._by_run(smallest(self._compared()[1], 1))

    def group_max(self) -> pd.Series | pd.DataFrame:
        """Highest value over groups."""
        return self._by_run(largest(self._compared()[1], 1))

    def group_mean(self) -> pd.Series | pd.DataFrame:
        """Mean over groups, each counting once."""
        return self._by_run(catalogue.c.mean_of_defined(self._compared()[1], 1))

    def difference(self, method: Literal["between_groups", "to_overall"] = "between_groups"):
        """Largest minus smallest group; or the largest distance of a group from everybody."""
        overall, groups = self._compared()
        if _checked(method) == "to_overall":
            return self._by_run(fairness.difference_to_overall(groups, overall, 1))
        return self._by_run(fairness.difference(groups, 1))

    def ratio(self, method: Literal["between_groups", "to_overall"] = "between_groups"):
        """Smallest over largest group; or the smallest ratio, turned below 1, of a group to everybody."""
        overall, groups = self._compared()
        if _checked(method) == "to_overall":
            return self._by_run(fairness.ratio_to_overall(groups, overall, 1))
        return self._by_run(fairness.min_max_ratio(groups, 1))

    @functools.cached_property
    def intervals(self) -> pd.DataFrame:
        """A row for each value of each run: group ('' is everybody), metric, target, n, value, lower, upper.

        `interval` says how it was made; `undefined` is the share of resamples without a value.

        Raises:
          OutcomesError: the frame has weights, which a bootstrap would need the reason of.
        """
        if self._weights is not None:
            raise OutcomesError("a weighted frame has no intervals: what the weights stand for is not known")
        found = bootstrap.estimates(self.outcomes, self._plan, self.settings, tallies=self._tallies)
        n = self._plan.n(self._tallies)
        frames = []
        for r, (_, run) in enumerate(self.outcomes.runs.iterrows()):
            frame = self._plan.rows[["group", "metric", "target"]].copy()
            for i, column in enumerate(self.outcomes.runs.columns):
                frame.insert(i, column, run[column])
            frame["n"] = n[r].astype(np.int64)
            frame["value"] = self._values[r]
            frame["lower"], frame["upper"] = found.lower[r], found.upper[r]
            frame["interval"], frame["undefined"] = found.kind[r], found.undefined[r]
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    @functools.cached_property
    def warnings(self) -> pd.DataFrame:
        """What to know before reading a value: group, metric, target, note (names in metrics.plan.Plan.notes)."""
        rows = self._plan.rows[["group", "metric", "target"]].copy()
        rows["note"] = self._plan.notes(self._tallies)
        return rows[rows["note"] != ""].reset_index(drop=True)


def _checked(method: str) -> str:
    if method not in _METHODS:
        raise ValueError(f"method={method!r}: there are {', '.join(_METHODS)}")
    return method
