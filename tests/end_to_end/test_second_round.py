"""A study goes on from the best trials of another one: each trial as if that training had been longer."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from sweep.storage.database import read_curves
from sweep.storage.folder import StudyFolder
from sweep.study.trial import TrialState
from tests.conftest import Cli
from tests.support.command_line import Running, run_sweep
from tests.support.interrupting import interrupt, reached
from tests.support.reading import hparams_tags, outcome, records
from tests.support.studies import make_study, study_text, write_study

KEYS: dict[str, Any] = {"objective": "mine:learn", "workers": {"devices": "cpu", "per_device": 2}}
FROM = ("--from", "runs/study")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a study of three trials has run; from the best to the worst they are 1, 2, 0."""
    folder = tmp_path_factory.mktemp("first")
    make_study(folder, {"x": [1, 3, 2], "steps": 3}, **KEYS)
    assert run_sweep("run", "study.yaml", here=folder).code == 0
    return folder


@pytest.fixture
def first(here: Path, finished: Path) -> Path:
    """The folder of that study, for one test."""
    shutil.copytree(finished, here, dirs_exist_ok=True)
    return here / "runs" / "study"


Next = Callable[..., Path]


@pytest.fixture
def next_round(here: Path) -> Next:
    """Write the file of another study, and return its path."""

    def write(parameters: dict[str, Any] | None = None, name: str = "next", **keys: Any) -> Path:
        text = study_text({"steps": 5} if parameters is None else parameters, **KEYS | {"name": name} | keys)
        return write_study(here, text, f"{name}.yaml")

    return write


def run(cli: Cli, *words: Any, code: int = 0) -> str:
    done = cli("run", *map(str, words))
    assert done.code == code, done.out + done.err
    return str(done.out + done.err)


def check_longer(found: dict[str, Any], whole: dict[str, Any], after: int) -> None:
    """Check that a trial ended as one that trained from the beginning, and has its points from the step on."""
    assert (found["metrics"], found["weights"], found["seed"]) == (whole["metrics"], whole["weights"], whole["seed"])
    later = {tag: [point for point in points if point[0] > after] for tag, points in whole["points"].items()}
    assert found["points"] == later
    assert found["ends"] == 1


@pytest.mark.slow
def test_a_second_round_equals_a_longer_training(cli: Cli, first: Path, next_round: Next, here: Path) -> None:
    """Bit for bit, from the first step after the parent's last one; the curve that is stored has all steps."""
    path = next_round()
    plan = cli("plan", str(path), *FROM, "--top", "2").out
    assert "parents    trials 1, 2 of runs/study: each trial goes on from a checkpoint of theirs" in plan
    assert "trial 0 goes on after step 3" in run(cli, path, *FROM, "--top", 2)
    folder = here / "runs" / "next"
    run(cli, here / "study.yaml", "name=whole", "steps.value=5")
    whole = outcome(here / "runs" / "whole")
    found = outcome(folder)
    assert [trial["params"] for trial in found] == [{"parent": 1, "x": 3, "steps": 5}, {"parent": 2, "x": 2, "steps": 5}]
    for trial in found:
        check_longer(trial, whole[trial["params"]["parent"]], 3)
    curves, longer = (read_curves(StudyFolder(root=here / "runs" / name)) for name in ("next", "whole"))
    assert curves == {0: longer[1], 1: longer[2]}
    [trial, _] = cli("trials", str(folder), "--format", "json").json
    assert Path(trial["dir"]).name == "0000_parent=1"
    assert not list(folder.glob("0*/checkpoint.parent.pt"))
    described = HParamsPluginData.FromString(hparams_tags(folder / "0000_parent=1")["_hparams_/experiment"]).experiment
    columns = {info.name: [value.number_value for value in info.domain_discrete.values] for info in described.hparam_infos}
    assert columns == {"parent": [1, 2], "x": [3, 2], "steps": [5]}
    assert "parent" in (folder / "report.html").read_text()


def test_the_new_file_names_what_it_changes(cli: Cli, first: Path, next_round: Next, here: Path) -> None:
    """The trials are the parents times its own parameters; what it does not name is the parents'. A key says the same."""
    path = next_round({"scale": [1, 10], "steps": 5}, **{"from": {"study": "runs/study", "top": 2}})
    run(cli, path)
    params = [record.params for record in records(here / "runs" / "next")]
    assert params == [{"parent": n, "x": x, "scale": scale, "steps": 5} for n, x in ((1, 3), (2, 2)) for scale in (1, 10)]


