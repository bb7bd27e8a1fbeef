"""The settings that make a GPU repeat its digits, and what is said where a trial resumes on something else.

The settings are read back in workers whose GPUs are described only, and which compute on the CPU: what they do to the digits of a
GPU is for tests/gpu.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sweep.storage.folder import CHECKPOINT
from sweep.study.trial import Decision, Report, TrialResult, TrialSpec, TrialState
from sweep.worker import checkpoint, determinism
from sweep.worker.devices import Slot, plan_slots
from sweep.worker.executors.local import LocalWorker
from sweep.worker.gpus import Gpu
from sweep.worker.handle import Trial
from sweep.worker.loop import TORCH_IMPORTS, serve
from sweep.worker.protocol import Event, Resumed
from sweep.worker.single import run_trial
from tests.support.studies import study_spec
from tests.worker.script.conftest import Line

CPU = plan_slots("cpu", 1, 1)[0]
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def gpu_slot(*names: str) -> Slot:
    slot = plan_slots("auto", 1, 1, gpus=[Gpu(uuid="0", index="0")])[0]
    return dataclasses.replace(slot, gpus=tuple(Gpu(uuid=str(i), index=str(i), name=name) for i, name in enumerate(names)))


H200 = gpu_slot("NVIDIA H200")


def found() -> dict[str, Any]:
    return {
        "workspace": os.environ.get(WORKSPACE),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "strict": torch.are_deterministic_algorithms_enabled(),
    }


@pytest.fixture
def as_torch_begins(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return torch's own settings, but with cuDNN's benchmark on; they are put back."""
    monkeypatch.delenv(WORKSPACE, raising=False)
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):
        yield {"workspace": None, "cudnn": (False, True), "strict": False}
    torch.use_deterministic_algorithms(False)


REPEATING = {"workspace": ":4096:8", "cudnn": (True, False)}


@pytest.mark.parametrize(
    ("level", "slot", "changed"),
    [
        ("default", H200, REPEATING),
        ("strict", H200, REPEATING | {"strict": True}),
        ("off", H200, {}),
        ("default", CPU, {}),
        ("strict", CPU, {"strict": True}),
        ("off", CPU, {}),
    ],
)
def test_what_each_level_sets(as_torch_begins: dict[str, Any], level: str, slot: Slot, changed: dict[str, Any]) -> None:
    """While the process serves the slot; it may be the user's own, so all is put back in the end."""
    with determinism.environment(level, slot), determinism.settings(level, slot):
        assert found() == as_torch_begins | changed
    assert found() == as_torch_begins


