"""Every setting of every mitigation is live: another value gives another member, and another prediction."""

import jax
import numpy as np
import pandas as pd
import pytest

from frown_jax import config as configs
from frown_jax import schema
from frown_jax.data.annotations import Annotations
from frown_jax.data.dataset import Dataset, attribute_vocabularies
from frown_jax.jobs.job import ProgramTrainer
from frown_jax.mitigations import registry
from frown_jax.runs.directory import RunDir
from frown_jax.training.build import member_of
from frown_jax.training.grid import expand
from frown_jax.training.step import Shape

BOTH = ("emotion", "race")
DROP = {"drop": ("Asian",)}
WEIGHT = {"weight": 3.0, **DROP}
STRENGTH = {"strength": 3.0, **DROP}

# Of each method: settings that go with its defaults, and another value for each of its settings but `by`.
# A pair (settings, value) gives other company to one of them.
KNOBS = {
    "dfr": ({"c": 1.0}, {"c": 0.05, "refits": 2, "fewest": 3, "seed": 1, **DROP}),
    "crt": ({"by": "race"}, {"decay": 0.5, **DROP}),
    "posthoc_logit_adjustment": ({"by": "race"}, {"tau": 3.0, **DROP}),
    "group_offsets": ({}, {"objective": "opportunity", **DROP}),
    "invert_test": ({}, {"p": 0.9}),
    "sam": ({}, {"radius": 0.5}),
    "swa": ({"start": 0.2}, {"start": 0.6, "rate": 0.1}),
    "swad": ({"converge": 1, "tolerance": 1, "ratio": 0.0}, {"converge": 4, "tolerance": 5, "ratio": 5.0}),
    "jtt": ({"first": 0.4}, {"first": 0.8, "factor": 2.0}),
    "group_dro": ({"rate": 0.5}, {"rate": 0.1, "adjustment": 4.0, **DROP}),
    "cvar_dro": ({}, {"alpha": 0.6}),
    "demographic_parity_gap": ({}, WEIGHT),
    "equal_opportunity_gap": ({}, WEIGHT),
    "equalized_odds_gap": ({}, WEIGHT),
    "hsic": ({}, WEIGHT),
    "mmd": ({}, WEIGHT),
    "mindiff": ({}, WEIGHT),
    "coral": ({}, WEIGHT),
    "domain_independent": ({}, {"inference": "known", **DROP}),
    "domain_discriminative": ({}, {"inference": "max", "prior_shift": False, **DROP}),
    "uniform_confusion": ({}, STRENGTH),
    "disentangled": ({}, STRENGTH),
    "dann": ({}, {"conditional": True, **STRENGTH}),
    "laftr": ({}, {"conditional": False, **STRENGTH}),
    "attribute_aware": ({}, {"encoding": "codes", **DROP}),
    "mixup": ({}, {"alpha": 1.0}),
    "lisa": ({}, {"alpha": 0.5, "same_label": 1.0, **DROP}),
    "invert": ({}, {"p": 1.0, "how": "normalised"}),
    "lighting": ({}, {"brightness": 0.1, "contrast": 0.1}),
    "equalise": ({}, {"how": "max", "redraw": True, "seed": 1, **DROP}),
    "balanced_sampling": ({}, DROP),
    "sqrt_sampling": ({}, DROP),
    "subg": ({"by": "race"}, {"redraw": False, **DROP}),
    "matched_steps": ({}, {}),
    "focal": ({}, {"gamma": 1.0}),
    "ldam": ({}, {"margin": 2.0, "scale": 3.0}),
    "logit_adjustment": ({}, {"tau": 3.0}),
    "group_logit_adjustment": ({}, {"tau": 3.0, **DROP}),
    "reweighing": ({}, DROP),
    "group_weights": ({}, {"how": "sqrt", "beta": ({"how": "effective"}, 0.5), **DROP}),
    "affirmative_action": (
        {"by": "race", "cells": ("Asian",)},
        {"factor": 2.0, "cells": ("Caucasian",)},
    ),
}
# Reads a finished run: test_mitigations. A bound that need not bind: test_after.
ELSEWHERE = {"affirmative_action": {"run"}, "group_offsets": {"most_loss"}}


