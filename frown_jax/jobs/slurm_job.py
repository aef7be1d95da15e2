"""What a job of a cluster does: one program of a run, and whatever that is cut into."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import traceback

from absl import logging

from frown_jax.jobs import job as job_jobs
from frown_jax.jobs import pretrain
from frown_jax.runtime import cache, lease, preemption, processes


def run(workdir: str, index: int) -> None:
    """Trains program `index` of the run in `workdir`, unless it has ended.

    Warned by the scheduler (SIGUSR2), the job keeps its last epoch and asks to be queued again. Why a job failed lies
    in parts/INDEX.failed.
    """
    logging.set_verbosity(logging.INFO)
    path = pathlib.Path(workdir)
    reason = path / "parts" / f"{index}.failed"
    reason.unlink(missing_ok=True)
    try:
        if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
            processes.initialise()
        job = processes.first_then_others(lambda: job_jobs.reopen(path, pretrain.initial))
        cache.keep_compiled_programs(job.config.data.cache_dir)
        with preemption.graceful():
            job.train_parts([index], patience=lease.STALE + 60)  # a dead holder elsewhere seems alive so long
    except preemption.PreemptedError as e:
        logging.warning("%s", e)
        if e.signal == signal.SIGUSR2 and processes.is_first():
            _queue_again()
        raise
    except BaseException:
        reason.parent.mkdir(exist_ok=True)
        reason.write_text(traceback.format_exc())
        raise


def _queue_again() -> None:
    job, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    name = f"{job}_{task}" if job and task else os.environ.get("SLURM_JOB_ID")
    if name:
        subprocess.run(["scontrol", "requeue", name], check=False)
