"""Event files that TensorBoard reads, and one run of Weights & Biases; both follow metrics.jsonl through a kill."""

import pathlib
import struct
import sys
import types

import pytest
from tensorboardX.proto.event_pb2 import Event

from configs import baseline
from frown_jax.errors import ConfigError
from frown_jax.runs import tensorboard, watchers
from frown_jax.runs.directory import RunDir
from frown_jax.runs.tensorboard import TensorBoard


def row(epoch, member, method="baseline", **more):
    return {"program": 0, "epoch": epoch, "member": member, "method": method, "seed": member, **more}


def events(path):
    """Records by the format's description: uint64 length, its checksum, data, its checksum."""
    data, out = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        out.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return out


def scalars(folder):
    return {
        str(path.parent.relative_to(folder)): [
            (e.step, {v.tag: round(v.simple_value, 4) for v in e.summary.value}) for e in events(path)[1:]
        ]
        for path in sorted(pathlib.Path(folder).rglob("events.out.tfevents*"))
    }


def test_event_files_hold_what_the_metrics_hold_and_forget_what_is_run_again(tmp_path):
    run = RunDir(tmp_path)
    run.metrics.append(0, [row(0, 0, train_loss=2.0, val_auroc=0.5, best_val_auroc=0.5)])
    run.metrics.watch([TensorBoard(tmp_path / "tb")])  # what was there before is shown too
    run.metrics.append(0, [row(1, 0, train_loss=1.5, val_auroc=0.6, best_val_auroc=0.6), row(0, 1, "a/b: c", draw=3)])
    first = {"train/loss": 2.0, "val/auroc": 0.5, "best_val_auroc": 0.5}
    second = {"train/loss": 1.5, "val/auroc": 0.6, "best_val_auroc": 0.6}
    found = scalars(tmp_path / "tb")
    assert found == {"baseline/seed0": [(1, first), (2, second)], "a_b_ c/draw3-seed1": [(1, {})]}
    run.metrics.keep(0, epochs_done=1)
    assert scalars(tmp_path / "tb")["baseline/seed0"] == [(1, first)]
    run.metrics.append(0, [row(1, 0, train_loss=1.25)])
    assert scalars(tmp_path / "tb")["baseline/seed0"][1:] == [(2, {"train/loss": 1.25})]
    (file,) = (tmp_path / "tb" / "baseline").rglob("events*")
    assert events(file)[0].file_version == "brain.Event:2"


def test_checksums_are_those_of_the_format():
    # RFC 3720's CRC-32C of 32 zero bytes, 0x8a9136aa, masked as record_writer.h does.
    crc = 0x8A9136AA
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert tensorboard._checksum(bytes(32)) == struct.pack("<I", masked)


def test_tensorboard_reads_them(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = TensorBoard(tmp_path)
    board.restart([row(e, 0, val_auroc=0.5 + e / 10) for e in range(3)])
    reader = accumulator.EventAccumulator(str(tmp_path / "baseline" / "seed0"))
    reader.Reload()
    assert [(s.step, round(s.value, 4)) for s in reader.Scalars("val/auroc")] == [(1, 0.5), (2, 0.6), (3, 0.7)]


def test_weights_and_biases_gets_means_over_members(tmp_path, monkeypatch):
    logged, begun, finished = [], {}, []
    run = types.SimpleNamespace(
        log=logged.append, define_metric=lambda *a, **k: begun.update(k), finish=lambda: finished.append(1)
    )
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **k: begun.update(k) or run))
    watcher = watchers.WeightsAndBiases("faces", tmp_path / "run-1", baseline.get_config())
    watcher.restart([row(0, 0, val_loss=9.0)])
    watcher.add([row(1, 0, val_loss=1.0), row(1, 1, val_loss=2.0), row(1, 2, "other", val_loss=4.0)])
    watcher.close()
    assert logged == [{"epoch": 2, "baseline/val/loss": 1.5, "other/val/loss": 4.0}] and finished == [1]
    assert begun["project"] == "faces" and begun["id"] == "run-1" and begun["resume"] == "allow"
    assert begun["step_metric"] == "epoch" and begun["config"]["epochs"] == baseline.get_config().epochs


def test_weights_and_biases_must_be_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="pip install wandb"):
        watchers.WeightsAndBiases("faces", tmp_path, baseline.get_config())
