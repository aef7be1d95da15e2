"""Makes the golden files with torch and zennit: python -m tests.golden.make.

Needs the 'oracles' extra, and zennit as tests/zennit_oracle.py says.
"""

import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file

from tests import torch_resnet, torch_vgg, zennit_oracle
from tests.golden import RELEVANCE, RESNETS, VGGS

HERE = pathlib.Path(__file__).parent


def main() -> None:
    for width, classes, size, seed in RESNETS:
        out = torch_resnet.torch_outputs(width, classes, size, seed)
        np.savez_compressed(HERE / f"resnet18_w{width}_{size}.npz", allow_pickle=False, **out)
    for width, classes, size, seed in VGGS:
        out = torch_vgg.torch_outputs(width, classes, size, seed)
        np.savez_compressed(HERE / f"vgg16_w{width}_{size}.npz", allow_pickle=False, **out)
    for name, width, size, seed in RELEVANCE:
        weights, x = zennit_oracle.tensors(name, width, seed), torch_resnet.images(4, size, seed)
        found = {
            rules: zennit_oracle.relevance(name, width, weights, x, rules, 1, "float64")
            for rules in zennit_oracle.COMPOSITES
        }
        np.savez_compressed(
            HERE / f"relevance_{name}_w{width}_{size}.npz",
            logits=next(iter(found.values()))[0],
            **{rules: relevance.astype(np.float32) for rules, (_, relevance) in found.items()},
        )
    state = {k: torch.from_numpy(v) for k, v in torch_resnet.state_dict(2, 3, 5).items()}
    state["bn1.num_batches_tracked"] = torch.tensor(4)
    state["conv1.weight"] = state["conv1.weight"].permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3)  # strided
    torch.save(state, HERE / "tiny_zip.pth")
    torch.save(state, HERE / "tiny_legacy.pth", _use_new_zipfile_serialization=False)
    save_file({k: np.array(v.numpy(), order="C") for k, v in state.items()}, HERE / "tiny.safetensors")


if __name__ == "__main__":
    main()
