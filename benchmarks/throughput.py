"""Training throughput in images/s over all members, beside what users would run instead.

  python -m benchmarks.throughput                                  CPU sizes, about 10 minutes
  python -m benchmarks.throughput --preset=gpu --out=h100.json     the sizes of an accelerator
  python -m benchmarks.throughput --networks=resnet18 --widths=64 --sides=64 --members=1,4,16

Every case runs in a process of its own, one after another, in one invocation. `loop` runs S programs of one member in
turn, as a script over seeds would. Torch's lines are one model; training several one after another is as fast.
"""

from __future__ import annotations

import datetime
import itertools
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

from absl import app, flags

_PRESET = flags.DEFINE_enum("preset", "cpu", ["cpu", "gpu"], "Default sizes; the other flags override.")
_NETWORKS = flags.DEFINE_list("networks", None, "resnet18, vgg16")
_WIDTHS = flags.DEFINE_list("widths", None, "Channels of the first stage.")
_SIDES = flags.DEFINE_list("sides", None, "Pixels.")
_MEMBERS = flags.DEFINE_list("members", None, "Members trained together.")
_DEVICES = flags.DEFINE_list("devices", ["1"], "Devices over which members are cut; on CPU simulated ones share it.")
_DTYPES = flags.DEFINE_list("dtypes", None, "float32, bfloat16")
_PACKINGS = flags.DEFINE_list("packings", "map,vmap,loop", "Of frown_jax.")
_PEERS = flags.DEFINE_list("peers", None, "torch styles: eager, channels_last, amp, compile; '' for none.")
_CONV = flags.DEFINE_string("conv", "auto", "Lowering of convolutions (frown_jax/models/conv.py).")
_BATCH = flags.DEFINE_integer("batch", 32, "Images per member and step.")
_STEPS = flags.DEFINE_integer("steps", 8, "Steps per timed call.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed calls; the fastest counts.")
_TIMEOUT = flags.DEFINE_integer("timeout", 600, "Seconds for one case.")
_OUT = flags.DEFINE_string("out", "", "JSON file for the results.")
_WORKER = flags.DEFINE_string("worker", None, "One case as JSON; used by the parent process.")

_PRESETS = {
    "cpu": {
        "networks": ["resnet18"],
        "widths": [16, 64],
        "sides": [64],
        "members": [1, 4, 16],
        "dtypes": ["float32"],
        "peers": ["eager", "channels_last"],
    },
    "gpu": {
        "networks": ["resnet18", "vgg16"],
        "widths": [64],
        "sides": [64, 100, 224],
        "members": [1, 2, 4, 8, 16, 32],
        "dtypes": ["float32", "bfloat16"],
        "peers": ["eager", "channels_last", "amp", "compile"],
    },
}


def _forward_flops(jaxpr) -> float:
    """Multiply-adds of convolutions and matrix products in a jaxpr, times two, padding counted."""
    total = 0.0
    for equation in jaxpr.eqns:
        out = equation.outvars[0].aval
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval
            total += 2 * out.size * kernel.size / kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
        elif equation.primitive.name == "dot_general":
            (contract, _), _ = equation.params["dimension_numbers"]
            depth = 1
            for axis in contract:
                depth *= equation.invars[0].aval.shape[axis]
            total += 2 * out.size * depth
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                total += _forward_flops(inner)
    return total


