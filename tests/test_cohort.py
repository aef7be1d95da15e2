"""Draws of subjects: nobody is in two sets, sets are of the same size, and a draw is its number."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frown_jax import config as configs
from frown_jax.data import cohort
from frown_jax.data.annotations import Annotations
from frown_jax.errors import CohortError
from frown_jax.member.values import stack
from frown_jax.training.build import cohort_of, member_of, shape_of
from frown_jax.training.grid import expand


def _people(female=97, male=47, images=4, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"f{i}" for i in range(female)] + [f"m{i}" for i in range(male)]
    rows = rng.permutation(np.repeat(np.arange(len(names)), images))
    subjects = np.array(names, object)[rows]
    codes = (rows >= female).astype(np.int32)
    labels = rng.integers(0, 2, (len(rows), 2)).astype(np.int32)
    return Annotations(("AU1", "AU2"), labels, {"gender": ("Female", "Male")}, {"gender": codes}, subjects)


def _section(train, test=("Female:10", "Male:10"), draw=0):
    c = configs.default().cohort
    c.by, c.train, c.test, c.draw = "gender", train, test, draw
    return c


@settings(deadline=None, max_examples=30)
@given(draw=st.integers(0, 1000), female=st.integers(2, 20), male=st.integers(2, 20), held=st.floats(0.1, 0.5))
def test_no_subject_is_in_two_sets_and_the_numbers_are_those_asked_for(draw, female, male, held):
    data = _people()
    found = cohort.draw(_section((f"Female:{female}", f"Male:{male}"), draw=draw), held, data)
    people = [set(data.subjects[rows]) for rows in (found.train, found.validation, found.test)]
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]
    assert len(people[0] | people[1]) == female + male
    assert len(people[1]) == max(1, round(held * (female + male)))
    assert sorted(s[0] for s in people[2]) == ["f"] * 10 + ["m"] * 10
    # Every image of a subject goes with it.
    for rows, names in zip((found.train, found.validation, found.test), people, strict=True):
        assert len(rows) == 4 * len(names)


def test_sets_of_one_draw_share_the_test_and_the_mixed_one_is_made_of_the_others():
    data = _people()
    sets = {"female": ("Female:37",), "male": ("Male:37",), "mixed": ("Female:19", "Male:18")}
    found = {k: cohort.draw(_section(train, draw=3), 0.2, data) for k, train in sets.items()}
    tests = [f.test.tolist() for f in found.values()]
    assert tests[0] == tests[1] == tests[2]
    people = {k: set(data.subjects[np.concatenate([f.train, f.validation])]) for k, f in found.items()}
    assert all(len(p) == 37 for p in people.values())
    assert people["mixed"] <= people["female"] | people["male"]
    held = {k: len(set(data.subjects[f.validation])) for k, f in found.items()}
    assert set(held.values()) == {7}


def test_a_draw_is_reproduced_from_its_number_and_another_differs():
    data = _people()
    one, again, other = (cohort.draw(_section(("Female:37",), draw=d), 0.2, data) for d in (1, 1, 2))
    np.testing.assert_array_equal(one.train, again.train)
    assert set(data.subjects[one.test]) != set(data.subjects[other.test])
    # The order of the table does not matter.
    order = np.random.default_rng(1).permutation(len(data))
    shuffled = data.take(order)
    moved = cohort.draw(_section(("Female:37",), draw=1), 0.2, shuffled)
    assert set(shuffled.subjects[moved.test]) == set(data.subjects[one.test])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": ("Female",)}, "'Female' is no VALUE:NUMBER"),
        ({"train": ("Women:3",)}, "gender has no value 'Women'; it has Female, Male"),
        ({"train": ("Male:38",)}, "asks for 38 \\+ 10 subjects with gender Male in training and test; there are 47"),
        ({"by": "skin"}, "cohort.by is 'skin': this data has the attributes gender"),
        ({"test": ("Female:0", "Male:0")}, "the test set of draw 0 has no image"),
    ],
)
def test_impossible_draws_are_one_line(changes, message):
    section = _section(("Male:37",))
    section.update(changes)
    with pytest.raises(CohortError, match=message):
        cohort.draw(section, 0.2, _people())


def test_a_subject_of_two_genders_is_told():
    data = _people()
    data.attributes["gender"][np.flatnonzero(data.subjects == "m0")[0]] = 0
    with pytest.raises(CohortError, match="subject m0 has two values"):
        cohort.draw(_section(("Male:37",)), 0.2, data)


def test_members_keep_their_own_images_beside_larger_ones():
    """Padding never changes which images a member sees."""
    c = configs.default()
    configs.action_units(c, "face_sequences")
    c.update(cohort={"by": "gender", "test": ("Female:5",), "draws": (0, 1)}, seeds=(0,))
    points = [{"cohort.train": ("Female:20",)}, {"cohort.train": ("Male:10",)}]
    (group,) = expand(c, points)
    assert [(s.config.cohort.train, s.config.cohort.draw) for s in group.specs] == [
        (("Female:20",), 0),
        (("Female:20",), 1),
        (("Male:10",), 0),
        (("Male:10",), 1),
    ]
    data = _people()
    shape = shape_of(group.specs, data.classes, data.vocabularies, True)
    built = [member_of(s, data, shape, data) for s in group.specs]
    stacked = stack(built)
    for i, (spec, member) in enumerate(zip(group.specs, built, strict=True)):
        own = jax.tree.map(lambda a, i=i: np.asarray(a[i]), stacked)
        chosen = cohort_of(spec, data)
        n = int(own.sampling_size)
        assert own.rows[own.sampling[:n]].tolist() == chosen.train.tolist() == member.rows.tolist()
        assert own.validation_rows[own.validation_rows >= 0].tolist() == chosen.validation.tolist()
        assert (own.example_weights[n:] == 0).all() and (own.groups[n:] == -1).all()
