"""Says how many seeds and images a question needs, before money is spent, from a run with a few seeds.

  python -m frown_jax.plan runs/mitigation_grid-faces-0a1b2c3d --effect=.03
  python -m frown_jax.plan runs/mitigation_grid-faces-0a1b2c3d --effect=.02 --power=.9 --metric=worst_group_accuracy

The run has two methods or more, each with two seeds or more. Every value is planned for the method whose difference
from the control varies most. The whole table goes to RUN/plan.csv.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
from absl import flags

from frown_jax.errors import ConfigError
from frown_jax.metrics.catalogue import PRIMARY
from frown_jax.metrics.planning import plan
from frown_jax.runs.directory import RunDir
from frown_jax.runtime import command

_EFFECT = flags.DEFINE_float("effect", 0.03, "The difference between methods that should not be missed.")
_POWER = flags.DEFINE_float("power", 0.8, "How often it should be found, between 0 and 1.")
_METRIC = flags.DEFINE_list("metric", [], "Metrics to print; by default accuracy and the gaps and worst groups.")


def _main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        command.fail("name one run directory: python -m frown_jax.plan RUN --effect=.03 (--help tells more)")
    run = RunDir.open(pathlib.Path(arguments[0]))
    try:
        table = run.read_csv("comparisons.csv")
    except OSError:
        raise ConfigError(f"{run.path} has no comparisons.csv: planning needs a finished run of two methods") from None
    try:
        found = plan(table, _EFFECT.value, _POWER.value)
    except ValueError as e:
        raise ConfigError(f"{run.path}: {e}") from None
    run.write_csv("plan.csv", found)
    print(render(found, _METRIC.value or [*PRIMARY], _EFFECT.value, _POWER.value))


def render(found: pd.DataFrame, metrics: list[str], effect: float, wanted: float) -> str:
    """The rows of some metrics as text."""
    chosen = found[found["metric"].isin(metrics) & (found["target"] == "")]
    lines = [
        f"to find a difference of {effect:g} in {wanted:.0%} of the cases (5 % error, not corrected for many tests):",
        f"  {'':<52}{'images':>8}{'seeds':>7}{'found':>7}{'seeds needed':>14}{'or images':>12}",
    ]
    for _, row in chosen.iterrows():
        label = " ".join(x for x in (row["metric"], row["attribute"], row["group"]) if x)
        numbers = f"{int(row['n']):>8,}{int(row['seeds']):>7}{row['power']:>7.0%}"
        lines.append(f"  {label:<52}{numbers}{_whole(row['seeds_needed']):>14}{_whole(row['images_needed']):>12}")
    lines.append("  seeds needed: of each method, on these images; or images: of the group, with these seeds")
    return "\n".join(lines)


def _whole(x: float) -> str:
    return f"{int(x):,}" if np.isfinite(x) else "none would"


def main() -> None:
    """Entry point."""
    command.run(_main, __doc__ or "", takes_files=True)


if __name__ == "__main__":
    main()
