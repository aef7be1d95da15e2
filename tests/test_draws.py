"""Values over draws of subjects: the corrected interval by hand, and pairs on the images that both predict."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from frown_jax.metrics import draws, results_table
from frown_jax.report import draws as report


def test_the_corrected_interval_by_hand():
    """Nadeau & Bengio 2003: variance (1/4 + 20/37) s^2, three degrees of freedom."""
    x = np.array([0.1, 0.3, 0.2, 0.4])
    error = np.sqrt((1 / 4 + 20 / 37) * (0.05 / 3))
    mean, lower, upper, p = draws.corrected(x, 20 / 37)
    assert mean == pytest.approx(0.25)
    assert (upper - lower) / 2 == pytest.approx(3.1824463 * error)
    assert p == pytest.approx(2 * stats.t.sf(0.25 / error, 3))
    # Without shared subjects it is the plain t interval.
    plain = stats.t.interval(0.95, 3, 0.25, x.std(ddof=1) / 2)
    assert draws.corrected(x, 0)[1:3] == pytest.approx(plain)
    assert np.isnan(draws.corrected(x[:1], 1)[1:]).all() and draws.corrected([0.2, np.nan], 1)[0] == 0.2
    assert draws.corrected([0.5, 0.5], 1) == (0.5, 0.5, 0.5, 0.0)


def test_the_interval_covers_a_mean_of_overlapping_draws():
    """Repeated halves of one sample of subjects: the plain interval is too short for the population, ours is not."""
    rng = np.random.default_rng(0)
    covered, plainly = 0, 0
    for _ in range(400):
        people = rng.normal(size=60)
        values = np.array([people[rng.permutation(60)[:20]].mean() for _ in range(8)])
        _, lower, upper, _ = draws.corrected(values, 20 / 40)
        covered += lower <= 0 <= upper
        low, high = stats.t.interval(0.95, 7, values.mean(), values.std(ddof=1) / np.sqrt(8))
        plainly += low <= 0 <= high
    assert covered / 400 >= 0.93 > plainly / 400 + 0.1


def _predictions():
    """Two methods x two draws x two seeds; in each draw the second method predicts half of the first one's images."""
    rng, rows, member = np.random.default_rng(1), [], 0
    for draw in range(2):
        truth = rng.integers(0, 2, (20, 2))
        gender = np.array(["Female", "Male"])[np.arange(20) % 2]
        for method in ("light", "mixed"):
            for seed in range(2):
                for i in range(20 if method == "light" else 10):
                    p = rng.uniform(0, 1, 2) * 0.5 + truth[i] * 0.4
                    rows.append(
                        {
                            "member": member,
                            "method": method,
                            "seed": seed,
                            "draw": draw,
                            "split": "test",
                            "id": f"d{draw}i{i}",
                            "subject": f"s{i // 2}",
                            **{f"y_true_AU{t + 1}": truth[i, t] for t in range(2)},
                            **{f"y_pred_AU{t + 1}": int(p[t] >= 0.5) for t in range(2)},
                            **{f"p_AU{t + 1}": np.float32(p[t]) for t in range(2)},
                            "gender": gender[i],
                        }
                    )
                member += 1
    return pd.DataFrame(rows)


def _f1(part):
    return np.mean([f1_score(part[f"y_true_AU{t}"], part[f"y_pred_AU{t}"]) for t in (1, 2)])


def test_results_have_a_row_for_each_draw():
    predictions = _predictions()
    results = results_table.results(predictions, {"gender": ("Female", "Male")})
    chosen = results[(results["metric"] == "macro_f1") & (results["group"] == "Male")].set_index("member")
    assert chosen["draw"].tolist() == [0] * 4 + [1] * 4 and chosen["n"].tolist() == [10, 10, 5, 5] * 2
    for member, part in predictions[predictions["gender"] == "Male"].groupby("member"):
        assert chosen.loc[member, "value"] == pytest.approx(_f1(part))
    summary = draws.summary(results, {"light": 0.5, "mixed": 0.5})
    row = summary[(summary["metric"] == "macro_f1") & (summary["group"] == "") & (summary["method"] == "mixed")].iloc[0]
    of_draw = [
        np.mean([_f1(m) for _, m in part.groupby("member")])
        for _, part in predictions[predictions["method"] == "mixed"].groupby("draw")
    ]
    assert (row["draws"], row["n"]) == (2, 10)
    assert row["mean"] == pytest.approx(draws.corrected(of_draw, 0.5)[0])
    assert np.isnan(row["lower"]) and np.isnan(row["upper"])  # of two draws they would be -0.42 and 2.15


def test_methods_are_compared_on_the_images_that_both_predict():
    predictions = _predictions()
    found = draws.contrasts(predictions, "gender", ("Female", "Male"), {"light": 0.1, "mixed": 0.5})
    row = found[(found["metric"] == "macro_f1") & (found["group"] == "Female")].iloc[0]
    differences = []
    for _, part in predictions.groupby("draw"):
        ids = set(part.loc[part["method"] == "mixed", "id"])
        same = part[part["id"].isin(ids) & (part["gender"] == "Female")]
        means = {m: np.mean([_f1(x) for _, x in of.groupby("seed")]) for m, of in same.groupby("method")}
        differences.append(means["mixed"] - means["light"])
    assert (row["method"], row["control"]) == ("mixed", "light")
    assert (row["difference"], row["lower"], row["upper"], row["p"]) == pytest.approx(draws.corrected(differences, 0.5))
    assert (found["p_holm"] >= found["p"]).all()


def test_the_table_has_the_studys_layout():
    predictions = _predictions().replace({"method": {"light": "female", "mixed": "male"}})
    results = results_table.results(predictions, {"gender": ("Female", "Male")})
    ratios = {"female": 0.5, "male": 0.5}
    groups = ("Female", "Male")
    summary, pairs = draws.summary(results, ratios), draws.contrasts(predictions, "gender", groups, ratios)
    training = {"female": ("Female:37",), "male": ("Male:37",)}
    text = report.render(summary, pairs, "gender", groups, "face_sequences", training, 2)
    lines = text.splitlines()
    head = next(line for line in lines if "trained on" in line and "F1 macro, Female" in line)
    assert head.index("F1 macro, Female") < head.index("weighted F1, Female") < head.index("F1 macro, Male")
    published = [line.split()[1:] for line in lines if "published*" in line]
    assert published == [["0.55", "0.55", "0.56", "0.58"], ["0.44", "0.45", "0.55", "0.59"]]
    assert "other data" in text and "male instead of female" in text and "never a finding about people" in text
    of_unit = summary[(summary["metric"] == "f1") & (summary["target"] == "AU2") & (summary["group"] == "Male")]
    line = next(line for line in lines if line.split()[:1] == ["AU2"])
    assert f"{of_unit.set_index('method').loc['male', 'mean']:.3f}" in line
