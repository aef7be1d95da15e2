"""Counterfactual twins: the same face with another skin tone or gender, and what networks make of the difference.

The bottom-up audit of Du et al. (2020) that "Uncovering the Bias in Facial Expressions" names: one attribute of one
photograph changes, everything else stays. Embedded faces can be rendered again; a third pair, which differs in nothing
but the sensor's noise, shows how much changes for no reason at all.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from frown_jax.data.load import resize
from frown_jax.explain import regions
from frown_jax.explain.attribution import Method
from frown_jax.explain.contrasts import ContrastSettings, paired
from frown_jax.explain.explainer import Found
from frown_jax.explain.measure import Shown, head_groups, planned
from frown_jax.explain.networks import Networks
from frown_jax.faces import people
from frown_jax.faces.face import Face
from frown_jax.faces.render import render_many
from frown_jax.metrics.significance import holm
from frown_jax.runtime.progress import Progress

SKIN, GENDER, NOISE = "skin tone", "gender", "noise"
LIGHT_TONE, DARK_TONE = 0.12, 0.75  # melanin


def _other_noise(face: Face) -> Face:
    key = np.asarray(face.scene.noise_key, np.uint32) + np.uint32(1)
    return face.replace(scene=face.scene.replace(noise_key=key))


# What each pair is: first, second. Values of the second minus those of the first are reported.
PAIRS: Mapping[str, tuple[str, str, Callable[[Face], Face], Callable[[Face], Face]]] = {
    SKIN: (
        "light",
        "dark",
        lambda f: people.twin(f, skin_tone=LIGHT_TONE),
        lambda f: people.twin(f, skin_tone=DARK_TONE),
    ),
    GENDER: ("female", "male", lambda f: people.twin(f, gender=0.0), lambda f: people.twin(f, gender=1.0)),
    NOISE: ("a", "b", lambda f: f, _other_noise),
}


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of a pair: N photographs."""

    images: np.ndarray  # uint8 [N, H, W, 3]
    regions: regions.Regions


def render_pairs(faces: Sequence[Face], targets: Sequence[str], side: int) -> dict[str, tuple[Side, Side]]:
    """Both sides of every pair of PAIRS.

    Args:
      faces: single faces.
      targets: of the networks.
      side: pixels of the images.
    """

    def made(changed: Sequence[Face], known: regions.Regions | None) -> Side:
        images = render_many(changed)
        images = np.stack([resize(i, side) for i in images]) if images.shape[1] > side else images
        return Side(images, found(changed) if known is None else known)

    def found(changed: Sequence[Face]) -> regions.Regions:
        return regions.find_all([functools.partial(regions.of_face, f, targets) for f in changed], targets)

    out = {}
    plain = found(faces)
    for name, (_, _, first, second) in PAIRS.items():
        known = None if name == GENDER else plain  # skin and noise move nothing
        out[name] = (made([first(f) for f in faces], known), made([second(f) for f in faces], known))
    return out


