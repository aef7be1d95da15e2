"""Trains a config's grid of members and reports on them.

  python launch.py --config=configs/baseline.py                 embedded faces, minutes on a CPU
  python launch.py --config=configs/baseline.py:rafdb --config.data.dir=DIR
  python launch.py --config=configs/baseline.py --config.epochs=30 --config.seeds='(0,1,2,3)'
  python launch.py --config=configs/baseline.py:rafdb,seeds=16 --dry_run      what that would cost on this device
  python launch.py --config=configs/au_gender.py                Action Units, over draws of subjects

Instead of a path, --config takes the name of a config that the package has, from any folder, without a checkout:

  frown-jax --config=baseline:runlocal

Any field of the config can be set as --config.FIELD=VALUE; --print_config shows them all. Interrupted, the same
command continues where the last epoch ended. Config files say what they take after the colon.

On a Slurm cluster, the programs of a grid as a job array (--slurm_... say what a job asks for):

  python launch.py --config=configs/mitigation_grid.py --executor=slurm --slurm_partition=gpu --slurm_gpus=1
  python launch.py --status=runs/mitigation_grid-faces-0a1b2c3d
  python launch.py --resume=runs/mitigation_grid-faces-0a1b2c3d --executor=slurm      runs only what is missing

Several processes as one, members cut over the devices of all (or, with --config.devices_per_member=8, each batch of a
large network over eight):

  srun --ntasks=2 python launch.py --config=configs/baseline.py:rafdb --distributed
  python launch.py --config=configs/baseline.py --coordinator=node0:9911 --processes=2 --process=0      and 1, elsewhere
"""

from __future__ import annotations

import os
import pathlib
import time

from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from frown_jax import config as configs
from frown_jax.jobs import cluster
from frown_jax.runtime import command, config_flag
from frown_jax.training import check

_CONFIG = config_flag.define()
_WORKDIR = flags.DEFINE_string("workdir", "", "Run directory; by default runs/NAME-HASH of the settings.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Time a few steps, print what the whole grid would cost, and stop.")
_TENSORBOARD = flags.DEFINE_bool("tensorboard", True, "Write TensorBoard's event files into WORKDIR/tensorboard.")
_WANDB = flags.DEFINE_string(
    "wandb", "", "Project of Weights & Biases to report to (pip install wandb); by default none."
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "This is one of several processes that train as one; srun tells which, or the next three do."
)
_COORDINATOR = flags.DEFINE_string("coordinator", "", "HOST:PORT of the first process, which all can reach.")
_PROCESSES = flags.DEFINE_integer("processes", 0, "How many they are.", lower_bound=0)
_PROCESS = flags.DEFINE_integer("process", -1, "Number of this one, from 0.")
_EXECUTOR = flags.DEFINE_enum("executor", "local", ["local", "slurm"], "Where programs are trained.")
_STATUS = flags.DEFINE_string("status", "", "Run directory: show each of its programs (done, running, ...) and stop.")
_RESUME = flags.DEFINE_string("resume", "", "Run directory to go on with, in place of --config.")
_PRINT_CONFIG = flags.DEFINE_bool("print_config", False, "Print every setting and stop.")


def _read() -> tuple[ConfigDict, list[dict], pathlib.Path, dict]:
    """The run that the flags ask for: config, grid, directory and overrides."""
    from frown_jax.jobs import search
    from frown_jax.runs import directory
    from frown_jax.training.grid import points_of

    if _RESUME.value:
        run = directory.RunDir.open(pathlib.Path(_RESUME.value))
        return run.config(), run.points(), run.path, {}
    flag = flags.FLAGS["config"]
    config, config_file = _CONFIG.value, config_flags.get_config_filename(flag)
    sweep, searching = getattr(config_flag.module_of(config_file), "sweep", None), search.wanted(config)
    if sweep is not None and searching:
        command.fail(f"--config.search: {config_file} has a grid of its own; search with a config without one")
    points = search.points(config) if searching else points_of(sweep)
    name = pathlib.Path(config_file.partition(":")[0]).stem + f"-{config.data.name}"
    workdir = pathlib.Path(_WORKDIR.value) if _WORKDIR.value else directory.default_path(name, config, points)
    return config, points, workdir, config_flags.get_override_values(flag)


def _complete_config() -> None:
    if _CONFIG.value is None:
        command.fail("--config is missing: for example --config=baseline (--help tells more)")
    configs.read_hparams(_CONFIG.value, config_flags.get_override_values(flags.FLAGS["config"]))


def _join() -> None:
    """Makes this process one of several, if it is."""
    from frown_jax.runtime import processes

    if _EXECUTOR.value == "slurm" and (_DISTRIBUTED.value or _COORDINATOR.value):
        command.fail("--executor=slurm starts its jobs' processes itself: --slurm_nodes and --slurm_tasks")
    explicit = (bool(_COORDINATOR.value), _PROCESSES.value > 0, _PROCESS.value >= 0)
    if any(explicit) and not all(explicit):
        command.fail("--coordinator, --processes and --process go together")
    if any(explicit) and _PROCESS.value >= _PROCESSES.value:
        command.fail(f"--process={_PROCESS.value}: of {_PROCESSES.value} processes the last is {_PROCESSES.value - 1}")
    if any(explicit):
        processes.initialise(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    elif _DISTRIBUTED.value:
        if "SLURM_PROCID" not in os.environ:
            command.fail("--distributed: start it with srun, or say --coordinator, --processes and --process")
        processes.initialise()


def _run(_: list[str]) -> None:
    if _STATUS.value:
        print(cluster.status(pathlib.Path(_STATUS.value)))
        return
    if not _RESUME.value:
        _complete_config()
        if _PRINT_CONFIG.value:
            print(_CONFIG.value)
            return
        check.validate(_CONFIG.value)

    # Heavy imports wait until the settings are known to be good.
    from frown_jax.jobs import job as job_jobs
    from frown_jax.jobs import pretrain, search
    from frown_jax.jobs.analyse import analyse
    from frown_jax.runs import directory
    from frown_jax.runs import watchers as watchers_runs
    from frown_jax.runtime import cache, processes
    from frown_jax.runtime.progress import duration

    began = time.monotonic()
    _join()
    config, points, workdir, overrides = _read()
    cache.keep_compiled_programs(config.data.cache_dir)
    if _DRY_RUN.value:
        from frown_jax.jobs import cost

        print(cost.report(config, points))
        return
    watchers: list[watchers_runs.Watcher] = []
    if _TENSORBOARD.value and processes.is_first():
        from frown_jax.runs.tensorboard import TensorBoard

        watchers.append(TensorBoard(workdir / "tensorboard"))
    if _WANDB.value and processes.is_first():
        watchers.append(watchers_runs.WeightsAndBiases(_WANDB.value, workdir, config))
    if _EXECUTOR.value == "slurm":
        job = job_jobs.prepare(config, points, workdir, overrides, pretrain.initial)
        while not job.run.is_finished:
            if not cluster.train(job):
                return
            if not job.go_on():
                break
        trained = job.collect(watchers)
    else:
        trained = job_jobs.train(config, points, workdir, overrides, pretrain.initial, watchers)
    if not processes.is_first():
        return
    print(analyse(config, trained, workdir))
    if search.wanted(config):
        print(search.conclude(config, directory.RunDir(workdir)))
    logging.info("done in %s; everything is in %s", duration(time.monotonic() - began), workdir)


def main() -> None:
    """Entry point."""
    command.run(_run, __doc__ or "")
