"""Parameters whose values are lists, or null: from the study file to the HPARAMS tab, Optuna and back."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from sweep.errors import SweepError
from sweep.study.file.reading import read_study
from tests.conftest import Cli
from tests.support.reading import hparams_tags
from tests.support.studies import run_study, study_text, write_study

OBJECTIVE = """
def train(trial):
    layers = trial.params["layers"]
    assert isinstance(layers, list) and isinstance(trial.params["betas"], list)
    trial.report(1, {"score": sum(layers) + (trial.params["warmup"] or 0)})
"""
PARAMETERS = {
    "layers": {"values": [[8, 16], [32], []]},
    "warmup": {"values": [None, 5]},
    "betas": {"value": [0.9, [0.99, "a"], None]},
}


def test_lists_and_null_in_a_grid(here: Path, cli: Cli) -> None:
    """Native JSON, one word of the folder's name, and one text of the HPARAMS tab and of a table."""
    (here / "mine.py").write_text(OBJECTIVE)
    study = run_study(study_text(PARAMETERS), folder=here)
    assert [trial["params"]["layers"] for trial in study.trials] == [[8, 16], [8, 16], [32], [32], [], []]
    assert study.trials[0]["params"] == {"layers": [8, 16], "warmup": None, "betas": [0.9, [0.99, "a"], None]}
    assert [trial["value"] for trial in study.trials] == [24, 29, 32, 37, 0, 5]
    assert study.runs[:3] == ["0000_layers=8-16_warmup=None", "0001_layers=8-16_warmup=5", "0002_layers=32_warmup=None"]
    start = hparams_tags(study.folder / study.runs[1])["_hparams_/session_start_info"]
    shown = HParamsPluginData.FromString(start).session_start_info.hparams
    assert {name: value.string_value for name, value in shown.items()} == {
        "layers": "[8, 16]", "warmup": "5", "betas": '[0.9, [0.99, "a"], null]'
    }  # fmt: skip
    table = list(csv.DictReader(io.StringIO(cli("trials", "runs/study", "--format", "csv").out)))
    assert json.loads(table[0]["layers"]) == [8, 16]


@pytest.mark.slow  # three sessions, and the report twice
def test_a_grid_of_lists_is_extended_and_a_search_goes_on(here: Path, cli: Cli) -> None:
    """Optuna's database has a list as its JSON text, which is a category; what is tried first, a condition and a report work."""
    import optuna

    (here / "mine.py").write_text(OBJECTIVE)
    run_study(study_text(PARAMETERS), folder=here)
    again = run_study(study_text(PARAMETERS | {"layers": {"values": [[8, 16], [32], [], [1, 1]]}}), folder=here)
    assert len(again.trials) == 8
    assert [trial["attempts"] for trial in again.trials] == [1] * 8
    assert cli("run", "study.yaml", "layers.values=[[8, 16], [32]]").code == 4
    assert "[8, 16]" in cli("trials", "runs/study").out
    assert cli("report", "runs/study").code == 0
    shutil.rmtree(here / "runs")
    parameters = PARAMETERS | {"deep": {"min": 0.0, "max": 1.0, "when": {"layers": [[8, 16]]}}}
    text = study_text(parameters, method="tpe", budget={"trials": 4}, enqueue=[{"layers": [32], "warmup": None}])
    study = run_study(text, folder=here)
    assert study.trials[0]["params"]["layers"] == [32]
    assert all(("deep" in trial["params"]) == (trial["params"]["layers"] == [8, 16]) for trial in study.trials)
    again = run_study(text, "budget.trials=8", folder=here)
    assert again.trials[:4] == study.trials
    assert len(again.trials) == 8
    stored = optuna.load_study(study_name=None, storage=f"sqlite:///{study.folder}/study.db")
    assert [json.loads(trial.params["layers"]) for trial in stored.trials] == [t["params"]["layers"] for t in again.trials]
    assert cli("report", "runs/study").code == 0


def test_a_list_is_read_as_it_was_written(here: Path) -> None:
    """A tuple inside the program, with values of the same types; a number that only equals another is another list."""
    (here / "mine.py").write_text(OBJECTIVE)
    study = read_study(write_study(here, study_text(PARAMETERS | {"seen": [[1], [2.0]]})))
    assert study.grid.point(0)["seen"] == (1,)
    assert study.grid.find({"seen": (2.0,)}) == 1
    assert study.grid.find({"seen": (1.0,)}) is None
    with pytest.raises(SweepError, match="is listed twice"):
        read_study(write_study(here, study_text(PARAMETERS | {"seen": [[1], [1]]})))


def test_a_script_gets_a_list_as_several_words(here: Path) -> None:
    """As argparse reads them; the trial's parameters are those of the study file."""
    (here / "script.py").write_text(
        "import json, sys\nprint(json.dumps({'score': len(sys.argv), 'step': 1}))\nprint(sys.argv[1:])\n"
    )
    keys = {"objective": None, "command": "python script.py ${flags}"}
    study = run_study(study_text({"layers": {"values": [[8, 16], []]}, "amp": {"value": True}}, **keys), folder=here)
    printed = [(here / "runs" / "study" / trial["dir"] / "log.txt").read_text() for trial in study.trials]
    assert "['--layers', '8', '16', '--amp']" in printed[0]
    assert "['--layers', '--amp']" in printed[1]
