"""`sweep drop` and `sweep note`, typed as a user types them, and what every other verb and TensorBoard then show."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sweep.cli.remarks import renew_shown
from sweep.cli.target import to_show
from sweep.storage.folder import StudyFolder
from sweep.storage.lock import locked
from sweep.tensorboard import event_files
from tests.conftest import Cli
from tests.hostile.folders import Said, sweep
from tests.support.command_line import Running, run_sweep
from tests.support.reading import hparams_tags, scalars
from tests.support.studies import make_study, study_text, write_study
from tests.support.tensorboards import served

OBJECTIVE = """
import os, time


def train(trial):
    x = trial.params["x"]
    for step in trial.steps(2):
        if x == 4 and step == 2 and os.path.exists("hold"):
            open("waiting", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.01)
        trial.report(step, {"score": float(x * step), "size": float(abs(x - 2))}, state={"step": step})
"""
X = {"x": [1, 2, 3, 4, 5]}
PAIR = {"metric": None, "metrics": [{"name": "score", "goal": "maximize"}, {"name": "size", "goal": "minimize"}]}


def make(here: Path, **keys: Any) -> Path:
    (here / "held.py").write_text(OBJECTIVE)
    return write_study(here, study_text(X, objective="held:train", checkpoints={"keep_best": 1}, **keys))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that has run."""
    folder = tmp_path_factory.mktemp("ran")
    done = run_sweep("run", str(make(folder)), "--inline", here=folder)
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def done(ran: Path, here: Path) -> Path:
    """The same in the working directory of the test."""
    shutil.copytree(ran, here, dirs_exist_ok=True)
    return here / "runs/study"


def trials(*words: str) -> list[dict[str, Any]]:
    """Return what a verb prints as JSON; verbs run in this process here, which is faster."""
    found: list[dict[str, Any]] = json.loads(sweep(*words, "--format", "json").out)
    return found


def numbers(*words: str) -> list[int]:
    return [trial["number"] for trial in trials(*words)]


def test_a_dropped_trial_counts_nowhere_and_comes_back_whole(done: Path) -> None:
    """Best, status, table, CSV and JSON; its checkpoint stays, and no session trains it again."""
    assert numbers("best", "study.yaml") == [4, 3, 2, 1, 0]
    said = sweep("drop", "study.yaml", "4", "0-1")
    assert (said.code, said.out.splitlines()[:2]) == (
        0,
        [
            "dropped trials 0-1, 4: in no ranking, statistic, chart or search, and not in TensorBoard",
            "take back:           sweep drop study.yaml 0 1 4 --undo",
        ],
    )
    assert sweep("drop", "study.yaml", "4").out == "trial 4 was dropped before\n"
    assert numbers("best", "runs/study") == [3, 2]
    status = json.loads(sweep("status", "study.yaml", "--json").out)
    assert (status["best"]["number"], status["dropped"], status["counts"]["complete"]) == (3, 3, 5)
    assert "5 complete of 5, 3 dropped" in sweep("status", "study.yaml").out
    assert [trial["dropped"] for trial in trials("trials", "study.yaml")] == [True, True, False, False, True]
    rows = list(csv.DictReader(io.StringIO(sweep("trials", "study.yaml", "--format", "csv").out)))
    assert [row["dropped"] for row in rows] == ["True", "True", "False", "False", "True"]
    assert sweep("trials", "study.yaml").out.count("dropped") == 3

    assert sweep("run", "study.yaml", "--inline").code == 0
    assert [trial["attempts"] for trial in trials("trials", "study.yaml")] == [1] * 5
    assert [path.parent.name for path in done.glob("*/checkpoint.pt")] == ["0004_x=5"]  # trial 3 had lost its own before
    assert sweep("drop", "study.yaml", "0-4", "--undo").out.startswith("trials 2-3 were not dropped\ntook back trials 0-1, 4")
    assert numbers("best", "study.yaml") == [4, 3, 2, 1, 0]
    assert scalars(done / "0004_x=5")["score"] == [(1, 5.0), (2, 10.0)]


def test_best_says_that_every_trial_is_dropped(done: Path) -> None:
    """With what to type."""
    assert sweep("drop", "study.yaml", "0-4").code == 0
    said = "every complete trial of study is dropped; take back:  sweep drop study.yaml 0 1 2 3 4 --undo\n"
    assert sweep("best", "study.yaml").out == said


