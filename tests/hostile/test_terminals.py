"""What stands around a sweep: closed and full outputs, terminals that go away, Ctrl-Z, hostile texts, other sweeps, no home."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweep.study.trial import TrialState
from tests.support.command_line import COMMAND, Done, Running, run_sweep
from tests.support.interrupting import reached
from tests.support.reading import outcome, records
from tests.support.studies import make_study, study_text, write_study
from tests.support.terminals import Terminal, in_shell, unread
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow

WORKERS = {"devices": "cpu", "per_device": 2}
SGR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def folder(here: Path) -> Path:
    """Where the study of a test is stored."""
    return here / "runs" / "study"


@pytest.fixture
def quick(here: Path) -> Path:
    """A study of three short trials, the last of which fails with a text that is no UTF-8."""
    (here / "quick.py").write_text(
        "import os\n"
        "def train(trial):\n"
        "    print('caf\\u00e9 \\u2603', flush=True)\n"
        "    trial.report(1, {'score': trial.params['x']})\n"
        "    if trial.params['x'] == 3:\n"
        "        raise RuntimeError(os.fsdecode(b'caf\\xe9.csv') + ' \\u2603')\n"
    )
    return write_study(here, study_text({"x": [1, 2, 3]}, objective="quick:train", workers=WORKERS))


@pytest.fixture
def learning(here: Path) -> Path:
    """A study of two trials that last two seconds and save each step."""
    return make_study(here, {"x": [1, 2], "steps": 20, "sleep": 0.1}, objective="mine:learn", workers=WORKERS)


@pytest.fixture
def limited(learning: Path) -> Path:
    """The same study, each of whose trials may take eight seconds."""
    learning.write_text(learning.read_text() + "timeout: 8.0\n")
    return learning


def assert_whole(folder: Path) -> None:
    """Check that the quick study has run to its end and that no file has got what was printed."""
    found = records(folder)
    assert [str(record.state) for record in found] == ["complete", "complete", "failed"]
    assert [record.value for record in found] == [1.0, 2.0, 3.0]
    assert "caf\\udce9.csv" in ascii(found[2].error)
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in ("report.html", "trial.json", "study.db", "log.txt"):
            assert b"trials finished" not in path.read_bytes(), path
    assert all(len(outcome_of["ends"] * [0]) == 1 for outcome_of in outcome(folder) if outcome_of["state"] == "complete")


def assert_plain(text: str) -> None:
    """Check that a text has no control character but line ends, and none that is invisible or changes the direction."""
    bad = {character for character in text if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}
    assert not bad, {ascii(character) for character in bad}


def assert_stopped_in_order(folder: Path) -> None:
    """Check that both trials wait for being resumed from a checkpoint, and nothing was lost."""
    found = records(folder)
    assert [record.state for record in found] == [TrialState.WAITING] * 2
    assert all((folder / record.folder / "checkpoint.pt").exists() and record.step for record in found)


def assert_resumes(study: Path, folder: Path) -> None:
    """Check that both trials go on from their checkpoints to their end."""
    before = [record.step or 0 for record in records(folder)]
    done = run_sweep("resume", str(study), here=study.parent)
    assert done.code == 0, done.out + done.err
    after = sorted(map(int, re.findall(r"resumed after step (\d+)", done.out)))  # either may be the first
    assert all(step >= least for step, least in zip(after, sorted(before), strict=True))
    assert [record.state for record in records(folder)] == [TrialState.COMPLETE] * 2


# ---------------------------------------------------------------- output that goes nowhere

CLOSED = ["0", "1", "2", "01", "02", "12", "012"]


def closing(descriptors: str) -> str:
    return " ".join(f"{descriptor}>&-" for descriptor in descriptors)


@pytest.mark.parametrize("closed", CLOSED)
def test_a_sweep_runs_with_closed_descriptors(closed: str, quick: Path, here: Path, folder: Path) -> None:
    """Its files get other numbers, so that nothing is printed into them."""
    done = in_shell(f"$SWEEP run study.yaml {closing(closed)}", here)
    assert done.code == 1, done.err
    assert "Traceback" not in done.err
    assert ("1" in closed) or "2 complete, 1 failed" in done.out
    assert_whole(folder)


RUN_OUTPUTS = {
    "stdout is a full disk": ">/dev/full",
    "stderr is a full disk": "2>/dev/full",
    "both are a full disk": ">/dev/full 2>&1",
    "the reader leaves at once": "| true; (exit ${PIPESTATUS[0]})",
    "the reader leaves after a line": "| head -1; (exit ${PIPESTATUS[0]})",
    "the reader of both leaves": "2>&1 | head -c 1; (exit ${PIPESTATUS[0]})",
    "a file": ">out.txt",
    "a file that is appended to": ">>out.txt 2>>out.txt",
    "a file that is read only": "1<study.yaml",
    "nothing, and no input": ">/dev/null 2>&1 </dev/null",
}


@pytest.mark.parametrize("where", RUN_OUTPUTS)
def test_a_sweep_runs_whatever_its_output_is(where: str, quick: Path, here: Path, folder: Path) -> None:
    """To its end, with the exit code of its trials, and without a traceback."""
    done = in_shell(f"$SWEEP run study.yaml {RUN_OUTPUTS[where]}", here)
    assert done.code == 1, done.err
    assert "Traceback" not in done.err
    assert "Exception ignored" not in done.err
    assert_whole(folder)


ENCODINGS: dict[str, dict[str, str | None]] = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "ascii, strict": {"PYTHONIOENCODING": "ascii:strict"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "utf-16": {"PYTHONIOENCODING": "utf-16"},
    "surrogateescape": {"PYTHONIOENCODING": "utf-8:surrogateescape"},
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "the POSIX locale": {"LC_ALL": "POSIX"},
    "a locale that there is not": {"LC_ALL": "xx_XX.UTF-8"},
    "no locale": {"LC_ALL": None, "LANG": None, "LC_CTYPE": None},
    "no colour": {"NO_COLOR": "1"},
    "forced colour": {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"},
    "unbuffered": {"PYTHONUNBUFFERED": "1"},
    "optimized": {"PYTHONOPTIMIZE": "2"},
    "development mode": {"PYTHONDEVMODE": "1"},
}


@pytest.mark.parametrize("how", ENCODINGS)
def test_a_sweep_runs_in_any_encoding(how: str, quick: Path, here: Path, folder: Path) -> None:
    """What cannot be written is escaped; the failed trial's text is stored as it was."""
    done = in_shell("$SWEEP run study.yaml && exit 9; $SWEEP trials study.yaml; $SWEEP best study.yaml", here, env=ENCODINGS[how])
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert "trial 2 failed" in done.out.replace("\0", "")
    assert r"caf\udce9.csv" in done.out.replace("\0", "")
    assert_whole(folder)


