import dataclasses

import jax
import numpy as np
import pytest

from frown_jax import schema
from frown_jax.faces import action_units, joint, people, recipe, regions
from frown_jax.faces.render import render, render_many


def _faces(count, seed=0):
    out = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        person = people.subject(rng, schema.RACES[i % 3], schema.GENDERS[i % 2], float(rng.uniform(5, 80)))
        shown = people.expression(rng, person, schema.EMOTIONS[i % 7])
        out.append(person.face.replace(expression=shown, scene=people.scene(rng, person)))
    return out


def _studio(race="Asian", gender="Female", age=30.0, seed=1):
    person = people.subject(np.random.default_rng(seed), race, gender, age)
    return person.face.replace(scene=people.studio(), hair=person.face.hair.replace(bangs=np.float32(0)))


def test_same_parameters_same_bytes_alone_and_in_any_batch():
    faces = _faces(5)
    first = render_many(faces)
    assert first.dtype == np.uint8
    assert first.shape == (5, 100, 100, 3)
    np.testing.assert_array_equal(first, render_many(faces[::-1])[::-1])
    np.testing.assert_array_equal(first, render_many(_faces(5)))
    assert first.std() > 20
    assert len({image.tobytes() for image in first}) == 5
    alone = np.asarray(render(faces[2]))  # another batch size is another program
    assert np.abs(alone.astype(int) - first[2]).max() <= 1


def test_a_twin_differs_in_skin_only():
    face = _studio()
    dark, light = (np.asarray(render(people.twin(face, skin_tone=t))).astype(int) for t in (0.9, 0.05))
    changed = np.abs(dark - light).max(-1) > 2
    assert changed[40:60, 40:60].mean() > 0.95
    assert not changed[:12, :12].any()  # background
    assert dark[55:65, 30:40].mean() < light[55:65, 30:40].mean() - 40
    same = people.twin(face, skin_tone=float(face.skin_tone))
    np.testing.assert_array_equal(render(same), render(face))


def test_a_gender_twin_keeps_the_person():
    face = _studio(gender="Male")
    other = people.twin(face, gender=0.0)
    assert float(other.gender) == 0
    assert float(other.features.beard) == float(other.features.stubble) == 0
    for name in ("identity", "race", "age", "skin_tone"):
        np.testing.assert_array_equal(getattr(other, name), getattr(face, name))
    jax.tree.map(np.testing.assert_array_equal, other.expression, face.expression)
    with pytest.raises(ValueError, match="from 0 to 1"):
        people.twin(face, gender=2.0)


def test_au_regions_lie_where_the_muscles_act():
    face = _studio()
    aus = (1, 5, 9, 12, 26, 43)
    masks = dict(zip(aus, regions.au_regions(face, aus), strict=True))

    def centre(mask):
        rows, columns = np.nonzero(mask)
        return rows.mean(), columns.mean()

    eyes = 44  # row of the eyes in the aligned view
    assert centre(masks[1])[0] < eyes
    assert abs(centre(masks[5])[0] - eyes) < 6
    assert abs(centre(masks[43])[0] - eyes) < 6
    assert eyes < centre(masks[9])[0] + 8 < 70
    assert centre(masks[12])[0] > 60
    assert centre(masks[26])[0] > centre(masks[12])[0]
    for mask in masks.values():
        assert abs(centre(mask)[1] - 50) < 5  # symmetric
        assert 0.005 < mask.mean() < 0.2
    # Geometry only: skin tone and the AU's own activity do not matter.
    active = face.replace(expression=face.expression.replace(au=action_units.vector({12: 0.8})))
    for other in (people.twin(face, skin_tone=0.9), active):
        np.testing.assert_array_equal(regions.au_regions(other, (12,))[0], masks[12])


def test_an_au_changes_the_image_inside_its_region():
    face = _studio()
    off = np.asarray(render(face)).astype(float)
    for au in (4, 12, 26):
        on = np.asarray(render(face.replace(expression=face.expression.replace(au=action_units.vector({au: 1.0})))))
        difference = np.abs(on - off).sum(-1)
        inside = difference[regions.au_regions(face, (au,))[0]].mean()
        assert inside > 3 * difference.mean()


def test_unknown_demographics_are_refused():
    with pytest.raises(ValueError, match="Caucasian, African-American, Asian"):
        people.subject(np.random.default_rng(0), "Martian", "Male", 30)
    with pytest.raises(ValueError, match="AU 3 is not modelled"):
        action_units.vector({3: 1.0})


def test_rafdb_joint_has_the_published_margins_and_association():
    for split, total in (("train", 12271), ("test", 3068)):
        p = joint.rafdb(split)
        np.testing.assert_allclose(p.sum(0) * total, schema.rafdb_cells(split), atol=1e-6)
        np.testing.assert_allclose(p.sum((1, 2, 3)) * total, schema.RAFDB_EMOTIONS[split], atol=1e-6)
    # Anger is a male-heavy class in Xu et al.'s table (119 to 45), and stays one.
    anger = joint.rafdb("test")[schema.EMOTIONS.index("Anger")].sum((0, 2))
    assert 2 < anger[0] / anger[1] < 3.5


