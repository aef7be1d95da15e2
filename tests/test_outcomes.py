"""Bad input is told by column, row and value."""

import numpy as np
import pandas as pd
import pytest

from frown_jax.errors import OutcomesError
from frown_jax.metrics import predictions_table
from frown_jax.metrics.outcomes import Attribute, Outcomes

P = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
Y = ["a", "b", "c"]


def _table(**columns):
    base = {
        "y_true": Y,
        "p_a": P[:, 0],
        "p_b": P[:, 1],
        "p_c": P[:, 2],
        "race": ["x", "y", "x"],
    }
    return pd.DataFrame({**base, **columns})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y_true": ["a", "b", "d"]}, "column y_true, row 2: d is none of the classes a, b, c"),
        ({"y_true": ["a", None, "c"]}, "column y_true, row 1: no value"),
        ({"y_true": ["a", float("nan"), "c"]}, "column y_true, row 1: no value"),
        ({"y_pred": ["a", "b"]}, "y_pred has 2 rows and y_true 3"),
        ({"y_pred": ["a", "b", "e"]}, "column y_pred, row 2: e is none of the classes"),
        ({"y_pred": [["a", "b", "c"], ["a", None, "c"]]}, r"column y_pred, row 1: no value \(run 1\)"),
        (
            {"probabilities": [*P[:2], [0.3, 0.3, 0.9]]},
            "columns p_a to p_c, row 2: they sum to 1.5, not 1",
        ),
        ({"probabilities": P * [[1], [-1], [1]]}, "column p_a, row 1: -0.1 is not between 0 and 1"),
        ({"probabilities": P * [[1], [np.nan], [1]]}, "column p_a, row 1: nan is not between 0 and 1"),
        ({"probabilities": P[:2]}, "probabilities has 2 rows and y_true 3"),
        ({"attributes": {"race": ["x", "y"]}}, "attribute 'race' has 2 values for 3 labels"),
        ({"subjects": [1, 2]}, "subjects has 2 values for 3 labels"),
        ({"targets": ["a", "a", "b"]}, "named twice"),
        ({"targets": ["a", "b"]}, "probabilities have 3 columns for 2 targets"),
        ({"probabilities": None}, "give y_pred or probabilities"),
        ({"runs": pd.DataFrame({"method": ["m", "n"], "seed": [0, 0]})}, "there are 1 runs and 2 rows that name them"),
        ({"y_true": np.zeros((3, 2, 2))}, "has shape"),
    ],
)
def test_arrays_that_cannot_be_measured(given, message):
    arguments = {"y_true": Y, "probabilities": P, "targets": ["a", "b", "c"], **given}
    if "y_pred" in given:
        arguments.pop("probabilities")
    with pytest.raises(OutcomesError, match=message):
        Outcomes.of(**arguments)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"p_b": [0.2, 1.3, 0.3]}, r"column p_b, row 1 \(line 3 of a CSV\): 1.3 is not between 0 and 1"),
        ({"p_b": [0.2, 0.9, 0.3]}, r"columns p_a to p_c, row 1 \(line 3 of a CSV\): they sum to 1.1, not 1"),
        ({"p_b": [0.2, "high", 0.3]}, r"column p_b, row 1 \(line 3 of a CSV\): 'high' is not a number"),
        ({"y_true": ["a", "q", "c"]}, r"column y_true, row 1 \(line 3 of a CSV\): q is none of the classes a, b, c"),
        ({"y_pred": ["a", "b", None]}, r"column y_pred, row 2 \(line 4 of a CSV\): no value"),
        ({"y_pred": ["a", "b", np.nan]}, "column y_pred, row 2"),
        ({"id": ["1", "1", "2"]}, r"column id, row 1 \(line 3 of a CSV\): '1' is there twice in one run"),
        ({"id": ["1", None, "2"]}, "column id, row 1 .*: no value"),
        ({"seed": [0, 0, 1]}, "runs have 1 to 2 rows: with several runs a column id"),
    ],
)
def test_tables_that_cannot_be_measured(columns, message):
    with pytest.raises(OutcomesError, match=message):
        predictions_table.outcomes(_table(**columns), ["race"])


