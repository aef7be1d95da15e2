"""Mitigations edit a member's values as their formulas say; bad ones are told in one line."""

import jax
import numpy as np
import pandas as pd
import pytest

from frown_jax import config as configs
from frown_jax import schema
from frown_jax.data.annotations import Annotations
from frown_jax.errors import ConfigError, MitigationError
from frown_jax.member import sampling
from frown_jax.member.objective import DISCRIMINATIVE, INDEPENDENT
from frown_jax.mitigations import registry
from frown_jax.training import check
from frown_jax.training.build import member_of, shape_of
from frown_jax.training.grid import expand


def _rafdb():
    """RAF-DB's training images as cells; labels in the classes' proportions."""
    cells = schema.rafdb_cells("train")
    where = np.repeat(np.arange(cells.size), cells.ravel())
    codes = np.unravel_index(where, cells.shape)
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(7), schema.RAFDB_EMOTIONS["train"]))
    attributes = {a: c.astype(np.int32) for a, c in zip(schema.ATTRIBUTES, codes, strict=True)}
    return Annotations(schema.EMOTIONS, labels.astype(np.int32), dict(schema.ATTRIBUTES), attributes)


DATA = _rafdb()


def _build(mitigation, data=DATA, **overrides):
    c = configs.default()
    c.mitigation = mitigation
    c.update_from_flattened_dict(overrides)
    (group,) = expand(c, [{"seeds": (0,)}])
    shape = shape_of(group.specs, data.classes, data.vocabularies)
    return member_of(group.specs[0], data, shape, data)


@pytest.mark.parametrize(
    ("by", "sizes"),
    [
        # facts of the study's code: RAF-DB's groups resampled to the mean, largest and smallest one.
        ("race", {"mean": 12270, "max": 28173, "min": 2904}),
        ("gender", {"mean": 12270, "max": 19686, "min": 2256}),
        ("age", {"mean": 12270, "max": 32655, "min": 1830}),
    ],
)
@pytest.mark.parametrize("how", ["mean", "max", "min"])
def test_equalised_sets_have_the_studys_sizes(by, sizes, how):
    member = _build(f"equalise(by={by!r}, how={how!r})")
    assert int(member.sampling_size) == sizes[how] == len(member.sampling)
    counts = np.bincount(DATA.attributes[by][member.sampling])
    assert len(set(counts)) == 1
    # Larger groups without replacement, smaller ones a bootstrap.
    for g, size in enumerate(np.bincount(DATA.attributes[by])):
        rows = member.sampling[DATA.attributes[by][member.sampling] == g]
        assert (len(set(rows)) == len(rows)) == (size >= counts[0])


def test_the_one_draw_is_pandas_sample_as_in_the_studys_code():
    member = _build("equalise(by='race', how='mean')")
    frame = pd.DataFrame({"row": np.arange(len(DATA)), "race": DATA.attributes["race"]})
    expected = pd.concat(
        [part.sample(n=4090, replace=len(part) < 4090, random_state=42) for _, part in frame.groupby("race", sort=True)]
    )
    np.testing.assert_array_equal(member.sampling, expected["row"])


def test_a_combination_of_attributes_and_the_class():
    member = _build("equalise(by=('gender', 'race', 'emotion'), how='max')")
    groups = DATA.groups(("gender", "race", "emotion"))
    counts = np.bincount(groups.codes[member.sampling], minlength=len(groups.names))
    assert set(counts[groups.sizes > 0]) == {groups.sizes.max()}
    assert counts[groups.sizes == 0].sum() == 0
    dropped = _build("equalise(by='gender', how='min', drop=('Unsure',))")
    assert int(dropped.sampling_size) == 2 * 4957
    assert (DATA.attributes["gender"][dropped.sampling] < 2).all()