def test_drawn_cells_are_rafdbs():
    cells = joint.draw(joint.rafdb("train"), 12271, np.random.default_rng(3))
    counts = np.zeros(joint.SHAPE[1:], int)
    np.add.at(counts, tuple(cells[:, 1:].T), 1)
    np.testing.assert_array_equal(counts, schema.rafdb_cells("train"))
    full = np.zeros(joint.SHAPE, int)
    np.add.at(full, tuple(cells.T), 1)
    assert np.abs(full - joint.rafdb("train") * 12271).max() < 1 + 1e-6


@pytest.fixture(scope="module")
def drawn():
    return recipe.generate(recipe.Recipe(train=300, test=120))


def test_table_is_deterministic_and_subjects_stay_in_one_split(drawn):
    table, faces = drawn
    again, _ = recipe.generate(recipe.Recipe(train=300, test=120))
    assert table.equals(again)
    assert len(faces) == len(table) == 420
    assert (table.groupby("subject")["split"].nunique() == 1).all()
    assert table.groupby("subject")["id"].count().max() == 3
    for attribute in ("race", "gender", "age"):
        assert (table.groupby("subject")[attribute].nunique() == 1).all()
    low, high = people.AGE_RANGES["4-19"]
    assert table[table["age"] == "4-19"]["age_years"].between(low - 0.05, high + 0.05).all()


def test_au_labels_are_the_rendered_intensities(drawn):
    table, faces = drawn
    for i in (0, 100, 419):
        truth = faces[i].expression.au >= action_units.PRESENT_FROM
        assert table.loc[i, [f"AU{a}" for a in action_units.AUS]].astype(bool).tolist() == truth.tolist()
    strong = table[table["emotion"] == "Happiness"]
    assert strong["AU12"].mean() > 0.95
    assert table[table["emotion"] == "Neutral"][[f"AU{a}" for a in action_units.AUS]].to_numpy().mean() == 0


def test_planted_biases_do_what_they_say():
    base = recipe.Recipe(train=1200, test=600, joint="balanced")

    def drawn(**fields):
        return recipe.generate(dataclasses.replace(base, **fields))[0]

    absent = drawn(reweight=("race=Asian:0", "emotion=Fear:0.5"))
    train, test = absent[absent["split"] == "train"], absent[absent["split"] == "test"]
    assert not (train["race"] == "Asian").any()
    assert (test["race"] == "Asian").mean() == pytest.approx(1 / 3, abs=0.01)
    assert (train["emotion"] == "Fear").mean() == pytest.approx(0.5 / 6.5, abs=0.01)

    tied = drawn(spurious="gender", spurious_strength=0.9)
    train = tied[tied["split"] == "train"]
    fear = train[train["emotion"] == "Fear"]  # emotion 1 goes with value 1 modulo 2
    assert (fear["gender"] == "Female").mean() > 0.9
    test = tied[tied["split"] == "test"]
    assert (test[test["emotion"] == "Fear"]["gender"] == "Female").mean() == pytest.approx(0.4, abs=0.05)

    noisy = drawn(label_noise=("gender=Female:0.3",))
    wrong = noisy["emotion"] != noisy["emotion_true"]
    females = (noisy["gender"] == "Female") & (noisy["split"] == "train")
    assert wrong[females].mean() == pytest.approx(0.3, abs=0.06)
    assert not wrong[~females].any()

    coloured = drawn(spurious="background", spurious_strength=1.0)
    train = coloured[coloured["split"] == "train"]
    assert train.groupby("emotion")["background"].nunique().max() == 1
    assert coloured[coloured["split"] == "test"].groupby("emotion")["background"].nunique().min() == 7


def test_exposure_can_equalise_skin_brightness():
    def spread(contrast):
        made = recipe.Recipe(train=40, test=1, joint="balanced", contrast=contrast, skin_tone="shared")
        table, faces = recipe.generate(made)
        studio = people.studio()
        lit = [f.replace(scene=studio.replace(exposure=f.scene.exposure)) for f in faces[:40]]
        cheek = render_many(lit)[:, 55:65, 30:40].mean((1, 2, 3))
        return np.corrcoef(table["skin_tone"][:40], cheek)[0, 1]

    assert spread(0.0) < -0.8
    assert abs(spread(1.0)) < 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"joint": "uniform"}, "data.faces.joint"),
        ({"train": 0}, "data.faces.train"),
        ({"spurious": "hair"}, "data.faces.spurious"),
        ({"reweight": ("race=Martian:0.1",)}, "Martian"),
        ({"reweight": ("hair=long:0.1",)}, "must begin with one of"),
        ({"label_noise": ("race=Asian:2",)}, "between 0 and 1"),
        ({"group_style": ("race=Asian:much",)}, "a number"),
    ],
)
def test_bad_recipes_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        recipe.Recipe(**fields)


def test_fingerprint_follows_the_recipe():
    assert recipe.Recipe().fingerprint() == recipe.Recipe().fingerprint()
    assert recipe.Recipe().fingerprint() != recipe.Recipe(seed=1).fingerprint()