def test_missing_columns_are_named():
    with pytest.raises(OutcomesError, match="there is no column 'age'; there are y_true, p_a"):
        predictions_table.outcomes(_table(), ["age"])
    with pytest.raises(OutcomesError, match="there is no column y_true or emotion or label"):
        predictions_table.outcomes(_table().drop(columns="y_true"))
    with pytest.raises(OutcomesError, match="there is no column y_pred or prediction or predicted, nor prob"):
        predictions_table.outcomes(_table()[["y_true", "race"]])
    with pytest.raises(OutcomesError, match="there is no column 'p_d' for the class 'd'"):
        predictions_table.outcomes(_table(), classes=["a", "b", "c", "d"])
    with pytest.raises(OutcomesError, match="is empty"):
        predictions_table.outcomes(_table().iloc[:0])
    with pytest.raises(OutcomesError, match="no column y_pred_'AU2'"):
        predictions_table.outcomes(pd.DataFrame({"y_true_AU1": [1], "y_true_AU2": [0], "y_pred_AU1": [1]}))
    with pytest.raises(OutcomesError, match=r"target AU1, row 1 .*: 2 is neither 0 nor 1 nor -1"):
        predictions_table.outcomes(pd.DataFrame({"y_true_AU1": [1, 2], "y_pred_AU1": [1, 1]}))


def test_runs_of_a_long_table_stand_beside_each_other_whatever_their_order():
    rng = np.random.default_rng(0)
    frames = []
    for method in ("m", "n"):
        for seed in (0, 1):
            part = pd.DataFrame({"id": list("wxyz"), "y_true": [0, 1, 1, 0], "race": ["p", "q", "p", None]})
            part["y_pred"] = rng.integers(0, 2, 4)
            frames.append(part.assign(method=method, seed=seed))
    table = pd.concat(frames, ignore_index=True)
    straight, shuffled = (
        predictions_table.outcomes(table, ["race"]),
        predictions_table.outcomes(table.sample(frac=1, random_state=1), ["race"]),
    )
    assert len(straight.runs) == 4
    for (_, run), predictions in zip(straight.runs.iterrows(), straight.predictions, strict=True):
        same = ((shuffled.runs["method"] == run["method"]) & (shuffled.runs["seed"] == run["seed"])).to_numpy()
        other = dict(zip(shuffled.ids, shuffled.predictions[same][0], strict=True))
        assert [other[i] for i in straight.ids] == list(predictions)
    assert straight.targets == ("0", "1")
    assert list(straight.attributes["race"].codes) == [0, 1, 0, -1]


def test_runs_on_different_images_or_labels_are_refused():
    rows = {"id": [1, 2, 1, 3], "y_true": [0, 1, 0, 1], "y_pred": [0, 1, 0, 1], "seed": [0, 0, 1, 1]}
    with pytest.raises(OutcomesError, match="run seed 0, method model has no row for image 3, which another has"):
        predictions_table.outcomes(pd.DataFrame(rows))
    rows |= {"id": [1, 2, 1, 2], "y_true": [0, 1, 1, 1]}
    with pytest.raises(OutcomesError, match=r"labels, row 2 \(line 4 of a CSV\): not what row 0 .* same image"):
        predictions_table.outcomes(pd.DataFrame(rows))
    rows |= {"method": ["m"] * 4, "member": [0, 0, 1, 1], "seed": [5] * 4}
    with pytest.raises(OutcomesError, match="method 'm' has several runs of seed 5"):
        predictions_table.outcomes(pd.DataFrame(rows))


def test_numbers_and_names_of_classes_mean_the_same():
    a = predictions_table.outcomes(pd.DataFrame({"y_true": [0, 10, 2], "y_pred": [0.0, 10.0, 2.0]}))
    assert a.targets == ("0", "2", "10")
    assert (a.predictions[0] == a.labels).all()
    b = predictions_table.outcomes(pd.DataFrame({"y_true": ["b", "a"], "p_b": [0.9, 0.2], "p_a": [0.1, 0.8]}))
    assert b.targets == ("b", "a")
    assert list(b.labels) == [0, 1]


def test_unknown_attribute_values_and_subjects():
    a = Attribute.of(["x", None, "", float("nan"), "y", "z"], ("x", "y"))
    assert list(a.codes) == [0, -1, -1, -1, 1, -1]
    o = Outcomes.of([0, 1, 0], [0, 1, 0], subjects=["s", None, None])
    assert len(set(o.subjects)) == 3


def test_multilabel_table_with_blanks():
    table = pd.DataFrame({"y_true_AU1": [1, np.nan, 0], "y_true_AU2": [-1, 1, 0], "p_AU1": [0.9, 0.4, 0.6]})
    o = predictions_table.outcomes(table.assign(p_AU2=[0.1, 0.7, 0.2]))
    np.testing.assert_array_equal(o.labels, [[1, -1], [-1, 1], [0, 0]])
    np.testing.assert_array_equal(o.predictions[0], [[1, 0], [0, 1], [1, 0]])
