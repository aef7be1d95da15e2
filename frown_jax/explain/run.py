"""Everything that is asked of one run: maps measured, groups compared, twins, checks, pictures; into one folder."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import pandas as pd
from absl import logging
from ml_collections import ConfigDict

from frown_jax.data.dataset import Dataset
from frown_jax.data.faces_source import FacesSource
from frown_jax.data.load import source_of
from frown_jax.errors import ConfigError
from frown_jax.explain import (
    checks,
    contrasts,
    measure,
    pictures,
    regions,
    twins,
)
from frown_jax.explain.attribution import Method
from frown_jax.explain.explainer import ALIGNED_SIDE, Explainer
from frown_jax.explain.measure import MeanMaps, Shown
from frown_jax.explain.networks import Networks
from frown_jax.faces.face import Face
from frown_jax.report.folder import Folder


@dataclasses.dataclass(frozen=True)
class Options:
    """What to do.

    Attributes:
      method: of the maps.
      stability: further methods that differences between groups must survive.
      images: explained at most; 0: all.
      twins: photographs whose twins are rendered; 0: none.
      checked: images of the checks; 0: no checks.
      attributes: to compare; (): all of the data set.
      colours: of signed maps, see pictures.COLOURS.
      target: class that is shown; '' is the one with the most true positives.
      statistics: of intervals and tests.
    """

    method: Method
    stability: tuple[Method, ...]
    images: int
    twins: int
    checked: int
    attributes: tuple[str, ...]
    colours: str
    target: str
    statistics: contrasts.ContrastSettings


def _with_columns(table: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """The subject (or image) and the attributes of each row."""
    place = table["image"].to_numpy()
    column = "subject" if "subject" in data.table else "id"
    added = {"subject": data.table[column].to_numpy(object)[place], "id": data.table["id"].to_numpy(object)[place]}
    added |= {a: data.table[a].to_numpy(object)[place] for a in data.attributes}
    return table.assign(**added)


def _specificity(mass: np.ndarray, methods: Sequence[str], shown: Shown) -> pd.DataFrame:
    """Long form of mass [methods, K, R] of true positives, with what a uniform map has."""
    every = np.arange(len(shown.data))
    area = np.mean(
        [shown.regions.masks(part).mean((0, 2, 3)) for part in np.array_split(every, max(1, len(every) // 256))], 0
    )
    rows = [
        {
            "method": m,
            "target": t,
            "region": r,
            "mass": mass[i, k, j],
            "normalised": mass[i, k, j] / area[j] if area[j] else np.nan,
        }
        for i, m in enumerate(methods)
        for k, t in enumerate(shown.data.classes)
        for j, r in enumerate(shown.regions.names)
    ]
    return pd.DataFrame(rows)


def _mean_face(shown: Shown) -> np.ndarray:
    """Mean grey image in the aligned frame, [S, S] in 0 to 1."""
    rows = np.linspace(0, len(shown.data) - 1, min(64, len(shown.data))).astype(int)
    grey = shown.data.images[rows].astype(np.float32).mean(-1) / 255
    turned = jnp.asarray(regions.alignment(shown.regions.points[rows]))
    return np.asarray(regions.aligned(jnp.asarray(grey[None]), turned, 3 * ALIGNED_SIDE))[0].mean(0)


def _faces(config: ConfigDict, data: Dataset) -> list[Face] | None:
    """Parameters of the images, if they are embedded faces."""
    if config.name not in ("faces", "face_sequences"):
        return None
    source = source_of(config)
    assert isinstance(source, FacesSource)
    place = {name: i for i, name in enumerate(source.table["id"])}
    return [source.faces[place[i]] for i in data.table["id"]]


def _compare_groups(
    report: Folder, tables: dict[str, pd.DataFrame], shown: Shown, o: Options, names: Sequence[str]
) -> None:
    section = "Groups"
    attributes = {a: tuple(g for g in shown.data.attributes[a] if (shown.data.table[a] == g).any()) for a in names}
    attributes = {a: g for a, g in attributes.items() if len(g) > 1}
    if not attributes:
        report.say(section, "No attribute with two groups: nothing to compare.")
        return
    first = next(iter(tables.values()))
    measures = ("normalised", "rank", "background_normalised")
    logging.info("comparing groups and training sets")
    levels = contrasts.levels(first, attributes, measures, o.statistics)
    report.csv("levels", levels)
    report.show(section, levels[levels["measure"] == "normalised"] if len(levels) else levels)
    found = contrasts.contrasts(tables, attributes, measures, o.statistics)
    if found.empty:
        report.say(section, "No class has true positives of two subjects in two groups: nothing to compare.")
        return
    report.say(
        section,
        "Contrasts of relevance inside the unit's region, within true positives; intervals and tests over subjects, "
        "Holm over classes. Kind 'groups': a model on two groups (group minus other). Kind 'training': two models on "
        "one group (method minus other). 'unstable': significant, but the sign changes with the composite or the seed.",
    )
    shown_first = found[found["measure"] == "normalised"].sort_values("p_holm", kind="stable")
    rest = found[found["measure"] != "normalised"]
    report.table(
        section,
        "contrasts",
        pd.concat([shown_first, rest], ignore_index=True),
        ["kind", "method", "attribute", "group", "other", "target", "measure", "subjects", "other_subjects", "a", "b",
         "difference", "lower", "upper", "p_holm", "composites_agree", "members_agree", "reading"],
    )  # fmt: skip
    for attribute, names_ in attributes.items():
        report.picture(
            section,
            f"groups-{attribute}",
            pictures.bars(levels, attribute, names_),
            f"Relevance in its region, by {attribute}",
        )


def _draw(
    report: Folder,
    every: Sequence[Networks],
    table: pd.DataFrame,
    shown: Shown,
    maps: MeanMaps,
    o: Options,
    names: Sequence[str],
) -> None:
    target = o.target or pictures.likely_target(table)
    if not target:
        report.say("Gallery", "There is no true positive to show.")
        return
    explainers = [Explainer(n, o.method, 1, 1, keep_maps=True) for n in every]
    by = names[0] if names else ""
    drawn = table if by else table.assign(everybody="everybody")
    for method in dict.fromkeys(table["method"]):
        cases = pictures.choose(drawn, by or "everybody", method, target)
        if not cases:
            continue
        found = pictures.maps_of(explainers, shown, cases)
        figure = pictures.gallery(shown, cases, found, f"{target}, {method}, {o.method.name}", o.colours)
        report.picture("Gallery", f"gallery-{method}", figure, f"{method}: {target}, chosen by rule in each group")
    block = measure.blocks(shown.data)
    for attribute in names:
        code = shown.data.groups(attribute)
        groups_ = shown.data.attributes[attribute]
        present = [k for k in range(len(groups_)) if (code == k).any()]
        if len(present) < 2:
            continue
        inside = {
            shown.data.attributes[attribute][k]: np.isin(np.arange(len(maps.sums[0])), block[code == k])
            for k in present[:2]
        }
        figure = pictures.mean_figure(
            maps, _mean_face(shown), inside, shown.data.classes.index(target), target, o.colours
        )
        report.picture(
            "Mean maps", f"mean-{attribute}", figure, f"Mean maps of {target} by {attribute}, and their difference"
        )


def explain(
    every: Sequence[Networks],
    data: Dataset,
    config,
    predictions: pd.DataFrame,
    found: regions.Regions,
    folder: pathlib.Path,
    o: Options,
) -> pathlib.Path:
    """Explains the images of `data` with every member.

    Args:
      every: the run's networks.
      data: images.
      config: the data section that they come from.
      predictions: of them.
      found: their regions.
      folder: of the results.
      o: what to do.

    Returns:
      The page.
    """
    shown = Shown(data, found, predictions)
    report = Folder(folder, f"Explanations of {', '.join(dict.fromkeys(s.method for n in every for s in n.specs))}")
    names = [a for a in (o.attributes or tuple(data.attributes)) if a in data.attributes]
    if o.target and o.target not in data.classes:
        raise ConfigError(f"--target={o.target}: the run predicts {', '.join(data.classes)}")
    unknown = [a for a in o.attributes if a not in data.attributes]
    if unknown:
        raise ConfigError(f"--attributes names {', '.join(unknown)}; the data has {', '.join(data.attributes)}")
    for note in dict.fromkeys(note for n in every for note in n.notes):
        report.say("What was explained", f"Note: {note}.")
    tables, maps, mass = {}, None, np.zeros(0)
    for i, method in enumerate((o.method, *o.stability)):
        table, own_mass, own_maps = measure.measure(every, shown, method, mean_maps=i == 0)
        tables[method.name] = _with_columns(table, data)
        if i == 0:
            maps, mass = own_maps, own_mass
    first = tables[o.method.name]
    report.run.write_parquet("measures.parquet", first)
    _describe(report, first, shown, o)
    methods = list(dict.fromkeys(s.method for n in every for s in n.specs))
    specific = _specificity(mass, methods, shown)
    report.csv("specificity", specific)
    _compare_groups(report, tables, shown, o, names)
    assert maps is not None
    _draw(report, every, first, shown, maps, o, names)
    report.picture(
        "Specificity", "specificity", pictures.matrix(specific, data.classes), "Maps against every unit's region"
    )
    faces = _faces(config, data) if o.twins else None
    if faces is not None:
        _twins(report, every, shown, faces, o)
    elif o.twins:
        report.say("Counterfactual twins", f"Not of {config.name}: only embedded faces can be rendered again.")
    if o.checked:
        _check(report, every, shown, o)
    return report.finish()


def _describe(report: Folder, table: pd.DataFrame, shown: Shown, o: Options) -> None:
    section = "What was explained"
    right = table[table["outcome"] == measure.TP]
    report.say(
        section,
        f"{len(shown.data):,} images, {table['member'].nunique()} members, maps by {o.method.name}; every map begins "
        f"with 1 at the logit of its class. {len(right):,} true positives. Relevance at the pixels sums to "
        f"{table['conserved'].median():.3f} (median; {table['conserved'].quantile(0.05):.3f} to "
        f"{table['conserved'].quantile(0.95):.3f} for nine of ten maps): biases absorb what is missing from 1, and "
        "where branches cancel more arrives.",
    )
    columns = ["mass", "normalised", "rank", "hit", "face", "forehead", "hair", "background", "conserved"]
    means = right.groupby(["method", "target"], sort=False)[columns].mean()
    means.insert(0, "n", right.groupby(["method", "target"], sort=False).size())
    report.table(section, "classes", means.reset_index())


def _twins(report: Folder, every: Sequence[Networks], shown: Shown, faces: list[Face], o: Options) -> None:
    section = "Counterfactual twins"
    rows = measure.sample(shown.data.table, o.twins, o.statistics.seed)
    part = Shown(
        shown.data.take(rows),
        dataclasses.replace(shown.regions, packed=shown.regions.packed[rows], points=shown.regions.points[rows]),
        shown.predictions,
    )
    table = twins.compare(every, part, [faces[i] for i in rows], o.method)
    report.run.write_parquet("twins.parquet", table)
    report.say(
        section,
        f"The same {len(rows)} photographs with another skin tone ({twins.LIGHT_TONE} and {twins.DARK_TONE} melanin), "
        "another gender (0 and 1), and with other sensor noise only; second minus first, means over subjects with "
        "intervals.",
    )
    found = twins.summary(table, o.statistics)
    main = found[found["quantity"].isin(["logit", "normalised", "flips", "alike"])]
    report.csv("twins-all", found)
    report.table(section, "twins", main.reset_index(drop=True))


def _check(report: Folder, every: Sequence[Networks], shown: Shown, o: Options) -> None:
    section = "Can the maps be trusted?"
    without = checks.left_out(every)
    if without:
        report.say(section, f"Not checked, because they have a head for each group: {', '.join(without)}.")
    if len(without) == len({s.method for n in every for s in n.specs}):
        return
    logging.info("checks of one member of each method: perturbation, noise, randomisation")
    faithful = checks.faithful(every, shown, o.method, o.checked, o.statistics)
    report.table(section, "faithfulness", faithful)
    stages, alike = checks.sane(every, shown, o.method, min(o.checked, 16))
    report.table(section, "randomisation", stages)
    report.csv("classes-alike", alike)
    other = alike[alike["target"] != alike["other"]]
    report.say(
        section,
        f"Maps of two classes of one image have a mean |cosine| of {other['cosine'].abs().mean():.2f}. Rules that keep "
        "positive contributions only make maps of all classes alike; Binder et al. (2023) warn that randomisation from "
        "the last layer on keeps the scale of activations, so that maps change in part only: it ranks no methods.",
    )
