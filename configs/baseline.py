"""The baseline: ResNet18, cross-entropy, many seeds in one program.

Commands, cost and what to expect (mean over seeds; docs/benchmarks.md has the spread and the machine):

  python launch.py --config=configs/baseline.py
      Embedded faces, quick settings: 2,400 + 1,200 images at 48 px, width 16, 4 seeds.
  python launch.py --config=configs/baseline.py:full
      Embedded faces, RAF-DB's 12,271 + 3,068 images and cells at 64 px, width 16, 4 seeds.
  python launch.py --config=configs/baseline.py:rafdb --config.data.dir=DIR
      RAF-DB at 224 px, width 64, 16 seeds; on an accelerator. Add --config.model.weights=resnet18-f37072fd.pth.
  python launch.py --config=configs/baseline.py:manifest --config.data.dir=DIR
      Any folder with a labels.csv (docs/data.md), at 48 px, width 16.

Arguments after the colon, separated by commas: faces (default) | full | rafdb | manifest, runlocal (a smoke test of
seconds), seeds=N, fidelity=sound|paper|repo (how the first study is read; docs/fidelity.md).
"""

from frown_jax import config as base


def get_config(arg=None):
    words, options = base.parse_arg(
        arg, flags=("faces", "full", "rafdb", "manifest", "runlocal"), seeds=0, fidelity="sound"
    )
    c = base.default()
    base.set_fidelity(c, options["fidelity"])
    if "rafdb" in words:
        c.data.name = "rafdb"
        c.epochs = 50
    else:
        c.data.name = "manifest" if "manifest" in words else "faces"
        base.small(c)
        if "full" in words:
            c.model.image_size = 64
            c.epochs = 18
        else:
            c.data.faces.train, c.data.faces.test = 2400, 1200
            c.epochs = 16
    if "runlocal" in words:
        base.smoke(c)
    if options["seeds"]:
        c.seeds = tuple(range(options["seeds"]))
    return c
