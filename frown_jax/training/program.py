"""Trains the members of one program: data on the device, epochs, checkpoints, predictions."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import cast

import jax
import numpy as np
import pandas as pd
from absl import logging
from ml_collections import FrozenConfigDict

from frown_jax.data.annotations import Annotations
from frown_jax.data.cohort import Cohort
from frown_jax.data.dataset import Dataset
from frown_jax.data.load import validation_name
from frown_jax.inputs import trunk as trunks
from frown_jax.inputs.encoder import Encoder
from frown_jax.inputs.images import Images
from frown_jax.member.state import State, Sums, no_sums
from frown_jax.member.values import stack, terms_of
from frown_jax.models import weights
from frown_jax.models.build import network
from frown_jax.runs.checkpoint import Checkpoints
from frown_jax.runs.directory import RunDir
from frown_jax.runtime import cache, preemption, processes, resident
from frown_jax.runtime.memory import Capacity, usable_bytes
from frown_jax.runtime.memory import find as find_capacity
from frown_jax.runtime.packing import AXIS
from frown_jax.runtime.progress import Progress
from frown_jax.training import engine
from frown_jax.training.build import cohort_of, member_of, shape_of
from frown_jax.training.compile import make_engine
from frown_jax.training.grid import Program
from frown_jax.training.predictions import predictions_frame
from frown_jax.training.readout import Readout, adjust
from frown_jax.training.roster import Roster, pad

_CALLS_PER_EPOCH_ON_CPU = 6  # an epoch is one call on accelerators; on CPU the bar should move


Initial = Callable[[FrozenConfigDict], dict | None]  # the weights that a config's network begins with


def weights_of_file(config: FrozenConfigDict) -> dict | None:
    """Those of config.model.weights; None if there is no such file.

    Raises:
      WeightsError: it does not fit the network.
    """
    if not config.model.weights:
        return None
    return weights.load(config.model.weights, network(config.model, 1))


class ProgramTrainer:
    """Trains one program, from its last checkpoint if there is one.

    Attributes:
      seconds: that `train` took.
    """

    def __init__(self, index: int, program: Program, run: RunDir, data: Dataset, initial: Initial = weights_of_file):
        self.seconds = 0.0
        self._index, self._specs, self._run = index, program.specs, run
        self._config = program.config
        train = data.split("train")
        val = data.split(validation_name(self._config.data))
        self._sets = sets = Annotations.of(train), Annotations.of(val)
        shape = shape_of(program.specs, data.classes, data.attributes, data.multilabel)
        self._members = stack([member_of(s, sets[0], shape, sets[1]) for s in program.specs])
        steps = engine.steps_per_epoch(self._members, self._config.batch_size)
        self._calls = _CALLS_PER_EPOCH_ON_CPU if jax.default_backend() == "cpu" else 1
        self._terms = terms_of(self._members)
        self._pretrained, trunk = initial(self._config), None
        if trunks.cached(self._config):
            trunk, self._pretrained = self._trunk(self._pretrained)
        self._encoder = Encoder(trunk)
        self._engine = make_engine(
            self._config,
            shape,
            steps,
            -(-steps // self._calls),
            terms=self._terms,
            features=self._encoder.features,
        )
        packing = self._engine.packing
        self._inputs = {"train": resident.put(self._encoder(train.images), packing)}
        self._train_set = self._inputs["train"], packing.everywhere(train.labels)
        held_out = validation_name(self._config.data)
        if held_out != "train":
            self._inputs[held_out] = resident.put(self._encoder(val.images), packing)
        self._val_set = self._inputs[held_out], packing.everywhere(val.labels)
        self._images = np.asarray(self._members.sampling_size)  # of each member's epoch
        self._checkpoints = Checkpoints(run.checkpoints(index))

    def _trunk(self, pretrained: dict | None) -> tuple[trunks.Trunk, dict]:
        """The frozen network, and what there is for its head to begin with."""
        assert pretrained is not None  # config.validate refuses to freeze random weights
        of_trunk, of_head = trunks.split(pretrained, self._config.model)
        trunk = trunks.Trunk(self._config.model, of_trunk, cache.folder(self._config.data.cache_dir))
        self._run.write_trunk(self._index, trunk)
        return trunk, of_head

    def capacity(self) -> Capacity:
        """How many members the devices hold, at most those of the program; compiles the training program.

        Raises:
          MemoryTooSmallError: not one.
        """
        e, packing = self._engine, self._engine.packing
        one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), self._members)

        def compile_for(count: int) -> jax.stages.Compiled:
            def stacked(tree):
                place = packing.sharding(AXIS)
                return jax.tree.map(lambda a: jax.ShapeDtypeStruct((count, *a.shape), a.dtype, sharding=place), tree)

            members = stacked(one)
            state = jax.eval_shape(e.init, members, self._pretrained)
            state = stacked(jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), state))
            sums = jax.eval_shape(lambda: no_sums(count))
            sums = stacked(jax.tree.map(lambda a: jax.ShapeDtypeStruct((), a.dtype), sums))
            if self._calls == 1:
                return e.epoch.lower(state, sums, members, self._train_set, self._val_set, 0).compile()
            return e.train.lower(state, sums, members, *self._train_set, 0, 0, e.steps_per_call).compile()

        arrays = jax.tree.leaves((*self._inputs.values(), self._train_set[1], self._val_set[1]))
        shared = sum(a.addressable_shards[0].data.nbytes for a in arrays)
        return find_capacity(compile_for, len(self._specs), shared, packing.count, usable_bytes())

    def _start(self) -> tuple[int, State, bool]:
        """Epochs done, the state after them, and whether what follows the last epoch is done too."""
        packing, count = self._engine.packing, len(self._specs)
        everybody = packing.cut(pad(self._members, packing.up(count)))
        abstract = jax.eval_shape(self._engine.init, everybody, self._pretrained)
        of_group = jax.tree.map(lambda a: jax.ShapeDtypeStruct((count, *a.shape[1:]), a.dtype), abstract)
        restored = self._checkpoints.restore(_parts(of_group))
        if restored is None:
            self._run.keep_metrics(self._index, 0)
            return 0, self._engine.init(everybody, self._pretrained), False
        parts, meta = restored
        state = parts["state"].replace(best=parts["predictor"])
        self._run.keep_metrics(self._index, meta["epochs_done"])
        if state.active.any():
            logging.info("continuing after epoch %d", meta["epochs_done"])
        return meta["epochs_done"], state, meta["concluded"]

    def _save(self, epochs_done: int, state: State, concluded: bool = False) -> None:
        meta = {"epochs_done": epochs_done, "concluded": concluded}
        self._checkpoints.save(epochs_done + concluded, _parts(state), meta)

    def train(self) -> State:
        """Runs to the end; returns the final state."""
        try:
            return self._train()
        except BaseException:
            with contextlib.suppress(Exception):  # no write may be under way when the interpreter ends
                self._checkpoints.close()
            raise

    def _train(self) -> State:
        epoch, state, concluded = self._start()
        roster = Roster(self._engine.packing, self._members, state)
        first_stage = np.asarray(self._members.restart.epochs)
        total = int((np.asarray(self._members.epochs) + first_stage).max())
        count = len(self._specs)
        began = time.monotonic()
        label = f"training {count} member{'s' * (count > 1)}"
        with Progress(0, label, "member-images") as progress:
            while epoch < total and roster.active.any():
                progress.expect(int(self._images[self._running(roster)].sum()) * (total - epoch))
                rows = self._epoch(roster, epoch, progress)
                if epoch + 1 in first_stage:
                    roster.state = self._engine.restart(
                        roster.state, roster.members, *self._train_set, epoch, self._pretrained
                    )
                epoch += 1
                roster.choose()
                self._run.append_metrics(self._index, rows)
                state, stopping = roster.whole(), preemption.requested()
                at_end = epoch == total or not roster.active.any()
                if stopping or at_end or epoch % self._config.checkpoint_every == 0:
                    self._save(epoch, state)
                best, active = processes.local((state.best_score, state.active))
                if stopping:
                    self._checkpoints.close()
                    preemption.stop_if_requested()
                progress.note(f"epoch {epoch}/{total}, best AUROC {best.mean():.4f}, {active.sum()} active")
        state = roster.whole()
        if self._terms.averaging and not concluded:
            state = self._conclude(state, epoch)
            self._save(epoch, state, concluded=True)
        self._checkpoints.close()
        self.seconds = time.monotonic() - began
        self._report_failures(state)
        return state

    def _conclude(self, state: State, epochs: int) -> State:
        packing, count = self._engine.packing, len(self._specs)
        both = packing.cut(pad((state, self._members), packing.up(count)))
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
                roster.state, sums, roster.members, self._train_set, self._val_set, epoch
            )
            jax.block_until_ready(sums)
            progress.advance(images)
        else:
            for first in range(0, e.steps_per_epoch, e.steps_per_call):
                roster.state, sums = e.train(
                    roster.state, sums, roster.members, *self._train_set, epoch, first, e.steps_per_call
                )
                jax.block_until_ready(sums)
                reached = [min(step, e.steps_per_epoch) for step in (first, first + e.steps_per_call)]
                before, after = (images * step // e.steps_per_epoch for step in reached)
                progress.advance(after - before)
            roster.state, metrics = e.finish_epoch(roster.state, roster.members, *self._val_set, epoch)
        return self._rows(epoch, roster.rows, sums, metrics)

    def _rows(self, epoch: int, rows: np.ndarray, sums: Sums, metrics: dict[str, jax.Array]) -> list[dict]:
        host, sums = processes.local((metrics, sums))
        count = np.maximum(sums.count, 1)
        host["train_loss"], host["train_accuracy"] = sums.loss / count, sums.correct / count
        ran = host.pop("ran")
        names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_auroc", "best_val_auroc")
        return [
            {
                "program": self._index,
                "epoch": epoch,
                "member": spec.member,
                "method": spec.method,
                "seed": spec.seed,
                **spec.drawn,
                **{n: _json_number(host[n][i]) for n in names},
            }
            for i, spec in ((i, self._specs[row]) for i, row in enumerate(rows) if row < len(self._specs))
            if ran[i]
        ]

    def _report_failures(self, state: State) -> None:
        for spec, step in zip(self._specs, processes.local(state.failed_step), strict=True):
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
        cohorts, parts = self._cohorts(), {}
        for name in {self._resident(split) for split in ("train", "val", *splits)}:
            part = data.split(name)
            parts[name] = part, self._encoder.fold(part.images, Annotations.of(part), self._inputs.get(name))

        def fold(split: str) -> Images:
            whole = parts[self._resident(split)][1]
            field = {"val": "validation"}.get(split, split)
            return whole if cohorts is None else whole.of_rows([getattr(c, field) for c in cohorts])

        adjustments = adjust(self._engine, state.best, self._specs, fold("train"), fold("val"))
        self._run.write_adjustments(adjustments)
        readout = Readout(self._engine, state.best, self._specs, adjustments)
        frames = []
        for split in splits:
            part, own = parts[self._resident(split)][0], fold(split)
            found = zip(readout.rows(own), readout.thresholds(), readout.probabilities(own), strict=True)
            for spec, (rows, thresholds, p) in zip(readout.members, found, strict=True):
                seen = part if cohorts is None else part.take(rows)
                frames.append(predictions_frame(spec, seen, split, p, thresholds))
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def _cohorts(self) -> list[Cohort] | None:
        """Of each training; None if all take the data's own split."""
        found = [cohort_of(s, self._sets[0]) for s in self._specs]
        return None if None in found else cast("list[Cohort]", found)

    def _resident(self, split: str) -> str:
        """The data's split that holds what members call so."""
        if self._config.cohort.by:
            return "train"
        return validation_name(self._config.data) if split == "val" else split

    def summary(self, state: State) -> pd.DataFrame:
        """members.csv: one row per member; `trained_as` is the member whose training it shares, itself mostly."""
        rows = [(i, trained, s) for i, trained in enumerate(self._specs) for s in trained.all]
        epoch, score, failed = processes.local((state.best.epoch, state.best_score, state.failed_step))
        place = [i for i, _, _ in rows]
        return pd.DataFrame(
            {
                "member": [s.member for _, _, s in rows],
                "method": [s.method for _, _, s in rows],
                "seed": [s.seed for _, _, s in rows],
                **({"draw": [s.drawn["draw"] for _, _, s in rows]} if self._config.cohort.by else {}),
                "program": self._index,
                "trained_as": [trained.member for _, trained, _ in rows],
                "best_epoch": epoch[place],
                "best_val_auroc": score[place],
                "failed_step": failed[place],
            }
        )


def _parts(state: State) -> dict:
    """What a checkpoint holds: all that predicting needs, and the rest."""
    return {"predictor": state.best, "state": state.replace(best=())}


def _json_number(x: np.floating) -> float | None:
    """JSON has no NaN."""
    return float(f"{x:.7g}") if np.isfinite(x) else None
