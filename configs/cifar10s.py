"""CIFAR-10S, the public benchmark of Wang et al. (CVPR 2020), for the methods that it compares.

Commands (docs/reproductions.md has the results beside the published ones):

  python launch.py --config=configs/cifar10s.py --config.data.dir=CIFAR10
      Reduced: 1,200 images of each class, narrow ResNet18, 3 seeds; for a CPU.
  python launch.py --config=configs/cifar10s.py:full --config.data.dir=CIFAR10
      All images, full width, 200 epochs, 16 seeds; on an accelerator.

CIFAR10 holds train/<class>/*.png and test/<class>/*.png (or .jpg), or images.tar.xz of them. Arguments after the colon:
full, seeds=N.
"""

from frown_jax import config as base
from frown_jax.data.cifar10s import CLASSES

METHODS = {
    "ERM": "",
    "oversampling": "balanced_sampling(by=('emotion', 'domain'))",
    "uniform confusion": "uniform_confusion(by='domain')",
    "domain discriminative": "domain_discriminative(by='domain')",
    "domain independent": "domain_independent(by='domain')",
}


def get_config(arg=None):
    words, options = base.parse_arg(arg, flags=("full",), seeds=0)
    c = base.default()
    c.data.name = "cifar10s"
    c.data.classes = CLASSES
    c.data.val_fraction = 0.1
    c.model.image_size = 32
    c.model.stem = "small"
    c.loss.class_weights = "none"
    c.schedule.name = "cosine"
    c.stopping.patience = 1000
    if "full" in words:
        c.seeds = tuple(range(16))
        c.epochs, c.batch_size = 200, 128
        c.optimiser.weight_decay = 0.05
    else:
        c.data.per_class = 1200
        c.model.width = 16
        c.model.stem = "imagenet"
        c.epochs, c.batch_size = 20, 64
        c.optimiser.learning_rate, c.optimiser.weight_decay = 2e-3, 0.05
        c.schedule.warmup_epochs = 0.5
        c.seeds = (0, 1, 2)
    if options["seeds"]:
        c.seeds = tuple(range(options["seeds"]))
    return c


def sweep(add):
    for name, mitigation in METHODS.items():
        add(method=name, mitigation=mitigation)