def test_a_new_draw_every_epoch_keeps_the_quotas():
    member = jax.tree.map(np.asarray, _build("equalise(by='race', how='mean', redraw=True)"))
    seen = []
    for epoch in range(2):
        rows = np.asarray(sampling.drawn(member.redraw, member.sampling, jax.random.key(epoch)))
        race = DATA.attributes["race"][rows]
        np.testing.assert_array_equal(np.bincount(race), [4090] * 3)
        white = rows[race == 0]
        assert len(set(white)) == len(white)  # 9,391 images: without replacement
        black = rows[race == 1]
        assert 0.9 < len(set(black)) / 968 <= 1  # 968 images drawn 4,090 times: 1 - exp(-4.2) of them
        seen.append(set(white))
    assert seen[0] != seen[1]
    still = jax.tree.map(np.asarray, _build("equalise(by='race')"))
    np.testing.assert_array_equal(sampling.drawn(still.redraw, still.sampling, jax.random.key(0)), still.sampling)


def test_sampling_families():
    balanced = _build("balanced_sampling(by=('emotion', 'race'))")
    groups = DATA.groups(("emotion", "race"))
    rows = np.asarray(sampling.drawn(jax.tree.map(np.asarray, balanced.redraw), balanced.sampling, jax.random.key(0)))
    counts = np.bincount(groups.codes[rows], minlength=21)
    assert counts.max() == counts.min() == len(DATA) // 21
    root = _build("sqrt_sampling(by='race')")
    counts = np.bincount(DATA.attributes["race"][root.sampling])
    expected = np.sqrt([9391, 968, 1912])
    np.testing.assert_allclose(counts / counts.sum(), expected / expected.sum(), atol=1e-3)
    assert int(_build("subg(by='race')").sampling_size) == 3 * 968
    # The updates' confound taken out: as many images an epoch as ERM.
    matched = _build("subg(by='race') + matched_steps()")
    assert int(matched.sampling_size) == len(DATA)
    counts = np.bincount(DATA.attributes["race"][matched.sampling])
    np.testing.assert_allclose(counts / counts.sum(), 1 / 3, atol=0.01)


def test_reweighing_makes_class_and_group_independent():
    member = _build("reweighing(by='race')")
    w, race = member.example_weights, DATA.attributes["race"]
    assert w.sum() == pytest.approx(len(DATA), rel=1e-5)
    joint = np.zeros((3, 7))
    np.add.at(joint, (race, DATA.labels), w)
    np.testing.assert_allclose(joint, np.outer(joint.sum(1), joint.sum(0)) / joint.sum(), rtol=1e-4)
    # By hand, one cell: P(a) P(y) / P(a, y).
    n = ((race == 1) & (DATA.labels == 3)).sum()
    found = w[(race == 1) & (DATA.labels == 3)][0]
    assert found == pytest.approx((968 / 12271) * (4772 / 12271) / (n / 12271), rel=1e-5)


def test_group_weights():
    race = DATA.attributes["race"]
    sizes = np.bincount(race)
    for how, raw in {
        "inverse": 1 / sizes,
        "sqrt": sizes**-0.5,
        "effective": (1 - 0.999) / (1 - 0.999**sizes),
    }.items():
        w = _build(f"group_weights(by='race', how={how!r}, beta=0.999)").example_weights
        assert w.mean() == pytest.approx(1, rel=1e-5)
        first = np.array([w[race == g][0] for g in range(3)])
        np.testing.assert_allclose(first / first[0], raw / raw[0], rtol=1e-4)


def test_affirmative_action_weights_its_cells():
    cell = "Asian x Female x 40-69"
    member = _build(f"affirmative_action(cells=({cell!r},), factor=10)")
    inside = (DATA.attributes["race"] == 2) & (DATA.attributes["gender"] == 1) & (DATA.attributes["age"] == 3)
    assert inside.sum() == 78
    np.testing.assert_array_equal(member.example_weights, np.where(inside, 10, 1))
    two = _build("affirmative_action(by='race', cells=('Asian', 'African-American'), factor=3)")
    np.testing.assert_array_equal(two.example_weights, np.where(DATA.attributes["race"] > 0, 3, 1))


def test_class_weights_of_the_studys_code():
    weights = _build("", **{"loss.class_weights": "repo"}).class_weights
    assert weights.min() == pytest.approx(0.14272, abs=5e-6)
    assert weights.max() == pytest.approx(0.14320, abs=5e-6)


