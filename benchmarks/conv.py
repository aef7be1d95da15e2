"""Times every lowering of every convolution that the networks use, and writes the table that picks among them.

python -m benchmarks.conv                       this device; rewrites its rows in frown_jax/models/conv_table.json
python -m benchmarks.conv --dry_run             only prints
python -m benchmarks.conv --full                also width 64 at 224 pixels and VGG16's (an accelerator's sizes)
"""

from __future__ import annotations

import datetime
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import timing
from frown_jax.models import conv, conv_table

_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Measure and print; leave the table as it is.")
_FULL = flags.DEFINE_bool("full", False, "Also the shapes of 224-pixel ResNet18 and VGG16 at full width.")
_MEMBERS = flags.DEFINE_list("members", ["1", "4", "16"], "Numbers of members.")
_BATCH = flags.DEFINE_integer("batch", 32, "Images per member.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of images, kernels and gradients.")
_SECONDS = flags.DEFINE_float("seconds", 0.12, "Least time spent on each measurement.")

TABLE = pathlib.Path(conv_table.__file__).with_name("conv_table.json")
OPERATIONS = ("forward", "input_gradient", "kernel_gradient")
_ROUNDS = 3
_HOPELESS = 8
_STEPS = 3  # of the loop around an operation
_LARGEST_BYTES = 4 * 2**30  # patches of all members; larger cases are left out


Shape = tuple[int, int, int, int, int]  # input side, C, D, kernel, stride


def shapes(full: bool) -> list[Shape]:
    """Those of the convolutions of ResNet18 at the sizes used."""
    found = []
    for width, side in ((16, 48), (16, 64), (64, 64), *(((64, 224),) if full else ())):
        found.append((side, 3, width, 7, 2))
        side //= 4
        found.append((side, width, width, 3, 1))
        for stage in range(1, 4):
            c, d = width * 2 ** (stage - 1), width * 2**stage
            found += [(side, c, d, 3, 2), (side, c, d, 1, 2)]
            side = -(-side // 2)
            found.append((side, d, d, 3, 1))
    if full:
        vgg = ((224, 3, 64), (224, 64, 64), (112, 64, 128), (56, 128, 256), (28, 256, 512), (14, 512, 512))
        found += [(side, c, d, 3, 1) for side, c, d in vgg]
    return found


def functions(lowering: str, stride: int, pad: int, side: int, size: int):
    """The three operations, packed over members, as jitted functions of _STEPS stacked (x, kernel, dy).

    They run inside a `lax.scan`, as training does: on CPU, XLA's convolution is many times slower in a loop than
    outside, so a table of single calls would choose wrongly.
    """
    strides, padding = (stride, stride), ((pad, pad), (pad, pad))

    def pack(fn):
        packed = jax.vmap(fn)

        def steps(x, k, dy):
            start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(packed, x[0], k[0], dy[0]))
            return jax.lax.scan(lambda _, xs: (packed(*xs), None), start, (x, k, dy))[0]

        return jax.jit(steps)

    # The operations themselves, not `jax.vjp`: each is timed alone.
    how = (strides, padding)
    return {
        "forward": pack(lambda x, k, dy: conv._forward(x, k, *how, lowering)),
        "input_gradient": pack(lambda x, k, dy: conv._input_gradient(dy, k, *how, (side, side), lowering)),
        "kernel_gradient": pack(lambda x, k, dy: conv._kernel_gradient(x, dy, (size, size), *how, lowering)),
    }


def measure(members: int, shape: Shape, batch: int, dtype: str, hopeless: set[tuple[Shape, str, str]]) -> dict:
    """A row of the table: GFLOP/s of every lowering and operation, and the best of each.

    What is _HOPELESS times slower than the best is added to `hopeless` and not measured with more members; nor is
    XLA's convolution in its other packings where it is hopeless alone.
    """
    side, c, d, size, stride = shape
    pad = size // 2
    out = (side + 2 * pad - size) // stride + 1
    rng = np.random.default_rng(0)

    def array(*dims: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal((_STEPS, *dims), np.float32), dtype)

    x, k = array(members, batch, side, side, c), array(members, size, size, c, d)
    dy = array(members, batch, out, out, d)
    seconds: dict[str, dict[str, float]] = {operation: {} for operation in OPERATIONS}
    candidates = {
        (operation, lowering): fn
        for lowering in conv.LOWERINGS[1:]
        if members > 1 or lowering not in ("map", "unroll")
        for operation, fn in functions(lowering, stride, pad, side, size).items()
        if c > 3 or operation != "input_gradient"  # nobody needs the gradient of an image in training
        if (shape, operation, "xla" if lowering in ("map", "unroll") else lowering) not in hopeless
    }
    # In rounds: a neighbour on a shared machine who takes a core for a second must not decide.
    for _ in range(_ROUNDS):
        for (operation, lowering), fn in candidates.items():
            least = seconds[operation]
            give_up = 3 * min(least.values(), default=float("inf"))
            if least.get(lowering, 0) <= give_up:
                taken = timing.best(fn, x, k, dy, seconds=_SECONDS.value / _ROUNDS, give_up=give_up)
                least[lowering] = min(taken, least.get(lowering, taken))
    for operation, taken in seconds.items():
        hopeless |= {(shape, operation, k) for k, v in taken.items() if v > _HOPELESS * min(taken.values())}
    flops = _STEPS * 2 * members * batch * out * out * d * size * size * c
    return {
        "platform": jax.default_backend(),
        "dtype": dtype,
        "members": members,
        "batch": batch,
        "kernel": [size, size, c, d],
        "strides": [stride, stride],
        "out": [out, out],
        "best": {o: min(s, key=s.__getitem__) for o, s in seconds.items() if s},
        "gflops": {o: {k: round(flops / v / 1e9, 1) for k, v in s.items()} for o, s in seconds.items()},
    }


def _identity(row: dict) -> tuple:
    """What a row is about; measured again, it is replaced."""
    return tuple(str(row[k]) for k in ("platform", "dtype", "members", "batch", "kernel", "strides", "out"))


def main(_: list[str]) -> None:
    rows: list[dict] = []
    hopeless: set[tuple[Shape, str, str]] = set()
    for members in map(int, _MEMBERS.value):
        for shape in shapes(_FULL.value):
            side, c, _, size, _ = shape
            if members * _BATCH.value * side * side * size * size * c * 4 > _LARGEST_BYTES:
                continue
            row = measure(members, shape, _BATCH.value, _DTYPE.value, hopeless)
            rows.append(row)
            print(f"members {members:2d}, side, C, D, kernel, stride {shape}: GFLOP/s", flush=True)
            for operation, speeds in row["gflops"].items():
                print("   ", operation.ljust(16), "  ".join(f"{k} {v:g}" for k, v in speeds.items()), flush=True)
    if _DRY_RUN.value:
        return
    table = json.loads(TABLE.read_text())
    measured = {_identity(row) for row in rows}
    kept = [row for row in table["rows"] if _identity(row) not in measured]
    by = {
        "device": timing.device_name(),
        "jax": jax.__version__,
        "date": datetime.date.today().isoformat(),
        "command": "python -m benchmarks.conv " + " ".join(sys.argv[1:]),
    }
    written = [{**{k: v for k, v in row.items() if k != "gflops"}, "by": by} for row in rows]
    every = sorted(kept + written, key=_identity)
    lines = ",\n  ".join(json.dumps(row) for row in every)
    TABLE.write_text(f'{{"rows": [\n  {lines}\n]}}\n')
    print(f"wrote {TABLE}")


if __name__ == "__main__":
    app.run(main)
