"""What a grid will cost on the device at hand, from a few measured steps of each of its programs."""

from __future__ import annotations

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from frown_jax.data.annotations import Annotations
from frown_jax.data.load import validation_name, without_pixels
from frown_jax.inputs.trunk import cached, feature_count
from frown_jax.member.state import State, no_sums
from frown_jax.member.values import stack, terms_of
from frown_jax.runtime import packing
from frown_jax.runtime.progress import duration
from frown_jax.training import engine
from frown_jax.training.build import check_programs, member_of, shape_of
from frown_jax.training.compile import make_engine
from frown_jax.training.grid import Program, expand

_STEPS = 4  # timed
_STORED_SIDE = 100  # pixels of the images in memory, RAF-DB's
_MOST_MEMBERS = {"map": 1, "vmap": 16}  # timed together; more take as long each


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A program's cost.

    Attributes:
      members: of the program.
      images: of a member's epoch, on average.
      epochs: summed over the members, first stages too, if none stops early.
      rate: measured member-images per second in training.
      compile_seconds: of its program.
      seconds: of training and validation, if none stops early.
    """

    members: int
    images: int
    epochs: int
    rate: float
    compile_seconds: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.members} members x {self.images:,} images, {self.epochs:,} epochs in all: {self.rate:.0f} "
            f"member-images/s measured, compilation {self.compile_seconds:.0f} s, at most {duration(self.seconds)}"
        )


def _sets(config: ConfigDict) -> tuple[Annotations, Annotations]:
    """Training and validation images without their pixels."""
    data = without_pixels(config.data)
    return Annotations.of(data.split("train")), Annotations.of(data.split(validation_name(config.data)))


def estimate(program: Program, training: Annotations, validation: Annotations) -> Estimate:
    """Times a few steps on random pixels and counts up.

    Args:
      program: its members differ in values only, so one program's rate holds for all.
      training, validation: what the members are made for.
    """
    c = program.config
    side = min(_STORED_SIDE, c.model.image_size)
    shape = shape_of(program.specs, training.classes, training.vocabularies, training.multilabel)
    built = [member_of(s, training, shape, validation) for s in program.specs]
    stacked = stack(built[: _MOST_MEMBERS[packing.resolve(c.packing)]])
    timed = len(stacked.seed)
    steps = engine.steps_per_epoch(stacked, c.batch_size)
    at_once = min(_STEPS, steps)
    terms = terms_of(stacked)
    rng, count = np.random.default_rng(0), feature_count(c.model) if cached(c) else 0
    e = make_engine(c, shape, steps, at_once, devices=jax.local_devices()[:1], terms=terms, features=count)
    if count:
        images = rng.standard_normal((len(training), count), np.float32)
    else:
        images = rng.integers(0, 255, (len(training), side, side, 3), np.uint8)
    state, data = e.init(stacked, None), (jnp.asarray(images), jnp.asarray(training.labels))

    def run(state: State) -> tuple[State, float]:
        began = time.perf_counter()
        state, sums = e.train(state, no_sums(timed), stacked, *data, 0, 0, at_once)
        jax.block_until_ready(sums)
        return state, time.perf_counter() - began

    state, first = run(state)
    seconds = []
    for _ in range(2):
        state, taken = run(state)
        seconds.append(taken)
    rate = timed * at_once * c.batch_size / min(seconds)
    epochs = [int(m.epochs + m.restart.epochs) for m in built]
    # A prediction is the forward third of a training step.
    images_in_all = sum(n * (int(m.sampling_size) + len(validation) / 3) for n, m in zip(epochs, built, strict=True))
    mean = round(sum(int(m.sampling_size) for m in built) / len(built))
    total = images_in_all / (rate * jax.local_device_count())
    return Estimate(len(built), mean, sum(epochs), rate, first - min(seconds), total + first)


def report(config: ConfigDict, points: list[dict]) -> str:
    """The cost of a grid as text."""
    device = jax.devices()[0]
    lines = [f"on {jax.local_device_count()} x {device.device_kind or device.platform}, from measured steps:"]
    programs = expand(config, points)
    sets = _sets(config)
    check_programs(programs, *sets)
    total = 0.0
    for index, program in enumerate(programs):
        found = estimate(program, *sets)
        total += found.seconds
        model = program.config.model
        lines.append(f"  program {index}: {model.name}, width {model.width}, {model.image_size} px: {found}")
    lines.append(
        f"total: at most {duration(total)}. Members that stop early (schedule and patience decide) cost less; "
        "loading data and reports come on top."
    )
    return "\n".join(lines)
