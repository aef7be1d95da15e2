"""A run's programs as a job array of Slurm, through submitit."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import time
from collections.abc import Iterable

from absl import logging

from frown_jax.errors import ConfigError
from frown_jax.jobs import slurm_job
from frown_jax.runs.directory import RunDir
from frown_jax.runs.parts import Parts
from frown_jax.runtime import lease
from frown_jax.runtime.progress import Progress

_WARNING = 120  # seconds before its end that a job is warned
_POLL = 1.0, 15.0  # seconds between looks at the queue: of the first, which grows, and at most
_UNSEEN = 15.0  # seconds for which a new job may be missing from the queue


@dataclasses.dataclass(frozen=True)
class JobRequest:
    """What a job asks for.

    Attributes:
      partition, constraint: of nodes; '' for any.
      minutes: wall time of a job; a longer program is queued again.
      nodes: of a job.
      tasks: processes on each node; those of a job train as one.
      gpus: of each node.
      cpus: of each process.
      memory: gigabytes; 0 for the cluster's default.
      at_once: jobs that may run at a time; 0 for any number.
      extra: more lines of sbatch, 'account=lab' or 'exclusive'.
    """

    partition: str = ""
    constraint: str = ""
    minutes: int = 240
    nodes: int = 1
    tasks: int = 1
    gpus: int = 1
    cpus: int = 4
    memory: float = 0
    at_once: int = 0
    extra: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ProgramStatus:
    """How one program is: its number, its members, what it is and why.

    `what` is 'done', 'running', 'queued', 'failed' or 'missing'.
    """

    index: int
    members: int
    what: str
    detail: str


def submit(run: RunDir, request: JobRequest) -> list[int]:
    """Queues every program that has not ended and is not queued; their numbers.

    Raises:
      ConfigError: there is no Slurm or no submitit, or the scheduler refuses the jobs.
    """
    try:
        import submitit
    except ImportError:
        raise ConfigError("--executor=slurm needs submitit: pip install submitit") from None
    if shutil.which("sbatch") is None:
        raise ConfigError("--executor=slurm: there is no sbatch here; submit on a node of a Slurm cluster")
    missing = [s.index for s in states(run) if s.what in ("missing", "failed")]
    if not missing:
        return []
    folder = run.path / "slurm"
    folder.mkdir(exist_ok=True)
    executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
    extra: dict[str, object] = {"requeue": True}
    for line in request.extra:
        name, equals, value = line.partition("=")
        extra[name.strip()] = value.strip() if equals else True
    chosen = {"slurm_partition": request.partition, "slurm_constraint": request.constraint}
    executor.update_parameters(
        name=f"frown_jax-{run.path.name}",
        timeout_min=request.minutes,
        nodes=request.nodes,
        tasks_per_node=request.tasks,
        cpus_per_task=request.cpus,
        slurm_signal_delay_s=_WARNING,
        slurm_array_parallelism=request.at_once or len(missing),
        slurm_additional_parameters=extra,
        **({"gpus_per_node": request.gpus} if request.gpus else {}),
        **({"mem_gb": request.memory} if request.memory else {}),
        **{k: v for k, v in chosen.items() if v},
    )
    try:
        jobs = executor.map_array(slurm_job.run, [str(run.path.resolve())] * len(missing), missing)
    except Exception as e:  # submitit wraps sbatch's words in errors of its own
        raise ConfigError(f"--executor=slurm: {str(e).strip() or type(e).__name__}") from None
    known = _jobs(run)
    run.write_json("slurm/jobs.json", [*known, *([job.job_id, i] for job, i in zip(jobs, missing, strict=True))])
    return missing


def _jobs(run: RunDir) -> list[list]:
    """Job and program of everything that was submitted, the oldest first."""
    path = run.path / "slurm" / "jobs.json"
    return json.loads(path.read_text()) if path.is_file() else []


def _queue() -> dict[str, tuple[str, str]]:
    """State and reason of this user's jobs, by their number ('12_3' in an array)."""
    if shutil.which("squeue") is None:
        return {}
    done = subprocess.run(
        ["squeue", "--me", "--noheader", "--array", "--format=%i|%T|%r"], capture_output=True, text=True, timeout=60
    )
    if done.returncode != 0:
        raise ConfigError(f"squeue: {done.stderr.strip()}")
    lines = (line.split("|", 2) for line in done.stdout.splitlines())
    return {job: (state, reason) for job, state, reason in lines}


def states(run: RunDir) -> list[ProgramStatus]:
    """Every program of a run."""
    programs, parts, jobs = run.read_programs() or [], Parts(run.path), _jobs(run)
    queue = _queue() if jobs else {}
    out = []
    for index, program in enumerate(programs):
        own = [job for job, i in jobs if i == index]
        waiting = [(job, *queue[job]) for job in own if job in queue]
        failed = run.path / "parts" / f"{index}.failed"
        what, detail = "missing", "it was not submitted"
        if run.is_finished or parts.has(index):
            what, detail = "done", ""
        elif waiting:
            job, state, reason = waiting[-1]
            begun = state in ("RUNNING", "COMPLETING", "CONFIGURING")
            epochs = _epochs(run, index)
            what = "running" if begun else "queued"
            detail = f"job {job}" + (f", {epochs} epochs done" if epochs else "") + ("" if begun else f", {reason}")
        elif holder := lease.holder_of(parts.lease(index)):  # a local run, or a job that had to cut its program
            what, detail = "running", f"process {holder['pid']} on {holder['host']}, {_epochs(run, index)} epochs done"
        elif failed.is_file():
            what, detail = "failed", failed.read_text().strip().splitlines()[-1]
        elif own:
            what = "failed"
            detail = f"job {own[-1]} left no result (cancelled, killed or out of time); {run.path}/slurm has its log"
        out.append(ProgramStatus(index, len(program), what, detail))
    return out


def _epochs(run: RunDir, index: int) -> int:
    return max((row["epoch"] + 1 for row in run.metrics.read(index)), default=0)


def table(found: Iterable[ProgramStatus]) -> str:
    """States as text, and how many there are of each."""
    found = list(found)
    lines = [f"  {s.index:>5}  {s.members:>7}  {s.what:<8}  {s.detail}".rstrip() for s in found]
    counts = {what: sum(s.what == what for s in found) for what in ("done", "running", "queued", "failed", "missing")}
    summary = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    return "\n".join([f"  {'program':>5}  {'members':>7}  {'state':<8}", *lines, "", summary])


def wait(run: RunDir) -> list[ProgramStatus]:
    """Waits until nothing of the run is queued or running; what has failed."""
    since: dict[int, float] = {}
    found = states(run)
    with Progress(len(found), "programs", "program") as progress:
        done, pause = 0, _POLL[0]
        while True:
            found = states(run)
            now = sum(s.what == "done" for s in found)
            progress.advance(now - done)
            done = now
            progress.note(", ".join(f"{sum(s.what == w for s in found)} {w}" for w in ("running", "queued", "failed")))
            bad = [s for s in found if s.what in ("failed", "missing")]
            since = {s.index: since.get(s.index, time.monotonic()) for s in bad}
            settled = all(time.monotonic() - began > _UNSEEN for began in since.values())
            if not any(s.what in ("running", "queued") for s in found) and settled:
                break
            time.sleep(pause)
            pause = min(1.2 * pause, _POLL[1])
    for s in bad:
        logging.warning("program %d %s: %s", s.index, s.what, s.detail)
    return bad
