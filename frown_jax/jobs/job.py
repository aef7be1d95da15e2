"""The host side of training: data in, programs one after another, checkpoints, predictions, results."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import time
from collections.abc import Sequence

import jax
import pandas as pd
from absl import logging
from ml_collections import ConfigDict

from frown_jax.data.annotations import Annotations
from frown_jax.data.dataset import Dataset
from frown_jax.data.load import load, validation_name
from frown_jax.errors import MemoryTooSmallError
from frown_jax.jobs import looks
from frown_jax.metrics import results_table
from frown_jax.report import occurrences
from frown_jax.runs.directory import RunDir
from frown_jax.runs.parts import Part, Parts
from frown_jax.runs.watchers import Watcher
from frown_jax.runtime import lease, preemption, processes
from frown_jax.training.build import check_programs
from frown_jax.training.grid import Program, expand, recut, split
from frown_jax.training.placement import Initial, weights_of_file
from frown_jax.training.plan import Plan
from frown_jax.training.program import ProgramTrainer


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a run leaves in memory."""

    predictions: pd.DataFrame
    results: pd.DataFrame
    data: Dataset


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that is ready to be trained, program by program.

    Attributes:
      config: of the run.
      run: its directory.
      data: with images.
      grid: the programs that its members need, whatever the memory.
      splits: that are predicted.
      initial: the weights that networks begin with.
    """

    config: ConfigDict
    run: RunDir
    data: Dataset
    grid: list[Program]
    splits: tuple[str, ...]
    initial: Initial

    @property
    def parts(self) -> Parts:
        return Parts(self.run.path)

    def programs(self) -> list[Program]:
        """The programs, cut to what the devices hold. A run that goes on keeps its cuts."""
        cuts = processes.from_first(self.run.read_programs()) or []
        there = {member for cut in cuts for member in cut}
        wanted = looks.wanted(self.config, self.grid, processes.from_first(self.run.read_looks()))
        missing = [[s for s in p.specs if s.member in wanted - there] for p in self.grid]
        if any(missing):
            programs = [dataclasses.replace(p, specs=tuple(s)) for p, s in zip(self.grid, missing, strict=True) if s]
            cuts = [*cuts, *([s.member for s in p.specs] for p in self._cut(programs))]
            self.run.write_json("programs.json", cuts)
        return recut(self.grid, cuts)

    def _cut(self, programs: Sequence[Program]) -> list[Program]:
        """The programs in pieces that the devices hold."""
        out = []
        for program in programs:
            if program.config.members_per_device != "auto":
                shares = max(1, jax.device_count() // program.config.devices_per_member)
                most = int(program.config.members_per_device) * shares
            else:
                capacity = Plan.of(program, self.data).capacity()
                logging.info("memory: %s", capacity)
                most = capacity.members
            parts = split(program, most)
            if len(parts) > 1:
                logging.info("%d members train in %d programs, one after another", len(program.specs), len(parts))
            out += parts
        return out

    def go_on(self) -> bool:
        """Looks at what has been trained so far; whether methods get more seeds, whose programs are added then.

        False for a run of a fixed number of seeds.
        """
        if not self.config.seeds_until:
            return False
        count = len(self.run.read_programs() or [])
        found = processes.first_then_others(
            lambda: looks.look(self.config, self.run, self.data, [self.parts.read(i).predictions for i in range(count)])
        )
        if found is None:
            return False
        self.run.write_json("looks.json", [*self.run.read_looks(), found])
        return True

    def has_ended(self, index: int) -> bool:
        """Whether a program is trained."""
        return processes.from_first(self.run.is_finished or self.parts.has(index))

    def train_parts(self, indices: Sequence[int] | None = None, patience: float = 0.0) -> None:
        """Trains programs that have not ended; one that does not fit in memory is halved, and goes on as two.

        Args:
          indices: of the programs; None for all.
          patience: seconds to wait for another process that trains one of them.

        Raises:
          HeldError: another process trains one of them.
          MemoryTooSmallError: not even one member fits.
          PreemptedError: this process was asked to stop.
        """
        programs = self.programs()
        todo = list(range(len(programs)) if indices is None else indices)
        while todo:
            preemption.stop_if_requested()
            index = todo.pop(0)
            if not self.has_ended(index) and not self.train_part(index, programs[index], patience):
                todo = [index, *todo, self._halve(index)]
                programs = self.programs()

    def train_part(self, index: int, program: Program, patience: float = 0.0) -> bool:
        """Trains one program and keeps what it leaves; False: the devices' memory does not hold it.

        Raises:
          HeldError: another process trains it.
          PreemptedError: this process was asked to stop.
        """
        with lease.hold_together(self.parts.lease(index), patience):
            if self.has_ended(index):  # while this process waited
                return True
            try:
                with ProgramTrainer(index, program, self.run, self.data, self.initial) as trainer:
                    state = trainer.train()
                    predictions = trainer.predict(state, self.data, self.splits)
                    found = Part(predictions, trainer.summary(state), trainer.seconds)
            except (MemoryError, jax.errors.JaxRuntimeError) as e:
                if not (isinstance(e, MemoryError) or "RESOURCE_EXHAUSTED" in str(e)):
                    raise
                logging.warning("out of memory with %d members at once: %s", len(program.specs), str(e).split("\n")[0])
                return False
            if not self.run.is_finished:  # by others, who trained it meanwhile
                self.parts.write(index, found)
            return True

    def _halve(self, index: int) -> int:
        """Cuts a program in two, which begin again; the second half becomes the last program, whose number it gives."""
        with lease.hold_together(self.parts.lease("programs"), patience=lease.STALE):  # others may cut theirs
            programs = processes.from_first(self.run.read_programs())
            whole = programs[index]
            if len(whole) == 1:
                raise MemoryTooSmallError("not even one member fits: a smaller batch_size or model.width needs less")
            half = -(-len(whole) // 2)
            logging.warning("its members train in two programs now, of %d and %d", half, len(whole) - half)
            if processes.is_first():
                shutil.rmtree(self.run.checkpoints(index), ignore_errors=True)
            self.run.metrics.keep(index, 0)
            programs = [*programs[:index], whole[:half], *programs[index + 1 :], whole[half:]]
            self.run.write_json("programs.json", programs)
            return len(programs) - 1

    def collect(self, watchers: Sequence[Watcher] = ()) -> Trained:
        """Puts the parts of all programs together, into the run's own files.

        Args:
          watchers: are told of all epochs, which others have trained.

        Raises:
          FloatingPointError: no member finished an epoch.
        """
        run, programs = self.run, self.run.read_programs() or []
        with lease.hold(run.path / ".collect.lease", patience=lease.STALE):
            run.metrics.watch(watchers)
            if not run.is_finished:
                self._put_together(run, len(programs))
            frame = pd.read_parquet(run.path / "predictions.parquet")
            results = results_table.results(frame, self.data.attributes)
            run.write_csv("results.csv", results)  # last: who finds it finds all
            self.parts.forget()
            run.metrics.forget_parts()
        return Trained(frame, results, self.data)

    def _put_together(self, run: RunDir, count: int) -> None:
        found = [self.parts.read(index) for index in range(count)]
        run.metrics.join()
        frame = pd.concat([part.predictions for part in found], ignore_index=True)
        if frame.empty:
            raise FloatingPointError(f"no member finished an epoch; see {run.path / 'metrics.jsonl'}")
        run.write_csv("members.csv", pd.concat([part.members for part in found], ignore_index=True))
        run.write_parquet("predictions.parquet", frame)
        run.add_time(training_seconds=sum(part.seconds for part in found))


def prepare(
    config: ConfigDict,
    points: list[dict],
    workdir: pathlib.Path,
    overrides: dict | None = None,
    initial: Initial = weights_of_file,
) -> Job:
    """Makes or opens a run directory, loads the data and checks that everything fits.

    Args:
      config: validated.
      points: of the grid; [{}] for the config alone.
      workdir: the run directory.
      overrides: the command line's, kept for the record.
      initial: the weights that networks begin with.

    Raises:
      ConfigError, DataError: before any training, with one clear message.
    """
    run = processes.first_then_others(lambda: RunDir.create(workdir, config, points, overrides or {}))
    logging.info("run directory: %s", workdir)
    began = time.monotonic()
    job = processes.first_then_others(lambda: _job(config, points, run, initial))
    data = job.data
    run.write_text("data_report.txt", "".join(f"{note}\n" for note in data.notes))
    for note in data.notes[:10]:
        logging.warning("%s", note)
    if len(data.notes) > 10:
        logging.warning("... %d more notes in %s", len(data.notes) - 10, workdir / "data_report.txt")
    described = {
        "classes": data.classes,
        "attributes": data.attributes,
        "image_side": data.images.shape[1],
        "multilabel": data.multilabel,
    }
    if data.occurrences is not None:
        occurrences.report(run, data.occurrences, 0 if config.data.aus else config.data.min_occurrences)
    run.write_json("data.json", {"name": data.name, "fingerprint": data.fingerprint, **described})
    run.record_versions()
    run.add_time(data_seconds=time.monotonic() - began)
    trainings = [s for g in job.grid for s in g.specs]
    count = sum(len(s.all) for s in trainings)
    shared = f" in {len(trainings)} trainings" if count > len(trainings) else ""
    logging.info("%d members%s share %d program%s", count, shared, len(job.grid), "s" * (len(job.grid) > 1))
    return job


def _job(config: ConfigDict, points: list[dict], run: RunDir, initial: Initial) -> Job:
    grid = expand(config, points)
    data = load(config.data, config.model.image_size)
    run.refuse_other_data(data.name, data.fingerprint)
    sizes = data.table["split"].value_counts()
    parts = ", ".join(f"{sizes[s]:,} {s}" for s in ("train", "val", "test") if s in sizes)
    logging.info("data: %s (%s), %d x %d pixels", data.name, parts, *data.images.shape[1:3])
    check_programs(grid, *(Annotations.of(data.split(s)) for s in ("train", validation_name(config.data))))
    splits = ("val", "test") if config.cohort.by else tuple(dict.fromkeys((validation_name(config.data), "test")))
    return Job(config, run, data, grid, splits, initial)


def reopen(path: pathlib.Path, initial: Initial = weights_of_file) -> Job:
    """The job of a run directory, as it was begun.

    Raises:
      ConfigError, DataError: there is no run, or its data is not what it was.
    """
    run = RunDir.open(path)
    return _job(run.config(), run.points(), run, initial)


def train(
    config: ConfigDict,
    points: list[dict],
    workdir: pathlib.Path,
    overrides: dict | None = None,
    initial: Initial = weights_of_file,
    watchers: Sequence[Watcher] = (),
) -> Trained:
    """Trains the grid `points` x `config.seeds` and leaves a run directory. Continues one that was interrupted.

    Args:
      config, points, workdir, overrides, initial: of `prepare`.
      watchers: are told of every epoch.

    Raises:
      ConfigError, DataError: before any training, with one clear message.
      HeldError: another process trains this run.
      MemoryTooSmallError: not even one member fits on the devices.
      PreemptedError: this process was asked to stop, and has.
    """
    job = prepare(config, points, workdir, overrides, initial)
    if processes.from_first(job.run.is_finished):
        logging.info("it is finished; nothing is trained")
        return processes.first_then_others(job.collect)
    job.run.metrics.watch(watchers)
    with preemption.graceful():
        job.train_parts()
        while job.go_on():
            job.train_parts()
    for watcher in watchers:
        watcher.close()
    return processes.first_then_others(job.collect)