@pytest.mark.slow
def test_a_study_needs_the_first_one_no_more(cli: Cli, first: Path, next_round: Next, here: Path) -> None:
    """Killed and resumed after that has gone: trials that had begun go on from their own checkpoints, others from copies."""
    path = next_round({"steps": 6, "sleep": 0.2})
    words = ("run", str(path), *FROM, "--top", "3", "workers.per_device=1")
    interrupt(*words, here=here, when=reached(here / "runs" / "next", 4), how="SIGKILL")
    shutil.rmtree(first)
    done = cli("resume", "runs/next")
    assert done.code == 0, done.err
    assert "trial 0 resumed after step" in done.out
    assert "trial 2 goes on after step 3" in done.out
    found = outcome(here / "runs" / "next")
    run(cli, here / "study.yaml", "name=whole", "steps.value=6")
    whole = outcome(here / "runs" / "whole")
    for trial in found:
        check_longer(trial, whole[trial["params"]["parent"]], 3)
    # The same command, whose study is gone, resumes it too.
    assert "3 complete" in run(cli, path, *FROM, "--top", 3)


@pytest.mark.slow
def test_a_trial_that_is_killed_early_goes_on_from_its_parent_again(cli: Cli, first: Path, next_round: Next, here: Path) -> None:
    """Between any two effects of its first report, and before it; earlier reports that are in a file of their own, too."""
    kills = ["nothing", "scalars written", "event files synced", "written", "folder synced", "renamed", "decided"]
    run(cli, here / "study.yaml", "name=long", "steps.value=6", "parameters.recent.value=1")
    path = next_round({"steps": 9, "kill_at": 7, "kill": kills, "recent": 1}, checkpoints={"keep_best": 9})
    out = run(cli, path, "--from", "runs/long")
    assert out.count("goes on after step 6") == 7
    run(cli, here / "study.yaml", "name=whole", "steps.value=9", "x.values=[3]", "parameters.recent.value=1")
    [whole] = outcome(here / "runs" / "whole")
    found = outcome(here / "runs" / "next")
    assert [record.attempts for record in records(here / "runs" / "next")] == [1] + [2] * 6
    for trial in found:
        check_longer(trial, whole, 6)
    curves, longer = (read_curves(StudyFolder(root=here / "runs" / name)) for name in ("next", "whole"))
    assert [curves[number] for number in range(7)] == [longer[0]] * 7


@pytest.mark.slow
def test_a_failed_trial_goes_on_from_its_parent_when_it_is_retried(cli: Cli, first: Path, next_round: Next, here: Path) -> None:
    """Not from where it failed, and not from the beginning."""
    (here / "late.py").write_text(
        "import mine, pathlib\n"
        "def train(trial):\n"
        "    if trial.state and not pathlib.Path('repaired').exists():\n"
        "        raise RuntimeError('broken')\n"
        "    return mine.learn(trial)\n"
    )
    path = next_round(objective="late:train")
    out = run(cli, path, *FROM, code=1)
    assert "the parents were trained by mine:learn, and go on with late:train" in out
    (here / "repaired").touch()
    done = cli("resume", "runs/next", "--retry-failed")
    assert done.code == 0, done.err
    run(cli, here / "study.yaml", "name=whole", "steps.value=5")
    [trial] = outcome(here / "runs" / "next")
    check_longer(trial, outcome(here / "runs" / "whole")[1], 3)


@pytest.mark.slow
def test_each_repeat_goes_on_from_the_same_repeat(cli: Cli, here: Path, next_round: Next) -> None:
    """Which had the same seed."""
    path = make_study(here, {"x": [1, 2], "steps": 2}, repeats=2, **KEYS)
    run(cli, path)
    run(cli, next_round({"steps": 4}, repeats=2), *FROM)
    run(cli, path, "name=whole", "steps.value=4", "x.values=[2]")
    for trial, whole in zip(outcome(here / "runs" / "next"), outcome(here / "runs" / "whole"), strict=True):
        check_longer(trial, whole, 2)
    done = cli("run", str(next_round(name="more", repeats=3)), *FROM)
    assert done.code == 2
    assert "repeat 2 of trial 1, in runs/study, has no checkpoint" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tpe", "random"])
def test_a_sampler_chooses_parents_too(cli: Cli, first: Path, next_round: Next, here: Path, method: str) -> None:
    """As values of a parameter with a few choices; a resumed search proposes what it would have proposed."""
    x = {"min": 1.0, "max": 2.0}
    path = next_round({"x": x, "steps": 4}, method=method, budget={"trials": 6}, workers={"devices": "cpu", "per_device": 1})
    run(cli, path, *FROM, "--top", 3)
    found = records(here / "runs" / "next")
    assert [record.state for record in found] == [TrialState.COMPLETE] * 6
    assert {record.params["parent"] for record in found} <= {0, 1, 2}
    assert len({record.params["parent"] for record in found}) > 1
    interrupt("run", str(path), *FROM, "--top", "3", "name=again", here=here, when="trial 2 started")
    run(cli, path, *FROM, "--top", 3, "name=again")
    assert [record.params for record in records(here / "runs" / "again")] == [record.params for record in found]


