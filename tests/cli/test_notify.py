"""`--notify`: a command that is run at the end of a session."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import pytest

from sweep.cli import notify
from sweep.cli.main import main
from tests.conftest import Cli
from tests.support.command_line import Running
from tests.support.studies import make_study

KEEP = "sh -c 'cat > \"it is.json\"'"


def told(here: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((here / "it is.json").read_text())
    return found


def test_the_command_gets_the_result(cli: Cli, here: Path) -> None:
    """As JSON: the best trial as `sweep best` prints it, how the session ended, the report."""
    make_study(here, {"x": [1, 2], "how": "ok"})
    done = cli("run", "study.yaml", "--notify", KEEP)
    assert (done.code, done.err) == (0, "")
    [best] = cli("best", "study.yaml", "--top", "1", "--format", "json").json
    folder = here / "runs" / "study"
    counts = {"waiting": 0, "running": 0, "complete": 2, "pruned": 0, "failed": 0}
    assert told(here) == {
        "study": "study", "dir": str(folder), "counts": counts, "total": 2, "best": best,
        "ended_by": "all trials are done", "exit_code": 0, "report": str(folder / "report.html"),
    }  # fmt: skip


@pytest.mark.slow
def test_it_is_told_of_a_stop_and_of_an_error(here: Path) -> None:
    """Ctrl-C, and a folder that is moved away; the exit codes are those of the sweep."""
    make_study(here, {"x": [1], "how": "hang", "steps": 3})
    with Running("run", "study.yaml", "--plain", "--notify", KEEP, here=here) as session:
        session.line("trial 0 started")
        session.send(signal.SIGINT)
        session.send(signal.SIGINT)
        assert session.end() == 130
    assert (told(here)["exit_code"], told(here)["ended_by"], told(here)["best"]) == (130, "stopped by SIGINT", None)
    with Running("resume", "study.yaml", "--plain", "--notify", KEEP, here=here) as session:
        session.line("trial 0 started")
        (here / "runs" / "study").rename(here / "moved")
        assert session.end() == 1
    assert (told(here)["exit_code"], told(here)["ended_by"]) == (1, "the study's folder was moved while the session ran")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("true", ""),
        ("false", "failed with 1: false"),
        (f"{sys.executable} -c 'import sys; print(5); print(\"bad\\033\", file=sys.stderr); sys.exit(3)'", "bad\\x1b"),
        ("sleep 1000", "was ended before its own end: sleep 1000"),
        ("sh -c 'sleep 1000 & sleep 1000'", "was ended before its own end"),
    ],
)
def test_a_command_that_fails_or_hangs_is_a_line(
    here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, said: str
) -> None:
    """And changes no exit code; nothing of it is left."""
    monkeypatch.setattr(notify, "_PATIENCE_S", 0.5)
    make_study(here, {"x": [1]}, objective="sweep.objectives.toy:train", metric={"name": "loss", "goal": "minimize"})
    began = time.monotonic()
    assert main(["run", "study.yaml", "--inline", "--notify", command]) == 0
    assert said in capfd.readouterr().err
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(("command", "why"), [("", "empty"), ("'", "quotation"), ("no-such-program-here x", "no program")])
def test_what_is_no_command_is_refused_before_anything_starts(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, why: str
) -> None:
    """With how a shell is called."""
    make_study(here, {"x": [1]})
    assert main(["run", "study.yaml", "--notify", command]) == 2
    said = capsys.readouterr().err
    assert "[notify-not-a-command]" in said
    assert why in said
    assert not (here / "runs").exists()
