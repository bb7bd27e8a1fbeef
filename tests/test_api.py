"""`sweep.run`: studies from scripts and notebooks, as real processes where a process makes the difference."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sweep
from sweep.errors import StudyFileError
from sweep.storage.folder import StudyFolder
from sweep.storage.remarks import change_remarks
from sweep.study.file.reading import given_study, read_study
from sweep.study.file.writing import write_study
from sweep.study.objective import packed, reference_to
from tests.conftest import REPOSITORY, Cli
from tests.support.studies import study_text
from tests.support.studies import write_study as write
from tests.support.waiting import wait_for

STUDY: dict[str, Any] = {
    "name": "study",
    "metric": {"name": "score", "goal": "maximize"},
    "method": "grid",
    "parameters": {"x": {"values": (1, 2)}, "steps": {"value": 3}},
    "workers": {"per_device": 1},
}
# No `if __name__ == "__main__"`, and everything that the function uses stands in the script itself.
SCRIPT = """
import dataclasses
import sys
import time

import sweep

print("imported", file=sys.stderr)


@dataclasses.dataclass
class Offset:
    value: float


OFFSET = Offset(10.0)


def train(trial: sweep.Trial) -> None:
    assert trial.state is None or trial.state["step"] == 1
    for step in trial.steps(trial.params["steps"]):
        trial.report(step, {"score": trial.params["x"] / step + OFFSET.value}, state={"step": step})
        if trial.params.get("wait") and step == 1:
            while not trial.stop_requested:
                time.sleep(0.01)


