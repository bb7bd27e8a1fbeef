"""Where a script runs (`cwd`), what its environment has (`env`), and which files its words name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweep.errors import StudyFileError
from sweep.study.file.reading import read_study
from sweep.study.file.writing import write_study as text_of
from tests.conftest import Cli
from tests.support.reading import records
from tests.support.studies import run_study, study_text, write_study

SCRIPT = """
import json, os, sys
told = {"cwd": os.getcwd(), "argv": sys.argv[1:], "env": dict(os.environ), "path": sys.path}
open("file.txt", "w").write("mine")
print(json.dumps({"score": 1, "step": 1}))
json.dump(told, open(os.environ["OUT"] + "/told.json", "w"))
"""


def text(command: str | list[str] | None = None, **keys: Any) -> str:
    return study_text({"x": [1, 2], "amp": True}, **{"objective": None, "command": command} | keys)


def told(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / record.folder / "told.json").read_text()) for record in records(folder)]


def test_each_trial_may_have_a_folder_and_variables_of_its_own(here: Path) -> None:
    """Words that name files beside the study file still do, as do options; parameters and other words stay as they are."""
    (here / "code").mkdir()
    (here / "code" / "train.py").write_text(SCRIPT)
    (here / "conf.yaml").touch()
    (here / "x").touch()
    words = ["python", "code/train.py", "--conf=conf.yaml", "--data=./code", "code", "none.yaml", "${args}"]
    env = {"OUT": "${dir}", "RATE": 1e-3, "LOUD": True, "SEED": "${seed}", "WHO": "x=${x}"}
    study = run_study(text(words, cwd="${dir}/work", env=env), folder=here)
    for place, found in enumerate(told(study.folder)):
        run = study.folder / study.runs[place]
        assert found["cwd"] == str(run / "work")
        paths = [f"--conf={here}/conf.yaml", f"--data={here}/code", "code", "none.yaml"]
        assert found["argv"] == [*paths, f"--x={place + 1}", "--amp=true"]
        assert (found["env"]["RATE"], found["env"]["LOUD"], found["env"]["WHO"]) == ("0.001", "true", f"x={place + 1}")
        assert found["env"]["SEED"] == str(study.trials[place]["seed"])
        assert (run / "work" / "file.txt").read_text() == "mine"
    assert not (here / "file.txt").exists()


def test_a_module_beside_the_study_file_is_found_from_another_folder(here: Path) -> None:
    """As it is from the study's folder, where Python looks by itself."""
    (here / "train.py").write_text(SCRIPT)
    study = run_study(text("python -m train ${args}", cwd="${dir}", env={"OUT": "${dir}"}), folder=here)
    assert [trial["state"] for trial in study.trials] == ["complete", "complete"]


@pytest.mark.slow
def test_an_interpreter_without_sweep(here: Path, cli: Cli) -> None:
    """One file is the client there, with the standard library only: it reports, and ends where the trial is pruned."""
    (here / "sweep_client.py").write_text(cli("docs", "client").out)
    (here / "train.py").write_text(
        "import sys\nfrom sweep_client import trial\n"
        "for step in trial.steps(3):\n    trial.report(step, {'score': trial.params['x'] * step})\n"
        "assert not {'sweep', 'torch', 'numpy'} & {*sys.modules}\n"
        "if trial.params:\n    trial.report(9, {'score': 1}, {'a': 1})\n"
    )
    python = [sys.executable, "-E", "-S"]  # no site-packages
    study = run_study(text([*python, "train.py", "${args}"], stop_after_failures=9), folder=here, code=1)
    assert [trial["metrics"]["score"] for trial in study.trials] == [3, 6]
    assert "RuntimeError: a state needs sweep in the script's own environment" in study.trials[0]["error"].splitlines()[0]
    by_hand = subprocess.run([*python, "train.py"], cwd=here, capture_output=True, text=True, check=False)
    assert "KeyError: 'x'" in by_hand.stderr


def test_a_shell_script(here: Path) -> None:
    """With flags, and JSON lines as reports."""
    (here / "train.sh").write_text('for s in 1 2; do echo "{\\"step\\": $s, \\"score\\": ${#*}}"; done\n')
    study = run_study(text("bash train.sh ${flags}"), folder=here)
    assert [trial["metrics"]["score"] for trial in study.trials] == [2, 2]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"cwd": "nowhere"}, "cwd: there is no folder"),
        ({"cwd": "${dri}/work"}, "cwd: ${dri} is neither a parameter nor a placeholder for one text; did you mean 'dir'?"),
        ({"cwd": "${args}"}, "cwd: ${args} is neither"),
        ({"env": {"A": "${xx}"}}, "env.A: ${xx} is neither a parameter nor a placeholder for one text; did you mean 'x'?"),
        ({"env": {"A": "${env:NO_SUCH}"}}, "env.A: the environment has no variable 'NO_SUCH'"),
        ({"env": {"A": None}}, "env: must give a text, a number or a boolean for A"),
        ({"env": {"A B": 1}}, "env: 'A B' is no name of a variable"),
        ({"env": {"SWEEP_TRIAL": "x"}}, "env.SWEEP_TRIAL: this variable is sweep's own; remove it"),
        ({"env": {"CUDA_VISIBLE_DEVICES": "0"}}, "this variable is sweep's own; write workers: {devices: [0, 1]}"),
        ({"command": None, "objective": "sweep.objectives.toy:train", "cwd": "."}, "cwd: is for a command only"),
    ],
)
def test_a_wrong_place_or_variable_is_found_before_anything_starts(here: Path, keys: dict[str, Any], message: str) -> None:
    """With the nearest spelling, or what to write instead."""
    (here / "train.py").touch()
    command = {"command": "python train.py ${args}"} | keys
    with pytest.raises(StudyFileError) as caught:
        read_study(write_study(here, text(**command)))
    assert message in str(caught.value)


def test_cwd_and_env_are_written_back(here: Path) -> None:
    """The study's folder has them, so that a study that is resumed runs as before."""
    (here / "train.py").touch()
    study = read_study(write_study(here, text("python train.py ${args}", cwd="${dir}/w", env={"A": 1, "B": "yes"})))
    assert (study.cwd, study.env) == ("${dir}/w", {"A": "1", "B": "yes"})
    assert read_study(write_study(here, text_of(study), "again.yaml"), ["name=study"]) == study
