"""Where a script runs (`cwd`), what its environment has (`env`), and which files its words name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweep.errors import StudyFileError
from sweep.study.file.reading import read_study
from sweep.study.file.writing import write_study as text_of
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


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"cwd": "nowhere"}, "cwd: there is no folder"),
        ({"cwd": "${dri}/work"}, "cwd: ${dri} is neither a parameter nor a placeholder for one text; did you mean 'dir'?"),
        ({"cwd": "${args}"}, "cwd: ${args} is neither"),
        ({"env": {"A": "${xx}"}}, "env.A: ${xx} is neither a parameter nor a placeholder for one text; did you mean 'x'?"),
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
