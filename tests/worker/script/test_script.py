"""A script as the objective: each way of reporting, each way of ending, and what an interruption costs it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweep.errors import StudyFileError
from sweep.study import command
from sweep.study.file.reading import read_study
from sweep.study.file.writing import write_study
from sweep.study.space import Constant
from sweep.study.spec import MetricSpec, StudySpec
from sweep.study.trial import Decision, Report, Scalar, TrialResult, TrialSpec, TrialState
from sweep.worker.attempt import run_trial
from sweep.worker.devices import plan_slots
from sweep.worker.protocol import Resumed
from sweep.worker.script import objective
from sweep.worker.script.objective import objective_of
from tests.conftest import Cli, wait_for
from tests.conftest import write_study as write
from tests.support.reading import hparams_tags, points, records, scalars

PARAMS: dict[str, Scalar] = {"lr": 0.01, "size": 32, "shuffle": True, "name": "a b", "nothing": None}
STUDY = """
command: python script.py ${args}
metric: {name: score, goal: maximize}
method: grid
parameters:
  x: {values: [1, 2]}
workers: {per_device: 1}
"""
EVENTS = """
import sys, time
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

writer = EventFileWriter(sys.argv[1])

def add(step, tag, number=None):
    value = Summary.Value(tag=tag) if number is None else Summary.Value(tag=tag, simple_value=number)
    if number is None:
        value.image.encoded_image_string = b"picture"
    writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))
"""


@dataclass
class Line:
    """A runner's end, which decides as it was told to."""

    decisions: list[Decision] = field(default_factory=list)
    stop_after: int | None = None  # so many reports
    sent: list[Any] = field(default_factory=list)

    def send(self, obj: Any) -> None:
        """Hear an event."""
        self.sent.append(obj)

    def recv(self) -> Decision:
        """Decide on the last event."""
        if isinstance(self.sent[-1], Resumed) or not self.decisions:
            return Decision.CONTINUE
        return self.decisions.pop(0)

    def stop_requested(self) -> bool:
        """Ask to stop, once so many reports have come."""
        return self.stop_after is not None and len(self.reports) >= self.stop_after

    @property
    def reports(self) -> list[Report]:
        """Return the reports that came."""
        return [event for event in self.sent if isinstance(event, Report)]


Run = Callable[..., TrialResult]


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def trial(tmp_path: Path, line: Line) -> Run:
    """Run a script's trial in this process, with a real script; its run folder is `run`, its log `log`."""
    study = StudySpec(
        name="s",
        command=("python",),
        import_dir=str(tmp_path),
        metrics=(MetricSpec(name="score", goal="maximize"),),
        method="grid",
        parameters={name: Constant(value=value) for name, value in PARAMS.items()},
    )

    @contextlib.contextmanager
    def log_to(_path: Path) -> Iterator[None]:
        with (tmp_path / "log").open("a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield

    def start(script: str, *words: str, line: Line = line, attempt: int = 1) -> TrialResult:
        (tmp_path / "script.py").write_text(textwrap.dedent(script))
        spec = TrialSpec(number=7, params=dict(PARAMS), seed=5, dir=str(tmp_path / "run"), attempt=attempt)
        train = objective_of(["python", "script.py", *words], tmp_path, "score")
        return run_trial(line, train, spec, study, plan_slots("cpu", 1, 1)[0], log_to)

    return start


def log(folder: Path) -> str:
    return (folder / "log").read_text()


# -- the words --------------------------------------------------------------------------------------------------------


def test_placeholders_are_filled_in() -> None:
    """`${args}` becomes a word for each parameter, the others are replaced inside a word, and no shell sees them."""
    words = ["python", "${args}", "--out=${dir}/x", "${lr}-${size}", "${json}", "${number} ${seed} ${device} ${step}", "$HOME"]
    own: dict[str, Scalar] = {"number": 7, "seed": 5, "dir": "/a b", "logdir": "/l", "device": "cpu", "step": 0}
    assert command.filled(words, {"lr": 1e-5, "size": 32, "shuffle": False, "n": None}, own) == [
        "python", "--lr=1e-05", "--size=32", "--shuffle=false", "--n=null", "--out=/a b/x", "1e-05-32",
        '{"lr": 1e-05, "size": 32, "shuffle": false, "n": null}', "7 5 cpu 0", "$HOME",
    ]  # fmt: skip
    assert command.filled(["${seed}", "${args}"], {"seed": 1}, own) == ["1", "--seed=1"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python here.py ${xx}", "command[2]: ${xx} is neither a parameter nor a placeholder; did you mean 'x'?"),
        ("python here.py ${ars}", "did you mean 'args'?"),
        ("python here.py a=${args}", "command[2]: ${args} becomes several words and must be a whole word; put spaces around it"),
        ("python there.py", "command[1]: there is no file 'there.py' in FOLDER"),
        ("pyhton here.py", "command[0]: there is no program 'pyhton' on the PATH"),
        ("./none.sh", "command[0]: there is no program './none.sh' FOLDER"),
        ("python 'here.py", "cannot be split into words (No closing quotation)"),
        ("[]", "command: must be a program and its arguments"),
        ("[python, [a]]", "command: must be a list of words"),
    ],
)
def test_a_command_that_cannot_run_is_found_before_anything_starts(here: Path, command: str, message: str) -> None:
    """With the nearest spelling or what to write instead."""
    (here / "here.py").touch()
    with pytest.raises(StudyFileError) as caught:
        read_study(write(here, STUDY.replace("python script.py ${args}", command)))
    assert message.replace("FOLDER", str(here)) in str(caught.value)


