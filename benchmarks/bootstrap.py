"""Bootstrap of every group metric on the device, beside fairlearn's MetricFrame.

python -m benchmarks.bootstrap                  RAF-DB's test set in cells: 3,068 images, 7 classes
python -m benchmarks.bootstrap --grid           also 20 methods x 16 seeds in one call (about 5 minutes on 2 cores)

Needs the 'test' extra for fairlearn and scikit-learn.
"""

import time

import jax
import numpy as np
import pandas as pd
from absl import app, flags

from frown_jax import schema
from frown_jax.metrics import bootstrap, resample
from frown_jax.metrics.bootstrap import Bootstrap
from frown_jax.metrics.outcomes import Attribute, Outcomes
from frown_jax.metrics.plan import Plan, grouping, groupings

_GRID = flags.DEFINE_bool("grid", False, "Also time 20 methods x 16 seeds.")
_RESAMPLES = flags.DEFINE_integer("resamples", 1000, "Of the bootstrap.")


def rafdb(runs, seed=0):
    """Made-up answers on RAF-DB's test cells and class counts; without gender Unsure they are the 30 cells."""
    rng = np.random.default_rng(seed)
    cells = schema.rafdb_cells("test")
    where = np.repeat(np.arange(cells.size), cells.ravel())
    codes = np.unravel_index(where, cells.shape)
    labels = rng.permutation(np.repeat(np.arange(7), schema.RAFDB_EMOTIONS["test"]))
    p = rng.dirichlet(np.full(7, 0.4), (runs, len(labels)))
    p = p * 0.5 + 0.5 * np.eye(7)[np.where(rng.random((runs, len(labels))) < 0.8, labels, 6 - labels)]
    attributes = {
        a: Attribute(c.astype(np.int32), v) for (a, v), c in zip(schema.ATTRIBUTES.items(), codes, strict=True)
    }
    who = pd.DataFrame({"method": [f"m{i // 16:02d}" for i in range(runs)], "seed": np.arange(runs) % 16})
    return Outcomes.of(
        np.array(schema.EMOTIONS, object)[labels], None, p, attributes, targets=schema.EMOTIONS, runs=who
    )


def _seconds(f, repeats=3):
    best = np.inf
    for _ in range(repeats):
        began = time.perf_counter()
        f()
        best = min(best, time.perf_counter() - began)
    return best


def _fairlearn(data, resamples=10):
    """MetricFrame's own bootstrap of one metric over the same cells."""
    from fairlearn.metrics import MetricFrame
    from sklearn.metrics import accuracy_score

    features = pd.DataFrame({a: np.array(v.vocabulary)[v.codes] for a, v in data.attributes.items()})

    def run():
        MetricFrame(
            metrics=accuracy_score,
            y_true=data.labels,
            y_pred=data.predictions[0],
            sensitive_features=features,
            n_boot=resamples,
            ci_quantiles=[0.025, 0.975],
            random_state=0,
        )

    return _seconds(run, 1)


def main(_):
    print(f"JAX {jax.__version__}, {jax.devices()[0].device_kind}, {_RESAMPLES.value} resamples")
    data = rafdb(1)
    without = {a: ("Male", "Female") if a == "gender" else v.vocabulary for a, v in data.attributes.items()}
    cells = [grouping(data), grouping(data, tuple(data.attributes), without)]
    rows, settings = [], Bootstrap(_RESAMPLES.value)
    for name, divisions in (("30 cells", cells), ("every attribute and intersection", groupings(data))):
        plan = Plan.of(data, divisions)
        members = np.zeros((1, 1), np.int32)

        def run(plan=plan, members=members):
            weights = resample.bootstrap_weights(resample.units(data), _RESAMPLES.value)
            for _ in resample.replicates(data, plan, members, weights):
                pass

        began = time.perf_counter()
        run()
        first = time.perf_counter() - began
        rows.append(
            {
                "groups": name,
                "values": len(plan.rows),
                "resampling, s": _seconds(run),
                "with intervals, s": _seconds(lambda plan=plan: bootstrap.estimates(data, plan, settings)),
                "compile, s": first,
            }
        )
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.2f}".format))
    few = 100 if _RESAMPLES.value >= 100 else _RESAMPLES.value
    print(f"fairlearn MetricFrame, accuracy alone, 45 cells, {few} resamples: {_fairlearn(data, few):.2f} s")
    if _GRID.value:
        grid = rafdb(320)
        _, members = bootstrap.members_of(grid.runs)
        plan = Plan.of(grid, groupings(grid))
        began = time.perf_counter()
        found = bootstrap.estimates(grid, plan, settings, members)
        seconds = time.perf_counter() - began
        print(f"20 methods x 16 seeds, {found.mean.shape[1]} values each, with intervals: {seconds:.0f} s")


if __name__ == "__main__":
    app.run(main)
