"""`sweep init`: the first study file of a script or function."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from sweep.cli.main import main
from sweep.study.file.reading import read_study
from sweep.study.space import Choice, Constant
from tests.conftest import Cli
from tests.support.terminals import Terminal

SCRIPT = """
import argparse, json
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1, help="learning rate (default: %(default)s)")
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--epochs", type=int, default=14, help="how often: \\x1b[31m #1")
parser.add_argument("--amp", action="store_true")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--data", default="data")
options = parser.parse_args()
open(options.data + "/x").close()
open("model.txt", "w").close()
for epoch in range(options.epochs):
    print(json.dumps({"val_acc": options.lr + options.batch_size}))
"""
WRITTEN = """\
# train.py: a first study, made by sweep init. Change what you like; sweep plan shows what would run.
# --data is its default, as a file or folder beside this study; ${seed} is the trial's seed; with repeats: 3
# each trial is trained with three
command: python train.py --data=./data --seed=${seed} ${flags}
# Each trial has a working directory of its own, so that parallel ones never share a file (open, line 12).
# Relative paths in the script mean that folder: give those of data as whole paths, or remove this line.
cwd: ${dir}/work
# As in print, line 14.
metric: {name: val_acc, goal: maximize}
method: grid
parameters:
  lr: {values: [0.03, 0.1, 0.3]}       # learning rate; default 0.1
  batch-size: {values: [32, 64, 128]}  # default 64
  epochs: {value: 14}                  # how often: \\x1b[31m #1
  # The others. Remove a # to use the line; write {value: ...} to set one, {values: [..., ...]} to sweep it.
  # amp: {values: [false, true]}
"""


@pytest.fixture
def script(here: Path) -> Path:
    """A script that reads arguments, in the working directory."""
    (here / "data").mkdir()
    (here / "data" / "x").touch()
    (here / "train.py").write_text(SCRIPT)
    return here


def test_the_study_of_a_script(cli: Cli, script: Path) -> None:
    """Nothing is asked where there is no terminal, nothing is trained, and the last line is what to type next."""
    done = cli("init", "train.py")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "train.yaml is written: maximize val_acc",
        "grid, 9 trials of lr, batch-size; further parameters are comments in it: 1",
        "sweep run train.yaml",
    ]
    assert not (script / "model.txt").exists()
    assert (script / "train.yaml").read_text() == WRITTEN
    assert read_study(script / "train.yaml").total == 9


@pytest.mark.slow
def test_the_study_of_a_script_runs(cli: Cli, script: Path) -> None:
    """As it is written, here with one epoch: each trial finds the data, and writes into its own folder."""
    assert cli("init", "train.py").code == 0
    assert cli("check", "train.yaml").code == 0
    done = cli("run", "train.yaml", "epochs.value=1", "workers.per_device=2")
    assert done.code == 0, done.err
    trials = cli("trials", "train.yaml", "--format", "json").json
    assert [round(trial["value"] - trial["params"]["lr"]) for trial in trials] == [32, 64, 128] * 3
    assert not (script / "model.txt").exists()


def test_a_file_is_never_overwritten(cli: Cli, script: Path) -> None:
    """Another one can be named, also in another folder, from which the script's words then lead to it."""
    (script / "train.yaml").write_text("mine")
    done = cli("init", "train.py")
    assert done.code == 2
    assert "sweep init ... -o train-2.yaml" in done.err
    assert (script / "train.yaml").read_text() == "mine"
    (script / "studies").mkdir()
    assert cli("init", "train.py", "-o", "studies/first.yaml").code == 0
    study = read_study(script / "studies" / "first.yaml")
    assert study.command is not None
    assert study.command[1] == "../train.py"


def test_words_go_to_the_script(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What they set is no parameter any more."""
    assert main(["init", "train.py", "--", "--lr", "0.5", "--seed=3"]) == 0
    study = read_study(script / "train.yaml")
    assert study.command == ("python", "train.py", "--lr", "0.5", "--seed=3", "--data=./data", "${flags}")
    assert set(study.parameters) == {"batch-size", "epochs"}
    assert capsys.readouterr().out.endswith("\nsweep run train.yaml\n")


def test_another_interpreter(script: Path) -> None:
    """It needs no sweep, and is the one of the study; a path is a whole one, without its links followed."""
    (script / "link").symlink_to(sys.executable)
    assert main(["init", "train.py", "--python", "./link"]) == 0
    study = read_study(script / "train.yaml")
    assert study.command is not None
    assert study.command[0] == str(script / "link")


def test_a_script_whose_name_has_a_space(cli: Cli, script: Path) -> None:
    """The command of its study is sound, and so is the study's name."""
    (script / "train.py").rename(script / "my train.py")
    assert cli("init", "my train.py").code == 0
    done = cli("plan", "my train.yaml")
    assert done.code == 0, done.err


def test_words_that_a_script_needs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An option without a default, for which nothing can be proposed; the script is named as it was typed."""
    (here / "a").mkdir()
    text = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--data', required=True, help='Where.')"
    (here / "a" / "train.py").write_text(f"{text}\np.parse_args()\n")
    assert main(["init", "a/train.py"]) == 2
    said = capsys.readouterr().err
    assert "a/train.py needs a value for 'data' (Where.)" in said
    assert "sweep init a/train.py -- --data VALUE" in said
    assert not (here / "a" / "train.yaml").exists()


def test_the_study_of_a_function_runs(cli: Cli, here: Path) -> None:
    """With the names that it reads; it is not imported to find them."""
    (here / "mine.py").write_text("""
open("imported", "a").close()
def train(trial):
    p = trial.params
    trial.report(1, {"loss": p["lr"] * p.get("width", 4) + p.get("bias", 0.5)})
""")
    assert cli("init", "mine.py:train").code == 0
    assert not (here / "imported").exists()
    study = read_study(here / "mine.yaml")
    assert (study.objective, study.metric.name) == ("mine:train", "loss")
    assert dict(study.parameters) == {
        "lr": Choice(values=(0.0003, 0.001, 0.003)),
        "width": Choice(values=(2, 4, 8)),
    }
    assert "# bias: {value: 0.5}" in (here / "mine.yaml").read_text()
    assert cli("run", "mine.yaml").code == 0


@pytest.mark.slow
def test_the_study_of_an_optuna_objective_runs(cli: Cli, here: Path) -> None:
    """Without parameters, and with the direction of the file's own study."""
    (here / "opt.py").write_text("""
import optuna
def objective(trial):
    loss = trial.suggest_float("x", 0, 1)
    return loss
optuna.create_study().optimize(objective, n_trials=3)
""")
    assert cli("init", "opt.py").code == 0
    text = (here / "opt.yaml").read_text()
    assert "objective: opt:objective\n" in text
    assert "metric: {name: loss, goal: minimize}\nmethod" not in text
    assert "metric: {name: loss, goal: minimize}" in text
    assert "\nparameters:" not in text
    (here / "opt.py").write_text((here / "opt.py").read_text().partition("optuna.create_study()")[0])
    assert cli("run", "opt.yaml", "budget.trials=3").code == 0


def test_a_sweep_file_of_wandbs_in_our_words(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same study, with what was understood as comments; a study file of ours is refused."""
    (script / "sweep.yaml").write_text("""
program: train.py
project: mine
method: bayes
metric: {name: val/acc, goal: maximize}
parameters:
  optimizer: {parameters: {lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}}}
  epochs: {value: 3}
command: ["${env}", "${interpreter}", "${program}", --note, "two words", "${args}"]
early_terminate: {type: hyperband, min_iter: 3}
run_cap: 7
""")
    assert main(["init", "sweep.yaml"]) == 0
    assert capsys.readouterr().out.endswith("\nsweep run sweep-study.yaml\n")
    text = (script / "sweep-study.yaml").read_text()
    assert "# project: ignored" in text
    assert "${env}" not in text
    one, other = (read_study(script / name) for name in ("sweep.yaml", "sweep-study.yaml"))
    assert dataclasses.replace(one, notes=()) == other
    (script / "other").mkdir()
    assert main(["init", "sweep.yaml", "-o", "other/study.yaml"]) == 2
    assert "[another-folder]" in capsys.readouterr().err
    assert main(["init", "sweep-study.yaml"]) == 2
    assert "is a study file already" in capsys.readouterr().err


def test_the_study_of_the_built_in_objective(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is named."""
    assert main(["init"]) == 0
    study = read_study(here / "fashion.yaml")
    assert (study.objective, study.total) == ("sweep.objectives.fashion_mnist:train", 18)
    assert study.parameters["epochs"] == Constant(value=5)
    assert "sweep init train.py" in capsys.readouterr().out


def test_a_script_that_logs_with_wandb(here: Path) -> None:
    """It runs offline, and the metric is the one that it logs."""
    logging = SCRIPT.replace("json.dumps({", "wandb.log({").replace("import argparse", "import wandb, argparse")
    (here / "train.py").write_text(logging)
    (here / "wandb.py").write_text("")
    assert main(["init", "train.py"]) == 0
    study = read_study(here / "train.yaml")
    assert (dict(study.env), study.metric.name) == ({"WANDB_MODE": "offline"}, "val_acc")


PRINTS = """: print('{"loss": 1}')"""
LIBRARIES = {
    "tyro": (f"def main(lr: float = 0.1, amp: bool = True){PRINTS}\ntyro.cli(main)", [], "${flags}"),
    "click": (f"@click.command()\n@click.option('--lr', default=0.1)\ndef main(lr){PRINTS}\nmain()", [], "${flags}"),
    "hydra": (
        f"@hydra.main(version_base=None, config_path='.', config_name='config')\ndef main(config){PRINTS}\nmain()",
        ["data=x"],
        "${overrides}",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_studies_of_other_libraries_run(cli: Cli, here: Path, library: str) -> None:
    """With the words that each of them reads."""
    pytest.importorskip(library, reason=f"{library} is not installed")
    text, words, command = LIBRARIES[library]
    (here / "config.yaml").write_text("lr: 0.1\ndata: ???\n")
    (here / "train.py").write_text(f"import {library}\n{text}\n")
    done = cli("init", "train.py", *words, "-o", "first.yaml")
    assert done.code == 0, done.err
    study = read_study(here / "first.yaml")
    assert study.command is not None
    assert study.command[-1] == command
    done = cli("run", "first.yaml", "lr.values=[0.1, 0.2]")
    assert done.code == 0, done.err


def test_two_questions_on_a_terminal(here: Path) -> None:
    """The metric, if the script does not show it, and the parameters; a wrong answer is explained."""
    (here / "train.py").write_text(SCRIPT.replace("json.dumps({", "dict({").replace("val_acc", "").replace('{"": ', "{1: "))
    (here / "data").mkdir()
    with Terminal("init", "train.py", here=here) as terminal:
        terminal.read(lambda text: "Which metric" in text and "]: " in text)
        terminal.press(b"accuracy\n")
        terminal.read(lambda text: "Which ones to sweep? [lr batch-size]: " in text)
        terminal.press(b"ampp\n")
        terminal.read(lambda text: "did you mean 'amp'?" in text)
        terminal.press(b"amp lr\n")
        terminal.read()
        assert terminal.end() == 0, terminal.text
    study = read_study(here / "train.yaml")
    assert (study.metric.name, study.metric.goal) == ("accuracy", "maximize")
    assert dict(study.parameters) == {
        "lr": Choice(values=(0.03, 0.1, 0.3)),
        "epochs": Constant(value=14),
        "amp": Choice(values=(False, True)),
    }


@pytest.mark.parametrize("words", [["--yes"], []])
def test_a_terminal_is_asked_no_more_than_it_must(script: Path, words: list[str]) -> None:
    """One question where the script shows its metric; none with --yes. Return takes what is proposed."""
    with Terminal("init", "train.py", *words, here=script) as terminal:
        if not words:
            terminal.read(lambda text: "Which ones to sweep?" in text)
            terminal.press(b"\n")
        terminal.read()
        assert terminal.end() == 0, terminal.text
        assert terminal.text.count("?") == (0 if words else 1)
    assert (script / "train.yaml").read_text() == WRITTEN


def test_a_study_that_cannot_be_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error says why."""
    assert main(["init", "-o", "nowhere/study.yaml"]) == 2
    assert "cannot write nowhere/study.yaml: No such file or directory" in capsys.readouterr().err


def test_hostile_help_texts_and_choices(cli: Cli, here: Path) -> None:
    """What a program says about itself cannot break the file."""
    words = ["a: b", "# c", "\\\\", "\x07", "no", "1", "é", "'"]
    (here / "train.py").write_text(f"""
import argparse
p = argparse.ArgumentParser()
p.add_argument("--optimizer", choices={words!r}, default="no", help={"x" * 500!r} + chr(10) + "# y")
p.add_argument("--a b", type=float, default=1.0, help="100%%: \x1b[31m")
p.add_argument("--b", default={json.dumps(words)!r}, help=chr(10) + "# y")
p.parse_args()
""")
    assert cli("init", "train.py").code == 0
    assert read_study(here / "train.yaml").total == 8
    assert '# "a b": -' in (here / "train.yaml").read_text()
    assert read_study(here / "train.yaml").parameters["optimizer"] == Choice(values=tuple(words))
