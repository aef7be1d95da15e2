"""Images per second of relevance propagation, ours and zennit's, in one run.

  python -m benchmarks.lrp
  python -m benchmarks.lrp --networks=resnet18 --outputs=1,8 --images=8

EpsilonPlus at 224 pixels and torchvision's widths, float32, random weights; zennit needs what tests/zennit_oracle.py
says. Each turn runs all of them one after another, so that whatever else the machine does meets them alike; the median
over turns counts. zennit explains one output at a time; ours takes all outputs of an image together.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from frown_jax.explain import intercept
from frown_jax.explain.composites import COMPOSITES
from frown_jax.models import weights
from frown_jax.models.fold_norms import fold_batch_norms
from frown_jax.models.resnet import ResNet18
from frown_jax.models.vgg import VGG
from tests import torch_resnet, torch_vgg, zennit_oracle

_NETWORKS = flags.DEFINE_list("networks", ["resnet18", "vgg16"], "resnet18, vgg16.")
_COMPOSITE = flags.DEFINE_string("composite", "EpsilonPlus", "Rules.")
_OUTPUTS = flags.DEFINE_list("outputs", ["1", "3"], "Outputs explained of each image.")
_IMAGES = flags.DEFINE_integer("images", 4, "In a batch.", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 224, "Pixels.")
_WIDTH = flags.DEFINE_integer("width", 64, "Of the network; torchvision's is 64.")
_TURNS = flags.DEFINE_integer("turns", 3, "Measured after one to warm up.", lower_bound=1)
_ZENNIT = flags.DEFINE_bool("zennit", True, "Compare with it.")
_OURS = {"resnet18": ResNet18, "vgg16": VGG}


def ours(name: str, tensors: dict, x: np.ndarray, outputs: int) -> Callable[[], object]:
    model = _OURS[name](classes=zennit_oracle.CLASSES, width=_WIDTH.value)
    plain, folded = fold_batch_norms(model, weights.convert(tensors, model, "benchmark"))
    rules = COMPOSITES[_COMPOSITE.value]
    starts = jnp.eye(zennit_oracle.CLASSES)[jnp.arange(outputs) % zennit_oracle.CLASSES]

    @jax.jit
    def run(variables, x):
        y, back = jax.vjp(lambda x: intercept.outputs(plain, variables, x, rules), x)
        return jax.vmap(lambda start: back(jnp.broadcast_to(start, y.shape))[0])(starts)

    arrays = jax.tree.map(jnp.asarray, (folded, x))
    return lambda: run(*arrays).block_until_ready()


def zennits(name: str, tensors: dict, x: np.ndarray, outputs: int) -> Callable[[], object]:
    import torch

    zennit = zennit_oracle.import_zennit()
    net = zennit_oracle.network(name, _WIDTH.value, tensors, "float32")
    data = torch.from_numpy(x).permute(0, 3, 1, 2)
    starts = torch.eye(zennit_oracle.CLASSES)[torch.arange(outputs) % zennit_oracle.CLASSES]
    rules = zennit_oracle.composite(_COMPOSITE.value, name, "float32")

    def run() -> object:
        with zennit.attribution.Gradient(net, rules) as attributor:
            return [attributor(data, start.expand(len(x), -1))[1] for start in starts]

    return run


def main(_: list[str]) -> None:
    size, count = _SIZE.value, _IMAGES.value
    print(
        f"{_COMPOSITE.value}, {size} px, width {_WIDTH.value}, {count} images a batch, {jax.devices()[0].device_kind}"
    )
    for name in _NETWORKS.value:
        source = torch_resnet if name == "resnet18" else torch_vgg
        tensors = source.state_dict(_WIDTH.value, zennit_oracle.CLASSES, 0)
        x = torch_resnet.images(count, size, 0)
        for outputs in (int(n) for n in _OUTPUTS.value):
            runs = {"ours": ours(name, tensors, x, outputs)}
            if _ZENNIT.value:
                runs["zennit"] = zennits(name, tensors, x, outputs)
            took: dict[str, list[float]] = {who: [] for who in runs}
            for turn in range(_TURNS.value + 1):
                for who, run in runs.items():
                    start = time.perf_counter()
                    run()
                    if turn:
                        took[who].append(time.perf_counter() - start)
            rates = {who: count * outputs / statistics.median(t) for who, t in took.items()}
            shown = ", ".join(f"{who} {rate:.2f}" for who, rate in rates.items())
            times = f", {rates['ours'] / rates['zennit']:.2f} times" if _ZENNIT.value else ""
            print(f"{name}, {outputs} output{'s' * (outputs > 1)} of each image, maps/s: {shown}{times}", flush=True)


if __name__ == "__main__":
    app.run(main)
