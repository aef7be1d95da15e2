"""Whether maps can be trusted: faithfulness and sanity of one member of each method, as tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from frown_jax.explain import faithfulness, sanity
from frown_jax.explain.attribution import Method, attribute
from frown_jax.explain.contrasts import ContrastSettings, interval
from frown_jax.explain.measure import Shown
from frown_jax.explain.networks import Networks
from frown_jax.member import augment
from frown_jax.training.grid import Spec

_BATCH = 16
_PATCHES = (8, 7, 6, 5, 4)  # along a side; the first that divides it


def first_members(every: Sequence[Networks]) -> Iterator[tuple[Networks, Spec, Any]]:
    """One member of each method: its networks, spec and variables; of networks with one output a class."""
    seen = set()
    for networks in every:
        if networks.model.classes != networks.classes:
            continue
        for i, spec in enumerate(networks.specs):
            if spec.method not in seen:
                seen.add(spec.method)
                own = jax.tree.map(lambda a, i=i: a[i], networks.own)
                yield networks, spec, networks.variables(own)


_explained = jax.jit(attribute, static_argnums=(0, 1, 4))


def _likeliest(outputs: jax.Array) -> jax.Array:
    """One map of each image: of its highest output."""
    return jax.nn.one_hot(outputs.argmax(1), outputs.shape[-1], dtype=outputs.dtype)[None]


def left_out(every: Sequence[Networks]) -> list[str]:
    """Methods that are not checked: their networks have heads of groups."""
    return list(dict.fromkeys(s.method for n in every if n.model.classes != n.classes for s in n.specs))


def _images(shown: Shown, spec: Spec, count: int, size: int) -> tuple[np.ndarray, jax.Array]:
    rows = shown.rows_of(spec.member)
    rows = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
    return rows, augment.plain(jnp.asarray(shown.data.images[rows]), size)


def _over_subjects(
    values: np.ndarray, subjects: np.ndarray, s: ContrastSettings, statistic: Callable[..., Any] = np.mean
) -> dict[str, float]:
    """A statistic of the subjects' means, with a bootstrap interval."""
    each = pd.Series(values).groupby(subjects).mean().to_numpy()
    rng = np.random.default_rng(s.seed)
    drawn = statistic(each[rng.integers(0, len(each), (s.resamples, len(each)))], axis=1)
    lower, upper = interval(drawn, s.level)
    return {"value": float(statistic(each)), "lower": lower, "upper": upper, "subjects": len(each)}


def faithful(every: Sequence[Networks], shown: Shown, method: Method, count: int, s: ContrastSettings) -> pd.DataFrame:
    """Region perturbation and max-sensitivity, of each image's class with the highest logit.

    Args:
      every: networks.
      shown: images; `count` of each first member's own are used.
      method: of the maps.
      count: images.
      s: settings of intervals.

    Returns:
      Per method, quantity ('aopc', 'aopc minus random', 'max-sensitivity, median'), order and fill: value, lower,
      upper.
    """
    rows = []
    for networks, spec, variables in first_members(every):
        place, x = _images(shown, spec, count, networks.image_size)
        subjects = _subjects(shown, place)
        model = networks.model.clone(trainable="all")
        patches = next((p for p in _PATCHES if networks.image_size % p == 0), 1)
        curves: dict[tuple[str, str], list[np.ndarray]] = {}
        sensitive = []
        for first in range(0, len(place), _BATCH):
            part = x[first : first + _BATCH]
            outputs, maps = _explained(method, model, variables, part, _likeliest)
            chosen, own = outputs.argmax(1), maps[0]
            key = jax.random.key(first)
            for order, fill in itertools.product(faithfulness.ORDERS, faithfulness.FILLS):
                curve = faithfulness.perturbation(
                    model, variables, part, own, chosen, key, order=order, fill=fill, patches=patches
                )
                curves.setdefault((order, fill), []).append(np.asarray(faithfulness.aopc(curve)))
            found = faithfulness.max_sensitivity(model, variables, part, chosen, key, method=method)
            sensitive.append(np.asarray(found))
        whole = {k: np.concatenate(v) for k, v in curves.items()}
        for (order, fill), values in whole.items():
            described = {"method": spec.method, "order": order, "fill": fill}
            rows.append({**described, "quantity": "aopc"} | _over_subjects(values, subjects, s))
            if order != faithfulness.RANDOM:
                difference = values - whole[faithfulness.RANDOM, fill]
                rows.append({**described, "quantity": "aopc minus random"} | _over_subjects(difference, subjects, s))
        described = {"method": spec.method, "order": "", "fill": "", "quantity": "max-sensitivity, median"}
        # The median: where hardly any relevance arrives, the ratio has no upper end.
        rows.append(described | _over_subjects(np.concatenate(sensitive), subjects, s, np.median))
    return pd.DataFrame(rows)


def _subjects(shown: Shown, rows: np.ndarray) -> np.ndarray:
    column = "subject" if "subject" in shown.data.table else "id"
    return shown.data.table[column].to_numpy(object)[rows]


def sane(every: Sequence[Networks], shown: Shown, method: Method, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Randomisation of layers, and the likeness of classes' maps, of each first member.

    Returns:
      See sanity.randomisation and sanity.between_classes; with a column method, the latter in long form (target, other,
      cosine).
    """
    stages, alike = [], []
    for networks, spec, variables in first_members(every):
        _, x = _images(shown, spec, count, networks.image_size)
        model, params = networks.model.clone(trainable="all"), variables["params"]
        stages.append(sanity.randomisation(model, params, x, method).assign(method=spec.method))
        square = sanity.between_classes(model, params, x, method, shown.data.classes)
        long = square.rename_axis("target").reset_index().melt("target", var_name="other", value_name="cosine")
        alike.append(long.assign(method=spec.method))
    return pd.concat(stages, ignore_index=True), pd.concat(alike, ignore_index=True)
