"""How a script ends: by decisions, requests, failures and kills."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

import psutil
import pytest

from sweep.study.trial import Decision, TrialResult, TrialSpec, TrialState
from sweep.worker.devices import plan_slots
from sweep.worker.script import objective
from sweep.worker.script.objective import objective_of
from sweep.worker.single import run_trial
from tests.support.studies import study_spec
from tests.support.waiting import wait_for
from tests.worker.script.conftest import Line, Run, log


@pytest.mark.parametrize(
    ("decision", "state"),
    [(Decision.PRUNE, TrialState.PRUNED), (Decision.STOP, TrialState.WAITING), (Decision.COMPLETE, TrialState.COMPLETE)],
    ids=["prune", "stop", "complete"],
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
    """With SIGTERM to its whole group; what it still reports is ignored."""
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
        ("print('so far'); 1 / 0", "ZeroDivisionError: division by zero (exit code 1)\nthe command exited with code 1\n"),
        ("raise SystemExit(3)", "the command exited with code 3\n"),
        ("import os; os.kill(os.getpid(), 11)", "the command was ended by SIGSEGV: a segmentation fault"),
    ],
)
def test_a_failure_has_the_cause_and_the_last_lines(trial: Run, tmp_path: Path, script: str, error: str) -> None:
    """First its own error, then exit code or signal, the log, what to type, and the end of its output."""
    result = trial(script, "--lr=${lr}")
    assert (result.state, result.cause) == (TrialState.FAILED, "exception")
    assert result.error is not None
    assert result.error.startswith(error)
    assert f"\nits whole output: {tmp_path}/run/log.txt\ntry it by hand:  cd {tmp_path} && " in result.error
    assert "script.py --lr=0.01\nthe last lines of its output:\n" in result.error
    if "1 / 0" in script:
        assert "so far" in result.error
        assert result.error.endswith("ZeroDivisionError: division by zero")
    assert "sweep/" not in result.error.partition("last lines")[2]


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("import torch; raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')", "out-of-memory"),
        ("raise RuntimeError('CUDA error: device-side assert triggered')", "device-error"),
    ],
)
def test_a_failure_of_the_device_is_known_by_its_words(trial: Run, script: str, cause: str) -> None:
    """The GPU was the script's process's, which is gone: this one needs no replacement."""
    result = trial(script)
    assert (result.state, result.cause, result.spent) == (TrialState.FAILED, cause, False)


def test_a_program_that_is_gone_is_a_failed_trial(trial: Run, tmp_path: Path) -> None:
    """Such as one that was removed after the study was checked."""
    result = trial("print('{\"score\": 1}')")
    assert result.state is TrialState.COMPLETE
    spec = TrialSpec(number=1, params={}, seed=1, dir=str(tmp_path / "other"))
    study = study_spec({"x": 1}, objective=None, command="./gone.sh", import_dir=tmp_path)
    result = run_trial(
        Line().channel, objective_of(study), spec, study, plan_slots("cpu", 1, 1)[0], lambda _: contextlib.nullcontext()
    )
    assert result.error == (
        f"the command cannot be started: there is no program '{tmp_path}/gone.sh'\n`python` is the interpreter that sweep runs on"
    )


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


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], ""),
        ([("step 3", False), ("bad flag", True), ("bye", False)], "bad flag"),
        ([("x", False), ("====", False)], "x"),
        (
            [("Traceback (most recent call last):", True), ('  File "x"', True), ("ValueError: a", True), ("more", True)],
            "ValueError: a",
        ),
    ],
)
def test_the_line_that_says_why(lines: list[tuple[str, bool]], told: str) -> None:
    """The exception of a traceback, or the last line with a word in it, of stderr if there is one."""
    assert objective.own_error(lines) == told


def test_an_ignored_sigchld_costs_no_exit_code(trial: Run) -> None:
    """A parent that ignores it hands that on; the script starts with no signal blocked."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    try:
        script = (
            "import signal, sys\nassert not signal.pthread_sigmask(signal.SIG_BLOCK, ())\nprint('{\"score\": 1}'); sys.exit(3)"
        )
        result = trial(script)
    finally:
        signal.signal(signal.SIGCHLD, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert (result.error or "").startswith("the command exited with code 3")


@pytest.mark.slow  # 40 MB
def test_a_long_line_costs_as_much_as_short_ones(trial: Run) -> None:
    """It took 12 s when each piece was copied with all pieces before it."""
    started = time.monotonic()
    assert trial("print('x' * 40_000_000); print('{\"score\": 1}')").state is TrialState.COMPLETE
    assert time.monotonic() - started < 5
