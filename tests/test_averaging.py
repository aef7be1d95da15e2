"""Averages of weights against the papers' rules, written out plainly."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from frown_jax.member import averaging
from frown_jax.member.averaging import SWA, SWAD


def _settings(**changes):
    return averaging.nothing().replace(**{k: np.asarray(v, np.float32 if k in ("start", "rate", "ratio") else np.int32)
                                          for k, v in changes.items()})  # fmt: skip


STEP = jax.jit(averaging.after_step)
EPOCH = jax.jit(averaging.after_epoch)
END = jax.jit(averaging.conclude)


def _run(weights, losses, m, memory):
    """weights [T, steps]: one parameter after each step."""
    a = averaging.start({"w": jnp.zeros(())}, memory)
    for of_epoch, loss in zip(weights, losses, strict=True):
        for w in of_epoch:
            a = STEP(a, {"w": jnp.float32(w)})
        a = EPOCH(a, m, {"w": jnp.float32(of_epoch[-1])}, jnp.float32(loss), jnp.int32(len(losses)))
    mean, there = END(a, m)
    return float(mean["w"]), bool(there), bool(a.ended)


def test_swa_is_the_mean_after_the_epochs_from_its_start():
    weights = np.arange(10.0).reshape(5, 2)
    mean, there, _ = _run(weights, [1] * 5, _settings(kind=SWA, start=0.6), 0)
    assert there
    assert mean == pytest.approx(np.mean([7, 9]))
    assert not _run(weights, [1] * 5, averaging.nothing(), 0)[1]


def _valley(losses, converge, tolerance, ratio):
    """Epochs of SWAD's valley, by its definition; None without one."""
    losses, last = np.float32(losses), len(losses)
    for s in range(last - converge + 1):
        if losses[s] <= losses[s : s + converge].min():
            break
    else:
        return None
    level = np.float32(1 + ratio) * losses[s : s + converge].mean(dtype=np.float32)
    e = s
    while e < last and losses[e : e + tolerance].min() <= level:
        e += 1
    return range(s, e)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
    st.lists(st.integers(1, 40), min_size=3, max_size=24),
    st.integers(1, 5),
    st.integers(1, 6),
    st.sampled_from([0.03, 0.31, 0.77]),
)
def test_swad_is_the_mean_of_all_steps_in_the_valley(losses, converge, tolerance, ratio):
    # Ratios that put the level between the losses, so that rounding decides nothing.
    weights = np.random.default_rng(0).normal(size=(len(losses), 3))
    m = _settings(kind=SWAD, converge=converge, tolerance=tolerance, ratio=ratio)
    valley = _valley(losses, converge, tolerance, ratio)
    mean, there, ended = _run(weights, losses, m, 6)
    assert there == bool(valley)
    if valley:
        assert mean == pytest.approx(weights[list(valley)].mean(), abs=1e-5)
        assert valley[-1] == len(losses) - 1 or ended or tolerance > len(losses) - 1 - valley[-1]


def test_a_valley_by_hand():
    # Lowest at epoch 2 of (3, 2, 1, 1.5, 1.2): level 1.3 * 1.2333 = 1.603; epoch 5 and the two after it lie above.
    losses = [3, 2, 1, 1.5, 1.2, 9, 9, 9, 1]
    assert list(_valley(losses, 3, 3, 0.3)) == [2, 3, 4]
    mean, there, ended = _run(
        np.arange(9.0)[:, None], losses, _settings(kind=SWAD, converge=3, tolerance=3, ratio=0.3), 3
    )
    assert there
    assert ended
    assert mean == pytest.approx(3)