def test_exactly_one_of_objective_and_command(here: Path) -> None:
    """Both, or neither, is a problem of the study file."""
    both = STUDY.replace("metric:", "objective: sweep.objectives.toy:train\nmetric:")
    for text, message in (
        (both, "command: cannot be combined with objective; keep one of the two"),
        (STUDY[37:], "objective: missing"),
    ):
        with pytest.raises(StudyFileError, match=message):
            read_study(write(here, text))


def test_a_command_is_written_back_as_it_was(here: Path) -> None:
    """As a list of words, whether it was written as one or as a line."""
    (here / "script.py").touch()
    study = read_study(write(here, STUDY.replace("${args}", "'a \"b' ${args} ${dir}/é")))
    assert study.command == ("python", "script.py", 'a "b', "${args}", "${dir}/é")
    assert read_study(write(here, write_study(study), "again.yaml"), ["name=study"]) == study
    listed = STUDY.replace("python script.py ${args}", '[python, script.py, "${args}", 3]')
    assert read_study(write(here, listed)).command == ("python", "script.py", "${args}", "3")


# -- the three ways -----------------------------------------------------------------------------------------------------


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
    """The log names the three ways."""
    assert trial("pass").cause == "metric-missing"
    assert "sweep: the command reported nothing. Three ways:  from sweep import trial" in log(tmp_path)


# -- how it ends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "state"), [(Decision.PRUNE, TrialState.PRUNED), (Decision.STOP, TrialState.WAITING)], ids=["prune", "stop"]
)
def test_a_decision_ends_a_connected_script_quietly(trial: Run, tmp_path: Path, decision: Decision, state: TrialState) -> None:
    """At its report, with its own tidying up, past `except Exception`, and without a traceback."""
    script = """
        from sweep import trial
        try:
            for step in range(1, 9):
                try:
                    trial.report(step, {"score": step})
                except Exception:
                    print("swallowed")
        finally:
            print("tidied up")
        """
    result = trial(script, line=Line([Decision.CONTINUE, decision]))
    assert result == TrialResult(state=state, metrics={"score": 2})
    assert log(tmp_path).endswith("tidied up\n")
    assert "Traceback" not in log(tmp_path)


def test_a_decision_ends_a_script_that_only_prints(trial: Run) -> None:
    """With SIGTERM to its whole group; what it still reports is no longer heard."""
    script = """
        import subprocess, time
        child = subprocess.Popen(["sleep", "1000"])
        for step in range(1000):
            print('{"score": %d}' % step, flush=True); time.sleep(0.05)
        """
    started = time.monotonic()
    line = Line([Decision.CONTINUE, Decision.PRUNE])
    assert trial(script, line=line) == TrialResult(state=TrialState.PRUNED, metrics={"score": 1})
    assert len(line.reports) == 2
    assert time.monotonic() - started < objective.GRACE_S


