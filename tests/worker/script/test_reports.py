"""The ways in which a script reports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweep.study.trial import TrialResult, TrialState
from sweep.worker.script.client import VARIABLE, ScriptTrial
from tests.support.reading import hparams_tags, points, scalars
from tests.worker.script.conftest import EVENTS, PARAMS, Line, Run, log


def test_a_script_reports_through_the_two_line_client(trial: Run, tmp_path: Path, line: Line) -> None:
    """It has the live trial's face: parameters with their types, seed, folder, steps; its curve stands once in its own run."""
    result = trial(
        """
        import os, sys
        from sweep import trial
        print(sys.argv[1:], trial.params, trial.number, trial.seed, trial.device, trial.attempt, trial.dir.name, os.getcwd())
        print(trial.state, trial.stop_requested)
        for step in trial.steps(3):
            trial.report(step, {"score": step / 2, "loss": 1})
        print("torch" in sys.modules, file=sys.stderr)
        """,
        "${args}",
    )
    assert result == TrialResult(state=TrialState.COMPLETE, metrics={"score": 1.5, "loss": 1})
    assert [(report.step, report.total) for report in line.reports] == [(1, 3), (2, 3), (3, 3)]
    words = ["--lr=0.01", "--size=32", "--shuffle=true", "--name=a b", "--nothing=null"]
    assert f"{words} {PARAMS} 7 5 cpu 1 run {tmp_path}\nNone False\n" in log(tmp_path)
    assert log(tmp_path).endswith("False\n"), "the client imports nothing heavy"
    assert scalars(tmp_path / "run")["score"] == [(1, 0.5), (2, 1.0), (3, 1.5)]
    assert "_hparams_/session_end_info" in hparams_tags(tmp_path / "run")


