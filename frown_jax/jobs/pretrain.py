"""What a network begins with: weights from a file, or of a training on other embedded faces.

Torchvision's ImageNet weights are what the second study fine-tunes. Where there is no file of them, a network of the
same shape first learns the emotions of embedded faces (other people than those of any experiment, of all groups alike),
so that what follows on its frozen features means something; the log says so.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict, FrozenConfigDict

from frown_jax import config as configs
from frown_jax.inference.ensemble import Ensemble
from frown_jax.jobs.job import train
from frown_jax.models.build import network
from frown_jax.models.fold_norms import fold_batch_norms
from frown_jax.runs.directory import FORMAT
from frown_jax.runtime import cache, lease, processes
from frown_jax.training.placement import weights_of_file

FACES = "faces"
_IMAGES, _SEED = 6000, 20_200  # of its faces: a seed of their own, so that nobody occurs elsewhere


def recipe(config: ConfigDict | FrozenConfigDict) -> ConfigDict:
    """The training that pretrains a config's network: emotions, all races and genders alike, from scratch."""
    c = configs.default()
    c.method, c.seeds = "pretraining", (0,)
    c.data.cache_dir = config.data.cache_dir
    c.data.faces.joint, c.data.faces.seed = "balanced", _SEED
    c.data.faces.train, c.data.faces.test = _IMAGES, _IMAGES // 6
    c.model.update(ConfigDict(config.model.to_dict()))
    c.model.trainable, c.model.pretrained, c.model.weights = "all", "", ""
    if c.model.name == "vgg16":  # its 13 layers do not learn from scratch: with batch norms they do, and fold
        c.model.name = "vgg16_bn"
    c.epochs = 12
    c.optimiser.learning_rate, c.optimiser.weight_decay = 1e-3, 0.02
    c.schedule.name, c.schedule.warmup_epochs = "cosine", 1.0
    c.loss.class_weights = "none"
    return c


def initial(config: FrozenConfigDict) -> dict | None:
    """The variables that a config's network begins with, but its last layer; None: it begins at random.

    A pretraining is a run directory in the cache: it continues where it was interrupted, and is done once.
    """
    if config.model.weights or config.model.pretrained != FACES:
        return weights_of_file(config)
    return _of_faces(config)


@functools.lru_cache(maxsize=2)
def _of_faces(config: FrozenConfigDict) -> dict:
    own = recipe(config)
    settings = {k: own[k].to_dict() for k in ("model", "optimiser", "schedule", "stopping", "loss", "augment")}
    settings |= {
        "format": FORMAT,
        "faces": own.data.faces.to_dict(),
        "epochs": own.epochs,
        "batch_size": own.batch_size,
    }
    name = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]
    path = cache.folder(config.data.cache_dir) / "pretrained" / name
    logging.info("no ImageNet weights: %s is pretrained on emotions of other embedded faces", config.model.name)
    # Jobs of one run ask for the same network: one of them trains it.
    with lease.hold_together(path.with_name(f"{name}.lease"), patience=math.inf):
        if not processes.from_first((path / "results.csv").exists()):
            train(own, [{}], path)
    variables = Ensemble(path).variables()
    if config.model.name == "vgg16":
        variables = jax.tree.map(np.asarray, fold_batch_norms(network(own.model, 1), variables)[1])
    last = network(config.model, 1).last_layer
    variables["params"] = {name: leaves for name, leaves in variables["params"].items() if name != last}
    return {name: tree for name, tree in variables.items() if tree}
