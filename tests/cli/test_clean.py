"""`sweep clean`: what studies do not need goes, and every number stays."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from sweep.cli.main import main
from tests.conftest import Cli
from tests.support.command_line import Running, in_terminal, run_sweep
from tests.support.studies import Study, make_study, run_study, study_text, write_objectives


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of four trials, three of which keep a checkpoint."""
    folder = tmp_path_factory.mktemp("trained")
    write_objectives(folder)
    text = study_text({"x": [1, 2, 3, 4], "steps": 2, "state_kb": 100}, objective="mine:learn")
    return run_study(text, folder=folder)


@pytest.fixture
def study(trained: Study, here: Path) -> Path:
    """A copy of that study, beside one that `--fresh` has moved aside."""
    write_objectives(here)
    shutil.copytree(trained.folder, "runs/study")
    shutil.copytree(trained.folder, "runs/study.20261130-120000")
    return here / "runs" / "study"


def checkpoints(study: Path) -> list[str]:
    return sorted(path.parent.name for path in study.glob("*/checkpoint*.pt"))


@pytest.mark.slow
def test_what_goes_is_said_and_gone_and_all_else_is_as_before(cli: Cli, study: Path) -> None:
    """The verbs that show results print the same, and the study can be extended and resumed."""
    showing = [["trials", "runs/study", "--format", "json"], ["best", "runs/study"], ["report", "runs/study", "--format", "json"]]
    before = [cli(*words).out for words in showing]
    files = {path for path in study.rglob("*") if "checkpoint" not in path.name}
    assert len(checkpoints(study)) == 3
    asked = cli("clean", "--keep-best", "1")
    assert asked.code == 2
    assert "checkpoints of 2 trials that ended; that of the best trial stays" in asked.out
    assert "study.20261130-120000, moved aside by --fresh" in asked.out
    assert "[not-confirmed]" in asked.err
    assert len(checkpoints(study)) == 3
    done = cli("clean", "runs/study", "--keep-best", "1", "--yes")
    assert (done.code, done.err) == (0, "")
    assert checkpoints(study) == ["0003_x=4"]
    assert not study.with_name("study.20261130-120000").exists()
    assert files == {path for path in study.rglob("*") if "checkpoint" not in path.name}
    assert [cli(*words).out for words in showing] == before
    assert cli("clean", "--yes").out == "nothing can be removed\n"
    assert "[nothing-to-resume]" in cli("resume", "runs/study").err
    assert cli("resume", "runs/study", "x.values=[1,2,3,4,5]").code == 0
    assert cli("best", "runs/study", "--format", "json").json[0]["params"]["x"] == 5


def test_a_terminal_is_asked(study: Path, here: Path) -> None:
    """Nothing goes without a yes."""
    no = in_terminal("clean", "--keep-best", "2", here=here, typed=("remove it?", b"\r"))
    assert (no.code, len(checkpoints(study))) == (0, 3)
    assert "nothing was removed" in no.out
    yes = in_terminal("clean", "--keep-best", "2", here=here, typed=("remove it?", b"y\r"))
    assert (yes.code, len(checkpoints(study))) == (0, 2)
    assert "those of the 2 best trials stay" in yes.out


@pytest.mark.slow
def test_a_study_that_runs_and_a_trial_that_waits_keep_theirs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The session is left alone; what a stopped one needs to resume stays, and it resumes from there."""
    make_study(here, {"x": [1, 2], "steps": 15, "sleep": 0.2}, objective="mine:learn")
    with Running("run", "study.yaml", "--plain", here=here) as session:
        session.line("trial 1 step 2")
        assert main(["clean", "--yes"]) == 0
        assert "runs/study is left alone: host" in capsys.readouterr().out
        session.send(signal.SIGTERM)
        assert session.end() == 143
    assert main(["clean", "--yes", "--keep-best", "0"]) == 0
    assert [path.parent.name for path in (here / "runs" / "study").glob("*/checkpoint.pt")] == ["0001_x=2"]
    assert run_sweep("resume", "study.yaml", here=here).code == 0
    [log] = (here / "runs" / "study").glob("0001*/log.txt")
    assert "resumes after step" in log.read_text()


def test_what_cannot_be_cleaned_is_left_alone(study: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged study with the reason, the others not; words that are no study are refused."""
    shutil.copytree(study, "runs/damaged")
    (here / "runs" / "damaged" / "study.db").write_bytes(b"nothing")
    assert main(["clean", "--keep-best", "1", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "runs/damaged is left alone: " in out
    assert len(checkpoints(here / "runs" / "damaged")) == 3
    assert len(checkpoints(study)) == 1
    assert main(["clean", "nowhere", "--yes"]) == 2
    assert "[no-such-folder]" in capsys.readouterr().err


def test_the_checkpoints_that_the_study_keeps_stay(study: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless another number is typed; where it keeps none, that of the best trial does, and `list` counts the others as spare."""
    before = checkpoints(study)
    assert main(["clean", "--yes"]) == 0
    assert checkpoints(study) == before == ["0001_x=2", "0002_x=3", "0003_x=4"]
    file = study / "study.yaml"
    file.write_text(file.read_text().replace("keep_best: 3", "keep_best: 0"))
    size = sum((study / place / "checkpoint.pt").stat().st_size for place in before[:2])
    capsys.readouterr()
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["spare_bytes"] == size
    assert main(["clean", "--yes"]) == 0
    assert checkpoints(study) == before[2:]