@pytest.mark.parametrize("kind", ["socket", "pipe", "terminal"])
def test_a_sweep_runs_with_a_non_blocking_output(kind: str, here: Path) -> None:
    """Everything is printed, though the reader is slow."""
    make_study(here, {"x": list(range(12)), "steps": 20})
    theirs, ours = {"socket": _sockets, "pipe": os.pipe, "terminal": os.openpty}[kind]()[::-1]
    os.set_blocking(theirs, False)
    process = subprocess.Popen([*COMMAND, "run", "study.yaml", "--plain"], cwd=here, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):
        while data := os.read(ours, 512):
            shown += data
    os.close(ours)
    assert process.wait(60) == 0
    assert shown.count(b" step 20/20 ") == 12
    assert b"12 complete" in shown


def _sockets() -> tuple[int, int]:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP", "a reader who comes late", "nobody"])
def test_a_reader_who_does_not_read_holds_nothing_up(how: str, here: Path, folder: Path) -> None:
    """Results are stored meanwhile; at the end the sweep waits to be read, or for a signal."""
    make_study(here, {"x": list(range(30)), "steps": 20})
    with unread("run", "study.yaml", here=here) as process:
        wait_for(lambda: sum(record.state is TrialState.COMPLETE for record in records(folder)) == 30)
        wait_for((folder / "report.html").exists)
        assert process.poll() is None
        assert process.stdout is not None
        if how == "a reader who comes late":
            text = process.stdout.read()
            assert text.startswith(b"x" * 4096)
            assert text.count(b" step 20/20 ") == 30
            assert b"30 complete" in text
        elif how == "nobody":
            process.stdout.close()
        else:
            process.send_signal(signal.Signals[how])
        assert process.wait(20) == 0


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_stops_a_sweep_that_nobody_reads(how: str, learning: Path, here: Path, folder: Path) -> None:
    """With checkpoints, as soon as one that is read."""
    with unread("run", "study.yaml", here=here) as process:
        wait_for(reached(folder, 3, 2))
        began = time.monotonic()
        process.send_signal(signal.Signals[how])
        assert process.wait(20) == (130 if how == "SIGINT" else 143)
        assert time.monotonic() - began < 10
    assert_stopped_in_order(folder)
    assert_resumes(learning, folder)


@pytest.mark.parametrize("words", [[], ["--plain"]], ids=["live view", "plain lines"])
def test_a_terminal_that_is_not_read_holds_nothing_up(words: list[str], here: Path, folder: Path) -> None:
    """As after Ctrl-S; Ctrl-C stops in order."""
    make_study(here, {"x": list(range(60)), "steps": 60, "sleep": 0.01}, workers=WORKERS)
    with Terminal("run", "study.yaml", *words, here=here) as terminal:
        wait_for(lambda: sum(record.state is TrialState.COMPLETE for record in records(folder)) >= 8)
        terminal.press(b"\x03")
        assert terminal.end(30) == 130
    assert {record.state for record in records(folder)} == {TrialState.COMPLETE, TrialState.WAITING}


