"""Files as torch writes them, with and without torch: each reads what the other wrote, and no code in a file runs."""

from __future__ import annotations

import collections
import io
import pickle
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from sweep.worker import torch_file, torch_use


class Attack:
    """Runs a program when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("attacked"),)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a process in which nothing has imported torch."""
    monkeypatch.setattr(torch_use, "loaded", lambda: None)


def everything() -> dict[str, Any]:
    """Return a value of each type that a state may hold, besides tensors."""
    ordered = collections.OrderedDict(x=1)
    ordered._metadata = {"version": 1}  # type: ignore[attr-defined]  # as a state_dict has it
    numbers: list[Any] = [1, -5, 2**1900, 1.5, float("inf"), complex(1, 2), True, None]
    texts: list[Any] = ["ä\n", b"x\xff", bytearray(b"q"), bytearray()]
    shared = [1]
    holders: list[Any] = [{1, "a"}, set(), (1,), (), shared, shared, ordered, collections.Counter("aab"), {(1, 2): 3}]
    return {"numbers": numbers, "texts": texts, "holders": holders, "random": random.getstate()}


def written(data: Any) -> io.BytesIO:
    file = io.BytesIO()
    torch_file.save(data, file)
    file.seek(0)
    return file


@pytest.mark.usefixtures("without")
def test_plain_data_is_the_file_that_torch_writes() -> None:
    """The pickle byte for byte; torch reads it, and it is read without torch."""
    file, theirs = written(everything()), io.BytesIO()
    torch.save(everything(), theirs)
    with zipfile.ZipFile(file) as one, zipfile.ZipFile(theirs) as other:
        assert one.read("archive/data.pkl") == other.read("archive/data.pkl")
    file.seek(0)
    assert torch.load(file, weights_only=True) == everything()
    for each in (file, theirs):
        each.seek(0)
        found = torch_file.load(each)
        assert found == everything()
        assert vars(found["holders"][6]) == {"_metadata": {"version": 1}}
        assert found["holders"][4] is found["holders"][5]


@pytest.mark.parametrize("saved_without", [False, True])
@pytest.mark.parametrize("read_without", [False, True])
def test_empty_bytes_are_read(monkeypatch: pytest.MonkeyPatch, saved_without: bool, read_without: bool) -> None:
    """Torch alone takes them for a class that it does not know."""
    with monkeypatch.context() as patch:
        if saved_without:
            patch.setattr(torch_use, "loaded", lambda: None)
        file = written({"a": b""})
    if read_without:
        monkeypatch.setattr(torch_use, "loaded", lambda: None)
    assert torch_file.load(file) == {"a": b""}


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("data", [Attack(), [torch.ones(2), Attack()]])
def test_no_code_in_a_file_runs(here: Path, data: Any) -> None:
    """Whether it is plain otherwise, or has tensors too."""
    file = io.BytesIO()
    torch.save({"a": data}, file)
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError):
        torch_file.load(file)
    assert not (here / "attacked").exists()


def test_torch_is_imported_for_tensors_only(tmp_path: Path) -> None:
    """In a process without it."""
    torch.save({"a": torch.ones(2)}, tmp_path / "tensors")
    torch.save({"a": 1}, tmp_path / "plain")
    program = """
import sys
from sweep.worker import torch_file
assert torch_file.load(open("plain", "rb")) == {"a": 1}
assert "torch" not in sys.modules
assert torch_file.load(open("tensors", "rb"))["a"].tolist() == [1, 1]
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