def test_priors_and_margins():
    prior = np.log(np.bincount(DATA.labels) / len(DATA))
    offsets = _build("logit_adjustment(tau=2)").objective.offsets
    np.testing.assert_allclose(offsets, np.tile(2 * prior, (2, 1)), rtol=1e-5)
    member = _build("group_logit_adjustment(by='race')")
    for g in range(3):
        count = np.bincount(DATA.labels[DATA.attributes["race"] == g], minlength=7) + 1
        np.testing.assert_allclose(member.objective.offsets[g], np.log(count / count.sum()), rtol=1e-5)
    np.testing.assert_array_equal(member.groups, DATA.attributes["race"])
    margins = _build("ldam(margin=0.5)").objective.margins
    assert margins.max() == pytest.approx(0.5)
    assert margins[3] == pytest.approx(0.5 * (281 / 4772) ** 0.25, rel=1e-5)


def test_heads_know_their_groups_and_priors():
    member = _build("domain_discriminative(by='race')")
    assert int(member.objective.reader.heads) == DISCRIMINATIVE
    count = np.zeros((3, 7))
    np.add.at(count, (DATA.attributes["race"], DATA.labels), 1)
    np.testing.assert_allclose(member.objective.reader.prior_shift * count, len(DATA) / 21, rtol=1e-5)
    member = _build("domain_independent(by='gender', drop=('Unsure',))")
    assert int(member.objective.reader.heads) == INDEPENDENT
    assert (member.groups == -1).sum() == 752
    np.testing.assert_array_equal(member.objective.group_sizes, [4957, 6562, 0])


def test_mitigations_add_up_and_share_programs_where_they_are_data():
    member = _build("reweighing(by='race') + focal(gamma=1) + invert(p=0.3) + lighting(brightness=0.2, contrast=0.1)")
    assert float(member.objective.focal) == 1
    assert float(member.augmentation.invert) == pytest.approx(0.3)
    assert float(member.augmentation.brightness) == pytest.approx(0.2)
    assert member.example_weights.std() > 0
    c = configs.default()
    c.seeds = (0, 1)
    names = [n for n, m in registry.METHODS.items() if not (m.head or m.apart or m.after or n == "affirmative_action")]
    points = [{"mitigation": n, "method": n} for n in names]
    heads = [
        {"mitigation": "domain_independent(by='race')"},
        {"mitigation": "domain_discriminative(by='race')"},
        {"mitigation": "domain_independent(by='gender')"},
    ]
    assert len(expand(c, points)) == 1
    groups = expand(c, points + heads)
    assert [len(g.specs) for g in groups] == [2 * len(names), 4, 2]


def test_what_follows_training_shares_the_training():
    c = configs.default()
    c.seeds = (0, 1)
    texts = [
        "",
        "dfr()",
        "focal()",
        "focal() + group_offsets()",
        "sam()",
        "group_offsets() + focal()",
        "focal(gamma=1)",
    ]
    groups = expand(c, [{"mitigation": t, "method": t} for t in texts])
    trained = [[(s.method, [o.method for o in s.all]) for s in g.specs if s.seed == 0] for g in groups]
    assert trained == [
        [
            ("", ["", "dfr()"]),
            ("focal()", ["focal()", "focal() + group_offsets()", "group_offsets() + focal()"]),
            ("focal(gamma=1)", ["focal(gamma=1)"]),
        ],
        [("sam()", ["sam()"])],
    ]
    assert sorted(o.member for g in groups for s in g.specs for o in s.all) == list(range(14))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("equalize(by='race')", r"there is no mitigation 'equalize'; did you mean 'equalise'\?"),
        ("xyz()", "there is no mitigation 'xyz': one of affirmative_action, attribute_aware"),
        ("equalise(on='race')", "equalise has no setting 'on': it has by, how, redraw, drop, seed"),
        ("equalise('race')", "is no mitigation: write name"),
        ("equalise(by=", "is no mitigation: write name"),
        ("__import__('os')", "is no mitigation"),
        ("focal(gamma=print)", "gamma must be a number, a text or a tuple"),
        ("domain_independent() + domain_discriminative()", "both bring a head: choose one"),
    ],
)
def test_misspelt_mitigations(text, message):
    c = configs.default()
    c.mitigation = text
    with pytest.raises(ConfigError, match=f"--config.mitigation: .*{message}"):
        check.validate(c)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("equalise(by='skin')", "there is no column 'skin' to group by: one of emotion, race, gender, age"),
        ("equalise(how='most')", "equalise: how is 'most': one of mean, max, min"),
        ("equalise(by='race', drop=('Black',))", "drop names 'Black', which race does not have"),
        ("equalise(by='gender', drop=('Unsure', 'Male'))", "has one group in the training images"),
        ("affirmative_action()", "cells is empty"),
        ("affirmative_action(cells=('Asian',))", "no cell 'Asian': cells are called like 'Caucasian x Male x 0-3'"),
        ("affirmative_action(cells=('Asian x Unsure x 40-69',))", "matches no training image"),
        ("affirmative_action(by='race', cells=('Asian',), factor=0)", "factor is 0: above 0"),
        ("affirmative_action(by='race', cells=('Asian',), factor=-1)", "factor is -1: above 0"),
        ("focal(gamma=-1)", "focal: gamma is -1: at least 0"),
        ("cvar_dro(alpha=2)", "alpha is 2: above 0 and at most 1"),
        ("reweighing(by='emotion')", "name attributes only"),
        ("hsic(by='race') + group_dro(by='gender')", "looks at other groups"),
        ("invert(p='often')", "p is 'often'"),
    ],
)
def test_mitigations_that_do_not_fit_the_data(text, message):
    with pytest.raises(MitigationError, match=message):
        _build(text)