def test_the_dashboard_puts_right_what_a_killed_drop_has_left(done: Path) -> None:
    """Without any note, and without the lock of the study."""
    assert sweep("drop", "study.yaml", "3").code == 0
    event_files.show(done / "0003_x=4")
    event_files.hide(done / "0001_x=2")
    with locked(StudyFolder(root=done)):
        renew_shown(to_show("study.yaml", ()))
    assert not scalars(done / "0003_x=4")
    assert scalars(done / "0001_x=2")


def test_a_failed_trial_that_is_dropped_is_not_retried(here: Path) -> None:
    """Neither does it make the exit code 1."""
    make_study(here, {"x": [1, 2], "how": ["raise", "ok"], "steps": 2})
    assert sweep("run", "study.yaml", "--inline").code == 1
    failed = [str(trial["number"]) for trial in trials("trials", "study.yaml") if trial["state"] == "failed"]
    assert sweep("drop", "study.yaml", *failed).code == 0
    refused = sweep("resume", "study.yaml", "--retry-failed")
    assert (refused.code, "nothing-to-resume" in refused.err) == (2, True)
    assert sweep("run", "study.yaml", "--inline").code == 0


def test_the_report_lists_dropped_trials_and_counts_them_nowhere(done: Path) -> None:
    """The table says so; no chart has them but the timeline of the slots."""
    assert sweep("drop", "study.yaml", "4").code == 0
    assert sweep("report", "study.yaml").code == 0
    page = (done / "report.html").read_text()
    assert "5 complete, 1 of them dropped." in page
    assert '<td class="quiet">dropped, complete</td>' in page
    data = json.loads(page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0])
    shown = {chart["name"]: json.dumps(chart["series"]) for chart in data["charts"]}
    assert "10.0" not in shown["effect_x"] + shown["history"] + shown["parallel"] + shown["curves"]
    assert shown["timeline"].count("complete") == 5
    answer = json.loads(sweep("report", "study.yaml", "--format", "json").out)
    assert (answer["ended"], answer["settings"][0]["mean"]) == ({"complete": 4}, 8.0)


def test_notes_are_shown_everywhere(done: Path) -> None:
    """In the table, best, JSON, the report and the HPARAMS tab, escaped; an empty text removes one."""
    assert sweep("drop", "study.yaml", "1").code == 0  # its file is hidden, and gets the column all the same
    assert sweep("note", "study.yaml", "4", "<b>odd</b>\x1b[1m").out == "noted of trial 4: <b>odd</b>\\x1b[1m\n"
    assert sweep("note", "runs/study", "a", "first look & more").out == "noted of study: a first look & more\n"
    assert "<b>odd</b>\\x1b[1m" in sweep("trials", "study.yaml").out
    assert "<b>odd</b>\\x1b[1m" in sweep("best", "study.yaml", "--top", "1").out
    assert trials("best", "study.yaml")[0]["note"] == "<b>odd</b>\x1b[1m"
    assert "note  a first look & more" in sweep("status", "study.yaml").out
    assert sweep("report", "study.yaml").code == 0
    page = (done / "report.html").read_text()
    assert '<p class="note">a first look &amp; more</p>' in page
    assert "&lt;b&gt;odd&lt;/b&gt;" in page
    assert "<b>odd" not in page
    assert sweep("drop", "study.yaml", "1", "--undo").code == 0
    for folder in done.glob("0*"):  # any one's description counts
        tags = hparams_tags(folder)
        assert b"note" in tags["_hparams_/experiment"]
        assert (b"odd" in tags["_hparams_/session_start_info"]) == (folder.name == "0004_x=5")
    assert sweep("note", "study.yaml", "4", "").out == "removed the note of trial 4\n"
    assert b"note" not in hparams_tags(done / "0000_x=1")["_hparams_/experiment"]
    assert sweep("note", "study.yaml", "0", "- less").out == "noted of trial 0: - less\n"
    assert sweep("note", "study.yaml", "").out == "removed the note of study\n"
    assert json.loads((done / "remarks.json").read_text())["study"] == ""


