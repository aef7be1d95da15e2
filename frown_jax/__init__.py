"""frown_jax: which fairness gains in facial-expression recognition are real.

The names of a notebook are here (docs/python.md): `load_data`, `train`, `open_run` and `GroupFrame`. They are imported
when they are first used, so that `import frown_jax` itself is quick and does not start JAX.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from frown_jax._version import __version__

if TYPE_CHECKING:
    from frown_jax.metrics import GroupFrame
    from frown_jax.notebook import Run, load_data, open_run, train

__all__ = ["GroupFrame", "Run", "__version__", "load_data", "open_run", "train"]

_HOMES = {
    "GroupFrame": "frown_jax.metrics",
    "Run": "frown_jax.notebook",
    "load_data": "frown_jax.notebook",
    "open_run": "frown_jax.notebook",
    "train": "frown_jax.notebook",
}


def __getattr__(name: str) -> Any:
    """A public name from its home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
