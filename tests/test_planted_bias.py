"""The recipe decides whether there is a gap between races, and the whole pipeline measures it. Trains for minutes."""

import numpy as np
import pytest

from configs import baseline
from frown_jax.jobs.job import train
from frown_jax.training import check
from tests.commands import CACHE


def _predictions(tmp_path, **fields):
    c = baseline.get_config("seeds=4")
    c.data.cache_dir = CACHE
    c.data.faces.train, c.data.faces.test, c.data.faces.joint = 3000, 2100, "balanced"
    c.epochs = 12
    c.data.faces.update(fields)
    check.validate(c)
    frame = train(c, [{}], tmp_path / "run").predictions
    return frame[frame["split"] == "test"]


def _gap(frame, group="African-American", draws=2000):
    """Accuracy of all other races minus the group's: mean over seeds, and a 95 % seeds x images bootstrap interval."""
    correct = (frame["emotion"] == frame["prediction"]).to_numpy().reshape(frame["seed"].nunique(), -1)
    inside = (frame["race"] == group).to_numpy().reshape(correct.shape)[0]
    ours, others = correct[:, inside], correct[:, ~inside]
    rng = np.random.default_rng(0)

    def resampled(x, seeds):
        return x[np.ix_(seeds, rng.integers(0, x.shape[1], x.shape[1]))].mean()

    spread = []
    for _ in range(draws):
        seeds = rng.integers(0, len(correct), len(correct))
        spread.append(resampled(others, seeds) - resampled(ours, seeds))
    return others.mean() - ours.mean(), *np.quantile(spread, [0.025, 0.975])


@pytest.mark.slow
def test_equalised_faces_show_no_gap_between_races(tmp_path):
    frame = _predictions(tmp_path, contrast=1.0, skin_tone="shared")
    gap, low, high = _gap(frame)
    print(f"equalised: gap {gap:.3f}, 95 % interval {low:.3f} to {high:.3f}")
    assert (frame["emotion"] == frame["prediction"]).mean() > 0.35  # chance is 0.143
    assert low < 0 < high
    assert high - low < 0.12  # an interval that could see a gap


@pytest.mark.slow
def test_a_planted_gap_is_seen(tmp_path):
    frame = _predictions(
        tmp_path,
        contrast=1.0,
        skin_tone="shared",
        reweight=("race=African-American:0.1",),
        group_style=("race=African-American:1.0",),
    )
    gap, low, high = _gap(frame)
    print(f"planted: gap {gap:.3f}, 95 % interval {low:.3f} to {high:.3f}")
    assert low > 0.03