def test_a_workspace_of_the_users_own_is_kept(as_torch_begins: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets the variable knows why."""
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with determinism.environment("default", H200), determinism.settings("default", H200):
        assert os.environ[WORKSPACE] == ":16:8"
    assert os.environ[WORKSPACE] == ":16:8"


TELLS = """
import os, torch
AT_IMPORT = os.environ.get("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
def train(trial):
    cudnn = torch.backends.cudnn
    trial.report(1, {"score": 1, "workspace": int(AT_IMPORT), "cudnn": int(cudnn.deterministic and not cudnn.benchmark),
                     "strict": int(torch.are_deterministic_algorithms_enabled())})
    cudnn.deterministic, cudnn.benchmark = False, True
    torch.use_deterministic_algorithms(False)
"""


@contextlib.contextmanager
def worker(slot: Slot, **keys: Any) -> Iterator[LocalWorker]:
    made = LocalWorker(slot, functools.partial(serve, study_spec({"x": 1}, **keys)), TORCH_IMPORTS)
    try:
        yield made
    finally:
        made.close()


def ask(made: LocalWorker, folder: Path, number: int = 0) -> Event:
    spec = TrialSpec(number=number, params={"x": 1}, seed=7, dir=str(folder / f"trial {number}"))
    return made.next_event(spec).result(timeout=60)


@pytest.mark.parametrize(
    ("level", "slot", "expected"),
    [("default", H200, (1, 1, 0)), ("strict", H200, (1, 1, 1)), ("off", H200, (0, 0, 0)), ("default", CPU, (0, 0, 0))],
)
def test_every_trial_of_a_worker_finds_the_settings(
    tmp_path: Path, level: str, slot: Slot, expected: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From before the objective is imported, whatever the trial before has set."""
    monkeypatch.delenv(WORKSPACE, raising=False)
    (tmp_path / "tells.py").write_text(TELLS)
    with worker(slot, objective="tells:train", import_dir=tmp_path, determinism=level) as made:
        for number in range(2):
            report = ask(made, tmp_path, number)
            assert isinstance(report, Report)
            assert tuple(report.metrics[name] for name in ("workspace", "cudnn", "strict")) == expected
            result = made.next_event(Decision.CONTINUE).result(timeout=60)
            assert isinstance(result, TrialResult)
            assert (result.state, result.spent) == (TrialState.COMPLETE, False)


def test_a_strict_trial_fails_where_torch_has_nothing_deterministic(tmp_path: Path) -> None:
    """On a CPU, too; torch's message says which operation it is."""
    code = "import torch\ndef train(trial):\n    torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))\n    return 1.0\n"
    (tmp_path / "puts.py").write_text(code)
    with worker(CPU, objective="puts:train", import_dir=tmp_path, determinism="strict") as made:
        result = ask(made, tmp_path)
    assert isinstance(result, TrialResult)
    assert "put_ does not have a deterministic implementation" in (result.error or "")


@pytest.mark.slow
def test_a_script_on_a_gpu_has_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest it sets itself: it imports its own torch."""
    monkeypatch.delenv(WORKSPACE, raising=False)
    (tmp_path / "prints.py").write_text(f"import os\nprint('{{\"score\": %d}}' % (os.environ.get('{WORKSPACE}') == ':4096:8'))\n")
    for level, expected in (("default", 1), ("off", 0)):
        keys = {"objective": None, "command": "python prints.py", "import_dir": tmp_path, "determinism": level}
        with worker(H200, **keys) as made:
            report = ask(made, tmp_path)
        assert isinstance(report, Report)
        assert report.metrics == {"score": expected}
        (tmp_path / "trial 0").rename(tmp_path / level)


# ---------------------------------------------------------------- resuming elsewhere


def learn(trial: Trial) -> None:
    """Save a state at each step."""
    done = trial.state["step"] if trial.state else 0
    for step in range(done + 1, 4):
        trial.report(step, {"score": step}, {"step": step})


def attempt(folder: Path, slot: Slot, line: Line) -> str:
    """Attempt a trial on a slot; return what is in its log."""

    @contextlib.contextmanager
    def log_to(_path: Path) -> Iterator[None]:
        with (folder / "log").open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield

    spec = TrialSpec(number=0, params={"x": 1}, seed=7, dir=str(folder / "trial"))
    run_trial(line.channel, learn, spec, study_spec({"x": 1}), slot, log_to)
    return (folder / "log").read_text()


def resumed(line: Line) -> Resumed:
    [event] = [event for event in line.sent if isinstance(event, Resumed)]
    return event


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (H200, H200, ""),
        (CPU, CPU, ""),
        (H200, gpu_slot("NVIDIA A100"), "device: was NVIDIA H200, is now NVIDIA A100"),
        (H200, CPU, "device: was NVIDIA H200, is now cpu"),
        (CPU, H200, "device: was cpu, is now NVIDIA H200"),
        (gpu_slot("NVIDIA H200", "NVIDIA H200"), H200, "device: was NVIDIA H200, NVIDIA H200, is now NVIDIA H200"),
    ],
)
def test_a_trial_says_that_it_resumes_on_another_device(tmp_path: Path, before: Slot, now: Slot, words: str) -> None:
    """In one line of its log, and to the runner: digits may differ from there on."""
    assert "digits" not in attempt(tmp_path, before, Line([Decision.CONTINUE, Decision.STOP]))
    line = Line()
    log = attempt(tmp_path, now, line)
    assert resumed(line).moved == words
    assert [text for text in log.splitlines() if "digits" in text] == (
        [f"sweep: digits may differ after the interruption: {words}"] if words else []
    )


def test_a_trial_says_that_it_resumes_with_another_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with another CUDA where there is a GPU."""
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "2.11.0")
        patch.setattr(torch.version, "cuda", "12.6")
        attempt(tmp_path, H200, Line([Decision.CONTINUE, Decision.STOP]))
    line = Line()
    attempt(tmp_path, H200, line)
    cuda = "" if torch.version.cuda == "12.6" else f"; CUDA: was 12.6, is now {torch.version.cuda}"
    assert resumed(line).moved == f"torch: was 2.11.0, is now {torch.__version__}{cuda}"


def changed_origin(folder: Path, change: Any) -> None:
    """Give a checkpoint another origin; None for none, as in those of earlier versions."""
    path = folder / CHECKPOINT
    data = torch.load(path, weights_only=True)
    del data["origin"]
    with path.open("wb") as file:
        checkpoint._write(data | ({} if change is None else {"origin": change}), file)


def test_a_checkpoint_of_an_earlier_version_is_resumed_silently(tmp_path: Path) -> None:
    """It does not say what made it."""
    attempt(tmp_path, H200, Line([Decision.CONTINUE, Decision.STOP]))
    changed_origin(tmp_path / "trial", None)
    line = Line()
    assert "digits" not in attempt(tmp_path, CPU, line)
    assert (resumed(line).moved, resumed(line).position.step) == ("", 2)


def test_what_a_stranger_wrote_there_is_shown_as_plain_text(tmp_path: Path) -> None:
    """On one line, and cut; what is no table of texts makes the checkpoint useless."""
    attempt(tmp_path, CPU, Line([Decision.CONTINUE, Decision.STOP]))
    changed_origin(tmp_path / "trial", {"device": "\x1b[2J\n" + "a" * 1000})
    line = Line()
    attempt(tmp_path, CPU, line)
    assert resumed(line).moved == f"device: was \\x1b[2J\\n{'a' * 95}, is now cpu"
    changed_origin(tmp_path / "trial", 3)
    assert "checkpoint.pt cannot be used" in attempt(tmp_path, CPU, Line())


def test_an_interrupted_study_tells_what_it_was_trained_on(tmp_path: Path) -> None:
    """Device and versions are in each checkpoint, which any program with torch can open."""
    attempt(tmp_path, H200, Line([Decision.CONTINUE, Decision.STOP]))
    data = torch.load(tmp_path / "trial" / CHECKPOINT, weights_only=True)
    expected = {"device": "NVIDIA H200", "torch": torch.__version__, "CUDA": torch.version.cuda}
    assert json.dumps(data["origin"]) == json.dumps(expected)
    assert data["version"] == 1
