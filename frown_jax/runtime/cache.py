"""Where prepared data and compiled programs are kept between runs."""

from __future__ import annotations

import os
import pathlib

import jax


def folder(given: str = "") -> pathlib.Path:
    """`given`, or $FROWN_JAX_CACHE, or ~/.cache/frown_jax."""
    chosen = given or os.environ.get("FROWN_JAX_CACHE", "")
    return pathlib.Path(chosen).expanduser() if chosen else pathlib.Path.home() / ".cache" / "frown_jax"


def keep_compiled_programs(given: str = "") -> None:
    """Compiled programs go to disk, so that a second run starts at once."""
    jax.config.update("jax_compilation_cache_dir", str(folder(given) / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