def _ours(case: dict) -> dict:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from benchmarks import timing
    from frown_jax import config as configs
    from frown_jax.data.annotations import Annotations
    from frown_jax.member.state import no_sums
    from frown_jax.member.values import stack
    from frown_jax.models.build import network
    from frown_jax.runtime import memory
    from frown_jax.training.build import member_of
    from frown_jax.training.compile import make_engine
    from frown_jax.training.grid import expand
    from frown_jax.training.step import Shape

    steps, batch, side, count = case["steps"], case["batch"], case["side"], case["members"]
    c = configs.default()
    c.model.update(name=case["network"], width=case["width"], image_size=side, dtype=case["dtype"], conv=case["conv"])
    c.packing = "vmap" if case["packing"] == "loop" else case["packing"]
    c.batch_size, c.seeds = batch, tuple(range(count))
    together = 1 if case["packing"] == "loop" else count
    images = np.random.default_rng(0).integers(0, 255, (batch * steps, side, side, 3), np.uint8)
    labels = np.arange(batch * steps, dtype=np.int32) % 7
    (group,) = expand(c, [{}])
    built = [member_of(s, Annotations.without_attributes(labels, 7)) for s in group.specs]
    e = make_engine(group.config, Shape(7), steps, steps, devices=jax.local_devices()[: case["devices"]])
    data = e.packing.everywhere((images, labels))
    groups = [e.packing.cut(stack(built[i : i + together])) for i in range(0, count, together)]
    states = [e.init(g, None) for g in groups]
    arguments = (states[0], e.packing.cut(no_sums(together)), groups[0], *data, 0, 0, steps)
    began = time.perf_counter()
    compiled = e.train.lower(*arguments).compile()
    compile_s = time.perf_counter() - began

    def epoch() -> float:
        began = time.perf_counter()
        for i, g in enumerate(groups):
            states[i], sums = e.train(states[i], e.packing.cut(no_sums(together)), g, *data, 0, 0, steps)
            jax.block_until_ready(sums)
        return time.perf_counter() - began

    epoch()
    best = min(epoch() for _ in range(case["repeats"]))
    model = network(group.config.model.copy_and_resolve_references(), 7).clone(lowering="xla")
    one = jnp.zeros((1, side, side, 3))
    variables = jax.eval_shape(lambda k: model.init(k, one, train=False), jax.random.key(0))
    forward = _forward_flops(jax.make_jaxpr(lambda v: model.apply(v, one, train=False)[0])(variables).jaxpr)
    rate = count * batch * steps / best
    stats = jax.devices()[0].memory_stats() or {}
    return {
        "images_per_s": rate,
        "compile_s": compile_s,
        "peak_bytes": stats.get("peak_bytes_in_use", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024),
        "program_bytes": memory.program_bytes(compiled),
        "flops_per_s": 3 * forward * rate,
        "matmul_peak": timing.matmul_peak(case["dtype"]),
        "device": timing.device_name(),
        "jax": jax.__version__,
    }


def _worker(case: dict) -> dict:
    if case["packing"].startswith("torch "):
        from benchmarks import peers

        style = case["packing"].removeprefix("torch ")
        size = (case["network"], case["width"], case["side"], case["batch"])
        return peers.throughput(style, *size, case["steps"], case["repeats"])
    return _ours(case)


def _cases() -> list[dict]:
    preset = _PRESETS[_PRESET.value]

    def chosen(name: str, flag: flags.FlagHolder) -> list:
        return [v for v in (preset[name] if flag.value is None else flag.value) if v != ""]

    fixed = {"batch": _BATCH.value, "steps": _STEPS.value, "repeats": _REPEATS.value, "conv": _CONV.value}
    out = []
    shapes = itertools.product(
        chosen("networks", _NETWORKS), map(int, chosen("widths", _WIDTHS)), map(int, chosen("sides", _SIDES))
    )
    for network, width, side in shapes:
        shape = {"network": network, "width": width, "side": side, **fixed}
        for style in chosen("peers", _PEERS):
            out.append({**shape, "packing": f"torch {style}", "members": 1, "devices": 1, "dtype": "as named"})
        for dtype, devices, members, packing in itertools.product(
            chosen("dtypes", _DTYPES), map(int, _DEVICES.value), map(int, chosen("members", _MEMBERS)), _PACKINGS.value
        ):
            case = {"packing": packing, "members": members, "devices": devices, "dtype": dtype}
            if members % devices == 0:
                out.append({**shape, **case})
    return out


def _run(case: dict) -> dict:
    command = [sys.executable, "-m", "benchmarks.throughput", f"--worker={json.dumps(case)}"]
    simulated = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={case['devices']}"
    environment = {**os.environ, "XLA_FLAGS": simulated}  # of no effect on accelerators
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT.value, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return {**case, "failed": f"more than {_TIMEOUT.value} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        return {**case, "failed": lines[-1][:200]}
    return {**case, **json.loads(done.stdout.strip().splitlines()[-1])}


def _line(row: dict) -> str:
    name = f"{row['network']} width {row['width']}, {row['side']} px, S = {row['members']:>2}, {row['packing']}"
    if row["devices"] > 1:
        name += f", {row['devices']} devices"
    text = f"{name:<58} {row['dtype']:<9}"
    if "failed" in row:
        return f"{text} failed: {row['failed']}"
    text += f" {row['images_per_s']:8.0f} images/s, compile {row['compile_s']:5.1f} s"
    if row.get("peak_bytes"):
        text += f", peak {row['peak_bytes'] / 1e9:5.2f} GB"
    if "matmul_peak" in row:
        text += f", {row['flops_per_s'] / row['matmul_peak']:4.0%} of {row['matmul_peak'] / 1e9:.0f} GFLOP/s"
    return text


def main(_: list[str]) -> None:
    if _WORKER.value:
        print(json.dumps(_worker(json.loads(_WORKER.value))))
        return
    rows = []
    for case in _cases():
        rows.append(_run(case))
        print(_line(rows[-1]), flush=True)
        if _OUT.value:
            about = {"date": datetime.date.today().isoformat(), "command": " ".join(sys.argv)}
            pathlib.Path(_OUT.value).write_text(json.dumps({**about, "rows": rows}, indent=1))


if __name__ == "__main__":
    app.run(main)
