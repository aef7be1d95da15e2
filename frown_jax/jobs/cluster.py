"""What the launcher does with a cluster: its flags, jobs for a run's programs, and how they are."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from absl import flags, logging

from frown_jax.runtime import command

if TYPE_CHECKING:
    from frown_jax.jobs.job import Job

_WAIT = flags.DEFINE_bool("wait", True, "With slurm: wait for the jobs and put their results together.")
_PARTITION = flags.DEFINE_string("slurm_partition", "", "Partition; by default the cluster's own.")
_CONSTRAINT = flags.DEFINE_string("slurm_constraint", "", "Features that nodes must have.")
_MINUTES = flags.DEFINE_integer("slurm_time", 240, "Minutes of a job; a longer program is queued again.", lower_bound=1)
_NODES = flags.DEFINE_integer("slurm_nodes", 1, "Nodes of a job.", lower_bound=1)
_TASKS = flags.DEFINE_integer("slurm_tasks", 1, "Processes on each node; those of a job train as one.", lower_bound=1)
_GPUS = flags.DEFINE_integer("slurm_gpus", 1, "GPUs of each node; 0 for none.", lower_bound=0)
_CPUS = flags.DEFINE_integer("slurm_cpus", 4, "CPUs of each process.", lower_bound=1)
_MEMORY = flags.DEFINE_float("slurm_memory", 0, "Gigabytes of a job; 0 for the cluster's default.", lower_bound=0)
_AT_ONCE = flags.DEFINE_integer("slurm_jobs", 0, "Jobs that may run at a time; 0 for any number.", lower_bound=0)
_EXTRA = flags.DEFINE_multi_string("slurm_extra", [], "One more line for sbatch: --slurm_extra=account=lab.")


def train(job: Job) -> bool:
    """Trains the programs of a run as jobs of Slurm; False: they are queued, and nobody waits for them."""
    from frown_jax.jobs import slurm

    if job.config.members_per_device == "auto" and job.run.read_programs() is None:
        logging.warning(
            "members_per_device=auto is measured on this machine, not on the jobs' devices: "
            "--config.members_per_device=N cuts the grid into jobs of N members"
        )
    run, programs = job.run, job.programs()
    request = slurm.JobRequest(
        partition=_PARTITION.value,
        constraint=_CONSTRAINT.value,
        minutes=_MINUTES.value,
        nodes=_NODES.value,
        tasks=_TASKS.value,
        gpus=_GPUS.value,
        cpus=_CPUS.value,
        memory=_MEMORY.value,
        at_once=_AT_ONCE.value,
        extra=tuple(_EXTRA.value),
    )
    queued = slurm.submit(run, request)
    logging.info("%d of %d programs are queued", len(queued), len(programs))
    if not _WAIT.value:
        logging.info("python launch.py --status=%s shows them; --resume=%s puts them together", run.path, run.path)
        return False
    if slurm.wait(run):
        command.fail(f"some programs failed (--status={run.path} says why); --resume={run.path} runs what is missing")
    return True


def status(path: pathlib.Path) -> str:
    """Every program of a run, and what it is.

    Raises:
      ConfigError: there is no run.
    """
    from frown_jax.jobs import slurm
    from frown_jax.runs.directory import RunDir

    return slurm.table(slurm.states(RunDir.open(path)))