def _data():
    """Images whose label is their brightness, faintly; 160 of training and 128 of validation."""
    rng = np.random.default_rng(0)
    n = 320
    label = rng.choice(7, n, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.1, 0.05])
    images = np.clip(20 * label[:, None, None, None] + rng.integers(0, 90, (n, 32, 32, 3)), 0, 255).astype(np.uint8)
    table = pd.DataFrame(
        {
            "id": [f"i{i}" for i in range(n)],
            "split": ["train"] * 160 + ["val"] * 128 + ["test"] * 32,
            "emotion": np.array(schema.EMOTIONS)[label],
            **{a: np.array(v)[rng.integers(0, len(v), n)] for a, v in schema.ATTRIBUTES.items()},
        }
    )
    return Dataset("knobs", table, images, schema.EMOTIONS, attribute_vocabularies(table), "0")


def _text(name, settings):
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in settings.items())})"


def _pairs():
    """(method, setting, text before, text after)."""
    out = []
    for name, (company, others) in KNOBS.items():
        for setting, value in others.items():
            own, new = (value[0], value[1]) if isinstance(value, tuple) and isinstance(value[0], dict) else ({}, value)
            before = company | own
            out.append((name, setting, _text(name, before), _text(name, before | {setting: new})))
    return out


def test_every_setting_is_tried():
    assert set(KNOBS) == set(registry.METHODS)
    for name, (_, others) in KNOBS.items():
        declared = set(registry.METHODS[name].parameters) - {"by"} - ELSEWHERE.get(name, set())
        assert declared == set(others), name


@pytest.mark.parametrize("name", [n for n, m in registry.METHODS.items() if "by" in m.parameters and not m.after])
def test_groups_change_the_member(name):
    data = Annotations.of(_data().split("train"))
    company = dict(KNOBS[name][0])
    if name == "affirmative_action":
        texts = [_text(name, {"by": "race", "cells": ("Asian",)}), _text(name, {"by": "gender", "cells": ("Male",)})]
    else:
        texts = [_text(name, company | {"by": by}) for by in ("race", "gender")]
    c = configs.default()
    built = []
    for text in texts:
        c.mitigation = text
        (group,) = expand(c, [{"seeds": (0,)}])
        built.append(member_of(group.specs[0], data, Shape(7, 3, 3), data))
    leaves = [jax.tree.leaves(m) for m in built]
    assert any(np.shape(a) != np.shape(b) or (np.asarray(a) != b).any() for a, b in zip(*leaves, strict=True))


@pytest.mark.slow
def test_every_setting_changes_predictions(tmp_path):
    c = configs.default()
    configs.smoke(c)
    c.model.width, c.epochs, c.batch_size, c.seeds = 4, 5, 32, (0,)
    c.optimiser.learning_rate = 1e-2
    c.loss.class_weights = "none"
    data = _data()
    texts = list(dict.fromkeys(t for _, _, *both in _pairs() for t in both))
    points = [{"method": t, "mitigation": t} for t in texts]
    run = RunDir.create(tmp_path / "run", c, points, {})
    found = {}
    groups = expand(c, points)
    assert len(groups) == len({registry.signature(t) for t in texts})
    for index, group in enumerate(groups):
        trainer = ProgramTrainer(index, group, run, data)
        predictions = trainer.predict(trainer.train(), data, ("test",))
        assert trainer.engine.train._cache_size() == 1  # one compilation, whoever stops when
        for method, part in predictions.groupby("method"):
            found[method] = part.filter(like="p_").to_numpy()
    dead = [f"{a} -> {b}" for _, _, a, b in _pairs() if np.abs(found[a] - found[b]).max() < 1e-5]
    assert not dead