def test_what_cannot_be_meant_is_refused(done: Path) -> None:
    """With what to type."""

    def refused(said: Said, message: str) -> None:
        assert (said.code, message in said.err) == (2, True), said.err

    refused(sweep("drop", "study.yaml", "9"), "has no trial 9  [no-such-trial]\n  why:   its trials are: trials 0-4")
    refused(sweep("drop", "study.yaml", "x"), "'x' is no number of a trial  [no-such-trial]")
    refused(sweep("drop", "study.yaml", "7-3"), "has no trial 7-3")
    refused(sweep("drop", "study.yaml", "9" * 5000), "is no number of a trial")
    refused(sweep("note", "study.yaml", "9", "x"), "has no trial 9")
    message = 'the note of trial 2 has no text  [note-without-text]\n  do:    sweep note study.yaml 2 "TEXT"'
    refused(sweep("note", "study.yaml", "2"), message)
    refused(sweep("note", "study.yaml"), "Missing argument '[TRIAL] TEXT'")
    refused(sweep("drop", "study.yaml"), "Missing argument 'TRIAL...'")
    assert not (done / "remarks.json").exists()


def test_before_any_trial_there_is_nothing_to_drop_or_note(here: Path) -> None:
    """With what to type."""
    make(here)
    for words in (("drop", "study.yaml", "0"), ("note", "study.yaml", "text")):
        said = sweep(*words)
        assert (said.code, "no trial of study has started" in said.err, "sweep run study.yaml" in said.err) == (2, True, True)
    assert not (here / "runs").exists()


def test_a_damaged_file_is_a_message_for_every_verb(done: Path) -> None:
    """Also for a session, which starts nothing."""
    (done / "remarks.json").write_text("{")
    for words in (("trials",), ("status",), ("run", "--inline"), ("drop", "1"), ("note", "x"), ("report",)):
        said = sweep(words[0], "study.yaml", *words[1:])
        assert said.code != 0
        assert "[remarks-not-readable]" in said.err
        assert "Traceback" not in said.err


@pytest.mark.slow
def test_a_running_session_follows_a_drop(cli: Cli, here: Path) -> None:
    """When its next trial ends; what has not ended cannot be dropped; a note is in the HPARAMS tab at the session's end."""
    make(here)
    (here / "hold").touch()
    with Running("run", "study.yaml", "--plain", here=here) as running:
        running.wait_until((here / "waiting").exists)
        refused = cli("drop", "study.yaml", "3")
        assert (refused.code, "trial 3 has not ended  [trial-not-ended]" in refused.err) == (2, True)
        assert "the running session follows" in cli("drop", "study.yaml", "2").out
        assert "when the running session has ended" in cli("note", "study.yaml", "1", "hm").out
        (here / "go").touch()
        running.line("trial 2 dropped")
        assert running.end() == 0
        assert "trial 2 " not in running.out.partition("after")[2]
    assert b"hm" in hparams_tags(here / "runs/study/0001_x=2")["_hparams_/session_start_info"]
    assert b"note" in hparams_tags(here / "runs/study/0004_x=5")["_hparams_/experiment"]
    assert numbers("best", "study.yaml") == [4, 3, 1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["true", "false"])
def test_tensorboard_does_not_show_a_dropped_trial(cli: Cli, here: Path, loader: str) -> None:
    """In no tab; the Pareto front's marks follow; and it comes back. The fast loader sees it while it runs."""
    make(here, **PAIR)
    assert cli("run", "study.yaml", "--inline").code == 0
    folder = here / "runs/study"

    def marks() -> dict[int, float]:
        return {int(path.name[:4]): scalars(path)["front"][-1][1] for path in sorted(folder.glob("0*")) if scalars(path)}

    assert marks() == {0: 0, 1: 1, 2: 1, 3: 1, 4: 1}
    assert cli("drop", "study.yaml", "1", "2", "3", "4").code == 0
    assert marks() == {0: 1}
    assert cli("drop", "study.yaml", "1", "2", "3", "--undo").code == 0
    assert marks() == {0: 0, 1: 1, 2: 1, 3: 1}
    with served(folder, loader) as board:
        assert sorted(row["hparams"]["x"] for row in board.wait_for_rows(4)) == [1, 2, 3, 4]
        assert sorted(board.ask("plugin/scalars/tags")) == sorted(path.name for path in folder.glob("0[0-9]*") if scalars(path))
        if loader == "true":
            assert cli("drop", "study.yaml", "0").code == 0
            board.wait_for_rows(3)
            assert cli("drop", "study.yaml", "0", "4", "--undo").code == 0
            board.wait_for_rows(5)
