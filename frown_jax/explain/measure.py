"""Explains many images with all members of a run: one table of measures, and mean maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from frown_jax.data.annotations import Annotations
from frown_jax.data.dataset import Dataset
from frown_jax.explain.attribution import Method
from frown_jax.explain.explainer import ALIGNED_SIDE, Explainer, Found
from frown_jax.explain.networks import Networks
from frown_jax.explain.regions import PARTS, Regions, alignment
from frown_jax.metrics.predictions_table import DECISION, TRUE_LABEL, probability_column
from frown_jax.mitigations import registry
from frown_jax.runtime.progress import Progress

OUTCOMES = TP, FP, FN, TN = "TP", "FP", "FN", "TN"
_MOST_BLOCKS = 256


@dataclasses.dataclass(frozen=True)
class Shown:
    """The images that are explained, and what was predicted of them.

    Attributes:
      data: of N images.
      regions: of the same.
      predictions: see predictions_frame; of every member, on its own images among these.
    """

    data: Dataset
    regions: Regions
    predictions: pd.DataFrame

    def rows_of(self, member: int) -> np.ndarray:
        """Images of one member, by their place among the N."""
        place = pd.Series(np.arange(len(self.data)), index=self.data.table["id"].to_numpy(object))
        own = self.predictions.loc[self.predictions["member"] == member, "id"]
        return np.sort(place.reindex(own.to_numpy(object)).dropna().to_numpy(np.int64))


def outcomes(truth: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """TP, FP, FN or TN of each; '' where the truth is not known (-1)."""
    names = np.where(decided > 0, np.where(truth > 0, TP, FP), np.where(truth > 0, FN, TN)).astype(object)
    return np.where(truth < 0, "", names)


def decisions(predictions: pd.DataFrame, classes: Sequence[str], multilabel: bool) -> tuple[np.ndarray, np.ndarray]:
    """Truth (1, 0, -1) and decision (1, 0) of each row and class, int [N, K]."""
    if multilabel:
        truth, decided = (predictions[[f"{p}{c}" for c in classes]].to_numpy(np.int64) for p in (TRUE_LABEL, DECISION))
        return truth, decided
    names = np.array(classes, object)
    truth, decided = (predictions[c].to_numpy(object)[:, None] == names for c in ("emotion", "prediction"))
    return truth.astype(np.int64), decided.astype(np.int64)


def sample(table: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """Rows of at most `count` images (0: all), subjects taking turns so that each has about as many; sorted."""
    if not count or count >= len(table):
        return np.arange(len(table))
    order = np.random.default_rng(seed).permutation(len(table))
    if "subject" in table:
        turn = table.iloc[order].groupby("subject", sort=False).cumcount().to_numpy()
        order = order[np.argsort(turn, kind="stable")]
    return np.sort(order[:count])


def together(networks: Networks, shown: Shown) -> Iterator[tuple[list[int], np.ndarray]]:
    """Members (by position) that are explained on the same images, and these."""
    found: dict[bytes, tuple[list[int], np.ndarray]] = {}
    for i, spec in enumerate(networks.specs):
        rows = shown.rows_of(spec.member)
        found.setdefault(rows.tobytes(), ([], rows))[0].append(i)
    return (entry for entry in found.values() if len(entry[1]))


def planned(
    every: Sequence[Networks], shown: Shown, method: Method, **options: bool
) -> list[tuple[Explainer, list[int], np.ndarray]]:
    """Who is explained on which images, and by what; `options` are Explainer's."""
    work = []
    for networks in every:
        own = list(together(networks, shown))
        most, images = (max((len(entry[i]) for entry in own), default=1) for i in (0, 1))
        explain = Explainer(networks, method, most, images, **options)
        work += [(explain, members, rows) for members, rows in own]
    return work


def blocks(data: Dataset) -> np.ndarray:
    """Which block each image belongs to, for maps' means: its subject, or a part of its cell of attributes."""
    table = data.table
    if "subject" in table and table["subject"].nunique() <= _MOST_BLOCKS:
        return np.unique(table["subject"].to_numpy(str), return_inverse=True)[1].ravel()
    cells = np.stack([data.groups(a) for a in data.attributes] or [np.zeros(len(data), int)], 1)
    own = table["subject"].to_numpy(str) if "subject" in table else table["id"].to_numpy(str)
    turn = np.unique(own, return_inverse=True)[1].ravel() % 8
    return np.unique(np.column_stack([cells, turn]), axis=0, return_inverse=True)[1].ravel()


