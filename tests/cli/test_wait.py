"""`sweep wait`: until no session runs a study, with the exit code of the last one."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from sweep.cli.main import main
from tests.conftest import Cli
from tests.support.command_line import Running, in_terminal
from tests.support.studies import make_study, write_objectives


@pytest.mark.slow
def test_it_ends_as_the_session_did(cli: Cli, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether all is well, trials failed, too many did, or it was killed; nothing that runs is nothing to wait for."""
    write_objectives(here)
    make_study(here, {"x": [1, 2], "how": ["ok"]})
    assert cli("wait", "study.yaml").code == 2
    assert cli("run", "study.yaml").code == 0
    assert cli("wait", "study.yaml").out == "study: 2 complete; all trials are done\n"
    assert cli("run", "study.yaml", "name=fails", "how.values=[ok, raise]", "stop_after_failures=2").code in (1, 3)
    failed = cli("wait", "runs/fails")
    assert (failed.code, failed.err) == (3 if "in a row" in failed.out else 1, "")
    shutil.copytree("runs/study", "runs/killed")
    with contextlib.closing(sqlite3.connect("runs/killed/study.db")) as database, database:
        database.execute("DELETE FROM study_system_attributes WHERE key = 'sweep:ended'")
        database.execute("DELETE FROM trial_user_attributes WHERE trial_id = 2")
    capsys.readouterr()
    assert main(["wait", "runs/killed"]) == 1
    assert capsys.readouterr().out == "study: 1 waiting, 1 complete; the last session was killed, or ended with an error\n"


@pytest.mark.parametrize("text", ["soon", "-1s", "0", ""])
def test_a_time_is_written_as_in_a_study_file(here: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Anything else is refused."""
    make_study(here, {"x": [1]})
    assert main(["wait", "study.yaml", "--timeout", text]) == 2
    assert "[no-duration]" in capsys.readouterr().err


@pytest.mark.slow
def test_it_waits_for_a_session(here: Path) -> None:
    """Until its end, or its own; it shows on a terminal that it waits."""
    make_study(here, {"x": [1], "how": "hang"})
    with Running("run", "study.yaml", "--plain", here=here) as session:
        session.line("trial 0 started")
        short = in_terminal("wait", "study.yaml", "--timeout", "1s", here=here)
        assert short.code == 124
        assert "study: 1 running; waiting for" in short.out
        assert "study: still run by host" in short.out
        with Running("wait", "study.yaml", "--timeout", "2h", here=here) as waits:
            session.send(signal.SIGTERM)
            session.send(signal.SIGTERM)
            assert session.end() == 143
            assert waits.end() == 143
        assert waits.out == "study: 1 waiting; stopped by SIGTERM\n"


@pytest.mark.slow
def test_a_session_that_was_killed_before_its_first_trial(cli: Cli, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As while checkpoints of another study were copied: its trials wait, and it can be resumed."""
    make_study(here, {"x": [1, 2], "how": "ok"})
    assert cli("run", "study.yaml").code == 0
    for path in ("study.db", "0000_x=1", "0001_x=2"):
        (here / "runs" / "study" / path).rename(here / path)
    assert main(["wait", "runs/study"]) == 1
    assert capsys.readouterr().out == "study: 2 waiting; the last session was killed, or ended with an error\n"
    assert cli("resume", "runs/study").code == 0
    assert main(["wait", "runs/study"]) == 0
