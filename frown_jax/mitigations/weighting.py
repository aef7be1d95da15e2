"""How much each training image counts."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from frown_jax.data import annotations as annotations_data
from frown_jax.data.annotations import LABEL, Annotations, columns_of
from frown_jax.errors import MitigationError
from frown_jax.member.values import Member
from frown_jax.metrics.plan import SEPARATOR, TINY
from frown_jax.mitigations.registry import choice, number, register


def _times(member: Member, factors: np.ndarray) -> Member:
    return member.replace(example_weights=(member.example_weights * factors).astype(np.float32))


@register(classes_only=True)
def reweighing(data: Annotations, member: Member, by: str | Sequence[str] = "race", drop: Sequence[str] = ()) -> Member:
    """w(a, y) = P(a) P(y) / P(a, y): class and group are independent in the weighted set (Kamiran & Calders 2012).

    Weights of the images in a group sum to their number; images in no group keep weight 1.
    """
    if LABEL in ((by,) if isinstance(by, str) else tuple(by)):
        raise MitigationError(f"by={by!r}: {LABEL} is what groups are made independent of; name attributes only")
    groups = data.groups(by, drop)
    known = groups.codes >= 0
    count = annotations_data.cells(groups, data.labels, len(data.classes))
    expected = count.sum(1, keepdims=True) * count.sum(0) / max(count.sum(), 1)
    weight = np.divide(expected, count, out=np.zeros_like(count), where=count > 0)
    return _times(member, np.where(known, weight[groups.codes, data.labels], 1))


@register()
def group_weights(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = ("emotion", "race"),
    how: str = "inverse",
    beta: float = annotations_data.EFFECTIVE_BETA,
    drop: Sequence[str] = (),
) -> Member:
    """w_g in proportion to 1 / n_g, 1 / sqrt(n_g) or (1 - beta) / (1 - beta^n_g) (Cui et al. 2019), mean 1 over images.

    Images in no group keep weight 1.
    """
    choice("how", how, ("inverse", "sqrt", "effective"))
    number("beta", beta, 0, 1)
    groups = data.groups(by, drop)
    n = np.maximum(groups.sizes, 1).astype(np.float64)
    raw = {"inverse": 1 / n, "sqrt": n**-0.5, "effective": annotations_data.effective_weight(n, beta)}[how]
    known = groups.codes >= 0
    factors = np.where(known, raw[groups.codes], 1)
    return _times(member, np.where(known, factors / factors[known].mean(), 1))


@register()
def affirmative_action(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = ("race", "gender", "age"),
    cells: Sequence[str] = (),
    factor: float = 10.0,
    run: str = "",
) -> Member:
    """The attention factor alpha(race, gender, age) of "Frowning upon Bias": `factor` in the named cells, else 1.

    Cells are values joined by ' x ' in the order of `by` ('Asian x Female x 40-69'). The study divides the weighted sum
    by the number of images, not by their weights: --config.loss.normaliser=count. cells='worst:K' takes the K cells of
    lowest validation accuracy, mean over the seeds of the finished `run`, of those with TINY validation images or more.
    """
    number("factor", factor, 0, above=True)
    groups = data.groups(by)
    names = [" x ".join(n) for n in groups.names]
    if isinstance(cells, str) and cells.startswith("worst:"):
        cells = worst_cells(run, by, cells.removeprefix("worst:"))
    wanted = (cells,) if isinstance(cells, str) else tuple(cells)
    if not wanted:
        raise MitigationError("cells is empty: name at least one, cells=('Asian x Female x 40-69',)")
    factors = np.ones(len(data))
    for cell in wanted:
        if cell not in names:
            raise MitigationError(f"there is no cell {cell!r}: cells are called like {names[0]!r}")
        inside = groups.codes == names.index(cell)
        if not inside.any():
            raise MitigationError(f"the cell {cell!r} matches no training image")
        factors[inside] = factor
    return _times(member, factors)


def worst_cells(run: str, by: str | Sequence[str], count: str) -> tuple[str, ...]:
    """The cells of lowest validation accuracy of a finished run.

    Raises:
      MitigationError: no such run, no validation results of these attributes, or too few cells.
    """
    path = pathlib.Path(run) / "results.csv"
    if not run or not path.is_file():
        raise MitigationError(f"cells='worst:{count}' needs run=, the directory of a finished run; {path} is not there")
    if not count.isdecimal() or int(count) < 1:
        raise MitigationError(f"cells='worst:{count}': a whole number from 1 after the colon")
    table = pd.read_csv(path, keep_default_na=False, na_values={"value": [""]})
    name = SEPARATOR.join(columns_of(by))
    of_cells = (table["split"] == "val") & (table["metric"] == "accuracy") & (table["attribute"] == name)
    part = table[of_cells & (table["n"] >= TINY)]
    means = part.groupby("group", sort=False)["value"].mean().sort_values(kind="stable")
    if len(means) < int(count):
        raise MitigationError(
            f"cells='worst:{count}': {path} has {len(means)} cells of {name} with {TINY} validation images or more"
        )
    return tuple(str(c) for c in means.index[: int(count)])
