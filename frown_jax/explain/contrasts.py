"""Do networks look at the right place on everybody: contrasts of measures between groups and between training sets.

Frames of one person are not independent, so a person is the unit: values are averaged within a subject (over images,
members and seeds) and subjects count once. Intervals are percentiles of a bootstrap over subjects within groups;
p-values are of permutations, of group labels among subjects, or of the sign of each subject's difference between two
training sets; Holm over classes. Maps of wrong predictions differ for that reason alone, so the contrast is within true
positives. `adjusted` also takes out what goes with the logit (a pooled slope within groups: an expression seen more
surely is often seen more locally).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from frown_jax.explain.measure import TP
from frown_jax.metrics import bootstrap
from frown_jax.metrics.significance import holm

# A difference is called stable if all composites and this share of the members that have one agree in its sign.
AGREE = 0.75
_FEWEST = 2  # subjects of a group
_ALL_PAIRS = 3  # methods; more are compared with the first only


@dataclasses.dataclass(frozen=True)
class ContrastSettings:
    """Of intervals and tests."""

    resamples: int = 1000
    permutations: int = 2000
    level: float = 0.95
    seed: int = 0


def subject_values(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Means of each subject: index subject, columns value and logit; rows without a value do not count."""
    defined = table[np.isfinite(table[measure].to_numpy(np.float64))]
    found = defined.groupby("subject", sort=True)[[measure, "logit"]].mean()
    return found.rename(columns={measure: "value"})


def _drawn(rng: np.random.Generator, size: int, times: int) -> np.ndarray:
    return rng.integers(0, size, (times, size))


