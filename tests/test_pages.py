"""Every kind of page takes every name as text: judged by a parser, not by looking for signs."""

import json
import re
import types

import jinja2
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from frown_jax.data.dataset import Dataset, attribute_vocabularies
from frown_jax.explain import contrasts, measure, pictures, regions
from frown_jax.explain import run as explaining
from frown_jax.explain.attribution import Method
from frown_jax.explore.run import explore
from frown_jax.report import page
from frown_jax.report.folder import Folder
from tests.conftest import toy
from tests.pages import HOSTILE, parsed

TITLE = "</title><script>alert(0)</script>"


def test_a_parser_reads_back_what_was_written():
    frame = pd.DataFrame({name: [name, f"{name} {name}"] for name in HOSTILE})
    frame["x"] = [1.23456, np.nan]
    parts = {name: [page.Paragraph(name), page.table(frame, 1), page.Picture("data:image/png;base64,AA==", name)]
             for name in HOSTILE}  # fmt: skip
    found = parsed(page.render(TITLE, page.numbered(parts)))
    assert [text for _, text in found.of("h1")] == [text for _, text in found.of("title")] == [TITLE]
    for tag in ("h2", "figcaption"):
        assert [text for _, text in found.of(tag)] == list(HOSTILE)
    assert [attributes["alt"] for attributes, _ in found.of("img")] == list(HOSTILE)
    assert [text for _, text in found.of("a")] == ["Skip to the content", *HOSTILE]
    assert [text for _, text in found.of("th")] == [*HOSTILE, "x"] * len(HOSTILE)
    assert [text for _, text in found.of("td")] == [*HOSTILE, "1.23"] * len(HOSTILE)
    assert [text for _, text in found.of("p")] == [t for n in HOSTILE for t in (n, "1 more rows in the CSV file.")]
    assert [cell.text for cell in page.table(frame).rows[1]] == [*(f"{name} {name}" for name in HOSTILE), ""]


@pytest.mark.parametrize("still", ["", "data:image/svg+xml;base64,AA=="])
def test_a_chart_keeps_its_texts_and_its_order(still):
    columns = {name: {"of": list(HOSTILE), "at": [0, 1]} for name in reversed(HOSTILE)} | {"x": [0.5, None]}
    choices = {"signals": {name: f"chosen_{name}" for name in HOSTILE}, "beside": True}
    figures = [page.ChartFigure(name, name, choices, {"title": name}, columns, still) for name in HOSTILE]
    found = parsed(page.render(TITLE, page.numbered({"charts": figures})))
    read = [attributes for attributes, _ in found.of("figure")]
    assert [attributes["id"] for attributes in read] == list(HOSTILE)
    assert all(json.loads(attributes["data-choices"]) == choices for attributes in read)
    specs, data = ([t for a, t in found.of("script") if a.get("class") == name] for name in ("spec", "data"))
    assert [json.loads(text)["title"] for text in specs] == list(HOSTILE)
    assert all(list(json.loads(text).items()) == list(columns.items()) for text in data)
    assert len(found.of("img")) == (len(HOSTILE) if still else 0)
    assert ["Its numbers are in <!--<script>.csv."] * (not still) == [t for _, t in found.of("p") if "<!--" in t]
    with pytest.raises(ValueError, match="JSON compliant"):
        page.render("t", page.numbered({"s": [page.ChartFigure("n", "c", {}, {"x": np.nan}, {})]}))


def test_one_template_alone_leaves_anything_unescaped():
    loader = jinja2.PackageLoader("frown_jax.report")
    sources = {name: loader.get_source(jinja2.Environment(), name)[0] for name in loader.list_templates()}
    assert {"base.html", "page.html", "parts.html", "raw.html"} <= set(sources)
    for name, source in sources.items():
        unescaped = re.findall(
            r"\|\s*safe\b|\bautoescape\b|\|\s*tojson\b(?!\s*\|\s*forceescape)|<script|<style", source
        )
        assert not unescaped or name == "raw.html", (name, unescaped)