# ---------------------------------------------------------------- terminals

TERMINALS: dict[str, dict[str, Any]] = {
    "1x1": {"rows": 1, "columns": 1},
    "0x0": {"rows": 0, "columns": 0},
    "two rows": {"rows": 2, "columns": 80},
    "three columns": {"rows": 40, "columns": 3},
    "huge": {"rows": 4000, "columns": 9000},
    "without TERM": {"env": {"TERM": None}},
    "dumb": {"env": {"TERM": "dumb"}},
    "unknown": {"env": {"TERM": "no-such-terminal"}},
    "an empty TERM": {"env": {"TERM": ""}},
    "no colour": {"env": {"NO_COLOR": "1"}},
    "ascii": {"env": {"PYTHONIOENCODING": "ascii"}},
    "the C locale": {"env": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}},
    "wrong COLUMNS": {"env": {"COLUMNS": "many", "LINES": "-3"}},
    "COLUMNS 0": {"env": {"COLUMNS": "0", "LINES": "0"}},
}


@pytest.mark.parametrize("kind", TERMINALS)
def test_a_sweep_runs_on_any_terminal(kind: str, quick: Path, here: Path, folder: Path) -> None:
    """To its end, without a traceback."""
    with Terminal("run", "study.yaml", here=here, **TERMINALS[kind]) as terminal:
        text = terminal.read()
        assert terminal.end() == 1, text
    assert "Traceback" not in "".join(text.split())
    assert_whole(folder)


@pytest.mark.parametrize("kind", ["1x1", "0x0", "three columns", "dumb", "ascii"])
@pytest.mark.parametrize("verb", ["trials", "status", "status --watch", "best", "plan", "docs", "run"])
def test_a_study_is_shown_on_any_terminal(verb: str, kind: str, shown: Path) -> None:
    """Without an error."""
    words = [*verb.split()[:1], *([] if verb == "docs" else ["hostile.yaml"]), *verb.split()[1:]]
    with Terminal(*words, here=shown, **TERMINALS[kind]) as terminal:
        text = terminal.read()
        assert terminal.end() == (1 if verb == "run" else 0), text
    assert "Traceback" not in "".join(text.split())


def test_a_terminal_may_change_its_size(learning: Path, here: Path, folder: Path) -> None:
    """To one character, and back."""
    with Terminal("run", "study.yaml", here=here) as terminal:
        for step, (rows, columns) in enumerate([(1, 1), (0, 0), (3, 500), (40, 120)], 2):
            terminal.read(lambda text, step=step: reached(folder, 3 * step)())  # type: ignore[misc]  # mypy: no default in a lambda
            terminal.resize(rows, columns)
        text = terminal.read()
        assert terminal.end() == 0, text
    assert "2 complete" in text


HANGUPS: dict[str, list[str]] = {"live view": [], "plain lines": ["--plain"]}


@pytest.mark.parametrize("words", list(HANGUPS.values()), ids=list(HANGUPS))
def test_a_closed_terminal_stops_the_sweep_in_order(words: list[str], learning: Path, here: Path, folder: Path) -> None:
    """SIGHUP is as Ctrl-C, though nothing can be printed any more: checkpoints, within the same time, and it goes on later."""
    with Terminal("run", "study.yaml", *words, here=here) as terminal:
        terminal.read(lambda text: reached(folder, 3, 2)())
        began = time.monotonic()
        terminal.close()
        assert terminal.end(20) == 143
        assert time.monotonic() - began < 10
    assert_stopped_in_order(folder)
    assert_resumes(learning, folder)


@pytest.mark.parametrize("words", list(HANGUPS.values()), ids=list(HANGUPS))
def test_a_sweep_outlives_its_terminal_where_it_is_to(words: list[str], learning: Path, here: Path, folder: Path) -> None:
    """With SIGHUP ignored, as by `nohup`, it goes on to its end."""
    with Terminal("run", "study.yaml", *words, here=here, nohup=True) as terminal:
        terminal.read(lambda text: reached(folder, 3, 2)())
        terminal.close()
        assert terminal.end(60) == 0
    assert [record.state for record in records(folder)] == [TrialState.COMPLETE] * 2
    assert (folder / "report.html").exists()


def test_the_terminal_goes_away_twice(learning: Path, here: Path, folder: Path) -> None:
    """A second SIGHUP stops at once; the trials resume from their last checkpoints."""
    with Running("run", "study.yaml", here=here) as running:
        running.wait_until(reached(folder, 3, 2))
        running.send(signal.SIGHUP)
        running.send(signal.SIGHUP)
        assert running.end(20) == 143
    assert_stopped_in_order(folder)
    assert_resumes(learning, folder)


# ---------------------------------------------------------------- time in which nothing could run


SUSPENSION_S = 9.0


