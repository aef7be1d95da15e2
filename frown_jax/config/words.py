"""The words of settings that other modules look at too."""

from __future__ import annotations

DATA = ("faces", "face_sequences", "rafdb", "ckplus", "actor_study", "manifest", "cifar10s", "combined")
AU_DATA = ("face_sequences", "combined", "ckplus", "actor_study", "manifest")  # that the AU studies run on
VALIDATIONS = ("stratified", "study", "test")
RANGES = ("uniform", "log")  # of a search

# What the section `search` can vary, and the settings that it sets.
SEARCHED = {
    "lr": "optimiser.learning_rate",
    "weight_decay": "optimiser.weight_decay",
    "dropout": "optimiser.dropout_rate",
    "patience": "stopping.patience",
    "batch_size": "batch_size",
    "mitigation": "mitigation",
}
