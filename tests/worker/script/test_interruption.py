"""What an interruption costs a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.study.trial import Decision, TrialResult, TrialState
from tests.conftest import REPOSITORY
from tests.support.reading import points, scalars
from tests.worker.script.conftest import EVENTS, Line, Run, log


@pytest.mark.slow  # its scripts import torch
def test_a_connected_script_resumes_from_its_state(trial: Run, tmp_path: Path) -> None:
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


@pytest.mark.slow  # its scripts import torch
def test_a_script_that_uses_the_gpu_after_it_has_read_its_state_continues_its_random_numbers(trial: Run, tmp_path: Path) -> None:
    """The seed that it has set before is not set again when CUDA is initialised; CUDA is simulated here."""
    script = f"""
        import sys
        sys.path.insert(0, {str(REPOSITORY)!r})
        import torch
        from sweep import trial
        from tests.support.simulated_cuda import drawn_on_gpu, simulate
        simulate()
        torch.manual_seed(trial.seed)
        total = 0.0
        if trial.state:
            total = trial.state["total"]
        for step in trial.steps(4):
            total += drawn_on_gpu()
            trial.report(step, {{"score": total}}, {{"total": total}})
        """
    whole = trial(script)
    (tmp_path / "run").rename(tmp_path / "whole")
    assert trial(script, line=Line([Decision.CONTINUE, Decision.STOP])).state is TrialState.WAITING
    assert trial(script, line=Line(), attempt=2) == whole, log(tmp_path)


@pytest.mark.parametrize(
    "way", ['print(\'{"score": %d, "step": %d}\' % (step, step), flush=True)', "trial.report(step, {'score': step})"]
)
def test_a_script_that_asks_for_the_step_resumes_itself(trial: Run, tmp_path: Path, way: str) -> None:
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
