"""Measures of maps against hand-worked numbers and slow forms; regions; contrasts; perturbation; sanity."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from frown_jax.explain import (
    contrasts,
    faithfulness,
    landmarks,
    localisation,
    regions,
    sanity,
    twins,
)
from frown_jax.explain.attribution import Method, attribute
from frown_jax.explain.measure import MeanMaps, outcomes, sample
from frown_jax.faces import people
from frown_jax.models.resnet import ResNet10

# --- localisation ----------------------------------------------------------------------------------------------------


def test_localisation_by_hand():
    """A map of 2 x 2 pixels: 3 and 1 for, -2 against; its region holds the 3 and the -2."""
    maps = jnp.array([[[[3.0, -2.0], [1.0, 0.0]]]])
    regions_ = jnp.array([[[[True, True], [False, False]], [[False, False], [True, True]], [[False] * 2] * 2]])
    found = localisation.localise(maps, regions_)
    assert found.mass[0, 0, :2].tolist() == [0.75, 0.25]
    assert found.negative[0, 0, :2].tolist() == [0.5, 0.0]
    assert np.isnan(found.mass[0, 0, 2])  # an empty region
    assert found.area[0].tolist() == [0.5, 0.5, 0.0]
    assert found.total[0, 0] == 2.0 and found.positive[0, 0] == 4.0
    assert found.rank[0, 0] == 0.5  # of the two highest, 3 and 1, one lies inside
    assert found.hit[0, 0] == 1.0


def test_no_positive_relevance_has_no_place():
    found = localisation.localise(-jnp.ones((1, 1, 2, 2)), jnp.ones((1, 1, 2, 2), bool))
    assert np.isnan([found.mass[0, 0, 0], found.rank[0, 0], found.hit[0, 0]]).all()


def test_a_uniform_map_is_at_chance():
    mask = np.random.default_rng(0).random((1, 1, 16, 16)) < 0.3
    found = localisation.localise(jnp.ones((1, 1, 16, 16)), jnp.asarray(mask))
    np.testing.assert_allclose(found.mass[0, 0, 0] / found.area[0, 0], 1.0, rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_rank_accuracy_equals_sorting(seed):
    """Also where many values are equal (0): the first in rows count as the higher."""
    rng = np.random.default_rng(seed)
    positive = np.maximum(rng.normal(size=(6, 6)), 0).round(1)
    region = rng.random((6, 6)) < (0.2, 0.5, 0.8, 1.0)[seed]
    top = np.argsort(-positive.ravel(), kind="stable")[: region.sum()]
    wanted = region.ravel()[top].mean()
    np.testing.assert_allclose(
        localisation.rank_accuracy(jnp.asarray(positive), jnp.asarray(region)), wanted, rtol=1e-6
    )


def test_regions_at_another_resolution_keep_their_share():
    mask = np.zeros((100, 100), bool)
    mask[20:60, 30:80] = True
    for side in (25, 50, 64, 224):
        found = np.asarray(localisation.brought_to(jnp.asarray(mask), side))
        assert found.shape == (side, side)
        assert abs(found.mean() - mask.mean()) < 0.02
        assert found[int(0.4 * side), int(0.5 * side)] and not found[int(0.1 * side), int(0.5 * side)]


# --- regions ---------------------------------------------------------------------------------------------------------


def face(tone=0.3, **scene):
    person = people.subject(np.random.default_rng(3), "Caucasian", "Female", 30.0)
    plain = people.studio().replace(**{k: np.asarray(v, np.float32) for k, v in scene.items()})
    return people.twin(person.face.replace(scene=plain), skin_tone=tone)


def test_exact_regions_lie_where_they_should():
    targets = ("AU1", "AU12", "Happiness", "Neutral")
    masks, points = regions.of_face(face(), targets)
    of = dict(zip((*targets, *regions.PARTS), masks, strict=True))
    rows = {k: np.nonzero(v)[0].mean() / 100 for k, v in of.items() if v.any()}
    eyes, nose, mouth = points[:2, 1].mean(), points[2, 1], points[3:, 1].mean()
    assert rows["AU1"] < eyes < nose < rows["AU12"] and abs(rows["AU12"] - mouth) < 0.1
    assert not of["Neutral"].any()
    assert (of["AU12"] <= of["Happiness"]).all()  # cheeks and corners of the mouth
    assert (of["forehead"] <= of["face"]).all()
    assert max(np.sum([of[part] for part in ("face", "hair", "background")], axis=0).ravel()) == 1  # none overlap
    for x, y in points:  # eyes, nose and mouth are on the face
        assert of["face"][int(y * 100), int(x * 100)]
    assert points[0, 0] > points[1, 0] and points[3, 0] > points[4, 0]  # the person's left is on the right


def test_regions_do_not_depend_on_skin_tone():
    (a, p), (b, q) = (regions.of_face(face(tone), ("AU4", "AU25")) for tone in (0.05, 0.9))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(p, q)


def sketch():
    """68 points of a face that looks straight ahead."""
    i = np.arange(17)
    jaw = np.stack([0.5 - 0.4 * np.cos(np.pi * i / 16), 0.45 + 0.47 * np.sin(np.pi * i / 16)], 1)
    right = [(0.2, 0.36), (0.25, 0.325), (0.31, 0.315), (0.37, 0.325), (0.43, 0.345)]
    bridge = [(0.5, 0.42), (0.5, 0.48), (0.5, 0.54), (0.5, 0.6)]
    nostrils = [(0.42, 0.64), (0.46, 0.655), (0.5, 0.665), (0.54, 0.655), (0.58, 0.64)]
    eye = [(0.25, 0.43), (0.29, 0.41), (0.34, 0.41), (0.39, 0.435), (0.34, 0.45), (0.29, 0.45)]
    other = [(1 - eye[k][0], eye[k][1]) for k in (3, 2, 1, 0, 5, 4)]
    outer = [(0.36, 0.76), (0.41, 0.735), (0.46, 0.725), (0.5, 0.73), (0.54, 0.725), (0.59, 0.735), (0.64, 0.76)]
    outer += [(0.59, 0.8), (0.54, 0.82), (0.5, 0.825), (0.46, 0.82), (0.41, 0.8)]
    inner = [(0.38, 0.76), (0.46, 0.755), (0.5, 0.757), (0.54, 0.755), (0.62, 0.76), (0.54, 0.78), (0.5, 0.782)]
    inner += [(0.46, 0.78)]
    mirrored = [(1 - x, y) for x, y in right[::-1]]
    return np.array([*jaw, *right, *mirrored, *bridge, *nostrils, *eye, *other, *outer, *inner])


def test_landmark_regions_are_symmetric_and_in_place():
    units = tuple(landmarks.AU_REGIONS)
    found = landmarks.regions(sketch(), units, 200)
    assert found.shape == (len(units) + 4, 200, 200)
    for unit, mask in zip(units, found, strict=False):
        assert mask.any(), unit
        overlap = (mask & mask[:, ::-1]).sum() / (mask | mask[:, ::-1]).sum()
        assert overlap > 0.85, unit
    of = dict(zip(units, found, strict=False))
    height = {u: np.nonzero(m)[0].mean() / 200 for u, m in of.items()}
    assert height[1] < height[4] < height[7] < height[6] < height[12] < height[25] < height[17]
    face_, forehead, hair, background = found[-4:]
    assert not hair.any() and not (face_ & background).any()
    assert all((m & ~face_).sum() < 0.2 * m.sum() for m in found[:-4])
    assert (forehead & face_).sum() > 0.9 * forehead.sum()


def test_boxes_hold_their_polygons():
    units = tuple(landmarks.AU_REGIONS)
    polygons, boxes = (landmarks.regions(sketch(), units, 100, shape) for shape in landmarks.SHAPES)
    assert (polygons[:-4] <= boxes[:-4]).all() and boxes[:-4].sum() > polygons[:-4].sum()


def test_landmark_regions_turn_with_the_face():
    turn = np.deg2rad(20)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned = (sketch() * 0.6 + 0.2 - 0.5) @ matrix.T + 0.5
    upright, found = landmarks.regions(sketch() * 0.6 + 0.2, (12,), 200)[0], landmarks.regions(turned, (12,), 200)[0]
    points = np.argwhere(upright)[:, ::-1] / 200 + 0.0025
    moved = ((points - 0.5) @ matrix.T + 0.5) * 200
    inside = found[moved[:, 1].astype(int), moved[:, 0].astype(int)]
    assert inside.mean() > 0.9


def test_alignment_brings_landmarks_to_their_places():
    turn = np.deg2rad(-15)
    matrix = 0.8 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = regions.ALIGNED @ matrix.T + (0.1, 0.15)
    (found,) = regions.alignment(points[None])
    np.testing.assert_allclose(found[:, :2], matrix, atol=1e-6)
    image = np.zeros((200, 200), np.float32)
    x, y = points[2]
    image[int(y * 200), int(x * 200)] = 1
    shown = np.asarray(regions.aligned(jnp.asarray(image)[None, None], jnp.asarray(found)[None], 200))[0, 0]
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    np.testing.assert_allclose([column / 200, row / 200], regions.ALIGNED[2], atol=0.01)


# --- tables ----------------------------------------------------------------------------------------------------------


def test_outcomes_and_what_is_not_known():
    truth, decided = np.array([1, 0, 1, 0, -1]), np.array([1, 1, 0, 0, 1])
    assert outcomes(truth, decided).tolist() == ["TP", "FP", "FN", "TN", ""]


def test_subjects_take_turns_in_a_sample():
    table = pd.DataFrame({"subject": ["a"] * 50 + ["b"] * 3 + ["c"] * 3})
    rows = sample(table, 9, 0)
    assert table.loc[rows, "subject"].value_counts().to_dict() == {"a": 3, "b": 3, "c": 3}
    assert len(sample(table, 0, 0)) == 56 and np.array_equal(rows, sample(table, 9, 0))


def test_mean_maps_count_each_block_once():
    maps = MeanMaps(["m"], 1, np.array([0, 0, 1]))
    each = np.stack([np.full((32, 32), v, np.float32) for v in (1.0, 3.0, 10.0)])[None]
    maps.add("m", np.arange(3), np.ones((1, 3), bool), each)
    mean, error = maps.means("m", np.array([True, True]))
    assert mean[0, 0, 0] == 6.0  # (2 + 10) / 2
    np.testing.assert_allclose(error[0, 0, 0], np.std([2, 10], ddof=1) / np.sqrt(2))


def table_of(rng, effect, subjects=20, images=6, seeds=3, composite_sign=1):
    rows = []
    for s in range(subjects):
        group = "a" if s % 2 else "b"
        own = rng.normal() * 0.3
        for i in range(images):
            for seed in range(seeds):
                value = 2 + own + composite_sign * effect * (group == "a") + rng.normal() * 0.2
                rows.append((f"s{s}", group, "m", seed, f"{s}-{i}", "AU1", "TP", value, rng.normal()))
                rows.append((f"s{s}", group, "m", seed, f"{s}-{i}", "AU2", "TP", 1 + own + rng.normal() * 0.2, 0.0))
                rows.append((f"s{s}", group, "m", seed, f"{s}-{i}", "AU1", "FP", 50.0, 0.0))
    columns = ["subject", "group", "method", "seed", "image", "target", "outcome", "normalised", "logit"]
    return pd.DataFrame(rows, columns=columns)


def test_a_planted_difference_between_groups_is_found_and_only_there():
    tables = {"x": table_of(np.random.default_rng(0), 1.0), "y": table_of(np.random.default_rng(1), 1.0)}
    found = contrasts.contrasts(tables, {"group": ("a", "b")}, ("normalised",)).set_index("target")
    row = found.loc["AU1"]
    assert row["reading"] == "higher" and 0 < row["lower"] < row["difference"] < row["upper"] and row["p_holm"] < 0.05
    assert row["subjects"] == row["other_subjects"] == 10 and row["images"] == 60
    assert row["composites_agree"] == 1 and row["members_agree"] == 1
    assert row["a"] < 4  # false positives (50) do not count
    assert found.loc["AU2", "reading"] == "no difference shown"


def test_a_difference_that_turns_with_the_composite_is_unstable():
    rng = np.random.default_rng(0)
    tables = {"x": table_of(rng, 1.0), "y": table_of(rng, 1.0, composite_sign=-1)}
    found = contrasts.contrasts(tables, {"group": ("a", "b")}, ("normalised",)).set_index("target")
    assert found.loc["AU1", "reading"] == "unstable" and found.loc["AU1", "composites_agree"] == 0.5


def test_intervals_are_over_subjects_not_images():
    """Ten times as many frames of the same people tell no more about people."""
    few, many = (table_of(np.random.default_rng(0), 0.0, images=n, seeds=1) for n in (2, 40))
    width = []
    for table in (few, many):
        row = contrasts.contrasts({"x": table}, {"group": ("a", "b")}, ("normalised",)).set_index("target").loc["AU1"]
        width.append(row["upper"] - row["lower"])
    assert width[1] > 0.5 * width[0]


def test_permutation_p_values_hold_their_level():
    """Without a difference, about one in twenty is below 0.05."""
    rng, below = np.random.default_rng(0), 0
    settings = contrasts.ContrastSettings(resamples=20, permutations=199)
    for _ in range(300):
        a, b = (pd.DataFrame({"value": rng.normal(size=n), "logit": 0.0}) for n in (8, 10))
        below += contrasts.between(a, b, settings)["p"] <= 0.05
    assert 4 <= below <= 27  # binomial(300, 0.05): 99.9 % lie in between


def test_paired_differences_by_hand():
    a = pd.DataFrame({"value": [2.0, 4.0, 9.0]}, index=["x", "y", "only a"])
    b = pd.DataFrame({"value": [1.0, 1.0, 5.0]}, index=["x", "y", "only b"])
    found = contrasts.paired(a, b, contrasts.ContrastSettings())
    assert (found["a"], found["b"], found["difference"]) == (3.0, 1.0, 2.0)


def test_what_goes_with_the_logit_is_taken_out():
    """Values that are twice the logit differ as the logits do, and not beyond."""
    rng = np.random.default_rng(0)
    a, b = (pd.DataFrame({"logit": z, "value": 2 * z + 5}) for z in (rng.normal(size=12) + 1, rng.normal(size=12)))
    found = contrasts.between(a, b, contrasts.ContrastSettings())
    assert found["difference"] > 0.5 and abs(found["adjusted"]) < 1e-9


def test_twins_summary_by_hand():
    columns = {
        "pair": "skin tone", "member": 0, "method": "m", "seed": 0, "image": [0, 1], "subject": ["x", "y"],
        "target": "AU1", "alike": [1.0, 0.5],
        **{f"{q}_first": [1.0, 2.0] for q in ("logit", "probability", "normalised")},
        **{f"{q}_second": [0.0, 2.0] for q in ("logit", "probability", "normalised")},
        "decided_first": [1.0, 1.0], "decided_second": [0.0, 1.0],
    }  # fmt: skip
    found = twins.summary(pd.DataFrame(columns)).set_index("quantity")
    assert found.loc["logit", "difference"] == -0.5 and found.loc["logit", "change"] == "light to dark"
    assert found.loc["flips", "value"] == 0.5 and found.loc["alike", "value"] == 0.75
    assert found.loc["decided", "first"] == 1.0 and found.loc["decided", "second"] == 0.5


# --- checks ----------------------------------------------------------------------------------------------------------


class Sum(ResNet10.func):
    """A 'network' whose only logit is the sum of its top left quarter."""

    def __call__(self, x, *, train, **_):
        return x[:, :16, :16].sum((1, 2, 3))[:, None], {}


def test_perturbation_by_hand():
    """Ones in the top left quarter are all that counts: four of sixteen patches of 8 x 8."""
    model = Sum(classes=1)
    x = jnp.ones((2, 32, 32, 3))
    maps = jnp.zeros((2, 32, 32)).at[:, :16, :16].set(1.0)
    args = (model, {}, x, maps, jnp.zeros(2, int), jax.random.key(0))
    found = {o: faithfulness.perturbation(*args, order=o, fill="mean", patches=4, steps=6) for o in faithfulness.ORDERS}
    per_patch = 8 * 8 * 3
    wanted = per_patch * np.array([4, 3, 2, 1, 0, 0, 0])
    np.testing.assert_allclose(found["morf"][:, 0], wanted)
    np.testing.assert_allclose(found["lerf"][:, 0], per_patch * 4)
    np.testing.assert_allclose(faithfulness.aopc(found["morf"]), per_patch * (0 + 1 + 2 + 3 + 4 + 4 + 4) / 7)
    assert (np.diff(np.asarray(found["random"][:, 0])) <= 0).all()


def test_blur_keeps_constants_and_spreads_points():
    np.testing.assert_allclose(faithfulness.blurred(jnp.full((1, 9, 9, 1), 2.0), 1.5), 2.0, rtol=1e-6)
    point = jnp.zeros((1, 15, 15, 1)).at[0, 7, 7].set(1.0)
    found = np.asarray(faithfulness.blurred(point, 1.0))[0, :, :, 0]
    np.testing.assert_allclose(found.sum(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(found[7, 8] / found[7, 7], np.exp(-0.5), rtol=1e-4)


def test_rank_correlation_equals_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 40)).round(1), rng.normal(size=(3, 40)).round(1)
    wanted = [stats.spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(sanity.spearman(jnp.asarray(a), jnp.asarray(b)), wanted, rtol=1e-4, atol=1e-5)


def test_layers_go_from_the_first_to_the_last():
    resnet = ["conv1", "layer1_0", "layer2_0", "layer2_1", "fc"]
    vgg = ["features_0", "features_2", "features_10", "classifier_0", "classifier_6"]
    for names in (resnet, vgg):
        assert sanity.layers(dict.fromkeys(sorted(names, reverse=True), ())) == names


def test_gradient_methods_on_a_linear_network():
    """Of a sum, the gradient is 1 everywhere, times the input the input, and a path's integral from 0 likewise."""
    model = Sum(classes=1)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 32, 32, 3)), jnp.float32)
    inside = np.zeros((32, 32))
    inside[:16, :16] = 1
    summed = np.asarray(x[0].sum(-1)) * inside
    for name, wanted in (
        ("gradient", 3 * inside),
        ("gradient_x_input", summed),
        ("integrated_gradients", summed),
        ("smoothgrad", 3 * inside),
    ):
        y, maps = attribute(Method.of(name), model, {}, x)
        np.testing.assert_allclose(maps[0, 0], wanted, atol=1e-5)
        np.testing.assert_allclose(y, [[summed.sum()]], rtol=1e-4)


@pytest.mark.slow
def test_integrated_gradients_are_complete():
    """They sum to f(x) - f(0) (Sundararajan et al. 2017, proposition 1)."""
    model = ResNet10(classes=2, width=2, batch_norm=False)
    x = jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
    variables = model.init(jax.random.key(1), x, train=False)
    y, maps = jax.jit(lambda x: attribute(Method("integrated_gradients", steps=64), model, variables, x))(x)
    start = model.apply(variables, 0 * x, train=False)[0]
    np.testing.assert_allclose(maps.sum((2, 3))[:, 0], (y - start)[0], rtol=0.05, atol=0.02 * np.abs(y).max())
