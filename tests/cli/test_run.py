"""`sweep run` from outside: real processes, real failures, real interruptions."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweep.storage.database import read_records
from sweep.storage.folder import StudyFolder
from sweep.study.file.reading import read_study
from sweep.study.record import TrialRecord
from sweep.study.training_code import code_of
from sweep.study.trial import TrialState
from tests.conftest import Cli
from tests.support.command_line import COMMAND, Running, in_terminal, run_sweep
from tests.support.studies import write_objectives, write_study
from tests.support.waiting import wait_for, wait_until_gone

STUDY = """
name: study
objective: mine:train
metric: {name: score, goal: maximize}
method: grid
parameters:
  how:   {values: [ok]}
  x:     {values: [1, 2, 3]}
  steps: {value: 3}
workers: {per_device: 1}
"""


@pytest.fixture
def study(here: Path) -> Path:
    """A study file beside the test objectives."""
    write_objectives(here)
    return write_study(here, STUDY)


def trials(cli: Cli, study: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli("trials", str(study), "--format", "json").json
    return found


def states(cli: Cli, study: Path) -> list[str]:
    return [trial["state"] for trial in trials(cli, study)]


def running(study: Path) -> list[TrialRecord]:
    """Look into the running study without starting a process, since the tests' processes need the cores."""
    folder = StudyFolder(root=study.parent / "runs" / "study")
    return [record for record in read_records(folder) if record.state is TrialState.RUNNING]


def test_a_study_runs_and_says_what_came_out(cli: Cli, study: Path, here: Path) -> None:
    """One line for each event, the leaderboard, how to see it; every promised field in the JSON; the folders as designed."""
    done = cli("run", str(study))
    assert done.code == 0, done.err
    assert "trial 2 complete  score=1.0000" in done.out
    assert "study: 3 complete; all trials are done" in done.out
    assert "compare the trials:  sweep dashboard" in done.out.splitlines()[-1]
    assert done.err == ""

    found = trials(cli, study)
    assert [trial["number"] for trial in found] == [0, 1, 2]
    first = found[0]
    assert first["params"] == {"how": "ok", "x": 1, "steps": 3}
    assert first["metrics"] == {"score": 1 / 3, "loss": 1 / 3}
    assert (first["state"], first["value"], first["attempts"], first["error"]) == ("complete", 1 / 3, 1, None)
    assert first["seed"] == found[1]["seed"]
    assert first["duration_s"] >= 0
    assert first["started"].endswith("+00:00")
    assert Path(first["dir"]) == here / "runs" / "study" / "0000_how=ok_x=1"
    assert json.loads((Path(first["dir"]) / "trial.json").read_text())["metrics"] == first["metrics"]
    assert len(list(Path(first["dir"]).glob("events.out.tfevents*"))) == 1
    assert "hello from trial 0" in (Path(first["dir"]) / "log.txt").read_text()
    assert {path.name for path in (here / "runs" / "study").iterdir() if path.is_file()} == {
        "study.yaml", "study.db", "environment.json", "lock", "report.html",
    }  # fmt: skip

    status = cli("status", str(study), "--json").json
    assert status["study"] == "study"
    assert status["counts"] == {"waiting": 0, "running": 0, "complete": 3, "pruned": 0, "failed": 0}
    assert (status["total"], status["best"]["number"], status["eta_s"]) == (3, 2, None)
    assert "3 complete of 3" in cli("status", str(study)).out
    assert cli("best", str(study), "--top", "2", "--format", "json").json == [found[2], found[1]]
    rows = list(csv.DictReader(io.StringIO(cli("trials", str(study), "--format", "csv").out)))
    assert [(row["number"], row["x"], row["score"]) for row in rows] == [
        ("0", "1", str(1 / 3)),
        ("1", "2", str(2 / 3)),
        ("2", "3", "1.0"),
    ]
    assert cli("trials", "runs/study", "--format", "json").json == found  # the folder names the study too