def test_a_script_with_the_client_runs_by_hand(tmp_path: Path) -> None:
    """Without sweep its parameters are empty, a report is a line, and nothing is stopped."""
    (tmp_path / "script.py").write_text(
        "from sweep import trial\n"
        "print(trial.params, trial.state, trial.stop_requested, trial.dir, trial.seed)\n"
        "for step in trial.steps(2):\n    trial.report(step, {'score': step / 3, 'n': 1}, {'a': 1})\ntrial.save({})\n"
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "{} None False . 0\nstep 1  score=0.333333  n=1\nstep 2  score=0.666667  n=1\n"


@pytest.mark.parametrize("into", ["sys.stdout", "open(sys.argv[1] + '/metrics.jsonl', 'a')"])
def test_a_script_reports_by_json_lines(trial: Run, tmp_path: Path, line: Line, into: str) -> None:
    """Objects with the metric's name, on stdout or in metrics.jsonl; all other output is the log's; the step may be left out."""
    result = trial(
        f"""
        import json, sys
        file = {into}
        for step in (3, None, 9, 9):
            print(json.dumps({{"score": 2, "loss": 0.5, "note": "x"}} | ({{"step": step}} if step else {{}})), file=file)
        print("hello"); print('{{"other": 1}}'); print("{{no json"); print("oh", file=sys.stderr)
        """,
        "${dir}",
    )
    assert result == TrialResult(state=TrialState.COMPLETE, metrics={"score": 2, "loss": 0.5})
    assert [report.step for report in line.reports] == [3, 4, 9]
    assert "hello\n" in log(tmp_path)
    assert '{"other": 1}\n{no json\n' in log(tmp_path)
    assert "oh\n" in log(tmp_path)
    assert "step 9 came after step 9" in log(tmp_path)
    assert "score" not in log(tmp_path)


@pytest.mark.parametrize("place", ["${logdir}", "${dir}", "${dir}/deep/er"])
def test_a_script_reports_by_its_own_event_files(trial: Run, tmp_path: Path, line: Line, place: str) -> None:
    """Scalars of the metric's steps are reports, others stay curves, images are kept; it all stands once, in the trial's run."""
    result = trial(
        EVENTS
        + """
for epoch in (1, 2):
    for batch in (1, 2):
        add(10 * epoch + batch, "batch/loss", batch)
    add(epoch, "train/loss", 0.5)
    add(epoch, "score", epoch)
    add(epoch, "late", 3)
add(2, "picture")
writer.close()
        """,
        place,
    )
    assert result == TrialResult(state=TrialState.COMPLETE, metrics={"train/loss": 0.5, "score": 2, "late": 3})
    assert [(report.step, report.metrics["score"]) for report in line.reports] == [(1, 1), (2, 2)]
    assert scalars(tmp_path / "run") == {
        "batch/loss": [(11, 1), (12, 2), (21, 1), (22, 2)],
        "train/loss": [(1, 0.5), (2, 0.5)],
        "score": [(1, 1), (2, 2)],
        "late": [(1, 3), (2, 3)],
        "best/score": [(1, 1), (2, 2)],
    }
    assert ("image", "picture", 2) in points(tmp_path / "run")
    assert len([*(tmp_path / "run").rglob("*tfevents*")]) == 1


def test_event_files_beside_another_way_stay_curves(trial: Run, tmp_path: Path, line: Line) -> None:
    """What is reported by a line is not doubled, and what only the event files have is kept."""
    script = (
        EVENTS + "print('{\"score\": 1}', flush=True); time.sleep(0.1)\nadd(1, 'score', 1); add(1, 'extra', 2); writer.close()"
    )
    assert trial(script, "${logdir}").metrics == {"score": 1}
    assert len(line.reports) == 1
    assert scalars(tmp_path / "run") == {"score": [(1, 1)], "best/score": [(1, 1)], "extra": [(1, 2)]}


def test_a_metric_of_another_name_is_named(trial: Run) -> None:
    """The event files' scalars are told when the study's metric is not among them."""
    result = trial(EVENTS + "add(1, 'scores', 1); writer.close()", "${logdir}")
    assert result.cause == "metric-missing"
    assert result.error == "the objective never reported 'score'; it reported: scores"


def test_a_script_that_reports_nothing_is_told_how(trial: Run, tmp_path: Path) -> None:
    """The log names the ways."""
    assert trial("pass").cause == "metric-missing"
    assert "sweep: the command reported nothing. Four ways:  from sweep import trial" in log(tmp_path)


def test_what_is_no_report_is_told_and_fails_nothing(trial: Run, tmp_path: Path, line: Line) -> None:
    """Deep JSON, a step beyond 64 bits; step 0 and a step as a string are reports."""
    script = """
        print('{"score": 1, "a": ' + "[" * 100_000)
        print('{"score": 5, "step": 0}'); print('{"score": 6, "step": "3"}')
        print('{"score": 7, "step": 12345678901234567890123}'); print('{"score": [7]}')
        """
    assert trial(script).metrics == {"score": 6}
    assert [report.step for report in line.reports] == [0, 3]
    assert log(tmp_path).count("sweep: this line is no report: its step must be a whole number below 2**63") == 1


def test_a_metric_that_is_never_a_number_is_named(trial: Run) -> None:
    """The trial fails with the first value that was no number."""
    assert trial('print(\'{"score": "0.5"}\')').error == (
        "the command never reported 'score': in the first line that has it, score is no number: '0.5'"
    )


def test_damaged_event_files_are_passed_over(trial: Run, line: Line) -> None:
    """Rubbish, a named pipe, a folder and a link to what never ends; the metric at step 0 counts."""
    script = (
        EVENTS
        + """
import os
base = sys.argv[1] + "/events.out.tfevents.1."
open(base + "a", "wb").write(b"rubbish" * 99); os.mkfifo(base + "b"); os.mkdir(base + "c"); os.symlink("/dev/zero", base + "d")
add(0, "score", 3); writer.close()
"""
    )
    assert trial(script, "${logdir}").metrics == {"score": 3}
    assert [report.step for report in line.reports] == [0]


@pytest.mark.parametrize("text", ["", "garbage", "[1]", "[" * 100_000, '{"x": 1}', '{"token": "a", "dir": 1, "logdir": "b"}'])
def test_a_variable_that_is_no_sweeps_is_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Each command imports the client, and would end with a traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, text)
    trial = ScriptTrial()
    assert (trial.params, trial.number, trial.dir, [*trial.steps(2)]) == ({}, 0, Path(), [1, 2])
