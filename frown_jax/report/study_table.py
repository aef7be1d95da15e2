"""What the first study's published table can and cannot show, from its cell sizes: builds docs/study_table.md.

python -m frown_jax.report.study_table --out=docs/study_table.md

Sources: stats/table.csv of github.com/Lu-David/frowning-bias (Venkatesh, Lu, Chandra & Wang 2022) for the results,
schema.rafdb_cells for the sizes.
"""

from __future__ import annotations

import io
import pathlib

import numpy as np
import pandas as pd
from absl import app, flags
from scipy import stats

from frown_jax import schema
from frown_jax.metrics.intervals import minimum_detectable_effect, wilson

# model, accuracy, F by race, by gender, by age
_TABLE = """
baseline .84550 .88500 .98941 .88084
race-up .83572 .89632 .96441 .85709
race-down .76239 .89049 .94369 .84631
race-mean .81975 .94226 .98658 .90187
age-up .83801 .91557 .99995 .85715
age-down .73533 .96462 .90537 .92893
age-mean .80932 .83694 .98780 .90933
gender-up .84550 .88185 .95319 .91478
gender-down .76532 .82713 .94812 .90197
gender-mean .83279 .86985 .95187 .87937
attribute-aware .85919 .87400 .99444 .86433
affirmative-1_0_3 .84322 .96109 .98723 .87957
affirmative-2_1_3 .84550 .92593 .98600 .92333
"""
# Correct images that the study's cell accuracies stand for: by cell and model, the baseline first.
CLAIMS = {
    "African-American x Male x 40-69": {
        "baseline": 12,
        "affirmative-1_0_3": 13,
        "affirmative-2_1_3": 14,
        "age-up": 14,
        "attribute-aware": 13,
    },
    "Asian x Female x 40-69": {"baseline": 16, "affirmative-2_1_3": 17, "attribute-aware": 17, "age-up": 19},
}
AGREEMENT = 0.9  # share of images on which two trainings of one network agree, assumed


def results() -> pd.DataFrame:
    """The published rows: model, accuracy, F_race, F_gender, F_age, and images (correct ones of the test set).

    Raises:
      ValueError: an accuracy that is no whole number of test images, to the digits printed.
    """
    table = pd.read_csv(
        io.StringIO(_TABLE), sep=" ", header=None, names=["model", "accuracy", "F_race", "F_gender", "F_age"]
    )
    n = int(schema.rafdb_cells("test").sum())
    table["images"] = (table["accuracy"] * n).round().astype(int)
    off = (table["images"] / n - table["accuracy"]).abs()
    if (off > 5.1e-6).any():
        row = table[off > 5.1e-6].iloc[0]
        raise ValueError(f"{row['model']}: accuracy {row['accuracy']} is no whole number of {n} images")
    return table


def cell_size(cell: str) -> int:
    """Test images of a cell named 'race x gender x age'."""
    at = tuple(v.index(x) for v, x in zip(schema.ATTRIBUTES.values(), cell.split(" x "), strict=True))
    return int(schema.rafdb_cells("test")[at])


def best_p(gained: int) -> float:
    """The smallest p that an exact two-sided McNemar test can give for so many images gained: none lost."""
    return 1.0 if gained == 0 else float(min(1, 2 * stats.binom.cdf(0, gained, 0.5)))


def visible_gain(n: int, accuracy: float) -> float:
    """The smallest true gain that an exact McNemar test finds 4 times in 5; NaN if right answers everywhere are not."""
    difference = minimum_detectable_effect(n, accuracy, AGREEMENT)
    return difference if difference <= 1 - accuracy else float("nan")


def claims() -> pd.DataFrame:
    """The cells that the study's gains are about: counts, Wilson intervals, the best p, the smallest visible gain."""
    rows = []
    for cell, counts in CLAIMS.items():
        n, base = cell_size(cell), counts["baseline"]
        for model, correct in counts.items():
            low, high = wilson(correct, n)
            rows.append(
                {
                    "cell": cell,
                    "model": model,
                    "n": n,
                    "correct": correct,
                    "accuracy": correct / n,
                    "lower": float(low),
                    "upper": float(high),
                    "gained": correct - base,
                    "best_p": best_p(correct - base),
                    "visible_gain": visible_gain(n, base / n),
                }
            )
    return pd.DataFrame(rows)