def assert_undisturbed(folder: Path) -> None:
    """Check that both trials are complete, and that a suspension counts nowhere."""
    found = records(folder)
    assert [record.state for record in found] == [TrialState.COMPLETE] * 2, [record.error for record in found]
    assert all(record.attempts == 1 and record.duration_s is not None and record.duration_s < 8 for record in found)


def _suspend(processes: Callable[[Running], list[psutil.Process]], running: Running, seconds: float) -> None:
    chosen = processes(running)
    assert chosen
    for process in chosen:
        process.suspend()
    ends = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() > ends)
    for process in chosen:
        process.resume()


SUSPENDED: dict[str, Callable[[Running], list[psutil.Process]]] = {
    "the runner": lambda running: running.processes()[:1],
    "both workers": lambda running: running.processes("sweep-slot"),
    "the runner and a worker": lambda running: [*running.processes()[:1], *running.processes("sweep-slot")[:1]],
    "everything": lambda running: running.processes(),
}


@pytest.mark.parametrize("who", SUSPENDED)
def test_time_in_which_nothing_ran_does_not_count(who: str, limited: Path, here: Path, folder: Path) -> None:
    """After a suspension that is longer than `timeout` the trials go on, and their durations are those of the training."""
    with Running("run", "study.yaml", here=here) as running:
        running.wait_until(reached(folder, 3, 2))
        _suspend(SUSPENDED[who], running, SUSPENSION_S)
        assert running.end() == 0, running.out
    assert_undisturbed(folder)


def test_a_suspension_does_not_use_up_the_budget(here: Path, folder: Path) -> None:
    """`budget.time` is time in which the sweep ran."""
    make_study(here, {"x": list(range(4)), "steps": 4, "sleep": 0.2}, budget={"time": 12.0})
    with Running("run", "study.yaml", here=here) as running:
        running.wait_until(reached(folder, 1))
        _suspend(SUSPENDED["everything"], running, 13.0)
        assert running.end() == 0, running.out
    assert [record.state for record in records(folder)] == [TrialState.COMPLETE] * 4


def test_a_trial_that_is_suspended_as_soon_as_it_begins_has_no_negative_duration(here: Path, folder: Path) -> None:
    """The interval in which that is noticed began before the trial."""
    stops = """\
        import os, signal, subprocess

        def train(trial):
            subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -CONT {os.getpid()}"])
            os.kill(os.getpid(), signal.SIGSTOP)
            return {"score": trial.params["x"]}
    """
    (here / "stops.py").write_text(textwrap.dedent(stops))
    write_study(here, study_text({"x": [*range(10)]}, objective="stops:train", workers={"per_device": 1}))
    done = run_sweep("run", "study.yaml", here=here)
    assert done.code == 0, done.out + done.err
    durations = [record.duration_s for record in records(folder)]
    assert len(durations) == 10
    assert all(seconds is not None and 0 <= seconds < 1 for seconds in durations), durations


def test_a_resumed_trial_has_not_used_the_time_of_a_suspension(limited: Path, here: Path, folder: Path) -> None:
    """Though its checkpoint was written by a worker whose clock did not stand still."""
    with Running("run", "study.yaml", here=here) as running:
        running.wait_until(reached(folder, 3, 2))
        _suspend(SUSPENDED["everything"], running, SUSPENSION_S)
        steps = [record.step or 0 for record in records(folder)]
        running.wait_until(reached(folder, max(steps) + 2, 2))
        running.send(signal.SIGINT)
        assert running.end() == 130
    assert_stopped_in_order(folder)
    done = run_sweep("resume", "study.yaml", here=here)
    assert done.code == 0, done.out
    assert [record.state for record in records(folder)] == [TrialState.COMPLETE] * 2
    assert all((record.duration_s or 9) < 8 for record in records(folder))


def test_a_trial_that_really_takes_too_long_fails_after_a_suspension(here: Path, folder: Path) -> None:
    """The time that it had before still counts."""
    make_study(here, {"x": [1], "steps": 1000, "sleep": 0.05}, timeout=4.0)
    with Running("run", "study.yaml", here=here) as running:
        running.wait_until(reached(folder, 2))
        _suspend(SUSPENDED["everything"], running, 3.0)
        assert running.end() == 1
    [record] = records(folder)
    assert (record.state, record.cause) == (TrialState.FAILED, "timeout")
    assert 3.9 < (record.duration_s or 0) < 6