@pytest.mark.slow
def test_a_study_may_go_on_from_itself(cli: Cli, first: Path, here: Path) -> None:
    """The second round has a name of its own, which the same command finds again; the third goes on from the second."""
    words = (here / "study.yaml", "--from", "runs/study", "--top", "1", "steps.value=4", "x.value=5")
    assert "study-round-2: 1 complete" in run(cli, *words)
    assert "study-round-2: 1 complete" in run(cli, *words)
    assert "study-round-3: 1 complete" in run(cli, words[0], "--from", "runs/study-round-2", "steps.value=5", "x.value=5")
    [record] = records(here / "runs" / "study-round-3")
    assert record.params == {"parent": 0, "x": 5, "steps": 5}
    assert "another: 1 complete" in run(cli, *words, "name=another")


@pytest.mark.slow
def test_fresh_parents_are_found_for_a_study_that_starts_over(cli: Cli, first: Path, next_round: Next, here: Path) -> None:
    """One that goes on keeps those it had, though the first study has better trials now."""
    path = next_round()
    run(cli, path, *FROM)
    run(cli, here / "study.yaml", "x.values=[1, 3, 2, 9]")
    run(cli, path, *FROM)
    assert [record.params["parent"] for record in records(here / "runs" / "next")] == [1]
    run(cli, path, *FROM, "--fresh")
    assert [record.params["parent"] for record in records(here / "runs" / "next")] == [3]


@pytest.mark.slow
def test_the_built_in_objective_goes_on(cli: Cli, here: Path, fashion_data: Path) -> None:
    """Bit for bit where only the epochs are more; with another rate where the new study has one."""
    keys: dict[str, Any] = {
        "objective": "sweep.objectives.fashion_mnist:train",
        "metric": {"name": "validation/accuracy", "goal": "maximize"},
        "log": {"batches": 0},
    }
    quick = {"lr": 0.001, "train_samples": 300}
    path = write_study(here, study_text({**quick, "epochs": 2}, **keys))
    run(cli, path)
    later = write_study(here, study_text({"epochs": 4}, **keys | {"name": "next"}), "next.yaml")
    run(cli, later, *FROM)
    run(cli, path, "name=whole", "epochs.value=4")
    [found], [whole] = (outcome(here / "runs" / name, timings=("time/epoch_s",)) for name in ("next", "whole"))
    check_longer(found, whole, 2)
    run(cli, later, *FROM, "name=slow", "parameters.lr.value=0.0")
    [slow] = outcome(here / "runs" / "slow")
    losses = [value for _, value in slow["points"]["validation/loss"]]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_an_optuna_objective_goes_on(cli: Cli, here: Path) -> None:
    """It asks for what its parent had, and gets that."""
    (here / "tuned.py").write_text(
        "def objective(trial):\n"
        "    x = trial.suggest_float('x', 0, 1)\n"
        "    total = trial.state['total'] if trial.state else 0\n"
        "    for step in range(1, 3):\n"
        "        total += x\n"
        "        trial.save({'total': total})\n"
        "    return total\n"
    )
    keys: dict[str, Any] = {"objective": "tuned:objective", "method": "random", "budget": {"trials": 3}}
    run(cli, write_study(here, study_text({}, **keys)))
    run(cli, write_study(here, study_text({}, **keys | {"name": "next", "method": "grid", "budget": None}), "next.yaml"), *FROM)
    best = max(records(here / "runs" / "study"), key=lambda record: record.value or 0)
    [record] = records(here / "runs" / "next")
    assert record.params == {"parent": best.number, **best.params}
    assert record.value == pytest.approx(2 * (best.value or 0))


@pytest.mark.slow
def test_a_script_goes_on_from_the_state_that_it_gave(cli: Cli, here: Path) -> None:
    """By the client; it gets the parameters, and not the number of its parent, as its words."""
    (here / "train.py").write_text(
        "import argparse\n"
        "from sweep import trial\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--x', type=int)\n"
        "parser.add_argument('--steps', type=int)\n"
        "p = parser.parse_args()\n"
        "total = trial.state['total'] if trial.state else 0\n"
        "for step in trial.steps(p.steps):\n"
        "    total += p.x\n"
        "    trial.report(step, {'score': total}, {'total': total})\n"
    )
    keys: dict[str, Any] = {"objective": None, "command": "python train.py ${args}"}
    path = write_study(here, study_text({"x": [1, 2], "steps": 3}, **keys))
    run(cli, path)
    later = write_study(here, study_text({"steps": 5, "x": [10]}, **keys | {"name": "next"}), "next.yaml")
    run(cli, later, *FROM)
    [record] = records(here / "runs" / "next")
    assert (record.params, record.value) == ({"parent": 1, "steps": 5, "x": 10}, 26)
    own = {**keys, "command": "python train.py ${args} --after=${step}", "name": "own"}
    done = cli("run", str(write_study(here, study_text({"x": [1]}, **own), "own.yaml")), *FROM)
    assert done.code == 2
    assert "a script that goes on from ${step} by itself has its state in files of its own" in done.err


