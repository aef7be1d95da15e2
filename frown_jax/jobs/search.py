"""Hyperparameter search: combinations of the config's `search` section, chosen by validation AUROC.

Combinations whose trainings are the same by construction are trained once: a shorter patience stops the same training
earlier, and what stopped it is known from the validation AUROC of its epochs.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from frown_jax.config import RANGES, SEARCHED, SETTINGS
from frown_jax.errors import ConfigError
from frown_jax.runs.directory import RunDir
from frown_jax.training import check

Combination = dict[str, Any]  # by name in the section
HPARAMS = "hparams.json"


def wanted(config: ConfigDict) -> bool:
    """Whether the config asks for a search."""
    return any(config.search[name] for name in SEARCHED)


def combinations(config: ConfigDict) -> list[Combination]:
    """All combinations of the section's values, or `search.budget` of them drawn at random, without repetition.

    Raises:
      ConfigError: a value that training refuses, a range without a budget.
    """
    values = {name: config.search[name] for name in SEARCHED if config.search[name]}
    for name, tried in values.items():
        SETTINGS[f"search.{name}"].validate(tried)
    ranges = {name for name, v in values.items() if v[0] in RANGES}
    budget = config.search.budget
    if ranges and not budget:
        raise ConfigError(f"--config.search.{min(ranges)} is a range: say how many to draw with --config.search.budget")
    if budget and ranges:
        rng = np.random.default_rng(config.search.seed)
        found = [{name: _drawn(v, rng) for name, v in values.items()} for _ in range(budget)]
    else:
        found = [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]
        if budget and budget < len(found):
            chosen = np.random.default_rng(config.search.seed).choice(len(found), budget, replace=False)
            found = [found[i] for i in sorted(chosen)]
    for combination in found:
        _with(config, combination)
    return found


def _drawn(values: tuple, rng: np.random.Generator) -> Any:
    if values[0] not in RANGES:
        return values[rng.integers(len(values))]
    low, high = values[1:]
    if values[0] == "uniform":
        return float(rng.uniform(low, high))
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _with(config: ConfigDict, combination: Combination) -> ConfigDict:
    """The config with a combination, validated."""
    own = config.copy_and_resolve_references()
    try:
        own.update_from_flattened_dict({SEARCHED[name]: value for name, value in combination.items()})
        check.validate(own)
    except (TypeError, ValueError) as e:
        shown = ", ".join(f"{k}={v!r}" for k, v in combination.items())
        raise ConfigError(f"--config.search: {shown}: {e}") from None
    return own


def _trained(config: ConfigDict, combination: Combination) -> tuple[str, Combination]:
    """The name and the values of the training that a combination is read from, its patience apart."""
    own = {name: value for name, value in combination.items() if name != "patience"}
    if config.fidelity == "repo" and "dropout" in own:
        own["dropout"] = 0.0  # the code's ResNet18 has no dropout layer, so that the rate changes nothing
    return " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in own.items()) or "search", own


def points(config: ConfigDict) -> list[dict[str, object]]:
    """The grid's points: one for each training, with the longest patience that is read from it."""
    found: dict[str, dict[str, object]] = {}
    for combination in combinations(config):
        name, own = _trained(config, combination)
        point = found.setdefault(name, {"method": name, **{SEARCHED[k]: v for k, v in own.items()}})
        if "patience" in combination:
            field = SEARCHED["patience"]
            point[field] = max(combination["patience"], point.get(field, 0))
    return list(found.values())


def stopped(aurocs: list[float], patience: int, min_improvement: float) -> tuple[float, int]:
    """The best AUROC of a training that stops after more than `patience` epochs without a better one, and its epochs.

    Args:
      aurocs: validation AUROC of each epoch.
      patience: epochs.
      min_improvement: of AUROC.
    """
    best, best_epoch = 0.0, -1
    for epoch, auroc in enumerate(aurocs):
        if auroc - best >= min_improvement:
            best, best_epoch = auroc, epoch
        if epoch - best_epoch > patience:
            return best, epoch + 1
    return best, len(aurocs)


def table(config: ConfigDict, run: RunDir) -> pd.DataFrame:
    """A row for each combination, indexed by its place in `combinations`, the best first.

    Returns:
      The searched values; val_auroc (mean over seeds) and its sd; epochs (mean); training, the method that it is read
      from in the run's tables.
    """
    epochs = pd.DataFrame(run.metrics.read()).sort_values("epoch", kind="stable")
    series = {key: [float(v) for v in part["val_auroc"]] for key, part in epochs.groupby(["method", "seed"])}
    rows = []
    for combination in combinations(config):
        name, _ = _trained(config, combination)
        patience = combination.get("patience", config.stopping.patience)
        runs = [stopped(s, patience, config.stopping.min_improvement) for (m, _), s in series.items() if m == name]
        scores = np.array([score for score, _ in runs])
        sd = float(scores.std(ddof=1)) if len(scores) > 1 else float("nan")
        mean_epochs = float(np.mean([n for _, n in runs]))
        rows.append(combination | {"val_auroc": scores.mean(), "sd": sd, "epochs": mean_epochs, "training": name})
    return pd.DataFrame(rows).sort_values("val_auroc", ascending=False, kind="stable")


def conclude(config: ConfigDict, run: RunDir) -> str:
    """Writes search.csv and the best combination as hparams.json; the text to print."""
    found = table(config, run)
    run.write_csv("search.csv", found)
    best = combinations(config)[found.index[0]]
    run.write_json(HPARAMS, {SEARCHED[name]: value for name, value in best.items()})
    trainings = found["training"].nunique()
    lines = [
        f"search: {len(found)} combinations from {trainings} trainings, by validation AUROC (mean over seeds)",
        "",
        found.drop(columns="training").to_string(index=False, float_format=lambda v: f"{v:.4g}"),
        "",
        f"best: {', '.join(f'{k}={v}' for k, v in best.items())}; use it with --config.hparams={run.path / HPARAMS}",
    ]
    if config.fidelity == "repo" and config.search.dropout:
        lines.insert(1, "dropout changes nothing in the study's code (its network has no dropout layer): trained at 0")
    return "\n".join(lines)