@pytest.mark.slow
def test_a_finished_study_is_not_trained_again(cli: Cli, study: Path) -> None:
    """Running it is a success that does nothing; resuming it is an error; a larger budget continues it."""
    assert cli("run", str(study), "budget.trials=2").code == 0
    before = trials(cli, study)
    again = cli("run", str(study), "budget.trials=2")
    assert again.code == 0
    assert "started" not in again.out
    refused = cli("resume", str(study), "budget.trials=2")
    assert refused.code == 2
    assert "nothing-to-resume" in refused.err
    assert cli("resume", str(study)).code == 0
    assert trials(cli, study)[:2] == before
    assert states(cli, study) == ["complete"] * 3


@pytest.mark.slow
def test_failures_stay_with_their_trials(cli: Cli, study: Path) -> None:
    """What raises is failed with its traceback; what dies is retried in a new process, then failed; the others continue."""
    done = cli(
        "run",
        str(study),
        "how.values=[raise, ok, kill, kill once, leave, nan]",
        "x.values=[1]",
        "stop_after_failures=9",
        "workers.per_device=2",
    )
    assert done.code == 1
    assert "sweep resume" in done.out.splitlines()[-1]
    assert "--retry-failed" in done.out.splitlines()[-1]
    found = {trial["params"]["how"]: trial for trial in trials(cli, study)}
    assert {how: trial["state"] for how, trial in found.items()} == {
        "raise": "failed", "ok": "complete", "kill": "failed", "kill once": "complete", "leave": "failed", "nan": "failed",
    }  # fmt: skip
    assert {how: trial["attempts"] for how, trial in found.items()} == {
        "raise": 1, "ok": 1, "kill": 2, "kill once": 2, "leave": 2, "nan": 1,
    }  # fmt: skip
    assert "RuntimeError: boom" in found["raise"]["error"]
    assert "RuntimeError: boom" in (Path(found["raise"]["dir"]) / "log.txt").read_text()
    assert "killed by SIGKILL" in found["kill"]["error"]
    assert "hello from trial" in found["kill"]["error"]
    assert "exited with code 7" in found["leave"]["error"]
    assert found["nan"]["error"].startswith("score is nan at step 2")
    assert found["kill once"]["metrics"] == found["ok"]["metrics"]
    assert "RuntimeError: boom" in cli("trials", str(study)).out


@pytest.mark.slow
def test_failed_trials_can_be_taken_again(cli: Cli, study: Path, here: Path) -> None:
    """Under their own numbers and in their own folders; the others stay as they are."""
    assert cli("run", str(study), "how.values=[ok, raise]", "x.values=[1]").code == 1
    before = trials(cli, study)
    source = here / "mine.py"
    source.write_text(source.read_text().replace('raise RuntimeError("boom")', "pass"))
    refused = cli("resume", "runs/study", "--retry-failed")
    assert (refused.code, "mine.py" in refused.err) == (4, True)  # beside a trial of the code before
    assert cli("resume", "runs/study", "--retry-failed", "--keep").code == 0
    after = trials(cli, study)
    assert after[0] == before[0]
    assert (after[1]["number"], after[1]["state"], after[1]["attempts"], after[1]["dir"]) == (1, "complete", 2, before[1]["dir"])
    assert len(list(Path(after[1]["dir"]).glob("events*"))) == 1


def test_too_many_failures_in_a_row_stop_the_sweep(cli: Cli, study: Path) -> None:
    """With exit code 3, and a last line on how to resume."""
    done = cli("run", str(study), "how.value=raise", "x.values=[1,2,3,4,5,6,7,8]", "stop_after_failures=3")
    assert done.code == 3
    assert states(cli, study) == ["failed"] * 3 + ["waiting"] * 5
    assert done.out.splitlines()[-1].startswith("resume the study:    sweep resume")