"""


def script(here: Path, calls: str, **changed: Any) -> subprocess.Popen[str]:
    """Start a script of the user's that makes these calls."""
    (here / "search.py").write_text(f"{SCRIPT}STUDY = {STUDY | changed!r}\n{textwrap.dedent(calls)}")
    words = [sys.executable, "search.py"]
    return subprocess.Popen(words, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def score(trial: sweep.Trial) -> float:
    """Be a function that a module has."""
    trial.report(1, {"score": trial.params["x"] * 2.0, "loss": 0.5})
    return float(trial.params["x"])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> sweep.StudyResult:
    """What came out of a small study, run in this process."""
    folder = tmp_path_factory.mktemp("api")
    return sweep.run(STUDY, score, overrides={"output": folder}, inline=True, quiet=True)


def test_the_public_names() -> None:
    """These and no others; type checkers see their types."""
    assert sorted(sweep.__all__) == [
        "LoadedTrial",
        "StudyResult",
        "SweepError",
        "Trial",
        "TrialRecord",
        "TrialState",
        "__version__",
        "load",
        "run",
        "trial",
    ]
    assert all(getattr(sweep, name) is not None for name in sweep.__all__)
    assert set(sweep.__all__) <= set(dir(sweep))
    with pytest.raises(AttributeError, match="has no attribute 'runs'"):
        _ = sweep.runs  # type: ignore[attr-defined]  # that is what is tested
    assert (REPOSITORY / "sweep" / "py.typed").exists()


@pytest.mark.slow
def test_a_script_needs_no_main_guard(cli: Cli, here: Path) -> None:
    """Its function and what that uses go to the workers, which never import it; a second call finds all done."""
    out, err = script(
        here,
        """
        result = sweep.run(STUDY, train)
        print("best", result.best.params["x"], result.best.value, [trial.state for trial in result.trials], result.ended_by)
        again = sweep.run(STUDY, train, quiet=True)
        assert again.trials == result.trials
        """,
    ).communicate(timeout=60)
    assert err == "imported\n"
    assert "trial 0 step 1/3  score=11.0000" in out
    assert "report: runs/study/report.html" in out
    assert out.splitlines()[-1] == "best 2 10.666666666666666 [<TrialState.COMPLETE: 'complete'>, <TrialState.COMPLETE: " + (
        "'complete'>] all trials are done"
    )

    assert cli("best", "runs/study", "--format", "json").json[0]["params"] == {"x": 2, "steps": 3}
    assert "2 complete of 2" in cli("status", "runs/study").out
    refused = cli("resume", "runs/study")
    assert refused.code == 2
    assert refused.err == (
        f"error: the study in {here}/runs/study was run from Python: its objective is the function train of a program or"
        " notebook  [objective-in-python]\n"
        "  where: search.py\n"
        "  why:   the function is not stored, so only that program can continue the study\n"
        "  do:    run that program again: it resumes the study\n"
        f"         or put the function into a module:  sweep resume {here}/runs/study objective=MODULE:train\n"
    )


def test_ctrl_c_stops_in_order_and_the_same_call_goes_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A KeyboardInterrupt comes out of the call, after the trial has made a checkpoint."""
    seen: list[Any] = []

    def train(trial: sweep.Trial) -> None:
        seen.append((trial.number, trial.state))
        for step in trial.steps(2):
            trial.report(step, {"score": 1.0}, state={"step": step})
            if len(seen) == 1:
                os.kill(os.getpid(), signal.SIGINT)
                wait_for(lambda: trial.stop_requested)

    with pytest.raises(KeyboardInterrupt):
        sweep.run(STUDY, train, inline=True)
    out = capsys.readouterr().out
    assert "study: 2 waiting; stopped by SIGINT" in out
    assert out.endswith("the same call resumes the study\n")
    assert len(sweep.run(STUDY, train, inline=True, quiet=True).trials) == 2
    assert "study study" not in capsys.readouterr().out
    assert seen == [(0, None), (0, {"step": 1}), (1, None)]


@pytest.mark.slow
def test_ctrl_c_on_a_script_ends_it_as_python_does(cli: Cli, here: Path) -> None:
    """Its workers make checkpoints first, and nothing that stands after the call is done."""
    call = "sweep.run(STUDY, train)\nprint('after')"
    parameters = STUDY["parameters"] | {"wait": {"value": True}}
    process = script(here, call, parameters=parameters)
    assert process.stdout is not None
    assert any("step 1/3" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert err.endswith("KeyboardInterrupt\n")
    assert "stopped by SIGINT" in out
    assert out.endswith("the same call resumes the study\n")  # and no "after"

    process = script(here, call, parameters=parameters | {"wait": {"value": False}})
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "trial 0 resumed after step 1" in out
    found = cli("trials", "runs/study", "--format", "json").json
    assert [(trial["state"], trial["attempts"]) for trial in found] == [("complete", 2), ("complete", 1)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        "sweep.run(STUDY, lambda trial: train(trial))",
        "def make(factor):\n    def inner(trial):\n        trial.report(1, {'score': factor})\n    return inner\n"
        "sweep.run(STUDY, make(0.5))",
        "import functools\nsweep.run(STUDY, functools.partial(lambda score, trial: score, 0.5))",
        "class Train:\n    def __call__(self, trial):\n        return 0.5\nsweep.run(STUDY, Train())",
    ],
    ids=["lambda", "closure", "partial", "object"],
)
def test_any_function_of_a_script_trains_in_workers(cli: Cli, here: Path, call: str) -> None:
    """By value."""
    process = script(here, call)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert [trial["state"] for trial in cli("trials", "runs/study", "--format", "json").json] == ["complete"] * 2


@pytest.mark.slow
def test_the_documentations_program_runs(here: Path) -> None:
    """As it is written there."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    section = (REPOSITORY / "sweep/docs/own-code.md").read_text(encoding="utf-8").partition("## From Python")[2]
    (here / "parabola.py").write_text(section.partition("```python\n")[2].partition("```")[0])
    done = subprocess.run([sys.executable, "parabola.py"], cwd=here, capture_output=True, text=True, check=True, timeout=100)
    assert "parabola: 10 complete" in done.stdout
    assert done.stdout.endswith("runs/parabola\n")


@pytest.mark.slow
def test_a_function_that_moved_into_a_module_goes_on_at_the_command_line(cli: Cli, here: Path) -> None:
    """Under its own name: the way from a notebook to a terminal."""
    script(here, "sweep.run(STUDY, train, overrides={'budget.trials': 1})").communicate(timeout=60)
    (here / "mine.py").write_text(SCRIPT)
    done = cli("resume", "runs/study", "objective=mine:train", "budget.trials=2")
    assert done.code == 0, done.err
    assert [trial["value"] for trial in cli("trials", "runs/study", "--format", "json").json] == [1 / 3 + 10, 2 / 3 + 10]
    assert cli("run", "runs/study").code == 0


def test_what_comes_out(done: sweep.StudyResult) -> None:
    """Trials by number, the best of them, the folder, and a short picture of it all."""
    assert [(trial.params["x"], trial.value, trial.state) for trial in done.trials] == [
        (1, 1.0, sweep.TrialState.COMPLETE),
        (2, 2.0, sweep.TrialState.COMPLETE),
    ]
    assert done.best is done.trials[1]
    assert (done.dir / done.trials[0].folder / "log.txt").exists()
    assert (done.dir / "report.html").exists()
    assert done.ended_by == "all trials are done"
    best = "score=2 by trial 1 {'x': 2, 'steps': 3}"
    assert repr(done) == f"<StudyResult study: 2 complete; all trials are done; best: {best}; in {done.dir}>"


def test_a_notebook_shows_the_results(here: Path) -> None:
    """The counts, the best trials with their metrics and notes, what can be said, and the report; escaped."""
    study = STUDY | {"parameters": {"x": {"values": ("<i>", "b", "c", "d")}}}
    result = sweep.run(study, lambda trial: float(ord(trial.params["x"][-1])), inline=True, quiet=True)
    assert result.best is not None
    page = result._repr_html_()
    assert page is not None
    assert "4 complete; all trials are done" in page
    assert [page.count(text) for text in ("<i>", "&lt;i&gt;</td>")] == [0, 1]
    assert page.index(">d</td>") < page.index(">c</td>") < page.index("&lt;i&gt;</td>")
    assert all(f"– {statement[:20]}" in page for statement in result.statements)
    assert f'<a href="{Path("runs/study/report.html")}"' in page
    change_remarks(StudyFolder(root=result.dir), lambda now: replace(now, study="look & see"))
    frame = result.report()._repr_html_()
    assert frame.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert "look &amp;amp; see" in frame


def test_optuna_reads_the_study_as_it_is(done: sweep.StudyResult) -> None:
    """The same values and parameters; nothing can be written through it."""
    import optuna

    study = done.optuna_study
    assert [trial.value for trial in study.trials] == [trial.value for trial in done.trials]
    assert [trial.params["x"] for trial in study.trials] == [1, 2]
    assert study.best_trial.number == 1
    with pytest.raises(optuna.exceptions.StorageInternalError):
        study.ask()


def test_pandas_gets_a_row_for_each_trial(done: sweep.StudyResult) -> None:
    """Parameters and metrics under names that cannot be taken for each other."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    table = done.to_pandas()
    assert list(table.index) == [0, 1]
    assert list(table.columns[:4]) == ["state", "value", "params_x", "params_steps"]
    assert list(table["value"]) == [1.0, 2.0]
    assert list(table["metrics_loss"]) == [0.5, 0.5]


def test_without_pandas_it_says_what_to_type(done: sweep.StudyResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """For this very Python."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(sweep.SweepError) as caught:
        done.to_pandas()
    assert str(caught.value) == (
        "error: to_pandas needs pandas, which is not installed  [pandas-missing]\n"
        f"  do:    {sys.executable} -m pip install pandas"
    )


def test_signals_are_given_back_and_other_threads_do_without(here: Path) -> None:
    """Whoever handled a signal before handles it afterwards; a run in a thread of its own takes none."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    during: list[Any] = []

    def look(trial: sweep.Trial) -> float:
        during.append(signal.getsignal(signal.SIGINT))
        return 1.0

    study = STUDY | {"parameters": {"x": {"value": 1}}}
    sweep.run(study, look, inline=True, quiet=True)
    thread = threading.Thread(target=lambda: sweep.run(study | {"name": "other"}, look, inline=True, quiet=True))
    thread.start()
    thread.join()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert during[0] is not before[0]
    assert during[1] is before[0]


def test_every_mistake_in_a_dict_is_reported_at_once() -> None:
    """By the checks of a study file, with the key's path where that has a line."""
    study = {
        "metrik": {},
        "metric": {"name": "score", "goal": "maximise"},
        "method": "grid",
        "parameters": {"x": {"valus": [1]}, "y": {"values": [1, object()]}, "z": 3},
    }
    with pytest.raises(StudyFileError) as caught:
        sweep.run(study, score, overrides={"y.step": 0, "lr.value": 1})
    assert str(caught.value).startswith("error: the dict has 7 problems; nothing was started  [study-file]\n")
    assert [str(problem).partition(";")[0] for problem in caught.value.problems] == [
        "parameters.y.values[1]: only numbers, strings, booleans, lists and dicts are allowed here",
        "overrides: lr.value: no such key or parameter",
        "metrik: unknown key",
        "metric.goal: 'maximise' is not known",
        "parameters.x.valus: unknown key",
        "parameters.z: needs keys (value, values, probabilities, min, max, step, q, log, round, distribution, mu, sigma, a, b,"
        " when), got 3",
        "name: missing",
    ]


def test_a_dict_that_contains_itself_is_refused() -> None:
    """With a message."""
    study: dict[str, Any] = dict(STUDY)
    study["parameters"] = study
    with pytest.raises(StudyFileError, match="1 problem") as caught:
        sweep.run(study, score)
    assert "contains itself" in str(caught.value)


def test_a_dict_is_what_its_file_would_be(here: Path) -> None:
    """Tuples, ranges, NumPy's numbers and arrays, and paths are taken for what they mean; overrides too; the dict stays."""
    import numpy as np

    study = STUDY | {
        "objective": "sweep.objectives.toy:train",
        "output": Path("there"),
        "parameters": {"x": {"values": np.array([0.5, 1.5])}, "y": {"values": range(2)}, "z": {"value": np.int64(3)}},
    }
    kept = repr(study)
    overrides = {"x.values": (0.5, 2), "budget.trials": 2}
    given = given_study(study, overrides, import_dir=here)
    assert repr(study) == kept
    text = write_study(given)
    assert "x: {values: [0.5, 2]}" in text
    assert "y: {values: [0, 1]}" in text
    assert read_study(write(here, text)) == given
    changed = {"z.values": [1, 2]}
    assert read_study(write(here, text), changed) == given_study(study, overrides | changed, import_dir=here)


@pytest.mark.parametrize(
    ("study", "objective", "message"),
    [
        ("nowhere.yaml", score, "cannot read nowhere.yaml: No such file or directory  [study-not-readable]"),
        (".", score, ". is a folder; sweep.run takes a study file or a dict  [study-is-a-folder]"),
        (STUDY, "mine:train", "the objective is a str, not a function  [objective-not-callable]"),
        (STUDY, None, "the dict has 1 problem; nothing was started  [study-file]\n  objective: missing"),
        (
            STUDY | {"objective": "__main__:train"},
            None,
            "the dict has 1 problem; nothing was started  [study-file]\n"
            "  objective: train is a function that a Python program gave to sweep.run; only that program has it",
        ),
    ],
)
def test_a_call_that_cannot_be_meant_says_why(here: Path, study: Any, objective: Any, message: str) -> None:
    """Nothing is started."""
    with pytest.raises(sweep.SweepError) as caught:
        sweep.run(study, objective)
    assert str(caught.value).startswith(f"error: {message}")
    assert list(here.iterdir()) == []


def test_what_cannot_leave_the_process_is_said_before_anything_starts(here: Path) -> None:
    """With the way out."""
    lock = threading.Lock()

    def train(trial: sweep.Trial) -> float:
        with lock:
            return 1.0

    with pytest.raises(sweep.SweepError) as caught:
        sweep.run(STUDY, train)
    assert str(caught.value).startswith("error: the function train cannot be sent to the workers: cannot pickle '_thread.lock'")
    assert "[objective-not-picklable]" in str(caught.value)
    assert list(here.iterdir()) == []


def test_a_function_of_a_module_is_named_and_any_other_travels_by_value() -> None:
    """So that what can be found again is found again by the command line."""
    assert reference_to(score) == ("tests.test_api:score", REPOSITORY)
    assert reference_to(lambda trial: 1) == ("__main__:lambda", None)
    assert reference_to("".join) == ("__main__:join", None)
    copy = pickle.loads(packed(lambda trial: trial + 1))  # noqa: S301  # our own
    assert copy(1) == 2


NOTEBOOK = [
    "import json\nimport time\nimport sweep\nFACTOR = 2",
    "def train(trial):\n    print(trial.state)\n    for step in trial.steps(3):\n        "
    "trial.report(step, {'score': FACTOR * trial.params['x'] / step}, "
    "state={'step': step})\n        if trial.params['wait'] and step == 1:\n            (trial.dir / 'waits').touch()\n"
    "            while not trial.stop_requested:\n                time.sleep(0.01)",
    f"STUDY = {STUDY | {'parameters': STUDY['parameters'] | {'wait': {'value': True}}}!r}",
    "sweep.run(STUDY, train)",
    "result = sweep.run(STUDY, train, overrides={'wait.value': False})",
    "print(json.dumps([[trial.value, trial.attempts] for trial in result.trials]))",
    "result",
    "result.report()",
]


@pytest.mark.slow
def test_a_notebook_is_interrupted_and_goes_on(here: Path) -> None:
    """In a real kernel: a function of a cell, one picture below it, the stop button, the same call again, the report."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    cells = [nbformat.v4.new_code_cell(source) for source in NOTEBOOK]
    client = nbclient.NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=100, resources={"metadata": {"path": here}})
    waits = here / "runs" / "study" / "0000_x=1" / "waits"

    def press_stop() -> None:
        wait_for(waits.exists)
        asyncio.run(client.km.interrupt_kernel())  # which also reaches the workers, as the stop button does

    with client.setup_kernel():
        for index, cell in enumerate(cells):
            if cell.source == "sweep.run(STUDY, train)":
                threading.Thread(target=press_stop, daemon=True).start()
                with pytest.raises(nbclient.exceptions.CellExecutionError, match="KeyboardInterrupt"):
                    client.execute_cell(cell, index)
                [picture, error] = cell.outputs
                assert "study: 2 waiting; stopped by SIGINT" in picture["data"]["text/html"]
                assert picture["data"]["text/plain"].endswith("the same call resumes the study")
                assert error["ename"] == "KeyboardInterrupt"
            else:
                client.execute_cell(cell, index)
    pages = [[output.data["text/html"] for output in cell.outputs if "text/html" in output.get("data", ())] for cell in cells]
    assert [len(found) for found in pages] == [0, 0, 0, 1, 1, 0, 1, 1]
    assert "<b>study</b>&ensp;2 complete" in pages[4][0]
    assert json.loads(cells[-3].outputs[0]["text"]) == [[2 / 3, 2], [4 / 3, 1]]
    assert "2 complete; all trials are done" in pages[-2][0]
    assert pages[-1][0].startswith('<iframe srcdoc="&lt;!doctype html&gt;')


def test_each_session_in_one_process_imports_its_own_code(here: Path) -> None:
    """Two studies have a module of the same name, which imports another when a trial runs; one is edited between sessions."""

    def value(folder: str, module: str, helper: str, **options: Any) -> float | None:
        (here / folder).mkdir(exist_ok=True)
        (here / folder / "mine.py").write_text(f"def train(trial):\n    import aside\n    return aside.X + {module}\n")
        (here / folder / "aside.py").write_text(f"X = {helper}\n")
        study = write(here / folder, study_text({"x": [1]}, name=folder))
        found = sweep.run(study, inline=True, quiet=True, **options)
        assert found.best is not None
        return found.best.value

    assert value("one", "1", "10") == 11
    assert value("two", "2", "20") == 22
    assert value("one", "3", "30", fresh=True) == 33
    assert value("two", "4", "40", fresh=True) == 44