def _data():
    """Twelve images of two classes and of people whose attribute and groups have hostile names."""
    data = toy().take(np.arange(12))
    table = pd.DataFrame({"id": data.table["id"], "split": "test", "emotion": np.tile([HOSTILE[4], HOSTILE[8]], 6)})
    table['<i title="x">'] = np.repeat(HOSTILE[1:3], 6)
    return Dataset(
        "toy", table, data.images, (HOSTILE[4], HOSTILE[8]), attribute_vocabularies(table), "0", notes=HOSTILE[5:]
    )


def test_an_exploration_takes_names_as_text(tmp_path):
    data = _data()
    found = parsed(explore(data, Folder(tmp_path, TITLE), 4, 20, 0).read_text())
    assert [text for _, text in found.of("p")][: len(data.notes)] == list(data.notes)
    assert {*data.classes, *data.attributes, *HOSTILE[1:3]} <= {text for _, text in found.of("td")}
    captions = [text for _, text in found.of("figcaption")]
    assert captions == [attributes["alt"] for attributes, _ in found.of("img")]
    assert '<i title="x"> within each emotion' in captions


def _measured(data, specs):
    """What measure.measure gives, with numbers out of nowhere: every image of class k is a true positive."""
    rng = np.random.default_rng(0)
    rows = [
        {"member": spec.member, "method": spec.method, "seed": spec.seed, "image": image, "target": target,
         "outcome": measure.TP if data.labels[image] == k else measure.TN}
        for spec in specs for image in range(len(data)) for k, target in enumerate(data.classes)
    ]  # fmt: skip
    numbers = ("probability", "logit", "mass", "normalised", "rank", "hit", "conserved", "background_normalised")
    table = pd.DataFrame(rows).assign(**{name: rng.random(len(rows)) for name in (*numbers, *regions.PARTS)})
    names = list(dict.fromkeys(spec.method for spec in specs))
    mass = rng.random((len(names), len(data.classes), len(data.classes) + len(regions.PARTS)))
    return table, mass, measure.MeanMaps(names, len(data.classes), measure.blocks(data))


def test_an_explanation_takes_names_as_text(tmp_path, monkeypatch):
    """Networks, their maps and what is measured of them are made up; what is written of them is real."""
    data, names = _data(), (HOSTILE[1], HOSTILE[2])
    specs = [types.SimpleNamespace(member=m, method=name, seed=0) for m, name in enumerate(names)]
    networks = types.SimpleNamespace(specs=specs, notes=(HOSTILE[3],))
    monkeypatch.setattr(measure, "measure", lambda *a, **k: _measured(data, specs))
    monkeypatch.setattr(pictures, "maps_of", lambda *a: [])
    monkeypatch.setattr(pictures, "gallery", lambda *a: Figure((1, 1)))
    monkeypatch.setattr(explaining, "Explainer", lambda *a, **k: None)
    everywhere = np.full((len(data), len(data.classes) + len(regions.PARTS), 1250), 255, np.uint8)
    found = regions.Regions(data.classes, everywhere, np.tile(regions.ALIGNED.astype(np.float32), (len(data), 1, 1)))
    method = Method.of("EpsilonPlus", "")
    options = explaining.Options(method, (), 0, 2, 0, (), "bwr", "", contrasts.ContrastSettings(20, 20))
    config = types.SimpleNamespace(name=HOSTILE[6])
    page = parsed(explaining.explain([networks], data, config, pd.DataFrame(), found, tmp_path, options).read_text())
    assert page.of("h1") == [({}, f"Explanations of {names[0]}, {names[1]}")]
    paragraphs = [text for _, text in page.of("p")]
    assert f"Note: {HOSTILE[3]}." in paragraphs and any(f"Not of {HOSTILE[6]}:" in text for text in paragraphs)
    assert {*data.classes, *names, *HOSTILE[1:3]} <= {text for _, text in page.of("td")}
    captions = [attributes["alt"] for attributes, _ in page.of("img")]
    assert all(any(caption.startswith(f"{name}: ") for caption in captions) for name in names)
    assert 'Relevance in its region, by <i title="x">' in captions