@pytest.mark.slow
def test_a_metric_that_is_never_reported_stops_the_sweep(cli: Cli, study: Path) -> None:
    """With the names that were reported, as soon as the first trial ends."""
    done = cli("run", str(study), "metric.name=scor")
    assert done.code == 2
    assert "metric-never-reported" in done.err
    assert "it reported: loss, score" in done.err
    assert states(cli, study).count("failed") == 1


def test_an_objective_that_cannot_be_imported_starts_nothing(cli: Cli, study: Path, here: Path) -> None:
    """`check` and `run` both say why, with exit code 2, and no trial exists afterwards."""
    (here / "mine.py").write_text("import no_such_package\ndef train(trial): ...\n")
    for verb in ("check", "run"):
        done = cli(verb, str(study))
        assert done.code == 2
        assert "No module named 'no_such_package'" in done.err
    assert states(cli, study) == ["waiting"] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "packages"),
    [
        ("folder.inner.last", []),  # a namespace package, two levels deep
        ("package.plain.last", ["package"]),  # a plain folder inside a package
        ("folder.package.last", ["folder/package"]),
    ],
)
def test_an_objective_below_a_folder_without_an_init_file(cli: Cli, here: Path, module: str, packages: list[str]) -> None:
    """It is planned, trained, and counts as the code of the study; a missing module is still named."""
    file = here / f"{module.replace('.', '/')}.py"
    file.parent.mkdir(parents=True)
    for package in packages:
        (here / package / "__init__.py").touch()
    write_objectives(file.parent, "last")
    study = write_study(here, STUDY.replace("mine:train", f"{module}:train").replace("[1, 2, 3]", "[1]"))
    for verb in ("plan", "run"):
        done = cli(verb, str(study))
        assert done.code == 0, done.err
    assert states(cli, study) == ["complete"]
    spec = read_study(study, [])
    before = code_of(spec)
    assert f"{module.replace('.', '/')}.py" in before.files
    file.write_text(f"{file.read_text()}\nMORE = 1\n")
    assert code_of(spec).digest != before.digest
    missing = cli("plan", str(study), f"objective={module}s:train")
    assert (missing.code, f"there is no module '{module}s'" in missing.err) == (2, True)


@pytest.mark.slow
def test_a_preparation_that_dies_ends_the_sweep(cli: Cli, study: Path) -> None:
    """After it was tried `retries` times again."""
    done = cli("run", str(study), "objective=mine:never_prepared", "retries=2")
    assert done.code == 2
    assert "[worker-died-at-start]" in done.err
    assert done.out.count("is started again") == 2


@pytest.mark.slow
def test_a_preparation_that_dies_is_not_tried_by_each_worker(cli: Cli, study: Path) -> None:
    """Another worker goes on with it, and the deaths count together."""
    done = cli("run", str(study), "objective=mine:never_prepared", "retries=1", "workers.per_device=3", "x.values=[1, 2, 3]")
    assert done.code == 2
    assert "[worker-died-at-start]" in done.err
    assert done.out.count("is started again") == 1


