"""Trains the members of one program: epochs, checkpoints, predictions."""

from __future__ import annotations

import contextlib
import functools
import time

import jax
import numpy as np
import pandas as pd
from absl import logging

from frown_jax.data.dataset import Dataset
from frown_jax.inputs.images import Images
from frown_jax.member.state import State, Sums, no_sums
from frown_jax.runs.checkpoint import Checkpoints
from frown_jax.runs.directory import RunDir
from frown_jax.runtime import preemption, processes
from frown_jax.runtime.progress import Progress
from frown_jax.training.engine import Engine
from frown_jax.training.grid import Program
from frown_jax.training.placement import Initial, Placement, weights_of_file
from frown_jax.training.plan import Plan
from frown_jax.training.predictions import predictions_frame
from frown_jax.training.readout import Readout, adjust
from frown_jax.training.roster import Roster, pad

_COLUMNS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_auroc", "best_val_auroc")


class ProgramTrainer:
    """Trains one program, from its last checkpoint if there is one.

    Its data goes to the devices when it is first needed, and is let go of by `close`, or at the end of a `with` block.

    Attributes:
      plan: what the training needs.
      seconds: that `train` took.
    """

    def __init__(self, index: int, program: Program, run: RunDir, data: Dataset, initial: Initial = weights_of_file):
        """Works out the plan; loads and writes nothing.

        Args:
          index: of the program in its run.
          program: its runs.
          run: the directory that keeps checkpoints, metrics and adjustments.
          data: with images.
          initial: the weights that a config's network begins with.

        Raises:
          MitigationError: a mitigation does not fit the data.
          CohortError: there are not so many subjects as a run draws.
        """
        self.plan, self.seconds = Plan.of(program, data), 0.0
        self._index, self._specs, self._config = index, program.specs, program.config
        self._run, self._data, self._initial = run, data, initial

    def __enter__(self) -> ProgramTrainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the data."""
        if "placement" in vars(self):
            self.placement.close()
            del self.placement

    @functools.cached_property
    def placement(self) -> Placement:
        """The data on the devices."""
        return Placement(self.plan, self._data, self._initial)

    @property
    def engine(self) -> Engine:
        """The compiled functions of the program."""
        return self.plan.engine

    def train(self) -> State:
        """Runs to the end; returns the final state."""
        if self.placement.trunk is not None:
            self._run.write_trunk(self._index, self.placement.trunk)
        checkpoints = Checkpoints(self._run.checkpoints(self._index))
        try:
            return self._train(checkpoints)
        except BaseException:
            with contextlib.suppress(Exception):  # no write may be under way when the interpreter ends
                checkpoints.close()
            raise

    def _train(self, checkpoints: Checkpoints) -> State:
        epoch, state, concluded = self._start(checkpoints)
        members, placement = self.plan.members, self.placement
        roster = Roster(self.engine.packing, members, state)
        first_stage = np.asarray(members.restart.epochs)
        total = int((np.asarray(members.epochs) + first_stage).max())
        count = len(self._specs)
        began = time.monotonic()
        label = f"training {count} member{'s' * (count > 1)}"
        with Progress(0, label, "member-images") as progress:
            while epoch < total and roster.active.any():
                progress.expect(self._images(roster) * (total - epoch))
                rows = self._epoch(roster, epoch, progress)
                if epoch + 1 in first_stage:
                    roster.state = self.engine.restart(
                        roster.state, roster.members, *placement.train, epoch, placement.pretrained
                    )
                epoch += 1
                roster.choose()
                self._run.metrics.append(self._index, rows)
                state, stopping = roster.whole(), preemption.requested()
                at_end = epoch == total or not roster.active.any()
                if stopping or at_end or epoch % self._config.checkpoint_every == 0:
                    _save(checkpoints, epoch, state)
                best, active = processes.local((state.best_score, state.active))
                if stopping:
                    checkpoints.close()
                    preemption.stop_if_requested()
                progress.note(f"epoch {epoch}/{total}, best AUROC {best.mean():.4f}, {active.sum()} active")
        state = roster.whole()
        if self.plan.terms.averaging and not concluded:
            state = self._conclude(state, epoch)
            _save(checkpoints, epoch, state, concluded=True)
        checkpoints.close()
        self.seconds = time.monotonic() - began
        self._report_failures(state)
        return state

    def _start(self, checkpoints: Checkpoints) -> tuple[int, State, bool]:
        """Epochs done, the state after them, and whether what follows the last epoch is done too."""
        packing, count, pretrained = self.engine.packing, len(self._specs), self.placement.pretrained
        everybody = packing.cut(pad(self.plan.members, packing.up(count)))
        abstract = jax.eval_shape(self.engine.init, everybody, pretrained)
        of_members = jax.tree.map(lambda a: jax.ShapeDtypeStruct((count, *a.shape[1:]), a.dtype), abstract)
        restored = checkpoints.restore(_parts(of_members))
        if restored is None:
            self._run.metrics.keep(self._index, 0)
            return 0, self.engine.init(everybody, pretrained), False
        parts, meta = restored
        state = parts["state"].replace(best=parts["predictor"])
        self._run.metrics.keep(self._index, meta["epochs_done"])
        if state.active.any():
            logging.info("continuing after epoch %d", meta["epochs_done"])
        return meta["epochs_done"], state, meta["concluded"]

    def _conclude(self, state: State, epochs: int) -> State:
        packing, count = self.engine.packing, len(self._specs)
        both = packing.cut(pad((state, self.plan.members), packing.up(count)))
        done = self.engine.conclude(*both, self.placement.train[0], *self.placement.validation, epochs - 1)
        return jax.tree.map(lambda a: a[:count], done)

    def _images(self, roster: Roster) -> int:
        """Images of an epoch of the members that run."""
        return int(self.plan.images_per_epoch[roster.rows[roster.active]].sum())

    def _epoch(self, roster: Roster, epoch: int, progress: Progress) -> list[dict]:
        e, train, validation = self.engine, self.placement.train, self.placement.validation
        images = self._images(roster)
        sums = e.packing.cut(no_sums(len(roster.rows)))
        if self.plan.whole_epochs:
            (roster.state, metrics), sums = e.epoch(roster.state, sums, roster.members, train, validation, epoch)
            jax.block_until_ready(sums)
            progress.advance(images)
        else:
            for first in range(0, e.steps_per_epoch, e.steps_per_call):
                roster.state, sums = e.train(roster.state, sums, roster.members, *train, epoch, first, e.steps_per_call)
                jax.block_until_ready(sums)
                reached = [min(step, e.steps_per_epoch) for step in (first, first + e.steps_per_call)]
                before, after = (images * step // e.steps_per_epoch for step in reached)
                progress.advance(after - before)
            roster.state, metrics = e.finish_epoch(roster.state, roster.members, *validation, epoch)
        return self._rows(epoch, roster.rows, sums, metrics)

    def _rows(self, epoch: int, rows: np.ndarray, sums: Sums, metrics: dict[str, jax.Array]) -> list[dict]:
        host, sums = processes.local((metrics, sums))
        count = np.maximum(sums.count, 1)
        host["train_loss"], host["train_accuracy"] = sums.loss / count, sums.correct / count
        ran = host.pop("ran")
        return [
            {
                "program": self._index,
                "epoch": epoch,
                "member": spec.member,
                "method": spec.method,
                "seed": spec.seed,
                **spec.drawn,
                **{n: _json_number(host[n][i]) for n in _COLUMNS},
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
        plan, cohorts = self.plan, self.plan.cohorts()
        names = {plan.split_of(split) for split in ("train", "val", *splits)}
        shown = {name: self.placement.images(name) for name in names}

        def images_of(split: str) -> Images:
            whole = shown[plan.split_of(split)]
            field = {"val": "validation"}.get(split, split)
            return whole if cohorts is None else whole.of_rows([getattr(c, field) for c in cohorts])

        adjustments = adjust(self.engine, state.best, self._specs, images_of("train"), images_of("val"))
        self._run.write_adjustments(adjustments)
        readout = Readout(self.engine, state.best, self._specs, adjustments)
        frames = []
        for split in splits:
            part, own = data.split(plan.split_of(split)), images_of(split)
            found = zip(readout.rows(own), readout.thresholds(), readout.probabilities(own), strict=True)
            for spec, (rows, thresholds, p) in zip(readout.members, found, strict=True):
                seen = part if cohorts is None else part.take(rows)
                frames.append(predictions_frame(spec, seen, split, p, thresholds))
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

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


def _save(checkpoints: Checkpoints, epochs_done: int, state: State, concluded: bool = False) -> None:
    meta = {"epochs_done": epochs_done, "concluded": concluded}
    checkpoints.save(epochs_done + concluded, _parts(state), meta)


def _parts(state: State) -> dict:
    """What a checkpoint holds: all that predicting needs, and the rest."""
    return {"predictor": state.best, "state": state.replace(best=())}


def _json_number(x: np.floating) -> float | None:
    """JSON has no NaN."""
    return float(f"{x:.7g}") if np.isfinite(x) else None
