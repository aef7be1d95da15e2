"""Seeds until the answer is known: what is settled, who goes on, and that looking often finds no more than it may."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from frown_jax import config as configs
from frown_jax.errors import ConfigError
from frown_jax.jobs import job
from frown_jax.jobs import looks as job_looks
from frown_jax.jobs.analyse import analyse
from frown_jax.metrics import looks
from frown_jax.metrics.verdicts import EQUAL, GAIN, LOSS, UNKNOWN
from frown_jax.training import check
from frown_jax.training.grid import expand, seeds_of

PLANNED = 16


def _tables(rng, effects, of_images=0.01, of_seeds=0.03, counts=(4, 8, 16)):
    """What `compare` would say at each look, with known variances: one primary value of each method."""
    effects = np.asarray(effects, float)
    fixed = rng.normal(0, of_images, len(effects))
    seeds = rng.normal(0, of_seeds, (counts[-1], len(effects)))
    out = []
    for count in counts:
        sd = np.sqrt(of_images**2 + of_seeds**2 / count)
        d = effects + fixed + seeds[:count].mean(0)
        out.append(
            pd.DataFrame(
                {
                    "method": [f"m{i}" for i in range(len(effects))],
                    "metric": "accuracy",
                    "attribute": "",
                    "group": "",
                    "target": "",
                    "family": "primary",
                    "seeds": count,
                    "difference": d,
                    "lower": d - 1.96 * sd,
                    "upper": d + 1.96 * sd,
                    "p_value": 2 * stats.norm.sf(np.abs(d) / sd),
                    "units": 1000,
                    "discordant": 100,
                    "sd_images": of_images,
                    "sd_seeds": of_seeds / np.sqrt(count),
                    "sd_both": 0.0,
                }
            )
        )
    return out


def test_what_is_clear_is_settled_early_and_what_is_not_goes_on():
    """Effects of five standard errors, none, and one that more seeds can tell."""
    tables = _tables(np.random.default_rng(0), [0.12, -0.12, 0.0, 0.03], of_images=0.004, of_seeds=0.02)
    first = looks.settle(tables[:1], PLANNED, margin=0.02).set_index("method")
    assert first.loc["m0", "verdict"] == GAIN and first.loc["m1", "verdict"] == LOSS
    assert first.loc[["m0", "m1"], "settled"].all() and not first.loc["m3", "settled"]
    last = looks.settle(tables, PLANNED, margin=0.02).set_index("method")
    assert last["verdict"].tolist() == [GAIN, LOSS, EQUAL, GAIN] and last["settled"].all()


def test_what_no_number_of_seeds_would_tell_is_given_up():
    """Few images: their noise stays however many seeds there are."""
    tables = _tables(np.random.default_rng(1), [0.0, 0.01], of_images=0.05)
    found = looks.settle(tables[:1], PLANNED, margin=0.02)
    assert (found["verdict"] == UNKNOWN).all() and found["settled"].all() and (found["hope"] < looks.HOPE).all()


def test_one_look_is_the_ordinary_test():
    tables = _tables(np.random.default_rng(2), [0.02, 0.05, 0.0], counts=(16,))
    found = looks.settle(tables, PLANNED, margin=0.02)
    np.testing.assert_allclose(found["p_sequential"], np.where(tables[0]["p_value"] > 0.5, 1, tables[0]["p_value"]))
    inside = (tables[0]["lower"] > -0.02) & (tables[0]["upper"] < 0.02)
    assert ((found["verdict"] == EQUAL) == inside).all()


def test_a_method_that_got_no_more_seeds_stays_as_it_was():
    tables = _tables(np.random.default_rng(3), [0.12, 0.03])
    early = looks.settle(tables[:1], PLANNED, margin=0.02).set_index("method").loc["m0"]
    later = [tables[0], pd.concat([tables[0].iloc[:1], tables[1].iloc[1:]])]
    kept = looks.settle(later, PLANNED, margin=0.02).set_index("method").loc["m0"]
    assert kept["seeds"] == 4 and kept["p_sequential"] == pytest.approx(early["p_sequential"])


@pytest.mark.slow  # 1 minute; the only test of the familywise error of looking, stopping and correcting together
def test_looking_until_something_is_found_finds_no_more_than_five_percent():
    rng, wrong, families = np.random.default_rng(4), 0, 200
    for _ in range(families):
        tables = _tables(rng, np.zeros(10))
        found = any(
            looks.settle(tables[: k + 1], PLANNED, margin=0.001)["verdict"].isin((GAIN, LOSS)).any() for k in range(3)
        )
        wrong += found
    assert wrong / families <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / families)


def _config(**fields):
    c = configs.default()
    configs.smoke(c)
    c.update_from_flattened_dict({"seeds": (0, 1), "seeds_until": 6, **fields})
    return c


def test_the_trainings_of_a_look_are_those_of_its_methods():
    c = _config(seeds=(5, 0))
    assert seeds_of(c) == (5, 0, 1, 2, 3, 4)
    points = [{"method": m, "optimiser.learning_rate": r} for m, r in (("a", 0.1), ("b", 0.2), ("c", 0.3))]
    # "d" shares the training of "a": what one of them needs is trained.
    points.append({"method": "d", "mitigation": "crt()", "optimiser.learning_rate": 0.1})
    grid = expand(c, points)
    of_member = {s.member: (s.method, s.seed) for p in grid for s in p.specs}

    def due(begun):
        return sorted(of_member[m] for m in job_looks.wanted(c, grid, begun))

    first = [(m, s) for m in "abc" for s in (0, 5)]
    assert due([]) == first
    assert due([{"seeds": 4, "methods": ["a", "c"]}]) == sorted(first + [(m, s) for m in "ac" for s in (1, 2)])
    both = [{"seeds": 4, "methods": ["b"]}, {"seeds": 6, "methods": ["b", "d"]}]
    assert due(both) == sorted(first + [("b", s) for s in (1, 2, 3, 4)] + [("a", s) for s in (3, 4)])
    c.seeds_until = 0
    assert job_looks.wanted(c, expand(c, points), []) == {s.member for p in expand(c, points) for s in p.specs}


@pytest.mark.slow  # half a minute; looks, stopping and resuming together, on real trainings
def test_a_run_that_is_killed_between_looks_ends_with_the_same_bytes(tmp_path, monkeypatch):
    """One method trains nothing and is a loss at once; the others get more seeds."""
    c = _config(seeds=(0, 1), seeds_until=8, epochs=3)
    c.data.faces.train, c.data.faces.test, c.data.cache_dir = 192, 192, str(tmp_path / "cache")
    c.optimiser.learning_rate, c.verdicts.primary = 5e-3, ("accuracy",)
    rates = {"baseline": 5e-3, "a little less": 4e-3, "nothing": 0.0}
    points = [{"method": m, "optimiser.learning_rate": r} for m, r in rates.items()]
    whole = job.train(c, points, tmp_path / "whole")
    looked = json.loads((tmp_path / "whole" / "looks.json").read_text())
    assert [look["seeds"] for look in looked] == [4, 8][: len(looked)] and looked
    trained = whole.results.drop_duplicates("member").groupby("method").size()
    assert trained["baseline"] == looked[-1]["seeds"] and trained.max() == trained["baseline"]
    shown = analyse(c, whole, tmp_path / "whole")
    assert "seeds until the answer is known" in shown

    train_part, calls = job.Job.train_part, []

    def killed(self, *arguments, **more):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train_part(self, *arguments, **more)

    monkeypatch.setattr(job.Job, "train_part", killed)
    with pytest.raises(KeyboardInterrupt):
        job.train(c, points, tmp_path / "again")
    analyse(c, job.train(c, points, tmp_path / "again"), tmp_path / "again")
    names = [
        "looks.json",
        "programs.json",
        "results.csv",
        "comparisons.csv",
        "sequential.csv",
        "metrics.jsonl",
        "table.txt",
    ]
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"seeds_until": 2}, "more than the 2 seeds"),
        ({"cohort.by": "gender", "data.test": "cohort", "cohort.train": ("F:2",), "cohort.test": ("F:1",)}, "draws"),
        ({"search.lr": (0.1, 0.2)}, "compares methods"),
    ],
)
def test_settings_that_do_not_go_together(fields, words):
    with pytest.raises(ConfigError, match=words):
        check.validate(_config(**fields))


def test_a_table_of_all_seeds_has_the_verdicts_of_the_looks():
    tables = _tables(np.random.default_rng(5), [0.12, 0.02])
    settled = looks.settle(tables, PLANNED, margin=0.02)
    other = tables[-1].assign(metric="macro_f1", p_corrected=0.5, verdict="exploratory's own", family="exploratory")
    whole = pd.concat([tables[-1].assign(p_corrected=np.nan, verdict=""), other], ignore_index=True)
    found = looks.revised(whole, settled)
    assert found["verdict"].tolist() == [*settled["verdict"], "exploratory's own", "exploratory's own"]
    assert found["p_corrected"].tolist() == [*settled["p_corrected"], 0.5, 0.5]
    assert json.loads(json.dumps(found["seeds"].tolist())) == [16] * 4