def _adjusted(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Difference of means at equal logits; a, b are [..., n, 2] of values and logits."""

    def centred(x: np.ndarray) -> np.ndarray:
        return x - x.mean(-2, keepdims=True)

    both = [centred(x) for x in (a, b)]
    cross = sum((x[..., 0] * x[..., 1]).sum(-1) for x in both)
    spread = sum((x[..., 1] ** 2).sum(-1) for x in both)
    slope = np.where(spread > 1e-12, cross / np.where(spread > 1e-12, spread, 1), 0.0)
    shift = a.mean(-2) - b.mean(-2)
    return shift[..., 0] - slope * shift[..., 1]


def interval(replicates: np.ndarray, level: float) -> tuple[float, float]:
    """Percentile interval of one value's replicates [B]."""
    lower, upper = bootstrap.percentile(replicates[:, None], level)[:, 0]
    return float(lower), float(upper)


def between(a: pd.DataFrame, b: pd.DataFrame, s: ContrastSettings) -> dict[str, float]:
    """Two groups of subjects: value of a minus value of b, its interval and p, and the same at equal logits.

    Args:
      a, b: of subject_values.
      s: settings.
    """
    rng = np.random.default_rng(s.seed)
    x, y = a.to_numpy(np.float64), b.to_numpy(np.float64)
    out = {"a": float(x[:, 0].mean()), "b": float(y[:, 0].mean()), "difference": float(x[:, 0].mean() - y[:, 0].mean())}
    xs, ys = x[_drawn(rng, len(x), s.resamples)], y[_drawn(rng, len(y), s.resamples)]
    out["lower"], out["upper"] = interval(xs[..., 0].mean(1) - ys[..., 0].mean(1), s.level)
    pool = np.concatenate([x[:, 0], y[:, 0]])
    mixed = rng.permuted(np.broadcast_to(pool, (s.permutations, len(pool))), axis=1)
    null = mixed[:, : len(x)].mean(1) - mixed[:, len(x) :].mean(1)
    as_far = np.abs(null) >= abs(out["difference"]) - 1e-12
    out["p"] = float((1 + as_far.sum()) / (1 + s.permutations))
    out["adjusted"] = float(_adjusted(x, y))
    out["adjusted_lower"], out["adjusted_upper"] = interval(_adjusted(xs, ys), s.level)
    return out


def paired(a: pd.DataFrame, b: pd.DataFrame, s: ContrastSettings) -> dict[str, float]:
    """The same subjects twice: value of a minus value of b on those that have both."""
    both = a.add_suffix("_a").join(b.add_suffix("_b"), how="inner")
    rng = np.random.default_rng(s.seed)
    change = (both["value_a"] - both["value_b"]).to_numpy(np.float64)
    out = {"a": float(both["value_a"].mean()), "b": float(both["value_b"].mean()), "difference": float(change.mean())}
    out["lower"], out["upper"] = interval(change[_drawn(rng, len(change), s.resamples)].mean(1), s.level)
    signs = rng.choice((-1.0, 1.0), (s.permutations, len(change)))
    as_far = np.abs((signs * change).mean(1)) >= abs(out["difference"]) - 1e-12
    out["p"] = float((1 + as_far.sum()) / (1 + s.permutations))
    return out


def _sign_shares(differences: Sequence[float] | np.ndarray, sign: float) -> float:
    defined = [d for d in differences if np.isfinite(d)]
    return float(np.mean([np.sign(d) == sign for d in defined])) if defined else np.nan


@dataclasses.dataclass(frozen=True)
class _Pair:
    """What is compared: rows of one class with these values in these columns."""

    described: dict[str, str]
    first: dict[str, str]
    second: dict[str, str]
    same_subjects: bool

    def a(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of the first side."""
        return _chosen(table, self.first)

    def b(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of the second side."""
        return _chosen(table, self.second)


def _chosen(table: pd.DataFrame, values: dict[str, str]) -> pd.DataFrame:
    return table[np.logical_and.reduce([(table[c] == v).to_numpy() for c, v in values.items()])]


def _pairs(attributes: dict[str, tuple[str, ...]], methods: Sequence[str]) -> Iterator[_Pair]:
    compared = list(itertools.combinations(methods, 2))
    if len(methods) > _ALL_PAIRS:
        compared = [(methods[0], method) for method in methods[1:]]
    for attribute, groups in attributes.items():
        for method, (a, b) in itertools.product(methods, itertools.combinations(groups, 2)):
            described = {"kind": "groups", "method": method, "attribute": attribute, "group": a, "other": b}
            yield _Pair(described, {"method": method, attribute: a}, {"method": method, attribute: b}, False)
        for group, (a, b) in itertools.product(groups, compared):
            described = {"kind": "training", "method": b, "attribute": attribute, "group": group, "other": a}
            yield _Pair(described, {"method": b, attribute: group}, {"method": a, attribute: group}, True)


def _differences_of_repetitions(pair: _Pair, table: pd.DataFrame, measure: str) -> np.ndarray:
    """The difference within each repetition (seed and draw), for its sign only."""
    keys = [k for k in ("seed", "draw") if k in table]
    defined = table[np.isfinite(table[measure].to_numpy(np.float64))]

    def means(side: pd.DataFrame) -> pd.Series:
        return side.groupby([*keys, "subject"], sort=False)[measure].mean().groupby(keys, sort=False).mean()

    return (means(pair.a(defined)) - means(pair.b(defined))).dropna().to_numpy(np.float64)


def contrasts(
    tables: dict[str, pd.DataFrame],
    attributes: dict[str, tuple[str, ...]],
    measures: Sequence[str],
    settings: ContrastSettings | None = None,
) -> pd.DataFrame:
    """Contrasts between groups (kind 'groups') and, on one group, between training sets or methods ('training').

    More than three methods are compared with the first only.

    Args:
      tables: of `measure.measure` with columns subject and the attributes, by composite; the first is reported, all
        must agree for a difference to be called stable.
      attributes: groups of each.
      measures: columns of the tables.
      settings: of intervals and tests.

    Returns:
      Per kind, method, attribute, group, other, target and measure: subjects and images of both sides, value of each
      (a, b), difference (group minus other; method minus other), lower, upper, p, p_holm (over the classes of a
      contrast and measure), adjusted (at equal logits; groups only) with its interval, composites_agree, members_agree
      (shares with the sign of the difference), reading.
    """
    s = settings or ContrastSettings()
    right = {name: t[t["outcome"] == TP] for name, t in tables.items()}
    first = next(iter(right.values()))
    methods = list(dict.fromkeys(first["method"]))
    targets = list(dict.fromkeys(first["target"]))
    parts = {target: {name: t[t["target"] == target] for name, t in right.items()} for target in targets}
    rows = []
    for pair, target, measure in itertools.product(_pairs(attributes, methods), targets, measures):
        of_target = parts[target]
        sides = {n: [subject_values(side(t), measure) for side in (pair.a, pair.b)] for n, t in of_target.items()}
        a, b = next(iter(sides.values()))
        common = a.index.intersection(b.index) if pair.same_subjects else None
        if min(len(a), len(b)) < _FEWEST or (common is not None and len(common) < _FEWEST):
            continue
        compare = paired if pair.same_subjects else between
        found = compare(a, b, s)
        own = next(iter(of_target.values()))
        sign = np.sign(found["difference"])
        by_composite = [x["value"].mean() - y["value"].mean() for x, y in sides.values() if len(x) and len(y)]
        rows.append(
            {
                **pair.described,
                "target": target,
                "measure": measure,
                "subjects": len(a if common is None else common),
                "other_subjects": len(b if common is None else common),
                "images": pair.a(own)["image"].nunique(),
                "other_images": pair.b(own)["image"].nunique(),
                **found,
                "composites_agree": _sign_shares(by_composite, sign),
                "members_agree": _sign_shares(_differences_of_repetitions(pair, own, measure), sign),
            }
        )
    out = pd.DataFrame(rows)
    if out.empty:
        return out
    family = ["kind", "method", "attribute", "group", "other", "measure"]
    adjusted = out.groupby(family)["p"].transform(lambda p: holm(p.to_numpy()))
    out.insert(list(out.columns).index("p") + 1, "p_holm", adjusted)
    out["reading"] = [_reading(row, s.level) for row in out.to_dict("records")]
    return out


def _reading(row: dict, level: float) -> str:
    if row["p_holm"] > 1 - level:
        return "no difference shown"
    if row["composites_agree"] < 1 or row["members_agree"] < AGREE:
        return "unstable"
    return "higher" if row["difference"] > 0 else "lower"


def levels(
    table: pd.DataFrame, attributes: dict[str, tuple[str, ...]], measures: Sequence[str], s: ContrastSettings
) -> pd.DataFrame:
    """Values themselves: per method, class and group ('' everybody), mean over subjects with its interval."""
    right = table[table["outcome"] == TP]
    rows = []
    groups = [("", ""), *((a, g) for a, names in attributes.items() for g in names)]
    for (method, target), part in right.groupby(["method", "target"], sort=False):
        for (attribute, group), measure in itertools.product(groups, measures):
            chosen = part[part[attribute] == group] if attribute else part
            values = subject_values(chosen, measure)["value"].to_numpy(np.float64)
            if not len(values):
                continue
            rng = np.random.default_rng(s.seed)
            lower, upper = interval(values[_drawn(rng, len(values), s.resamples)].mean(1), s.level)
            rows.append(
                {
                    "method": method,
                    "target": target,
                    "attribute": attribute,
                    "group": group,
                    "measure": measure,
                    "subjects": len(values),
                    "images": chosen["image"].nunique(),
                    "value": float(values.mean()),
                    "lower": lower if len(values) > 1 else np.nan,
                    "upper": upper if len(values) > 1 else np.nan,
                }
            )
    return pd.DataFrame(rows)