def test_a_request_to_stop_ends_a_script(trial: Run, tmp_path: Path) -> None:
    """One that is not connected gets SIGTERM and may tidy up; its trial waits, whatever its exit code."""
    script = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (print("saved"), sys.exit(0)))
        print('{"score": 1}', flush=True)
        time.sleep(1000)
        """
    assert trial(script, line=Line(stop_after=1)).state is TrialState.WAITING
    assert log(tmp_path).endswith("saved\n")


def test_a_script_that_will_not_end_is_killed(trial: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its grace."""
    monkeypatch.setattr(objective, "GRACE_S", 0.5)
    script = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print('{"score": 1}', flush=True)
        time.sleep(1000)
        """
    assert trial(script, line=Line(stop_after=1)).state is TrialState.WAITING


def test_a_connected_script_that_reports_too_late_gets_a_signal(trial: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to stop waits for its next report only so long."""
    monkeypatch.setattr(objective, "PATIENCE_S", 0.3)
    script = "import time\nfrom sweep import trial\ntrial.report(1, {'score': 1})\ntime.sleep(1000)"
    assert trial(script, line=Line(stop_after=1)).state is TrialState.WAITING


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("print('so far'); 1 / 0", "exited with code 1: "),
        ("raise SystemExit(3)", "exited with code 3: "),
        ("import os; os.kill(os.getpid(), 11)", "was ended by SIGSEGV: a segmentation fault"),
    ],
)
def test_a_failure_says_how_and_shows_the_last_lines(trial: Run, script: str, error: str) -> None:
    """Exit code or signal, the command as it was run, and the end of its output, in place of a traceback of sweep's."""
    result = trial(script, "--lr=${lr}")
    assert (result.state, result.cause) == (TrialState.FAILED, "exception")
    assert result.error is not None
    assert result.error.startswith(f"the command {error}")
    assert "script.py --lr=0.01\nthe last lines of its output:\n" in result.error
    if "1 / 0" in script:
        assert "so far" in result.error
        assert result.error.endswith("ZeroDivisionError: division by zero")
    assert "sweep/" not in result.error.partition("last lines")[2]


def test_a_program_that_is_gone_is_a_failed_trial(trial: Run, tmp_path: Path) -> None:
    """Such as one that was removed after the study was checked."""
    train = objective_of(["./gone.sh"], tmp_path, "score")
    result = trial("print('{\"score\": 1}')")
    assert result.state is TrialState.COMPLETE
    spec = TrialSpec(number=1, params={}, seed=1, dir=str(tmp_path / "other"))
    study = StudySpec(
        name="s", import_dir="/", metrics=(MetricSpec(name="score", goal="maximize"),), method="grid", parameters={}
    )  # fmt: skip
    result = run_trial(Line(), train, spec, study, plan_slots("cpu", 1, 1)[0], lambda _: contextlib.nullcontext())
    assert result.error == f"the command cannot be started: No such file or directory: {tmp_path}/gone.sh"


@pytest.mark.parametrize(
    "script",
    ["print('{\"score\": NaN}', flush=True); input()", "from sweep import trial\ntrial.report(1, {'score': float('nan')})"],
)
def test_a_metric_that_is_no_number_fails_the_trial(trial: Run, script: str) -> None:
    """As it does in a function, with the same cause."""
    result = trial(script)
    assert (result.state, result.cause) == (TrialState.FAILED, "not-finite")
    assert result.error is not None
    assert "score is nan at step 1" in result.error


def test_a_wrong_report_is_an_error_at_its_line(trial: Run) -> None:
    """The client raises what the live trial raised, where the script can see it."""
    result = trial("from sweep import trial\ntrial.report(2, {'score': 1})\ntrial.report(1, {'score': 1})  # here")
    assert result.error is not None
    assert "trial.report(1, {'score': 1})  # here" in result.error
    assert "ValueError: trial.report needs steps that grow: step 1 came after step 2" in result.error