def _alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation of maps [..., H, W]."""
    p, q = (x.reshape(*x.shape[:-2], -1).astype(np.float64) for x in (a, b))
    p, q = p - p.mean(-1, keepdims=True), q - q.mean(-1, keepdims=True)
    scale = np.sqrt((p * p).sum(-1) * (q * q).sum(-1))
    return np.where(scale > 0, (p * q).sum(-1) / np.where(scale > 0, scale, 1), np.nan)


def _normalised(found: Found, classes: int) -> np.ndarray:
    """[M, K, B]."""
    own = np.arange(classes)
    mass = np.asarray(found.local.mass)[:, own, :, own]  # the indexed axis comes first: [K, M, B]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.moveaxis(mass, 0, 1) / found.local.area[:, :, :classes].swapaxes(1, 2)


def compare(every: Sequence[Networks], shown: Shown, faces: Sequence[Face], method: Method) -> pd.DataFrame:
    """Both sides of every pair, through every member.

    Args:
      every: networks.
      shown: the images that the faces are of, N of them.
      faces: N.
      method: of the maps.

    Returns:
      Per pair, member, image and target: logit, probability, decided and normalised of both sides (_first, _second),
      and alike, the correlation of the two maps; with method, seed, subject.
    """
    classes = shown.data.classes
    sides = render_pairs(faces, classes, shown.data.images.shape[1])
    turned = regions.alignment(shown.regions.points)
    work = planned(every, shown, method, keep_maps=True)
    subjects = shown.data.table["subject"].to_numpy(object)
    total = sum(len(m) * len(r) for _, m, r in work) * len(classes) * 2 * len(PAIRS)
    tables = []
    with Progress(total, "explaining counterfactual twins", "maps") as progress:
        for explain, members, rows in work:
            networks = explain.networks
            groups = head_groups(networks.specs[members[0]].config.mitigation, shown.data)
            for first in range(0, len(rows), explain.batch_size):
                part = rows[first : first + explain.batch_size]
                for pair, both in sides.items():
                    found = [
                        explain(members, s.images[part], s.regions.masks(part), groups[part], turned[part])
                        for s in both
                    ]
                    tables.append(_rows(networks.take(np.array(members)), pair, part, subjects, classes, found))
                    progress.advance(2 * len(members) * len(part) * len(classes))
    return pd.concat(tables, ignore_index=True)


def _rows(
    networks: Networks,
    pair: str,
    rows: np.ndarray,
    subjects: np.ndarray,
    classes: Sequence[str],
    found: Sequence[Found],
) -> pd.DataFrame:
    m, b, k = len(networks.specs), len(rows), len(classes)

    def spread(values: Sequence) -> np.ndarray:
        return np.repeat(np.array(values, object), b * k)

    columns = {
        "pair": np.full(m * b * k, pair, object),
        "member": spread([s.member for s in networks.specs]).astype(np.int64),
        "method": spread([s.method for s in networks.specs]),
        "seed": spread([s.seed for s in networks.specs]).astype(np.int64),
        "image": np.tile(np.repeat(rows, k), m),
        "subject": np.tile(np.repeat(subjects[rows], k), m),
        "target": np.tile(np.array(classes, object), m * b),
        "alike": _alike(found[0].maps, found[1].maps).swapaxes(1, 2).ravel(),
    }
    for side, one in zip(("first", "second"), found, strict=True):
        columns[f"logit_{side}"] = one.logits.ravel()
        columns[f"probability_{side}"] = networks.probabilities(one.logits).ravel()
        columns[f"decided_{side}"] = networks.decisions(one.logits).astype(np.float64).ravel()
        columns[f"normalised_{side}"] = _normalised(one, k).swapaxes(1, 2).ravel()
    return pd.DataFrame(columns)


def summary(table: pd.DataFrame, settings: ContrastSettings | None = None) -> pd.DataFrame:
    """Mean changes over subjects, with intervals.

    Args:
      table: of `compare`.
      settings: of intervals and tests.

    Returns:
      Per pair, method, target and quantity (logit, probability, decided, normalised: second minus first; flips: share
      of decisions that differ; alike: correlation of maps): subjects, first, second, difference, lower, upper, p,
      p_holm (over targets; of differences).
    """
    s = settings or ContrastSettings()
    rows = []
    for key, part in table.groupby(["pair", "method", "target"], sort=False):
        pair, method, target = (str(k) for k in key)
        for name in ("logit", "probability", "decided", "normalised"):
            both = part[np.isfinite(part[f"{name}_first"]) & np.isfinite(part[f"{name}_second"])]
            by_subject = both.groupby("subject")[[f"{name}_first", f"{name}_second"]].mean()
            if len(by_subject) < 2:
                continue
            first, second = (by_subject[[f"{name}_{side}"]].set_axis(["value"], axis=1) for side in ("first", "second"))
            found = paired(second, first, s)
            values = {"first": found.pop("b"), "second": found.pop("a")}
            rows.append(_described(pair, method, target, name, len(by_subject)) | values | found)
        flips = (part["decided_first"] != part["decided_second"]).astype(np.float64)
        for name, each in (("flips", flips), ("alike", part["alike"])):
            of_subject = each.groupby(part["subject"]).mean().dropna()
            if len(of_subject) < 2:
                continue
            zero = pd.DataFrame({"value": np.zeros(len(of_subject))}, index=of_subject.index)
            found = paired(of_subject.to_frame("value"), zero, s)
            level = {"value": found["difference"], "lower": found["lower"], "upper": found["upper"]}
            rows.append(_described(pair, method, target, name, len(of_subject)) | level)
    out = pd.DataFrame(rows)
    out["p_holm"] = np.nan
    tested = out["p"].notna()
    family = out[tested].groupby(["pair", "method", "quantity"])["p"]
    out.loc[tested, "p_holm"] = family.transform(lambda p: holm(p.to_numpy()))
    return out


def _described(pair: str, method: str, target: str, quantity: str, subjects: int) -> dict:
    first, second = PAIRS[pair][:2]
    return {
        "pair": pair,
        "change": f"{first} to {second}",
        "method": method,
        "target": target,
        "quantity": quantity,
        "subjects": subjects,
    }