@pytest.mark.slow
def test_a_state_that_is_not_read_or_not_there_fails_the_trial(cli: Cli, first: Path, next_round: Next, here: Path) -> None:
    """It must not train from the beginning without a word."""
    out = run(cli, next_round(objective="mine:forgetful"), *FROM, code=1)
    assert "the objective does not read trial.state, so it cannot go on from another trial" in out
    path = next_round({"steps": 9, "sleep": 0.3}, name="lost")
    with Running("run", str(path), *FROM, "--top", "2", "workers.per_device=1", here=here) as running:
        running.wait_until(reached(here / "runs" / "lost", 4))
        running.send(signal.SIGINT)
        running.end(30)
    (here / "runs" / "lost" / "parents" / "0002" / "checkpoint.pt").write_bytes(b"damaged")
    done = cli("resume", "runs/lost")
    assert done.code == 1, done.out
    one, other = records(here / "runs" / "lost")
    assert one.state is TrialState.COMPLETE
    assert other.error is not None
    assert "the checkpoint of the trial that this one goes on from cannot be used: it is cut off" in other.error


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--from", "runs/other"], "no-study"),
        (["from.study=runs/other"], "no-study"),
        (["--from", "."], "no-study"),
        ([*FROM, "--top", "4"], "too-few-parents"),
        ([*FROM, "parameters.parent.value=1"], "study-file"),
        (["--top", "2"], "study-file"),
        ([*FROM, "from.parents=[1]"], "study-file"),
    ],
)
def test_what_cannot_be_gone_on_from_is_said(cli: Cli, first: Path, next_round: Next, words: list[str], error: str) -> None:
    """Before anything starts."""
    done = cli("run", str(next_round()), *words)
    assert done.code == 2
    assert f"[{error}]" in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_parents_without_checkpoints_are_named(cli: Cli, here: Path, first: Path, next_round: Next) -> None:
    """With what keeps them."""
    run(cli, here / "study.yaml", "checkpoints.keep_best=1")
    done = cli("plan", str(next_round()), *FROM, "--top", "3")
    assert done.code == 2
    assert "trials 2, 0 of runs/study, among its 3 best, have no checkpoint to go on from" in done.err
    assert "checkpoints: {keep_best: 3}" in done.err


def test_a_dropped_trial_is_no_parent(cli: Cli, first: Path, next_round: Next) -> None:
    """The next best ones are."""
    assert cli("drop", "runs/study", "1").code == 0
    assert "parents    trials 2, 0 of runs/study" in cli("plan", str(next_round()), *FROM, "--top", "2").out


@pytest.mark.slow
def test_a_study_is_extended_after_it_was_cleaned(cli: Cli, first: Path, next_round: Next, here: Path) -> None:
    """Its parents are copied again, from the same trials; where these are gone or others, nothing starts."""
    run(cli, next_round({"scale": {"min": 1, "max": 9}, "steps": 4}, method="random", budget={"trials": 1}), *FROM)
    assert cli("clean", "runs/next", "--yes").code == 0
    assert not (here / "runs" / "next" / "parents").exists()
    assert cli("resume", "runs/next", "budget.trials=2").code == 0
    assert cli("clean", "runs/next", "--yes").code == 0
    shutil.rmtree(first)
    assert "2 complete" in run(cli, here / "next.yaml", *FROM, "budget.trials=2")
    for _ in range(2):
        done = cli("resume", "runs/next", "budget.trials=3")
        assert done.code == 2
        assert "[parent-lost]" in done.err
        run(cli, here / "study.yaml", "x.values=[7, 8, 9]")
    assert len(records(here / "runs" / "next")) == 2


@pytest.mark.slow
def test_another_choice_of_parents_is_another_study(cli: Cli, first: Path, next_round: Next, here: Path) -> None:
    """Old and new trials would not be comparable; a folder keeps its parents."""
    path = next_round()
    run(cli, path, *FROM)
    done = cli("run", str(path), *FROM, "--top", "2")
    assert done.code == 4
    assert f"from: was the best 1 trials of {first}, is now the best 2 trials of {first}" in done.err
    assert "[folder-keeps-its-place]" in cli("run", "runs/next", *FROM).err
    stored = json.loads(json.dumps(cli("plan", "runs/next", "--json").json))
    assert stored["total"] == 1