def sizes() -> pd.DataFrame:
    """Smallest visible gain in accuracy by size of a group, at the baseline's accuracy."""
    base = float(results()["accuracy"].iloc[0])
    cells = schema.rafdb_cells("test")
    named = {
        "all": int(cells.sum()),
        **{r: int(c) for r, c in zip(schema.RACES, cells.sum((1, 2)), strict=True)},
        "median cell that has images": int(np.median(cells[cells > 0])),
        "African-American x Male x 40-69": cell_size("African-American x Male x 40-69"),
    }
    return pd.DataFrame([{"group": k, "n": n, "visible_gain": visible_gain(n, base)} for k, n in named.items()])


def _markdown(rows: list[tuple[str, ...]], head: tuple[str, ...]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page() -> str:
    """docs/study_table.md."""
    table, cells = results(), schema.rafdb_cells("test")
    n, base = int(cells.sum()), table.iloc[0]
    claimed = claims()
    gains = _markdown(
        [
            (
                r["cell"],
                r["model"],
                f"{r['correct']}/{r['n']}",
                f"{r['accuracy']:.3f} [{r['lower']:.3f}, {r['upper']:.3f}]",
                f"{r['gained']:+d}" if r["gained"] else "",
                f"{r['best_p']:.2f}" if r["gained"] else "",
            )
            for _, r in claimed.iterrows()
        ],
        ("cell", "model", "correct", "accuracy and 95 % interval (Wilson)", "images gained", "smallest p possible"),
    )
    visible = _markdown(
        [(r["group"], f"{r['n']:,}", _or_none(r["visible_gain"])) for _, r in sizes().iterrows()],
        ("group", "images", "smallest visible gain"),
    )
    models = _markdown(
        [
            (
                r["model"],
                f"{r['images']:,}",
                f"{r['images'] - base['images']:+d}" if i else "",
                f"{r['accuracy']:.3f}",
                *(f"{r[f]:.3f}" for f in ("F_race", "F_gender", "F_age")),
            )
            for i, (_, r) in enumerate(table.iterrows())
        ],
        ("model", f"correct of {n:,}", "against the baseline", "accuracy", "F race", "F gender", "F age"),
    )
    own = ", ".join(
        f"{_or_none(c['visible_gain'].iloc[0])} from {c['correct'].iloc[0]}/{c['n'].iloc[0]}"
        for _, c in claimed.groupby("cell", sort=False)
    )
    return f"""# What the study's table can show

Built by `python -m frown_jax.report.study_table --out=docs/study_table.md`; do not edit.

"Frowning upon Bias" trained each model once and reports accuracies of groups of the RAF-DB test set. The sizes of
these groups ({n:,} images in {int((cells > 0).sum())} cells of race x gender x age) follow from its own printed
fractions, and with them what its differences are made of.

## The gains for the protected cells are one image each

{gains}

The smallest p possible is that of an exact McNemar test if the model lost no image that the baseline had. One image
more gives p = 1, two give 0.5, three 0.25. In the first cell the model that was aimed at Asian women gained more than
the one that was aimed at this cell.

## What could have been seen

The smallest true gain in accuracy that an exact McNemar test at 5 % finds 4 times in 5, from the baseline's
{base["accuracy"]:.3f}, if two models agree on {AGREEMENT:.0%} of the images otherwise (an assumption):

{visible}

"None": even if every wrong answer became right, it would be found less often. From the two cells' own baselines:
{own}.

## Every model, in images

{models}

The best F by race and by age is {_best(table, "F_race")}'s and {_best(table, "F_age")}'s, and the lowest accuracy
{table["accuracy"].min():.3f}, that of {table["model"].iloc[int(table["accuracy"].argmin())]}: F rewards levelling down,
and is never read here without the worst group's accuracy. All accuracies are whole numbers of {n:,} images to the
digits printed, which the command checks. One run each: by the rules of [statistics.md](statistics.md) every gain for
the protected cells is "cannot tell", since none rests on six images that differ, and nothing here says what another
seed would give.
"""


def _or_none(x: float) -> str:
    return f"{x:.3f}" if np.isfinite(x) else "none"


def _best(table: pd.DataFrame, column: str) -> str:
    return str(table["model"].iloc[int(table[column].argmax())])


def _main(_: list[str]) -> None:
    text = page()
    if flags.FLAGS.out:
        pathlib.Path(flags.FLAGS.out).write_text(text)
    else:
        print(text)


if __name__ == "__main__":  # the report imports this module, and has an --out of its own
    flags.DEFINE_string("out", "", "File to write; by default the page is printed.")
    app.run(_main)
