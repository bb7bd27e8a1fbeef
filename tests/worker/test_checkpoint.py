"""Checkpoints: whole or missing, damaged ones not used, no code in them can run; event files cut back to them."""

from __future__ import annotations

import collections
import errno
import math
import os
import pickle
import random
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from sweep.storage.folder import CHECKPOINT, PREVIOUS_CHECKPOINT, UNUSABLE_CHECKPOINT
from sweep.study.trial import Position
from sweep.tensorboard import event_files
from sweep.tensorboard.run_writer import RunWriter
from sweep.worker import checkpoint
from sweep.worker.checkpoint import Checkpoint, CheckpointDamaged, candidates, read, save

FREED = torch.ones(3)  # as FSDP leaves a parameter whose values are on other devices
FREED.untyped_storage().resize_(0)
WHO = checkpoint.identity(3, {"lr": 0.1, "shuffle": True}, 7)


def at(step: int, **changes: Any) -> Checkpoint:
    position = Position(step=step, total=9, metrics={"loss": 1 / step}, history=tuple((i, 1 / i) for i in range(1, step + 1)))
    fields: dict[str, Any] = {
        "identity": WHO,
        "position": position,
        "state": {"w": torch.arange(6.0).reshape(2, 3) * step, "epoch": step},
        "events": {"events.out.tfevents.1": step},
    }
    return Checkpoint(**(fields | changes))


def steps(folder: Path, said: list[str] | None = None) -> list[int | None]:
    """Return the steps of the checkpoints that can be used, the first of which would be."""
    warnings = said if said is not None else []
    return [found.position.step for found in candidates(folder, WHO, warnings.append)]


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    """Tensors with their layout, numbers with their types, the history; and any program with torch can open it."""
    model = torch.nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
    state = {
        "model": model.state_dict(),
        "scheduler": collections.Counter([5, 9]),
        "nested": [1, 2.5, None, True, "a", (1, {2})],
        "half": torch.tensor([1.5, math.inf], dtype=torch.bfloat16),
    }
    save(tmp_path, at(2, state=state))
    found = read(tmp_path / CHECKPOINT)
    assert found.position == at(2).position
    assert (found.identity, found.events) == (WHO, {"events.out.tfevents.1": 2})
    assert found.state["nested"] == state["nested"]
    assert torch.equal(found.state["half"], state["half"])  # type: ignore[arg-type]  # it is a tensor
    weight = found.state["model"]["weight"]
    assert torch.equal(weight, model.weight)
    assert weight.stride() == model.weight.stride() != weight.contiguous().stride()
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["state"]["nested"] == state["nested"]
    assert zipfile.ZipFile(tmp_path / CHECKPOINT).comment.startswith(b"sweep checkpoint 1 sha256:")


def test_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    """With a warning; the damaged one is renamed, so that it never becomes the previous one."""
    for step in (1, 2, 3):
        save(tmp_path, at(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREVIOUS_CHECKPOINT, CHECKPOINT]
    content = bytearray((tmp_path / CHECKPOINT).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / CHECKPOINT).write_bytes(content)
    said: list[str] = []
    assert steps(tmp_path, said) == [2]
    assert said == ["checkpoint.pt cannot be used: its digest does not match: the file was damaged"]
    assert not (tmp_path / CHECKPOINT).exists()
    assert (tmp_path / UNUSABLE_CHECKPOINT).exists()


def test_a_checkpoint_that_cannot_be_read_now_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little memory, or a disk that does not answer: the next attempt may read it."""
    save(tmp_path, at(1))
    save(tmp_path, at(2))
    for error in (MemoryError("too large"), OSError(errno.EIO, "Input/output error")):

        def fails(*_args: object, error: Exception = error, **_kwargs: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(torch, "load", fails)
            with pytest.raises(type(error)):
                steps(tmp_path)
    assert next(candidates(tmp_path, WHO, print)).position.step == 2


def test_a_checkpoint_that_is_cut_anywhere_is_passed_over(tmp_path: Path) -> None:
    """At every byte, and with any byte changed at a hundred places; the one before it is used."""
    save(tmp_path, at(1))
    save(tmp_path, at(2))
    content, path = (tmp_path / CHECKPOINT).read_bytes(), tmp_path / "cut"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointDamaged):
            read(path)
    generator = random.Random(1)  # places, not secrets
    for place in generator.sample(range(len(content)), 100):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << generator.randrange(8))]) + content[place + 1 :])
        with pytest.raises(CheckpointDamaged):
            read(path)
    path.write_bytes(content + b"x")
    with pytest.raises(CheckpointDamaged):
        read(path)
    (tmp_path / CHECKPOINT).write_bytes(content[:-1])
    assert steps(tmp_path) == [1]


class _Runs:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


def test_nothing_in_a_checkpoint_can_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle with a command in it, and a whole torch file with one, are refused though their digests are right."""
    torch.save({"version": 1, "x": _Runs()}, here / "evil.pt")
    for content in (pickle.dumps(_Runs()) + b"\0\0", (here / "evil.pt").read_bytes()):
        with monkeypatch.context() as patch, (here / CHECKPOINT).open("wb") as file:
            patch.setattr(torch, "save", lambda _data, target, content=content: target.write(content))
            checkpoint._write({}, file)
        said: list[str] = []
        assert steps(here, said) == []
        assert "digest" not in said[0]
        assert not (here / "pwned").exists()


def test_another_trials_checkpoint_is_not_used(tmp_path: Path) -> None:
    """Somebody copied a folder, or changed its parameters."""
    save(tmp_path, at(2, identity=checkpoint.identity(3, {"lr": 0.2, "shuffle": True}, 7)))
    said: list[str] = []
    assert steps(tmp_path, said) == []
    assert said == ["checkpoint.pt cannot be used: it belongs to another trial"]


def test_a_newer_programs_checkpoint_is_not_misread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so."""
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "VERSION", 2)
        save(tmp_path, at(1))
    with pytest.raises(CheckpointDamaged, match="it is of version 2, this program knows 1"):
        read(tmp_path / CHECKPOINT)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"lr": numpy.float64(0.1)}, r"state\['lr'\] is a numpy.float64"),
        ({"shard": FREED}, r"state\['shard'\] is a tensor \(torch.float32, torch.strided\) that cannot be read back"),
        ({"a": [1, {"b": object()}]}, r"state\['a'\]\[1\]\['b'\] is a builtins.object"),
        ({"f": len}, "builtin_function_or_method"),
        ({"a": numpy.zeros(3)}, "torch.from_numpy"),
    ],
)
def test_what_could_not_be_read_back_is_refused_when_saving(tmp_path: Path, state: dict[str, Any], words: str) -> None:
    """With the place and the type, instead of a checkpoint that fails when it is needed."""
    save(tmp_path, at(1))
    with pytest.raises(TypeError, match=words):
        save(tmp_path, at(2, state=state))
    assert steps(tmp_path) == [1]


def test_a_write_that_fails_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full while torch writes, or while it is synced: the error is the system's, the last checkpoint stays."""
    save(tmp_path, at(1))

    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            save(tmp_path, at(2))
    with Path("/dev/full").open("wb", buffering=0) as disk, pytest.raises(OSError, match="No space left"):
        checkpoint._write({"w": torch.zeros(100_000)}, disk)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]
    assert steps(tmp_path) == [1]


