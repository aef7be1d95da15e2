"""The host side of training: data in, compile groups one after another, checkpoints, predictions, results."""

from __future__ import annotations

import dataclasses
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from absl import logging
from ml_collections import ConfigDict, FrozenConfigDict

from frown_jax import engine, members
from frown_jax.capacity import Capacity, usable_bytes
from frown_jax.capacity import find as find_capacity
from frown_jax.checkpoint import Checkpoints
from frown_jax.data.dataset import Dataset
from frown_jax.data.load import load, validation_name
from frown_jax.ensemble import make_engine
from frown_jax.metrics import read, table
from frown_jax.models import weights
from frown_jax.packing import AXIS
from frown_jax.predictions import predictions_frame
from frown_jax.progress import Progress
from frown_jax.readout import Readout
from frown_jax.readout import finish as finish_members
from frown_jax.report import files
from frown_jax.roster import Roster, pad
from frown_jax.rundir import RunDir, versions
from frown_jax.state import State, Sums, no_sums
from frown_jax.training_set import TrainingSet

_CALLS_PER_EPOCH_ON_CPU = 6  # an epoch is one call on accelerators; on CPU the bar should move


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a run leaves in memory."""

    predictions: pd.DataFrame
    results: pd.DataFrame
    data: Dataset


def _pretrained(config: FrozenConfigDict) -> dict | None:
    if not config.model.weights:
        return None
    return weights.load_resnet18(config.model.weights, without_head=True)


class GroupTrainer:
    """Trains one compile group, from its last checkpoint if there is one."""

    def __init__(self, index: int, group: members.Group, run: RunDir, data: Dataset):
        self._index, self._specs, self._run = index, group.specs, run
        self._config = group.config
        train = data.split("train")
        val = data.split(validation_name(self._config.data))
        self._sets = sets = TrainingSet.of(train), TrainingSet.of(val)
        shape = members.shape_of(group.specs, len(data.classes), data.attributes)
        self._group = members.stack([members.build(s, sets[0], shape, sets[1]) for s in group.specs])
        steps = engine.steps_per_epoch(self._group, self._config.batch_size)
        self._calls = _CALLS_PER_EPOCH_ON_CPU if jax.default_backend() == "cpu" else 1
        self._terms = members.terms(self._group)
        self._pretrained = _pretrained(self._config)
        self._engine = make_engine(
            self._config,
            shape,
            steps,
            -(-steps // self._calls),
            terms=self._terms,
        )
        put = self._engine.packing.everywhere
        self._train_set = put((jnp.asarray(train.images), jnp.asarray(train.labels)))
        self._val_set = put((jnp.asarray(val.images), jnp.asarray(val.labels)))
        self._images = np.asarray(self._group.sampling_size)  # of each member's epoch
        self._checkpoints = Checkpoints(run.checkpoints(index))

    def capacity(self) -> Capacity:
        """How many members the devices hold, at most those of the group; compiles the training program.

        Raises:
          MemoryTooSmallError: not one.
        """
        e, packing = self._engine, self._engine.packing
        one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), self._group)

        def compile_for(count: int) -> jax.stages.Compiled:
            def stacked(tree):
                place = packing.sharding(AXIS)
                return jax.tree.map(lambda a: jax.ShapeDtypeStruct((count, *a.shape), a.dtype, sharding=place), tree)

            group = stacked(one)
            state = jax.eval_shape(e.init, group, self._pretrained)
            state = stacked(jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), state))
            sums = jax.eval_shape(lambda: no_sums(count))
            sums = stacked(jax.tree.map(lambda a: jax.ShapeDtypeStruct((), a.dtype), sums))
            if self._calls == 1:
                return e.epoch.lower(state, sums, group, self._train_set, self._val_set, 0).compile()
            return e.train.lower(state, sums, group, *self._train_set, 0, 0, e.steps_per_call).compile()

        shared = sum(a.nbytes for a in (*self._train_set, *self._val_set))
        limit = usable_bytes(packing.devices[0])
        return find_capacity(compile_for, len(self._specs), shared, packing.count, limit)

    def _start(self) -> tuple[int, State, bool]:
        """Epochs done, the state after them, and whether what follows the last epoch is done too."""
        abstract = jax.eval_shape(self._engine.init, self._group, self._pretrained)
        restored = self._checkpoints.restore(_parts(abstract))
        if restored is None:
            self._run.keep_metrics(self._index, 0)
            return 0, self._engine.init(self._group, self._pretrained), False
        parts, meta = restored
        state = parts["state"].replace(best=parts["predictor"])
        self._run.keep_metrics(self._index, meta["epochs_done"])
        if bool(np.asarray(state.active).any()):
            logging.info("continuing after epoch %d", meta["epochs_done"])
        return meta["epochs_done"], state, meta["concluded"]

    def _save(self, epochs_done: int, state: State, concluded: bool = False) -> None:
        meta = {"epochs_done": epochs_done, "concluded": concluded}
        self._checkpoints.save(epochs_done + concluded, _parts(state), meta)

    def train(self) -> State:
        """Runs to the end; returns the final state."""
        epoch, state, concluded = self._start()
        roster = Roster(self._engine.packing, self._group, state)
        first_stage = np.asarray(self._group.restart.epochs)
        total = int((np.asarray(self._group.epochs) + first_stage).max())
        count = len(self._specs)
        began = time.monotonic()
        label = f"training {count} member{'s' * (count > 1)}"
        with Progress(0, label, "member-images") as progress:
            while epoch < total and roster.active.any():
                progress.expect(int(self._images[self._running(roster)].sum()) * (total - epoch))
                rows = self._epoch(roster, epoch, progress)
                if epoch + 1 in first_stage:
                    roster.state = self._engine.restart(
                        roster.state, roster.group, *self._train_set, epoch, self._pretrained
                    )
                epoch += 1
                roster.choose()
                self._run.append_metrics(rows)
                state = roster.whole()
                self._save(epoch, state)
                best, active = np.asarray(state.best_score), int(np.asarray(state.active).sum())
                progress.note(f"epoch {epoch}/{total}, best AUROC {best.mean():.4f}, {active} active")
        state = roster.whole()
        if self._terms.averaging and not concluded:
            state = self._conclude(state, epoch)
            self._save(epoch, state, concluded=True)
        self._checkpoints.close()
        self._run.add_time(training_seconds=time.monotonic() - began)
        self._report_failures(state)
        return state

    def _conclude(self, state: State, epochs: int) -> State:
        packing, count = self._engine.packing, len(self._specs)
        both = packing.cut(pad((state, self._group), packing.up(count)))
        done = self._engine.conclude(*both, self._train_set[0], *self._val_set, epochs - 1)
        return jax.tree.map(lambda a: a[:count], done)

    @staticmethod
    def _running(roster: Roster) -> np.ndarray:
        return roster.rows[roster.active]

    def _epoch(self, roster: Roster, epoch: int, progress: Progress) -> list[dict]:
        e = self._engine
        images = int(self._images[self._running(roster)].sum())
        sums = e.packing.cut(no_sums(len(roster.rows)))
        if self._calls == 1:
            (roster.state, metrics), sums = e.epoch(
                roster.state, sums, roster.group, self._train_set, self._val_set, epoch
            )
            jax.block_until_ready(sums)
            progress.advance(images)
        else:
            for first in range(0, e.steps_per_epoch, e.steps_per_call):
                roster.state, sums = e.train(
                    roster.state, sums, roster.group, *self._train_set, epoch, first, e.steps_per_call
                )
                jax.block_until_ready(sums)
                reached = [min(step, e.steps_per_epoch) for step in (first, first + e.steps_per_call)]
                before, after = (images * step // e.steps_per_epoch for step in reached)
                progress.advance(after - before)
            roster.state, metrics = e.finish_epoch(roster.state, roster.group, *self._val_set, epoch)
        return self._rows(epoch, roster.rows, sums, metrics)

    def _rows(self, epoch: int, rows: np.ndarray, sums: Sums, metrics: dict[str, jax.Array]) -> list[dict]:
        host = {k: np.asarray(v) for k, v in metrics.items()}
        count = np.maximum(np.asarray(sums.count), 1)
        host["train_loss"] = np.asarray(sums.loss) / count
        host["train_accuracy"] = np.asarray(sums.correct) / count
        ran = host.pop("ran")
        names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_auroc", "best_val_auroc")
        return [
            {
                "group": self._index,
                "epoch": epoch,
                "member": spec.member,
                "method": spec.method,
                "seed": spec.seed,
                **{n: _json_number(host[n][i]) for n in names},
            }
            for i, spec in ((i, self._specs[row]) for i, row in enumerate(rows) if row < len(self._specs))
            if ran[i]
        ]

    def _report_failures(self, state: State) -> None:
        for spec, step in zip(self._specs, np.asarray(state.failed_step), strict=True):
            if step >= 0:
                logging.warning(
                    "member %d (%s, seed %d) stopped at step %d: loss or gradient was not finite; its best weights "
                    "before that are used. A lower learning rate may help.",
                    spec.member,
                    spec.method,
                    spec.seed,
                    step,
                )

    def predict(self, state: State, data: Dataset, splits: tuple[str, ...]) -> pd.DataFrame:
        """Predictions of every member on the given splits; what follows training is done first, and kept."""
        val = data.split(validation_name(self._config.data))
        images = data.split("train").images, val.images
        folds = tuple(zip(images, self._sets, strict=True))
        finishes = finish_members(self._engine, state.best, self._specs, *folds)
        self._run.write_finishes(finishes)
        readout = Readout(self._engine, state.best, self._specs, finishes)
        frames = []
        for split in splits:
            part = data.split(split)
            found = readout.probabilities(part.images, TrainingSet.of(part))
            frames += [predictions_frame(s, part, split, p) for s, p in zip(readout.members, found, strict=True)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def summary(self, state: State) -> pd.DataFrame:
        """members.csv: one row per member; `trained_as` is the member whose training it shares, itself mostly."""
        rows = [(i, trained, s) for i, trained in enumerate(self._specs) for s in trained.all]
        place = [i for i, _, _ in rows]
        return pd.DataFrame(
            {
                "member": [s.member for _, _, s in rows],
                "method": [s.method for _, _, s in rows],
                "seed": [s.seed for _, _, s in rows],
                "group": self._index,
                "trained_as": [trained.member for _, trained, _ in rows],
                "best_epoch": np.asarray(state.best.epoch)[place],
                "best_val_auroc": np.asarray(state.best_score)[place],
                "failed_step": np.asarray(state.failed_step)[place],
            }
        )


def _parts(state: State) -> dict:
    """What a checkpoint holds: all that predicting needs, and the rest."""
    return {"predictor": state.best, "state": state.replace(best=())}


def _json_number(x: np.floating) -> float | None:
    """JSON has no NaN."""
    return float(f"{x:.7g}") if np.isfinite(x) else None


def _programs(groups: list[members.Group], run: RunDir, data: Dataset) -> list[members.Group]:
    """The groups, cut to what the devices hold. A run that goes on keeps its cuts."""
    programs = run.read_programs()
    if programs is not None:
        return members.regroup(groups, programs)
    out = []
    for index, group in enumerate(groups):
        if group.config.members_per_device != "auto":
            most = int(group.config.members_per_device) * jax.local_device_count()
        else:
            capacity = GroupTrainer(index, group, run, data).capacity()
            logging.info("memory: %s", capacity)
            most = capacity.members
        parts = members.split(group, most)
        if len(parts) > 1:
            logging.info("%d members train in %d programs, one after another", len(group.specs), len(parts))
        out += parts
    run.write_json("programs.json", [[s.member for s in g.specs] for g in out])
    return out


def train(config: ConfigDict, points: list[dict], workdir: pathlib.Path, overrides: dict | None = None) -> Trained:
    """Trains the grid `points` x `config.seeds` and leaves a run directory. Continues one that was interrupted.

    Args:
      config: validated.
      points: of the grid; [{}] for the config alone.
      workdir: the run directory.
      overrides: the command line's, kept for the record.

    Raises:
      ConfigError, DataError: before any training, with one clear message.
    """
    groups = members.expand(config, points)
    run = RunDir.create(workdir, config, points, overrides or {})
    logging.info("run directory: %s", workdir)
    began = time.monotonic()
    data = load(config.data, config.model.image_size)
    run.write_text("data_report.txt", "".join(f"{note}\n" for note in data.notes))
    for note in data.notes[:10]:
        logging.warning("%s", note)
    if len(data.notes) > 10:
        logging.warning("... %d more notes in %s", len(data.notes) - 10, workdir / "data_report.txt")
    sizes = data.table["split"].value_counts()
    parts = ", ".join(f"{sizes[s]:,} {s}" for s in ("train", "val", "test") if s in sizes)
    logging.info("data: %s (%s), %d x %d pixels", data.name, parts, *data.images.shape[1:3])
    described = {"classes": data.classes, "attributes": data.attributes, "image_side": data.images.shape[1]}
    run.write_json("data.json", {"name": data.name, "fingerprint": data.fingerprint, **described})
    run.write_json("versions.json", versions())
    run.add_time(data_seconds=time.monotonic() - began)

    members.check(groups, *(TrainingSet.of(data.split(s)) for s in ("train", validation_name(config.data))))
    splits = tuple(dict.fromkeys((validation_name(config.data), "test")))
    predictions, summaries = [], []
    trainings = [s for g in groups for s in g.specs]
    count = sum(len(s.all) for s in trainings)
    shared = f" in {len(trainings)} trainings" if count > len(trainings) else ""
    logging.info("%d members%s share %d program%s", count, shared, len(groups), "s" * (len(groups) > 1))
    for index, group in enumerate(_programs(groups, run, data)):
        trainer = GroupTrainer(index, group, run, data)
        state = trainer.train()
        predictions.append(trainer.predict(state, data, splits))
        summaries.append(trainer.summary(state))
    frame = pd.concat(predictions, ignore_index=True)
    if frame.empty:
        raise FloatingPointError(f"no member finished an epoch; see {workdir / 'metrics.jsonl'}")
    results = table.results(frame, data.attributes)
    run.write_csv("members.csv", pd.concat(summaries, ignore_index=True))
    run.write_parquet("predictions.parquet", frame)
    run.write_csv("results.csv", results)
    return Trained(frame, results, data)


def analyse(config: ConfigDict, trained: Trained, workdir: pathlib.Path) -> str:
    """Intervals, comparisons and selection of a trained grid, into its run directory; the text to print."""
    attributes = trained.data.attributes
    of_split = dict(list(trained.predictions.groupby("split", sort=False)))
    validation = of_split.get(validation_name(config.data))
    before = None if validation is None or validation is of_split["test"] else read.outcomes(validation, attributes)
    test = read.outcomes(of_split["test"], attributes)
    return files.analyse_and_write(RunDir(workdir), test, before, None, trained.data.name, trained.results, "test")[1]
