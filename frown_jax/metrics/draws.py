"""Repeated random draws of subjects: means with intervals over draws, and paired differences between training sets.

Draws share subjects, so their values are not independent, and a plain t interval over them is too short. The intervals
here are of the corrected resampled t-test (Nadeau & Bengio 2003): the variance of the mean over J draws is taken as
(1 / J + test subjects / training subjects) s^2, with J - 1 degrees of freedom.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from frown_jax.metrics import catalogue, predictions_table, results_table, significance
from frown_jax.metrics.plan import ROW_COLUMNS, Plan, groupings

METRICS = ("macro_f1", "weighted_f1", "accuracy", "macro_precision", "macro_recall")
LEVEL = 0.95
FEWEST_DRAWS = 5  # that an interval is printed of


def corrected(values: np.ndarray, ratio: float, level: float = LEVEL) -> tuple[float, float, float, float]:
    """Mean of values over draws, its interval, and the two-sided p-value of its being 0.

    Args:
      values: [J]; NaN where a draw gives none.
      ratio: test subjects / training subjects.
      level: of the interval.

    Returns:
      Mean, lower, upper, p. With fewer than two values the last three are NaN.
    """
    x = np.asarray(values, np.float64)
    x = x[np.isfinite(x)]
    if len(x) < 2:
        return (float(x.mean()) if len(x) else np.nan), np.nan, np.nan, np.nan
    mean, error = float(x.mean()), float(x.std(ddof=1) * np.sqrt(1 / len(x) + ratio))
    if error == 0:
        return mean, mean, mean, float(mean == 0)
    reach = stats.t.ppf((1 + level) / 2, len(x) - 1) * error
    return mean, mean - reach, mean + reach, float(2 * stats.t.sf(abs(mean) / error, len(x) - 1))


def summary(results: pd.DataFrame, ratios: Mapping[str, float], level: float = LEVEL) -> pd.DataFrame:
    """Every value of every method over draws.

    Args:
      results: of table.results, of one split; seeds of one draw are averaged first.
      ratios: test subjects / training subjects of each method.
      level: of the intervals.

    Returns:
      Per method, metric, attribute, group, target: n (images, mean over draws), draws (that have a value), mean, lower,
      upper (within the metric's range; NaN under FEWEST_DRAWS draws), sd (over draws), seed_sd (within draws).
    """
    keys = ["method", *ROW_COLUMNS]
    of_draw = results.groupby([*keys, "draw"], sort=False)
    means = of_draw["value"].mean().rename("value").reset_index()
    means["n"] = of_draw["n"].mean().to_numpy()
    means["seed_sd"] = of_draw["value"].std().to_numpy()
    rows = []
    for key, part in means.groupby(keys, sort=False):
        x = part["value"].to_numpy()
        mean, lower, upper, _ = corrected(x, ratios[str(key[0])], level)
        lower, upper = _printed(lower, upper, x, catalogue.metric(str(key[1])))
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "n": round(float(part["n"].mean()), 1),
                "draws": int(np.isfinite(x).sum()),
                "mean": mean,
                "lower": lower,
                "upper": upper,
                "sd": float(np.nanstd(x, ddof=1)) if np.isfinite(x).sum() > 1 else np.nan,
                "seed_sd": float(part["seed_sd"].mean()),
            }
        )
    return pd.DataFrame(rows)


def _printed(lower: float, upper: float, values: np.ndarray, metric: catalogue.Metric) -> tuple[float, float]:
    if np.isfinite(values).sum() < FEWEST_DRAWS:
        return np.nan, np.nan
    return float(np.clip(lower, metric.low, metric.high)), float(np.clip(upper, metric.low, metric.high))


def _on_common_images(part: pd.DataFrame, methods: Sequence[str], attribute: str, groups: Sequence[str]) -> pd.Series:
    """Means over seeds of METRICS of each method and group, on the images that all the methods predict."""
    chosen = part[part["method"].isin(methods)]
    runs = chosen["member"].nunique()
    seen = chosen.groupby("id")["member"].transform("nunique")
    outcomes = predictions_table.outcomes(chosen[seen == runs], {attribute: tuple(groups)})
    plan = Plan.of(outcomes, groupings(outcomes, [attribute]), METRICS)
    found = results_table.values(outcomes, plan)
    return found.groupby(["method", "metric", "group"], sort=False)["value"].mean()


def contrasts(
    predictions: pd.DataFrame,
    attribute: str,
    groups: Sequence[str],
    ratios: Mapping[str, float],
    level: float = LEVEL,
) -> pd.DataFrame:
    """Paired differences between methods, for everybody and for each group, on the images that both predict.

    Args:
      predictions: of one split, with columns draw and method.
      attribute: by which subjects were drawn.
      groups: its values.
      ratios: test subjects / training subjects of each method; the larger of a pair's counts.
      level: of the intervals.

    Returns:
      Per pair (method, control), metric and group ('' everybody): draws, control_value, value, difference, lower,
      upper, p, p_holm (over pairs and groups of one metric).
    """
    methods = list(dict.fromkeys(predictions["method"]))
    rows = []
    for control, method in itertools.combinations(methods, 2):
        of_draw = {
            draw: _on_common_images(part.drop(columns="draw"), (control, method), attribute, groups)
            for draw, part in predictions.groupby("draw", sort=False)
            if {control, method} <= set(part["method"])
        }
        if not of_draw:
            continue
        wide = {key: row.to_numpy() for key, row in pd.DataFrame(of_draw).iterrows()}
        for metric, group in itertools.product(METRICS, ("", *groups)):
            a, b = (wide[name, metric, group] for name in (control, method))
            difference, lower, upper, p = corrected(b - a, max(ratios[control], ratios[method]), level)
            rows.append(
                {
                    "method": method,
                    "control": control,
                    "metric": metric,
                    "attribute": attribute if group else "",
                    "group": group,
                    "draws": int(np.isfinite(b - a).sum()),
                    "control_value": float(np.nanmean(a)) if np.isfinite(a).any() else np.nan,
                    "value": float(np.nanmean(b)) if np.isfinite(b).any() else np.nan,
                    "difference": difference,
                    "lower": lower,
                    "upper": upper,
                    "p": p,
                }
            )
    out = pd.DataFrame(rows)
    if len(out):
        out["p_holm"] = out.groupby("metric")["p"].transform(lambda p: significance.holm(p.to_numpy()))
    return out
