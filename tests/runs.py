"""Run directories as a run leaves them, of made-up predictions: for tests of the report, and its benchmark."""

import itertools
import json

import numpy as np
import pandas as pd

from frown_jax import schema
from frown_jax.metrics import predictions_table as metrics_read
from frown_jax.metrics import results_table as metrics_table
from frown_jax.metrics.analysis import AnalysisSettings
from frown_jax.metrics.bootstrap import Bootstrap
from frown_jax.report import files
from frown_jax.runs.directory import FORMAT, RunDir

CLASSES = schema.EMOTIONS
UNITS = ("AU1", "AU12")


def predicted(methods, seeds, images=60, seed=0, split="test", called=None):
    """Predictions of members that are right about as often as their number says.

    `called` are other names of classes, attributes and groups.
    """
    classes, known = _names(called)
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 7, images)
    people = {a: np.array(v, object)[rng.integers(0, len(v), images)] for a, v in known.items()}
    parts = []
    for m, method in enumerate(methods):
        for s in range(seeds):
            p = rng.dirichlet(np.ones(7), images)
            right = rng.random(images) < 0.3 + 0.5 * m / len(methods)
            p[right, truth[right]] += 1
            p /= p.sum(1, keepdims=True)
            frame = pd.DataFrame({f"p_{c}": p[:, k].astype(np.float32) for k, c in enumerate(classes)})
            frame = frame.assign(member=m * seeds + s, method=method, seed=s, split=split, **people)
            frame["id"] = [f"i{i}" for i in range(images)]
            frame["emotion"] = np.array(classes, object)[truth]
            frame["prediction"] = np.array(classes, object)[p.argmax(1)]
            parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def _names(called):
    """Classes, and groups of each attribute."""
    called = called or {}
    known = {called.get(a, a): tuple(called.get(g, g) for g in v) for a, v in schema.ATTRIBUTES.items()}
    return tuple(called.get(c, c) for c in CLASSES), known


def finished(
    path,
    methods=("baseline", "other"),
    seeds=2,
    attributes=("gender",),
    without=(),
    images=60,
    crossed=1,
    epochs=2,
    data="toy",
    points=(),
    called=None,
):
    """A finished run of one class an image; `without` files, and with names as they are `called`."""
    run = _begun(path, data, [dict(p) for p in points] or [{"method": m} for m in methods])
    classes, every = _names(called)
    known = {a: every[a] for a in attributes}
    outcomes, tables = [], []
    for split, seed in (("test", 0), ("val", 1)):
        table = predicted(methods, seeds, images, seed, split, called)
        tables.append(table.drop(columns=[a for a in every if a not in attributes]))
        outcomes.append(metrics_read.outcomes(tables[-1], known, classes))
    settings = AnalysisSettings(crossed=crossed, bootstrap=Bootstrap(20))
    everything = pd.concat(tables, ignore_index=True)
    results = metrics_table.results(tables[0], known)
    files.analyse_and_write(run, *outcomes, settings, results=results, split="test")
    run.write_parquet("predictions.parquet", everything)
    run.write_json("data.json", {"name": data, "fingerprint": "0", "classes": classes, "attributes": known})
    lines = [
        {"epoch": e, "member": m, "method": method, "train_loss": 2.0 - e, "val_loss": 2.0 + m, "val_accuracy": 0.5}
        for e in range(epochs)
        for m, method in enumerate(itertools.chain.from_iterable([name] * seeds for name in methods))
    ]
    run.write_text("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines) + '{"epoch": 2, "mem')
    for name in without:
        (path / name).unlink()
    return path


def drawn(path, data="face_sequences", draws=3):
    """A finished run of Action Units over draws of subjects."""
    run = _begun(path, data, [{"method": m} for m in ("female", "male")], {"cohort": {"by": "gender"}})
    rng = np.random.default_rng(0)
    rows = []
    for method, (attribute, group), target in itertools.product(
        ("female", "male"), (("", ""), ("gender", "Male"), ("gender", "Female")), ("", *UNITS)
    ):
        for metric in ("f1", "recall") if target else ("macro_f1", "weighted_f1"):
            mean = rng.uniform(0.3, 0.8)
            row = {"method": method, "metric": metric, "attribute": attribute, "group": group, "target": target}
            rows.append(row | {"n": 20.5, "draws": draws, "mean": mean, "lower": mean - 0.1, "upper": mean + 0.1})
    run.write_csv("draws.csv", pd.DataFrame(rows))
    run.write_csv(
        "contrasts.csv",
        pd.DataFrame(
            {
                "method": "male",
                "control": "female",
                "metric": ["macro_f1", "macro_f1"],
                "attribute": ["gender", "gender"],
                "group": ["Male", "Female"],
                "draws": draws,
                "difference": [0.1, -0.2],
                "lower": [-0.1, -0.3],
                "upper": [0.3, -0.1],
                "p": [0.3, 0.01],
                "p_holm": [0.3, 0.02],
            }
        ),
    )
    attributes = {"gender": schema.GENDERS}
    described = {"name": data, "fingerprint": "0", "classes": UNITS, "attributes": attributes, "multilabel": True}
    run.write_json("data.json", described)
    return path


def _begun(path, data, points, settings=None):
    path.mkdir()
    run = RunDir(path)
    config = {"epochs": 2, "data": {"name": data}, "mitigation": "", **(settings or {})}
    run.write_json("config.json", {"format": FORMAT, "config": config, "points": points, "overrides": {}})
    run.write_json("versions.json", {"device": "<b>none</b>"})
    run.write_json("timing.json", {"training_seconds": 1.5})
    return run