@pytest.mark.parametrize("words", list(HANGUPS.values()), ids=list(HANGUPS))
def test_ctrl_z_and_fg(words: list[str], limited: Path, here: Path, folder: Path) -> None:
    """The terminal is usable meanwhile (the cursor is shown), and the view is drawn again below."""
    with Terminal("run", "study.yaml", *words, here=here) as terminal:
        terminal.read(lambda text: reached(folder, 3, 2)())
        terminal.press(b"\x1a")
        terminal.read(lambda text: "suspended" in text)
        before = terminal.text.partition("suspended")[0]
        assert words or before.rfind("\x1b[?25h") > before.rfind("\x1b[?25l")
        ends = time.monotonic() + SUSPENSION_S
        wait_for(lambda: time.monotonic() > ends)
        terminal.press(b"fg\n")
        text = terminal.read()
        assert terminal.end() == 0, text
    assert "2 complete" in text.rpartition("suspended")[2]
    assert text.rfind("\x1b[?25h") >= text.rfind("\x1b[?25l")
    assert_undisturbed(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_suspended_sweep_can_be_stopped(number: signal.Signals, limited: Path, here: Path, folder: Path) -> None:
    """The signal is obeyed as soon as it continues, with checkpoints."""
    with Running("run", "study.yaml", here=here) as running:
        running.wait_until(reached(folder, 3, 2))
        running.send(signal.SIGSTOP)
        running.send(number)
        _suspend(SUSPENDED["the runner"], running, 1.0)
        assert running.end() == (130 if number == signal.SIGINT else 143)
    assert_stopped_in_order(folder)


# ---------------------------------------------------------------- texts

TEXTS = {
    "a colour": "\x1b[31mred",
    "the cursor": "\x1b[2J\x1b[H",
    "a title": "\x1b]0;title\x07",
    "a link": "\x1b]8;;http://x.test\x1b\\\\link\x1b]8;;\x1b\\\\",
    "the clipboard": "\x1b]52;c;aGk=\x07",
    "a C1 control": "\x9b31m\x85\x90",
    "a carriage return": "good\rbad",
    "a backspace": "bad\b\b\bok",
    "a bell and a null": "a\x07\x00b",
    "a line end": "a\n  do:    rm -rf",
    "a tab": "a\tb",
    "line separators": "a\u2028b\u2029c\x0bd\x0ce",
    "another direction": "\u202eexe.txt\u2066\u200f",
    "invisible characters": "a\u200b\u2060\ufeff\u00adb",
    "markup": "[red]x[/] [/b] [link=http://x.test]y[/link]",
    "broken markup": "[/] [bold [[ ]] \\\\[",
    "a device control": "\x1bP1;2|\x1b\\\\\x1b_x\x1b\\\\\x1b^y\x1b\\\\",
    "a delete": "a\x7fb",
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that has run: parameters and errors have hostile texts, and so have its name and its metrics."""
    here = tmp_path_factory.mktemp("shown")
    (here / "hostile.py").write_text(
        "import json\n"
        "def train(trial):\n"
        "    text = trial.params['text']\n"
        "    print('printed', text, flush=True)\n"
        "    trial.report(1, {'score': trial.number, 'loss ' + text[:20].replace('/', ''): 1})\n"
        "    if trial.params['fails']:\n"
        "        raise RuntimeError('failed with ' + text)\n"
    )
    text = study_text(
        {"text": list(TEXTS.values()), "fails": [False, True]},
        name="hostile",
        objective="hostile:train",
        workers=WORKERS,
        stop_after_failures=100,
    )
    write_study(here, text, "hostile.yaml")
    done = run_sweep("run", "hostile.yaml", here=here)
    assert done.code == 1, done.err
    (here / "run.out").write_text(done.out + done.err, encoding="utf-8")
    return here


VERBS = {
    "trials": ["trials"],
    "trials, csv": ["trials", "--format", "csv"],
    "trials, json": ["trials", "--format", "json"],
    "best": ["best", "--top", "40"],
    "best, csv": ["best", "--top", "40", "--format", "csv"],
    "status": ["status"],
    "status, json": ["status", "--json"],
    "plan": ["plan", "--first", "40"],
    "plan of a new one": ["plan", "--first", "40", "name=new"],
}


@functools.cache
def output_of(verb: str, here: Path) -> Done:
    """Return what a verb prints about the study."""
    if verb == "run":
        return Done(code=1, out=(here / "run.out").read_text(encoding="utf-8"), err="")
    first, *rest = VERBS[verb]
    return run_sweep(first, "hostile.yaml", *rest, here=here)


@pytest.mark.parametrize("verb", ["run", *VERBS])
def test_no_verb_prints_a_control_character(verb: str, shown: Path) -> None:
    """Nor one that is invisible or changes the direction; without a terminal, too."""
    done = output_of(verb, shown)
    assert done.code == (1 if verb == "run" else 0), done.err
    assert_plain(done.out + done.err)


@pytest.mark.parametrize(("verb", "text"), list(itertools.product(["run", "trials", "trials, csv", "plan of a new one"], TEXTS)))
def test_each_text_is_shown_as_it_is(verb: str, text: str, shown: Path) -> None:
    """On its line, escaped as in Python, so that two texts that differ look different; markup stays what it is."""
    given = TEXTS[text]
    wanted = "".join(one if one.isprintable() else repr(one)[1:-1] for one in given)
    assert wanted in output_of(verb, shown).out.replace('""', '"')


@pytest.mark.parametrize("text", TEXTS)
def test_json_has_each_text_exactly(text: str, shown: Path) -> None:
    """The escapes of JSON are exact."""
    found = output_of("trials, json", shown).json
    assert sum(trial["params"]["text"] == TEXTS[text] for trial in found) == 2


@pytest.mark.parametrize("verb", ["trials", "best", "status", "plan", "run"])
def test_a_terminal_gets_only_the_colours_and_moves_of_the_view(verb: str, shown: Path) -> None:
    """No text moves the cursor, sets a title or writes to the clipboard."""
    words = [verb, "hostile.yaml", *(["name=live", "--fresh"] if verb == "run" else [])]
    with Terminal(*words, here=shown) as terminal:
        text = terminal.read()
        assert terminal.end() == (1 if verb == "run" else 0), text
    own = re.compile(r"\x1b\[(?:[0-9;]*m|2K|1A|\?25[lh])|\r")
    assert_plain(own.sub("", text))


def test_an_objective_with_a_hostile_text_is_refused_in_plain_words(here: Path) -> None:
    """Errors about the study file, overrides and names."""
    make_study(here, {"x": [1]})
    for words in (
        ["run", "study.yaml", "na\x1b[2Jme=1"],
        ["run", "study.yaml", "metric.name=\x1b]52;c;aGk=\x07", "bogus\x9b=1"],
        ["run", "\x1b[31mno\u202ewhere.yaml"],
        ["run", "study.yaml", "objective=mine:\x1b[31m"],
        ["show\x1b[2J"],
        ["docs", "\x1b[2Jtopic"],
        ["trials", "study.yaml", "--format", "\x1b[2J"],
        ["dashboard", "\x1b[2J"],
        ["import", "study.yaml", "\x1b[2J.db"],
        ["run", "study.yaml", "--\x1b[2J"],
    ):
        done = run_sweep(*words, here=here)
        assert done.code == 2, words
        assert done.err
        assert_plain(done.out + done.err)


def test_the_holder_of_a_lock_is_named_in_plain_words(here: Path, folder: Path) -> None:
    """Its host and process are what a file says that anybody may have written."""
    study = make_study(here, {"x": [1]})
    assert run_sweep("run", str(study), here=here).code == 0
    holder = {"host": "\x1b[2Jhost\u202e", "pid": "\x1b]0;x\x07", "since": "now\r"}
    hold = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(folder / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (folder / "lock").write_text(json.dumps(holder))
        for verb in ("status", "run", "stop"):
            done = run_sweep(verb, str(study), here=here) if verb != "stop" else None
            if done is not None:
                assert "host" in done.out + done.err
                assert_plain(done.out + done.err)
        process.kill()


def test_a_folder_with_a_hostile_name(tmp_path: Path) -> None:
    """Paths are printed as texts are."""
    here = tmp_path / "a\x1b[31m\u202eb"
    here.mkdir()
    make_study(here, {"x": [1]})
    for words in (
        ["run", "study.yaml"],
        ["status", "study.yaml"],
        ["plan", "study.yaml"],
        ["trials", "runs/study"],
        ["stop", "."],
    ):
        done = run_sweep(*words, here=here)
        assert done.code == (2 if words[0] == "stop" else 0), done.err
        assert_plain(done.out + done.err)


# ---------------------------------------------------------------- nobody reads, for every verb

QUIET_VERBS = {
    **VERBS,
    "docs": ["docs"],
    "a page": ["docs", "operations"],
    "schema": ["schema"],
    "completion": ["completion", "bash"],
    "help": ["--help"],
    "version": ["--version"],
    "check": ["check"],
}


def line_of(verb: str) -> str:
    """Return a command line of a shell."""
    first, *rest = QUIET_VERBS[verb]
    study = [] if verb in ("docs", "a page", "schema", "completion", "help", "version") else ["hostile.yaml"]
    return f"$SWEEP {shlex.join([first, *study, *rest])}"


@pytest.mark.parametrize("verb", QUIET_VERBS)
def test_a_verb_whose_reader_leaves_ends_quietly(verb: str, shown: Path) -> None:
    """As `head` does."""
    done = in_shell(f"{line_of(verb)} | true; exit ${{PIPESTATUS[0]}}", shown)
    assert (done.code, done.out) == (0, "")
    assert "Traceback" not in done.err
    assert "Exception ignored" not in done.err


@pytest.mark.parametrize("verb", QUIET_VERBS)
def test_a_verb_says_that_its_output_is_lost(verb: str, shown: Path) -> None:
    """On a full disk what was to be read is not there: exit code 1, and one message."""
    done = in_shell(f"{line_of(verb)} > /dev/full", shown)
    assert done.code == 1
    assert "No space left on device  [output-lost]" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("closed", ["1", "2", "012"])
@pytest.mark.parametrize("verb", ["trials", "status", "best, csv", "plan", "a page"])
def test_a_verb_works_with_closed_descriptors(verb: str, closed: str, shown: Path) -> None:
    """And prints into no file."""
    done = in_shell(f"{line_of(verb)} {closing(closed)}", shown)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert bool(done.out) == ("1" not in closed)
    with contextlib.closing(sqlite3.connect(shown / "runs" / "hostile" / "study.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_watching_ends_when_nobody_reads(learning: Path, here: Path, folder: Path) -> None:
    """`sweep status --watch | head -1` comes back, though the sweep goes on."""
    with Running("run", "study.yaml", "parameters.sleep.value=1", "timeout=100", here=here) as running:
        running.wait_until(reached(folder, 1))
        done = in_shell("$SWEEP status study.yaml --watch | true; exit ${PIPESTATUS[0]}", here, timeout=30)
        assert done.code == 0
        assert running.running()


# ---------------------------------------------------------------- other sweeps here


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """The folder in which sessions see each other."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def endless(here: Path, runtime: Path) -> Iterator[Running]:
    """A sweep that has both cores and does not end."""
    make_study(here, {"x": [1, 2], "how": "hang", "steps": 3}, workers={"devices": "cpu", "per_device": os.cpu_count()})
    with Running("run", "study.yaml", "name=other", here=here, env={"XDG_RUNTIME_DIR": str(runtime)}) as running:
        running.wait_until(reached(here / "runs" / "other", 1))
        yield running


def run_beside(here: Path, runtime: Path, *words: str) -> Done:
    """Run a short study while the other one runs."""
    return run_sweep("run", "study.yaml", "how.value=ok", *words, here=here, env={"XDG_RUNTIME_DIR": str(runtime)})


def test_two_sweeps_say_that_they_share_the_cores(endless: Running, here: Path, runtime: Path) -> None:
    """Once, at the start of the second, with how to share them; both run."""
    done = run_beside(here, runtime)
    assert done.code == 0
    cores = len(os.sched_getaffinity(0))
    assert done.out.count("another sweep uses") == 1
    assert f"another sweep uses {cores} of the {cores} cores here: {here}/runs/other (process {endless.process.pid})" in done.out
    assert f"workers.per_device={max(1, cores // 2)}" in done.out


def test_a_sweep_that_died_is_not_seen(endless: Running, here: Path, runtime: Path) -> None:
    """Its file is removed."""
    endless.process.kill()
    endless.end()
    assert list((runtime / "sweep-sessions").iterdir())
    done = run_beside(here, runtime)
    assert (done.code, "another sweep" in done.out) == (0, False)
    assert not list((runtime / "sweep-sessions").iterdir())


def make_registry(what: str, place: Path) -> None:
    entry = place / "1-a.json"
    if what == "a file":
        place.write_text("mine")
    elif what == "a link":
        place.symlink_to(place.parent)
    elif what == "a dangling link":
        place.symlink_to("nowhere")
    elif what == "a pipe":
        os.mkfifo(place)
    else:
        place.mkdir(mode=0o700)
        if what == "open to others":
            place.chmod(0o777)
        elif what == "with garbage":
            entry.write_bytes(b"\xff\x00{")
        elif what == "with a pipe in it":
            os.mkfifo(entry)
        elif what == "with a link in it":
            entry.symlink_to("/etc/passwd")
        elif what == "with a folder in it":
            entry.mkdir()


REGISTRIES = ["a file", "a link", "a dangling link", "a pipe", "open to others"]
REGISTRIES += ["with garbage", "with a pipe in it", "with a link in it", "with a folder in it"]


@pytest.mark.parametrize("what", REGISTRIES)
def test_a_sweep_runs_whatever_the_folder_of_sessions_is(what: str, here: Path, runtime: Path) -> None:
    """It is only a courtesy, and nothing of somebody else's is changed."""
    place = runtime / "sweep-sessions"
    make_registry(what, place)
    make_study(here, {"x": [1], "how": "ok"})
    before = place.lstat().st_mode
    done = run_beside(here, runtime)
    assert done.code == 0, done.err
    assert "another sweep" not in done.out
    assert done.err == ""
    assert place.lstat().st_mode == before


@pytest.mark.parametrize(
    "text", [b"[1, 2", b"[]", b'{"pid": "x"}', b"\xff", b"[" * 90_000], ids=["cut", "list", "keys", "bytes", "deep"]
)
def test_a_session_whose_file_is_damaged_is_not_seen(text: bytes, here: Path, runtime: Path) -> None:
    """Though it is locked."""
    import fcntl

    place = runtime / "sweep-sessions"
    place.mkdir(mode=0o700)
    make_study(here, {"x": [1], "how": "ok"})
    with (place / "1-a.json").open("wb") as file:
        file.write(text)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        done = run_beside(here, runtime)
    assert (done.code, done.err, "another sweep" in done.out) == (0, "", False)


# ---------------------------------------------------------------- no home, no folder

HOMES: dict[str, str] = {
    "no HOME": "env -u HOME",
    "an empty HOME": "env HOME=",
    "a HOME that is a file": "env HOME=$PWD/hostile.yaml",
    "a HOME that is not there": "env HOME=/no/such/home",
    "a relative HOME": "env HOME=runs",
    "a HOME that is a device": "env HOME=/dev/null",
}
# A user whom the system does not know, as in a container; only root may become one.
_UNKNOWN = f"env -u HOME {sys.executable} -c 'import os, sys; os.setuid(54321); os.execv(sys.argv[1], sys.argv[1:])'"
PLAIN_VERBS = ["--help", "docs", "docs search", "schema", "completion zsh", "doctor", "plan hostile.yaml", "status hostile.yaml"]


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("verb", ["doctor", "plan hostile.yaml", "trials hostile.yaml", "docs"])
def test_a_verb_works_without_a_home(verb: str, home: str, shown: Path) -> None:
    """The data are then expected elsewhere, and `doctor` says where."""
    done = in_shell(f"{HOMES[home]} $SWEEP {verb}", shown, env={"XDG_CACHE_HOME": None, "SWEEP_DATA": None})
    assert done.code == 0, done.out + done.err
    assert done.err == ""
    assert verb != "doctor" or "data " in done.out


def _runs_for_others() -> bool:
    """Return whether this process may become another user, and Python is where that one can run it."""
    tried = subprocess.run(["sh", "-c", f"cd /; {_UNKNOWN} {sys.executable} -c pass"], capture_output=True, check=False)
    return os.getuid() == 0 and tried.returncode == 0


@pytest.mark.skipif(not _runs_for_others(), reason="only root can become another user, who must be able to run Python")
@pytest.mark.parametrize("verb", ["doctor", "docs", "--help", "schema"])
def test_a_verb_works_for_a_user_whom_the_system_does_not_know(verb: str, shown: Path) -> None:
    """There is no home to be found for such a user."""
    done = in_shell(f"cd /; {_UNKNOWN} $SWEEP {verb}", shown, env={"XDG_CACHE_HOME": None, "SWEEP_DATA": None})
    assert "Traceback" not in done.err, done.err
    assert done.code == 0, done.out + done.err


@pytest.mark.parametrize("verb", PLAIN_VERBS)
def test_a_verb_ends_in_order_in_a_folder_that_is_gone(verb: str, tmp_path: Path) -> None:
    """Those that need no study do their work; the others say that it is not there."""
    gone = tmp_path / "gone"
    done = in_shell(f"mkdir {gone}; cd {gone}; rmdir {gone}; $SWEEP {verb}", tmp_path)
    assert done.code == (2 if "hostile" in verb else 0), done.out + done.err
    assert "Traceback" not in done.err
    assert "hostile" not in verb or "[no-working-directory]" in done.err


# ---------------------------------------------------------------- words

WORDS = {
    "start study.yaml": "sweep run study.yaml",
    "train study.yaml x.values=[1]": "sweep run study.yaml 'x.values=[1]'",
    "tune": "sweep run STUDY",
    "results": "sweep trials STUDY",
    "ls runs/study": "sweep list runs/study",
    "continue study.yaml": "sweep resume study.yaml",
    "kill study.yaml": "sweep stop study.yaml",
    "validate study.yaml": "sweep check study.yaml",
    "rnu study.yaml": "sweep run study.yaml",
    "RUN study.yaml": "sweep run study.yaml",
    "study.yaml": "sweep run study.yaml",
    "study.yaml x.values=[1]": "sweep run study.yaml 'x.values=[1]'",
    "help": "sweep docs",
    "frobnicate": "sweep --help",
    "run": "sweep run study.yaml",
    "resume": "sweep resume study.yaml",
    "stop": "sweep stop study.yaml",
    "dashboard": "sweep dashboard study.yaml",
    "run study.yaml --lr 0.1": "sweep run STUDY lr.value=...",
}


@pytest.mark.parametrize("words", WORDS)
def test_words_that_mean_nothing_are_answered_with_what_to_type(words: str, here: Path) -> None:
    """Exit code 2, nothing is started."""
    make_study(here, {"x": [1]})
    done = run_sweep(*shlex.split(words), here=here)
    assert (done.code, done.out) == (2, "")
    assert WORDS[words] in done.err
    assert not (here / "runs").exists()


def test_a_study_whose_budget_was_lowered(here: Path) -> None:
    """Five of three trials cannot be finished."""
    make_study(here, {"x": [1, 2, 3, 4, 5]})
    assert run_sweep("run", "study.yaml", here=here).code == 0
    done = run_sweep("run", "study.yaml", "budget.trials=3", here=here)
    assert done.code == 0, done.err
    assert "study study: 5 trials finished" in done.out
    assert "5 of 3" not in done.out + run_sweep("status", "study.yaml", "budget.trials=3", here=here).out