@pytest.mark.slow
def test_the_number_of_workers_changes_no_result(cli: Cli, here: Path, fashion_data: Path) -> None:
    """Real trials on FashionMNIST give the same metrics with one and with two workers, bit for bit."""
    path = write_study(
        here,
        """
        objective: sweep.objectives.fashion_mnist:train
        metric: {name: validation/accuracy, goal: maximize}
        method: grid
        parameters:
          lr: {values: [0.01, 0.001]}
          shuffle: {values: [true, false]}
          epochs: {value: 1}
          train_samples: {value: 500}
        log: {figures: false, images: false}
        """,
    )
    found = []
    for workers in ("1", "2"):
        done = cli("run", str(path), f"name=w{workers}", f"workers.per_device={workers}")
        assert done.code == 0, done.err
        found.append([trial["metrics"] for trial in trials(cli, here / "runs" / f"w{workers}")])
    assert found[0] == found[1]
    assert len({str(metrics) for metrics in found[0]}) == 4


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_sweep_and_it_goes_on_later(cli: Cli, study: Path, here: Path, number: signal.Signals) -> None:
    """Exit code 130 or 143, no process stays, finished trials are not trained again, numbers and folders stay."""
    study.write_text(STUDY.replace("[ok]", "[ok, hang]").replace("per_device: 1", "per_device: 2"))
    with Running("run", str(study), here=here) as sweep:
        sweep.wait_until(lambda: sum(record.params["how"] == "hang" for record in running(study)) == 2)
        before = trials(cli, study)
        _, *workers = sweep.processes()
        sweep.send(number)
        assert sweep.end(20) == 128 + number
    assert sweep.lines[-1].startswith("resume the study:    sweep resume")
    assert workers
    wait_until_gone(workers)
    assert "running" not in states(cli, study)

    source = study.parent / "mine.py"
    source.write_text(source.read_text().replace('if how == "hang"', 'if how == "no"'))
    assert cli("resume", str(study), "--keep").code == 0
    after = trials(cli, study)
    assert [trial["state"] for trial in after] == ["complete"] * 6
    assert [trial["dir"] for trial in after] == [trial["dir"] for trial in before]
    for old, new in zip(before, after, strict=True):
        if old["state"] == "complete":
            assert new == old