# ---------------------------------------------------------------- event files


def write(folder: Path, *values: float) -> Path:
    """Write an event file with a point for each value; its first record is the header."""
    writer = RunWriter(folder)
    for step, value in enumerate(values):
        writer.add_scalar("a", value, step)
    writer.close()
    return max(folder.glob(event_files.PATTERN))


def test_records_are_counted_at_every_cut(tmp_path: Path) -> None:
    """A file cut at any byte has as many whole records as end before it, and is cut back to them."""
    path = write(tmp_path, 1, 2, 3)
    content = path.read_bytes()
    with path.open("rb") as file:
        ends = [start + length + 4 for start, length in event_files.records(file)]
    assert len(ends) == 4
    assert ends[-1] == len(content)
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        whole = sum(end <= size for end in ends)
        assert event_files.RecordCounter(tmp_path).count() == {path.name: whole}
        with pytest.raises(event_files.NotEnoughRecords):
            event_files.cut_back(tmp_path, {path.name: whole + 1})
        assert path.stat().st_size == size
        event_files.cut_torn_ends(tmp_path)
        assert path.read_bytes() == content[: ends[whole - 1] if whole else 0]


def test_cutting_back_removes_what_came_later(tmp_path: Path) -> None:
    """Records, whole files, and the sub-runs that `add_scalars` makes."""
    path = write(tmp_path, 1, 2, 3)
    counter = event_files.RecordCounter(tmp_path)
    counts = counter.count(sync=True)
    assert counts == {path.name: 4}
    later = write(tmp_path, 4)
    (tmp_path / "sub").mkdir()
    sub = write(tmp_path / "sub", 5)
    assert counter.count() == {path.name: 4, later.name: 2, f"sub/{sub.name}": 2}
    event_files.cut_back(tmp_path, {path.name: 3})
    assert event_files.RecordCounter(tmp_path).count() == {path.name: 3}
    with pytest.raises(event_files.NotEnoughRecords):
        event_files.cut_back(tmp_path, {path.name: 2, "events.out.tfevents.gone": 1})
    assert event_files.RecordCounter(tmp_path).count() == {path.name: 3}


def test_a_new_file_sorts_after_those_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the clock jumped back by a day: TensorBoard reads files in the order of their names."""
    names = [write(tmp_path, 1).name]
    event_file_writer = sys.modules["tensorboard.summary.writer.event_file_writer"]
    now = event_file_writer.time.time()
    monkeypatch.setattr(event_file_writer.time, "time", lambda: now - 86_400)
    for value in (2, 3):
        before = {path.name for path in tmp_path.iterdir()}
        write(tmp_path, value)
        names += [path.name for path in tmp_path.iterdir() if path.name not in before]
    assert names == sorted(names)
    assert len(names) == 3
    assert event_files.RecordCounter(tmp_path).count() == dict.fromkeys(names, 2)


def test_a_replaced_record_leaves_the_others(tmp_path: Path) -> None:
    """With other data of any length in its place."""
    path = write(tmp_path, 1, 2, 3)
    shutil.copy(path, tmp_path / "before")
    with path.open("rb") as file:
        before = [(start, length) for start, length in event_files.records(file)]
    event_files.replace_record(path, *before[1], b"new data of another length")
    with path.open("rb") as file:
        after = list(event_files.records(file))
        file.seek(after[1][0])
        assert file.read(after[1][1]) == b"new data of another length"
    assert [length for _, length in after] == [before[0][1], 26, before[2][1], before[3][1]]


def test_a_state_for_another_process_follows_no_link(tmp_path: Path) -> None:
    """What the link leads to stays as it was, and is not read."""
    outside, link = tmp_path / "outside", tmp_path / ".state"
    outside.write_text("kept")
    link.symlink_to(outside)
    checkpoint.write_state(link, {"step": 3})
    assert outside.read_text() == "kept"
    assert checkpoint.take_state(link) == {"step": 3}
    link.symlink_to(outside)
    with pytest.raises(OSError, match="it is a link"):
        checkpoint.take_state(link)