def test_what_a_script_leaves_running_ends_with_it(trial: Run, tmp_path: Path) -> None:
    """Its output does not hold the trial up, and the slot is free for the next one."""
    script = """
        import subprocess
        child = subprocess.Popen(["sleep", "1000"])
        print(child.pid, flush=True); open("child", "w").write(str(child.pid))
        print('{"score": 1}')
        """
    assert trial(script).state is TrialState.COMPLETE
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_a_stranger_is_not_answered(trial: Run, line: Line) -> None:
    """Whoever finds the port has to know the token."""
    script = """
        import json, os, socket
        facts = json.loads(os.environ["SWEEP_TRIAL"])
        report = b'{"do": "report", "token": "x", "step": 1, "metrics": {"score": 9}, "state": null}\\n'
        for words in (b"GET / HTTP/1.1\\n", report):
            stranger = socket.create_connection(("127.0.0.1", facts["port"]))
            stranger.sendall(words)
            assert stranger.recv(99) == b""
        from sweep import trial
        trial.report(1, {"score": 1})
        """
    assert trial(script).metrics == {"score": 1}
    assert len(line.reports) == 1


# -- what an interruption costs -------------------------------------------------------------------------------------------


@pytest.mark.slow  # its scripts import torch
def test_a_connected_script_goes_on_from_its_state(trial: Run, tmp_path: Path) -> None:
    """With its random numbers, and its curve once: the same numbers as without the interruption."""
    script = """
        import torch
        from sweep import trial
        torch.manual_seed(trial.seed)
        total = torch.zeros(())
        if trial.state:
            total = trial.state["total"]
        for step in trial.steps(4):
            total = total + torch.rand(())
            trial.report(step, {"score": total}, {"total": total})
        """
    whole = trial(script)
    wanted = scalars(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "whole")
    stopped = trial(script, line=Line([Decision.CONTINUE, Decision.STOP]))
    assert stopped.state is TrialState.WAITING
    line = Line()
    assert trial(script, line=line, attempt=2) == whole, log(tmp_path)
    assert [report.step for report in line.reports] == [3, 4]
    assert scalars(tmp_path / "run") == wanted
    assert not [*(tmp_path / "run").glob(".state*")]


@pytest.mark.parametrize(
    "way", ['print(\'{"score": %d, "step": %d}\' % (step, step), flush=True)', "trial.report(step, {'score': step})"]
)
def test_a_script_that_asks_for_the_step_goes_on_by_itself(trial: Run, tmp_path: Path, way: str) -> None:
    """From a checkpoint of its own, which may be older: steps that were reported are dropped, and the curve is whole."""
    script = f"""
        import pathlib, sys
        from sweep import trial
        own = pathlib.Path(sys.argv[1]) / "own"
        print("told", sys.argv[2])
        first = int(own.read_text()) if own.exists() else 1
        for step in range(first, 6):
            {way}
            own.write_text(str(step - 1))
        """
    words = ("${dir}", "${step}")
    assert trial(script, *words, line=Line([Decision.CONTINUE, Decision.CONTINUE, Decision.STOP])).state is TrialState.WAITING
    line = Line()
    assert trial(script, *words, line=line, attempt=2) == TrialResult(state=TrialState.COMPLETE, metrics={"score": 5})
    assert log(tmp_path).count("told 0") == log(tmp_path).count("told 3") == 1
    assert [report.step for report in line.reports] == [4, 5]
    assert scalars(tmp_path / "run")["score"] == [(step, step) for step in range(1, 6)]


def test_every_other_script_starts_over(trial: Run, tmp_path: Path) -> None:
    """Its points of the first attempt are gone, in the trial's event files and in its own."""
    script = (
        EVENTS
        + """
for step in (1, 2, 3, 4):
    add(step, "score", step * float(sys.argv[2]))
    add(step, "picture")
    writer.flush()
    time.sleep(0.1)
    """
    )
    assert trial(script, "${dir}", "1", line=Line([Decision.STOP])).state is TrialState.WAITING
    assert trial(script, "${dir}", "2", attempt=2).state is TrialState.COMPLETE
    assert scalars(tmp_path / "run")["score"] == [(step, 2 * step) for step in range(1, 5)]
    assert [point for point in points(tmp_path / "run") if point[1] == "picture"] == [
        ("image", "picture", s) for s in range(1, 5)
    ]


# -- from outside ---------------------------------------------------------------------------------------------------------