@pytest.mark.slow
def test_a_killed_runner_takes_its_workers_with_it(cli: Cli, study: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill -9 on the runner ends workers that compute; what was running waits, and is trained on resuming."""
    (here / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(here / "temporary"))
    study.write_text(STUDY.replace("[ok]", "[hang with a child]").replace("per_device: 1", "per_device: 2"))
    with Running("run", str(study), here=here) as sweep:
        sweep.wait_until(lambda: len(list(here.glob("runs/study/*/child"))) == 2)
        assert len(sweep.processes("sleep")) == 2
        _, *workers = sweep.processes()
    wait_until_gone(workers)
    assert not list((here / "temporary").glob("sweep-worker-*"))
    assert states(cli, study) == ["waiting"] * 3
    source = study.parent / "mine.py"
    source.write_text(source.read_text().replace('if how == "hang"', 'if how == "no"'))
    assert cli("resume", str(study)).code == 0
    assert states(cli, study) == ["complete"] * 3


@pytest.mark.slow
def test_a_running_study_is_locked_and_can_be_watched(cli: Cli, study: Path, here: Path) -> None:
    """A second runner gets exit code 4 with who holds it; status shows the running trials' progress."""
    study.write_text(STUDY.replace("[ok]", "[hang]"))
    with Running("run", str(study), here=here) as sweep:
        sweep.wait_until(lambda: any(record.step == 1 for record in running(study)))
        [shown] = cli("status", str(study), "--json").json["running"]
        assert (shown["step"], shown["total"], shown["metrics"]["loss"]) == (1, 3, 1.0)
        second = cli("run", str(study))
        assert second.code == 4
        assert f"process {sweep.process.pid}" in second.err
        assert cli("run", str(study), "--fresh").code == 4
        assert "1/3" in cli("status", str(study)).out


@pytest.mark.slow
def test_another_study_file_is_not_mixed_in(cli: Cli, study: Path, here: Path) -> None:
    """Exit code 4 names each difference and the two ways out; --fresh moves the old folder aside and keeps it."""
    assert cli("run", str(study)).code == 0
    refused = cli("run", str(study), "x.values=[1,2]", "seed=5")
    assert refused.code == 4
    assert "seed: was 0, is now 5" in refused.err
    assert "parameters.x: was {values: [1, 2, 3]}, is now {values: [1, 2]}" in refused.err
    assert "--fresh" in refused.err
    fresh = cli("run", str(study), "x.values=[1,2]", "seed=5", "--fresh")
    assert fresh.code == 0
    assert len(trials(cli, study)) == 2
    [aside] = (here / "runs").glob("study.*")
    assert len(trials(cli, aside)) == 3


def test_fresh_touches_nothing_that_is_no_study(cli: Cli, study: Path, here: Path) -> None:
    """A folder of the user's with the study's name stays where it is."""
    (here / "runs" / "study").mkdir(parents=True)
    (here / "runs" / "study" / "thesis.tex").write_text("years of work")
    for words in (["--fresh"], []):
        done = cli("run", str(study), *words)
        assert done.code == 2
        assert "[not-a-study]" in done.err
    assert [path.name for path in (here / "runs" / "study").iterdir()] == ["thesis.tex"]


@pytest.mark.slow
def test_strings_that_look_like_something_else_stay_strings(cli: Cli, study: Path) -> None:
    """The resolved file reads back: a second run finds nothing changed, and brackets are no markup."""
    words = (str(study), 'how.values=["yes", "1e3", "[/a]"]', "x.value=1")
    assert cli("run", *words).code == 0
    assert cli("run", *words).code == 0
    assert [trial["params"]["how"] for trial in trials(cli, study)] == ["yes", "1e3", "[/a]"]
    assert "[/a]" in cli("trials", str(study)).out


@pytest.mark.slow
def test_a_study_named_by_its_folder_keeps_its_place(cli: Cli, study: Path) -> None:
    """Another name needs the study file."""
    assert cli("run", str(study), "x.values=[1]").code == 0
    refused = cli("run", "runs/study", "name=other")
    assert refused.code == 2
    assert "[folder-keeps-its-place]" in refused.err


@pytest.mark.slow
def test_a_closed_pipe_stops_no_training(study: Path, here: Path, cli: Cli) -> None:
    """`sweep run STUDY | head -1` trains all trials."""
    with subprocess.Popen(
        [*COMMAND, "run", str(study)], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
    assert states(cli, study) == ["complete"] * 3


@pytest.mark.slow
def test_a_hangup_that_is_ignored_stays_ignored(study: Path, here: Path, cli: Cli) -> None:
    """As `nohup` means it."""
    process = subprocess.Popen(["nohup", *COMMAND, "run", str(study)], cwd=here, stdout=subprocess.DEVNULL)
    wait_for((here / "runs" / "study" / "lock").exists)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0
    assert states(cli, study) == ["complete"] * 3


def test_a_plan_starts_nothing(cli: Cli, study: Path, here: Path) -> None:
    """It shows the trials, their folders and the slots, and writes nothing."""
    done = cli("plan", str(study), "workers.per_device=3")
    assert done.code == 0
    assert "study: grid, 3 trials" in done.out
    assert "slots      3 (3 on cpu), 1 thread each" in done.out
    assert "order      the trials that are expected to take longest start first" in done.out
    plan = cli("plan", str(study), "--json").json
    assert [Path(trial["dir"]).name for trial in plan["trials"]] == ["0000_how=ok_x=1", "0001_how=ok_x=2", "0002_how=ok_x=3"]
    assert not (here / "runs").exists()


def test_a_grid_of_100000_points_is_planned_at_once(cli: Cli, study: Path) -> None:
    """Its size and its first trials are known without making the others."""
    done = cli("plan", str(study), "parameters.a={min: 1, max: 100000}", "x.value=1", "--first", "2")
    assert "study: grid, 100,000 trials" in done.out
    assert "... and 99,998 more" in done.out


def test_check_says_that_a_study_is_valid(cli: Cli, study: Path) -> None:
    """Including the import of the objective."""
    done = cli("check", str(study))
    assert (done.code, done.out) == (0, f"{study} is valid: grid, 3 trials\n")


@pytest.mark.slow
def test_the_inline_executor_runs_the_same_study_in_this_process(cli: Cli, study: Path) -> None:
    """Prints reach the terminal, and the results are the same."""
    done = cli("run", str(study), "--inline")
    assert done.code == 0, done.err
    assert "hello from trial 2" in done.out
    assert states(cli, study) == ["complete"] * 3


@pytest.mark.slow
def test_a_hostile_tag_cannot_leave_the_folder(cli: Cli, study: Path, here: Path) -> None:
    """Values with separators and shell characters become harmless names; long tags are cut."""
    values = ["../../up", "$(touch pwned)", "a b;c", "x" * 300]
    done = cli("run", str(study), f"how.values={json.dumps(values)}", "x.value=1")
    assert done.code == 0, done.err
    folders = [Path(trial["dir"]) for trial in trials(cli, study)]
    assert all(folder.parent == here / "runs" / "study" and folder.is_dir() for folder in folders)
    assert all(len(folder.name) <= 126 for folder in folders)
    assert [folder.name for folder in folders[:3]] == ["0000_how=..-..-up", "0001_how=-touch-pwned-", "0002_how=a-b-c"]


@pytest.mark.slow
def test_random_and_tpe_run_too(cli: Cli, study: Path) -> None:
    """Each proposes its own points, as many as the budget says."""
    for method in ("random", "tpe"):
        words = (str(study), f"name={method}", f"method={method}", "x={min: 0.0, max: 1.0}", "how.value=ok", "budget.trials=4")
        done = cli("run", *words)
        assert done.code == 0, done.err
        found = trials(cli, study.parent / "runs" / method)
        assert len({trial["params"]["x"] for trial in found}) == 4


def test_wrong_commands_get_exit_code_2_and_no_traceback(cli: Cli, study: Path, here: Path) -> None:
    """Unknown verbs, options, files and folders, and overrides that are none."""
    for words in (
        ["rum"],
        ["run"],
        ["run", "nowhere.yaml"],
        ["run", str(study), "--frsh"],
        ["run", str(here)],
        ["run", str(study), "x"],
    ):
        done = cli(*words)
        assert done.code == 2, words
        assert "Traceback" not in done.err
        assert done.out == ""
    assert "here are: " in cli("run", "studdy.yaml").err


@pytest.mark.slow
def test_the_runner_never_imports_torch(cli: Cli, study: Path, here: Path) -> None:
    """Neither does it import TensorBoard: workers do."""
    script = here / "run_and_look.py"
    script.write_text(
        "import sys\nfrom sweep.cli.main import main\ncode = main(sys.argv[1:])\n"
        "print(code, sorted({'torch', 'tensorboard', 'torchvision'} & set(sys.modules)))\n"
    )
    done = run_sweep("run", str(study), here=here, command=[sys.executable, str(script)])
    assert (done.code, done.out.splitlines()[-1]) == (0, "0 []")


def test_a_terminals_ctrl_c_while_workers_start_is_quiet(study: Path, here: Path) -> None:
    """The terminal sends it to every process of its own; only the runner takes notice."""
    done = in_terminal("run", str(study), "workers.per_device=3", here=here, typed=("starting", b"\x03"))
    assert done.code == 130
    assert "Traceback" not in done.out
    assert "stopped by SIGINT" in done.out


def test_a_stop_that_comes_while_the_runner_starts_is_heard(cli: Cli, study: Path, here: Path) -> None:
    """As soon as the lock names its holder; nothing is trained."""
    study.write_text(STUDY.replace("[ok]", "[hang]"))
    lock = here / "runs" / "study" / "lock"
    with Running("run", str(study), here=here) as sweep:
        sweep.wait_until(lambda: lock.exists() and lock.read_text(), seconds=20)
        done = cli("stop", "runs/study" if lock.with_name("study.db").exists() else str(study))
        assert done.code == 0, done.err
        assert sweep.end(20) == 143


@pytest.mark.slow
def test_a_terminal_shows_a_live_view(study: Path, here: Path) -> None:
    """On a pseudo-terminal the picture names the running trials, their steps and the leader."""
    done = in_terminal("run", str(study), "parameters.sleep.value=0.4", "workers.per_device=2", here=here)
    assert done.code == 0
    assert "2 running" in done.out
    assert "best score" in done.out
    assert "how=ok x=2" in done.out
    assert "━" in done.out
