"""The model of small cells as numpyro samples it, with which ours is compared.

python -m tests.numpyro_oracle      writes tests/golden/small_cells.json again, about 2 minutes
"""

import json
import pathlib

import numpy as np

GOLDEN = pathlib.Path(__file__).parent / "golden" / "small_cells.json"
# (attributes' sizes, n and right answers of every cell): sparse cells of three attributes, empty ones among them, and
# three groups of one.
CASES = {
    "three attributes": (
        (3, 2, 3),
        [40, 210, 0, 36, 160, 3, 8, 11, 1, 5, 14, 0, 12, 60, 9, 2, 45, 4],
        [31, 180, 0, 20, 111, 3, 4, 9, 0, 5, 4, 0, 11, 41, 8, 1, 29, 2],
    ),
    "one attribute": ((3,), [300, 25, 4], [240, 14, 4]),
}


def levels_of(sizes):
    """The group of every cell in every attribute, [C, A]."""
    return np.stack(np.unravel_index(np.arange(int(np.prod(sizes))), sizes), 1)


def sampled(sizes, count, right, draws=20_000, seed=0):
    """Draws of every cell's accuracy, [S, C], by the No-U-Turn sampler."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    levels = levels_of(sizes)

    def model():
        eta = numpyro.sample("intercept", dist.Normal(0, 2.5))
        for a, groups in enumerate(sizes if len(sizes) > 1 else ()):
            # Normal(0, 1) effects, less their mean: the covariance is I - 1 1' / G, as ours.
            raw = numpyro.sample(f"effects_{a}", dist.Normal(0, 1).expand([groups]))
            eta = eta + (raw - raw.mean())[levels[:, a]]
        spread = numpyro.sample("spread", dist.HalfNormal(1))
        own = numpyro.sample("own", dist.Normal(0, 1).expand([len(levels)]))
        logits = numpyro.deterministic("logits", eta + spread * own)
        numpyro.sample("right", dist.Binomial(np.array(count), logits=logits), obs=np.array(right))

    chain = MCMC(NUTS(model, target_accept_prob=0.95), num_warmup=2000, num_samples=draws, progress_bar=False)
    chain.run(jax.random.key(seed))
    return np.asarray(jax.nn.sigmoid(jnp.asarray(chain.get_samples()["logits"])))


def facts(accuracy):
    """Mean, 95 % interval and probability of being the worst, of every cell."""
    worst = np.bincount(accuracy.argmin(1), minlength=accuracy.shape[1]) / len(accuracy)
    low, high = np.quantile(accuracy, [0.025, 0.975], axis=0)
    return {"mean": accuracy.mean(0), "lower": low, "upper": high, "worst": worst}


if __name__ == "__main__":
    golden = {name: {k: np.asarray(v, np.float64).round(4).tolist() for k, v in facts(sampled(*case)).items()}
              for name, case in CASES.items()}  # fmt: skip
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
