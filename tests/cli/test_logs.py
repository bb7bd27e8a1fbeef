"""`sweep logs`: what trials have printed, and what they print."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sweep.cli.logs import _start_of_tail
from sweep.cli.main import main
from tests.conftest import Cli
from tests.support.command_line import Running
from tests.support.studies import Study, make_study, run_study, study_text, write_objectives

# Prints a line for each file `N` that appears beside the run folder, and ends after `end`.
TALKS = """
import time
from pathlib import Path

def train(trial):
    print("first", trial.number, trial.repeat, flush=True)
    place, shown = Path("steps"), 0
    while not (place / f"end{trial.number}").exists():
        if (place / str(shown)).exists():
            print(f"{trial.number} sees {shown}", flush=True)
            shown += 1
        time.sleep(0.02)
    print("last", trial.number, end="", flush=True)
    trial.report(1, {"score": 1.0})
"""


TEXTS = [b"", b"a", b"a\n", b"\n\n", b"a\nb\nc", b"a\nb\nc\n", b"x" * 200_000 + b"\ny\n" + b"z" * 70_000]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of two trials with two repeats that has run to its end."""
    folder = tmp_path_factory.mktemp("ran")
    write_objectives(folder)
    return run_study(study_text({"x": [1, 2], "how": "ok", "steps": 1}, repeats=2), folder=folder)


def shown(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[str]:
    capsys.readouterr()
    assert main(["logs", *words]) == code
    said = capsys.readouterr()
    return (said.out if code == 0 else said.err).splitlines()


def test_the_log_of_a_trial_is_that_of_all_its_runs(ran: Study, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line with its repeat; `-f` of a trial that has ended is no other."""
    lines = shown(capsys, str(ran.folder), "1")
    assert [line.partition(" | ")[0] for line in lines] == ["trial 1, repeat 0"] * 2 + ["trial 1, repeat 1"] * 2
    assert lines[3] == "trial 1, repeat 1 | hello from trial 1"
    assert shown(capsys, str(ran.folder), "1", "-f") == lines
    assert shown(capsys, str(ran.folder), "1", "--tail", "1") == [lines[1], lines[3]]


def test_a_trial_that_there_is_not_is_refused(ran: Study, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are; and so is a study in which none is running, without a number."""
    assert "no trial 2 that was started; it has trials 0-1  [no-such-trial]" in shown(capsys, str(ran.folder), "2", code=2)[0]
    assert "[no-trial-runs]" in shown(capsys, str(ran.folder), code=2)[0]
    assert "[no-trial-runs]" in shown(capsys, str(ran.folder), "-f", code=2)[0]


def test_nothing_in_a_log_reaches_the_terminal_as_more_than_text(cli: Cli, ran: Study) -> None:
    """Escape sequences, bytes that are no text, and progress bars, of which the last state is shown."""
    [log] = ran.folder.glob("0000*repeat=0/log.txt")
    before = log.read_bytes()
    log.write_bytes(b"\x1b]0;title\x07\x1b[2Jred \xff\xfe\n10 %\r20 %\r100 %\r\nno end \x1b[31mred\x1b[0m")
    try:
        done = cli("logs", str(ran.folder), "0")
    finally:
        log.write_bytes(before)
    lines = [line.partition(" | ")[2] for line in done.out.splitlines()][:3]
    assert lines == ["\\x1b]0;title\\x07\\x1b[2Jred \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}", "100 %", "no end red"]
    assert done.code == 0


def test_a_log_that_is_a_link_is_refused(ran: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As everywhere in a study's folder."""
    [log] = ran.folder.glob("0000*repeat=1/log.txt")
    log.rename(tmp_path / "log.txt")
    log.symlink_to("/etc/passwd")
    try:
        assert "[not-a-regular-file]" in shown(capsys, str(ran.folder), "0", code=4)[0]
    finally:
        (tmp_path / "log.txt").replace(log)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("lines", [0, 1, 2, 3, 9])
def test_the_tail_is_as_long_as_asked_for(text: bytes, lines: int, tmp_path: Path) -> None:
    """As Python's own splitting says."""
    (tmp_path / "log").write_bytes(text)
    with (tmp_path / "log").open("rb") as file:
        start = _start_of_tail(file, lines)
    whole = text.splitlines(keepends=True)
    assert text[start:] == b"".join(whole[max(0, len(whole) - lines) :])


def test_running_trials_are_followed(here: Path) -> None:
    """All of them, each line with its trial, those that start later too; or one until it has ended, and over a truncated log."""
    make_study(here, {"x": [1, 2, 3]}, objective="talks:train", workers={"devices": "cpu", "per_device": 2})
    (here / "talks.py").write_text(TALKS)
    steps = here / "steps"
    steps.mkdir()
    with Running("run", "study.yaml", "--plain", here=here) as session:
        session.line("trial 1 started")
        with Running("logs", "study.yaml", "-f", here=here) as every, Running("logs", "study.yaml", "1", "-f", here=here) as one:
            assert every.line("first 0") == "trial 0 | first 0 0\n"
            assert every.line("first 1") == "trial 1 | first 1 0\n"
            assert one.line("first 1") == "first 1 0\n"
            (steps / "0").touch()
            one.line("1 sees 0")
            every.line("0 sees 0")
            [log] = (here / "runs" / "study").glob("0001*/log.txt")
            os.truncate(log, 0)
            time.sleep(0.5)
            (steps / "1").touch()
            one.line("1 sees 1")
            (steps / "end1").touch()
            assert one.end() == 0
            assert every.line("first 2") == "trial 2 | first 2 0\n"
            for number in (0, 2):
                (steps / f"end{number}").touch()
            assert session.end() == 0
            assert every.end() == 0
        assert one.lines[-1] == "last 1\n"
        ends = [line for line in every.lines if "last" in line]
        assert sorted(ends) == [f"trial {number} | last {number}\n" for number in range(3)]
        assert sum("1 sees 0" in line for line in every.lines) == 1
