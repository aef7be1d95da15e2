"""Trains four networks at once, as one program: what this package does, on one page.

    python examples/train_four_members.py

A training run is usually a process: a script with flags. Here it is data. A `Member` is a pytree of arrays that holds
everything in which one run may differ from another: its seed, its learning rate, how much each of its images counts.
One pure function trains one member. Stacking the members and packing the function trains all of them.

The images are stripes of four directions in noise. Members 0 and 1 differ in their seed. Member 2 has a learning rate
of zero, so it stays as it began. In member 3 no image of the last class counts, so it never learns to say that class.
"""

import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.config import default
from frown_jax.data.annotations import Annotations
from frown_jax.member.state import no_sums
from frown_jax.member.values import stack
from frown_jax.models.classifier import Classifier
from frown_jax.models.layers import Conv, Linear
from frown_jax.runtime.packing import Packing
from frown_jax.training.build import member_of
from frown_jax.training.grid import expand
from frown_jax.training.step import MemberStep, Shape, Static

CLASSES, SIDE, BATCH, EPOCHS = ("-", "\\", "|", "/"), 16, 32, 4


class TwoLayers(Classifier):
    """Two convolutions, a mean over the image, and a linear layer."""

    last_layer, watched = "logits", "features"

    def trunk(self, x, train, mask, out):
        for index in range(2):
            x = jax.nn.relu(Conv(self.width, 3, bias=True, name=f"conv{index}")(x))
        return x.mean((1, 2))

    def head(self, x, rate, key, out):
        out["penultimate"] = x
        return Linear(self.classes, name="logits")(x)

    def is_trained(self, path):
        return True


def stripes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 [count, SIDE, SIDE, 3], and their classes, int32 [count]: directions of stripes in noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), count).astype(np.int32)
    angle = (np.pi / 2 + labels * np.pi / 4)[:, None, None]
    y, x = np.mgrid[:SIDE, :SIDE]
    wave = np.sin(1.5 * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 2 * np.pi, (count, 1, 1)))
    pixels = 128 + 50 * wave[..., None] + rng.normal(0, 20, (count, SIDE, SIDE, 3))
    return pixels.clip(0, 255).astype(np.uint8), labels


def main() -> np.ndarray:
    """Trains, prints what each member learned, and returns the recall of each member and class, float [4, 4]."""
    (images, labels), (test_images, test_labels) = stripes(512, seed=0), stripes(400, seed=1)
    train, test = (Annotations.without_attributes(y, len(CLASSES)) for y in (labels, test_labels))

    # 1. Members are data. A config says what is usual, and `replace` changes one thing in one member.
    config = default()
    config.seeds, config.epochs, config.optimiser.learning_rate = (0, 1, 2, 3), EPOCHS, 1e-2
    config.schedule.name, config.loss.class_weights = "constant", "none"
    config.augment.flip = 0.0  # which turns "/" into "\"
    shape = Shape(classes=len(CLASSES))
    members = [member_of(spec, train, shape, test) for program in expand(config, [{}]) for spec in program.specs]
    members[2] = members[2].replace(learning_rate=np.float32(0))
    members[3] = members[3].replace(example_weights=(labels != 3).astype(np.float32))
    stacked = stack(members)

    # 2. The functions of one member are pure; the packing makes them everybody's (0: each has its own; None: shared).
    steps = len(images) // BATCH
    packing = Packing(devices=jax.devices()[:1])
    own = MemberStep(Static(TwoLayers(len(CLASSES), width=16), SIDE, BATCH, 200, shape), steps, packing.how == "map")
    init = jax.jit(packing(own.init, (0, None), how="vmap"))
    epoch = jax.jit(packing(own.train, (0, 0, 0, None, None, None, None, None)))
    finish = jax.jit(packing(own.finish_epoch, (0, 0, None, None, None)))
    predict = jax.jit(packing(own.predict, (0, 0, 0, None)))

    # 3. The loop: an epoch of all members, then a look at the held-out images.
    state = init(stacked, None)
    for number in range(EPOCHS):
        state, _ = epoch(state, no_sums(len(members)), stacked, images, labels, number, 0, steps)
        state = finish(state, stacked, test_images, test_labels, jnp.int32(number))[0]

    rows = stacked.validation_rows
    guesses = np.asarray(predict(state.best, jnp.full_like(rows, -1), rows, test_images).argmax(-1))
    recall = np.stack([(guesses[:, test_labels == k] == k).mean(1) for k in range(len(CLASSES))], axis=1)
    for index, of_member in enumerate(recall):
        print(f"member {index}: " + "  ".join(f"{c} {r:.2f}" for c, r in zip(CLASSES, of_member, strict=True)))
    return recall


if __name__ == "__main__":
    main()