SCRIPT = """
import json, os, sys, time
from sweep import trial
x = trial.params["x"]
open(f"pid{x}", "w").write(str(os.getpid()))
for step in trial.steps(3):
    if x == 2 and step == 2 and not os.path.exists("once"):
        open("once", "w").close()
        PAUSE
    trial.report(step, {"score": x / step}, {"x": x})
"""
FOREVER = "time.sleep(1000)"


@pytest.fixture
def study(here: Path) -> Path:
    (here / "script.py").write_text(SCRIPT.replace("PAUSE", FOREVER))
    return write(here, STUDY)


def trials(cli: Cli, study: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli("trials", str(study), "--format", "json").json
    return found


def test_a_study_of_a_script_runs(cli: Cli, here: Path) -> None:
    """From another folder than the file's: the plan shows the command, the command runs in the study file's folder."""
    (here / "deep").mkdir()
    (here / "deep" / "script.py").write_text(SCRIPT.replace("PAUSE", "pass"))
    study = write(here / "deep", STUDY)
    plan = cli("plan", str(study))
    assert "command    python script.py ${args}, maximize score" in plan.out
    done = cli("run", str(study))
    assert done.code == 0, done.err
    assert [(t.state, t.metrics["score"]) for t in records(here / "runs" / "study")] == [("complete", 1 / 3), ("complete", 2 / 3)]
    assert (here / "deep" / "pid1").exists()


@pytest.mark.slow
def test_a_stopped_study_of_a_script_goes_on(cli: Cli, study: Path, here: Path, start: Callable[..., Any]) -> None:
    """SIGINT ends the script too, and the trial goes on from its state."""
    process = start("run", str(study))
    wait_for((here / "once").exists)
    script = psutil.Process(int((here / "pid2").read_text()))
    process.send_signal(signal.SIGINT)
    assert process.wait(40) == 130
    assert not script.is_running()
    assert cli("resume", str(study)).code == 0
    found = trials(cli, study)
    assert [(t["state"], t["value"], t["attempts"]) for t in found] == [("complete", 1 / 3, 1), ("complete", 2 / 3, 2)]
    assert scalars(Path(found[1]["dir"]))["score"] == [(1, 2), (2, 1), (3, pytest.approx(2 / 3))]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["runner", "worker", "script"])
def test_kills_are_survived(cli: Cli, study: Path, here: Path, start: Callable[..., Any], victim: str) -> None:
    """A kill -9 of the runner or the worker leaves no script behind and costs no number; of the script, it fails the trial."""
    process = start("run", str(study))
    wait_for((here / "once").exists)
    script = psutil.Process(int((here / "pid2").read_text()))
    worker = script.parent()
    assert worker is not None
    os.kill({"runner": process.pid, "worker": worker.pid, "script": script.pid}[victim], signal.SIGKILL)
    wait_for(lambda: not script.is_running() or script.status() == psutil.STATUS_ZOMBIE, seconds=5)
    code = process.wait(60)
    if victim == "script":
        assert code == 1
        assert "was ended by SIGKILL" in trials(cli, study)[1]["error"]
        return
    if victim == "runner":
        assert cli("resume", str(study)).code == 0
    found = trials(cli, study)
    assert [(t["state"], t["value"], t["attempts"]) for t in found] == [("complete", 1 / 3, 1), ("complete", 2 / 3, 2)]
    assert scalars(Path(found[1]["dir"]))["score"] == [(1, 2), (2, 1), (3, pytest.approx(2 / 3))]


@pytest.mark.slow
def test_a_script_that_takes_too_long_is_failed(cli: Cli, study: Path, here: Path) -> None:
    """By the study's timeout, as any other objective, with everything that it started."""
    done = cli("run", str(study), "timeout=4s", "x.values=[2]")
    assert done.code == 1
    [found] = trials(cli, study)
    assert "it took longer than 4 s (timeout)" in found["error"]
    pid = int((here / "pid2").read_text())
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


@pytest.mark.slow
def test_a_script_is_trained_inline_too(cli: Cli, study: Path, here: Path) -> None:
    """With its output on the terminal."""
    (here / "script.py").write_text("print('hello'); print('{\"score\": 1}')")
    done = cli("run", str(study), "--inline")
    assert done.code == 0, done.err
    assert "hello" in done.out