class MeanMaps:
    """Aligned maps of true positives, summed by method, class and block."""

    def __init__(self, methods: Sequence[str], classes: int, block: np.ndarray):
        self.methods, self.block = list(methods), block
        shape = (len(self.methods), int(block.max(initial=-1)) + 1, classes)
        self.sums = np.zeros((*shape, ALIGNED_SIDE, ALIGNED_SIDE), np.float32)
        self.counts = np.zeros(shape, np.int64)

    def add(self, method: str, rows: np.ndarray, chosen: np.ndarray, maps: np.ndarray) -> None:
        """Maps [K, B, side, side] of images `rows` [B], those that are `chosen`, bool [K, B]."""
        m = self.methods.index(method)
        for k, b in zip(*np.nonzero(chosen), strict=True):
            if np.isfinite(maps[k, b]).all():
                self.sums[m, self.block[rows[b]], k] += maps[k, b]
                self.counts[m, self.block[rows[b]], k] += 1

    def means(self, method: str, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means over blocks (of which each counts once), and their standard errors; of the blocks `inside`, bool.

        Returns:
          [K, side, side] twice.
        """
        m = self.methods.index(method)
        there = (self.counts[m] > 0) & inside[:, None]  # [blocks, K]
        each = self.sums[m] / np.maximum(self.counts[m], 1)[..., None, None]
        n = there.sum(0)[:, None, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (each * there[..., None, None]).sum(0) / n
            spread = (((each - mean) ** 2) * there[..., None, None]).sum(0) / (n - 1)
            return mean, np.sqrt(spread / n)


def _table(
    spec_columns: Mapping[str, object], shown: Shown, predictions: pd.DataFrame, rows: np.ndarray, i: int, found: Found
) -> pd.DataFrame:
    """One member's rows: an image and a class each, classes fastest."""
    classes = shown.data.classes
    k, b = len(classes), len(rows)
    local = found.local
    truth, decided = decisions(predictions, classes, shown.data.multilabel)
    names = shown.regions.names
    part = {name: len(classes) + j for j, name in enumerate(PARTS)}
    own = np.arange(k)
    mass = np.moveaxis(np.asarray(local.mass[i]), 0, 1)  # [B, K, R]
    area = local.area[i][:, :k]
    with np.errstate(invalid="ignore", divide="ignore"):
        normalised = mass[:, own, own] / area
        beside = mass[:, :, part["background"]] / local.area[i][:, [part["background"]]]
    columns = {
        **{c: np.full(b * k, v, object if isinstance(v, str) else None) for c, v in spec_columns.items()},
        "image": np.repeat(rows, k),
        "target": np.tile(np.array(classes, object), b),
        "outcome": outcomes(truth, decided).ravel(),
        "probability": predictions[[probability_column(c) for c in classes]].to_numpy(np.float32).ravel(),
        "logit": found.logits[i].ravel(),
        "mass": mass[:, own, own].ravel(),
        "area": area.ravel(),
        "normalised": normalised.ravel(),
        "negative": np.moveaxis(np.asarray(local.negative[i]), 0, 1)[:, own, own].ravel(),
        "rank": local.rank[i].T.ravel(),
        "hit": local.hit[i].T.ravel(),
        **{name: mass[:, :, part[name]].ravel() for name in PARTS},
        "background_normalised": beside.ravel(),
        "conserved": local.total[i].T.ravel(),
    }
    assert len(names) == mass.shape[2]
    return pd.DataFrame(columns)


def head_groups(spec_mitigation: str, data: Dataset) -> np.ndarray:
    """Groups by which a member's heads are chosen, int [N]."""
    return registry.head_groups(spec_mitigation, Annotations.of(data))


def measure(
    every: Sequence[Networks], shown: Shown, method: Method, mean_maps: bool = True
) -> tuple[pd.DataFrame, np.ndarray, MeanMaps | None]:
    """Measures of every member, image and class.

    Args:
      every: the run's networks.
      shown: images.
      method: of the maps.
      mean_maps: whether to sum maps in the aligned frame.

    Returns:
      A table: member, method, seed, (draw), image (place in shown.data), target, outcome, probability, logit, the
      measures of `localisation`, shares of PARTS, background_normalised (over its share of the image), conserved (sum
      of relevance that began with 1). Positive relevance of each class (of true positives) in each region, float64
      [methods, K, R], means over images. Mean maps.
    """
    data = shown.data
    predictions = {m: part.set_index("id") for m, part in shown.predictions.groupby("member")}
    ids = data.table["id"].to_numpy(object)
    turned = alignment(shown.regions.points)
    methods = list(dict.fromkeys(s.method for n in every for s in n.specs))
    maps = MeanMaps(methods, len(data.classes), blocks(data)) if mean_maps else None
    work = planned(every, shown, method, align=mean_maps)
    tables, sums = [], np.zeros((2, len(methods), len(data.classes), len(shown.regions.names)))
    total = sum(len(members) * len(rows) for _, members, rows in work)
    with Progress(total * len(data.classes), f"explaining by {method.name}", "maps") as progress:
        for explain, members, rows in work:
            networks = explain.networks
            groups = head_groups(networks.specs[members[0]].config.mitigation, data)
            for first in range(0, len(rows), explain.batch_size):
                part = rows[first : first + explain.batch_size]
                found = explain(members, data.images[part], shown.regions.masks(part), groups[part], turned[part])
                for i, member in enumerate(members):
                    spec = networks.specs[member]
                    own = predictions[spec.member].loc[ids[part]]
                    described = {"member": spec.member, "method": spec.method, "seed": spec.seed, **spec.drawn}
                    table = _table(described, shown, own, part, i, found)
                    tables.append(table)
                    right = (table["outcome"] == TP).to_numpy().reshape(len(part), -1).T  # [K, B]
                    m = methods.index(spec.method)
                    mass = np.where(right[..., None], found.local.mass[i], np.nan)
                    sums[0, m] += np.nansum(mass, 1)
                    sums[1, m] += np.isfinite(mass).sum(1)
                    if maps is not None:
                        maps.add(spec.method, part, right, found.aligned[i])
                progress.advance(len(part) * len(members) * len(data.classes))
    with np.errstate(invalid="ignore", divide="ignore"):
        specificity = sums[0] / sums[1]
    return pd.concat(tables, ignore_index=True), specificity, maps