def test_the_worst_cells_of_a_finished_run(tmp_path):
    rows = []
    for shift in (0.0, 0.1):
        for cell, n, value in (("Asian", 50, 0.6), ("African-American", 20, 0.5), ("Caucasian", 90, 0.9)):
            rows.append(("val", "accuracy", "race", cell, n, value + shift))
            rows.append(("test", "accuracy", "race", cell, n, 1 - value))
        rows.append(("val", "accuracy", "race", "Tiny", 3, 0.0))
    table = pd.DataFrame(rows, columns=["split", "metric", "attribute", "group", "n", "value"])
    table.to_csv(tmp_path / "results.csv", index=False)
    text = f"affirmative_action(by='race', cells='worst:{{}}', run={str(tmp_path)!r}, factor=2)"
    one = _build(text.format(1))
    np.testing.assert_array_equal(one.example_weights, np.where(DATA.attributes["race"] == 1, 2, 1))
    two = _build(text.format(2))
    np.testing.assert_array_equal(two.example_weights, np.where(DATA.attributes["race"] > 0, 2, 1))
    for bad, message in (("4", "has 3 cells of race with 10"), ("0", "a whole number from 1"), ("x", "a whole number")):
        with pytest.raises(MitigationError, match=message):
            _build(text.format(bad))
    with pytest.raises(MitigationError, match="needs run=, the directory of a finished run"):
        _build("affirmative_action(cells='worst:1')")


def test_inputs_of_attribute_aware_networks():
    member = _build("attribute_aware(by=('race', 'gender'))")
    reader = member.objective.reader
    groups = DATA.groups(("race", "gender"))
    assert reader.inputs.shape == (9, 6)
    assert (reader.inputs.sum(1) == 2).all()
    asian_female = groups.names.index(("Asian", "Female"))
    np.testing.assert_array_equal(reader.inputs[asian_female], [0, 0, 1, 0, 1, 0])
    np.testing.assert_allclose(reader.shares, groups.sizes / len(DATA), rtol=1e-5)
    codes = _build("attribute_aware(by=('race', 'gender'), encoding='codes')").objective.reader.inputs
    np.testing.assert_array_equal(codes[asian_female], [2, 1, 0, 0, 0, 0])


def test_every_method_documents_itself_and_builds_with_its_defaults():
    extra = {"affirmative_action": "by='race', cells=('Asian',)"}
    for name, method in registry.METHODS.items():
        assert method.function.__doc__, name
        member = _build(f"{name}({extra.get(name, '')})")
        assert np.isfinite(member.example_weights).all()
        assert int(member.sampling_size) > 0
