"""What a classifier without learned features reaches: logistic regression on grey pixels of the quick embedded set.

python -m benchmarks.pixels        (needs the 'test' extra for scikit-learn)
"""

import json

import numpy as np
from absl import app

from configs import baseline
from frown_jax.data.load import load
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.results_table import values


def _grey(images):
    grey = images.astype(np.float32).mean(-1).reshape(len(images), -1)
    grey = grey - grey.mean(1, keepdims=True)
    return grey / (grey.std(1, keepdims=True) + 1e-3)


def main(_):
    from sklearn.linear_model import LogisticRegression

    config = baseline.get_config("")
    data = load(config.data, config.model.image_size)
    fit = data.table["split"].to_numpy() != "test"
    train, test = data.take(np.flatnonzero(fit)), data.split("test")
    out = {"majority_accuracy": round(float(np.bincount(test.labels).max() / len(test)), 3)}
    for weights in (None, "balanced"):
        model = LogisticRegression(C=0.003, max_iter=300, class_weight=weights).fit(_grey(train.images), train.labels)
        predicted = model.predict(_grey(test.images))
        names = np.array(data.classes, object)
        found = values(Outcomes.of(names[test.labels], names[predicted], targets=data.classes)).set_index("metric")
        out[f"logistic_regression_{weights or 'unweighted'}"] = {
            name: round(float(found["value"][name]), 3) for name in ("accuracy", "balanced_accuracy")
        }
    print(json.dumps(out, indent=2))


if __name__ == "__main__":
    app.run(main)
