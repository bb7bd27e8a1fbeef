"""What a Python file shows about itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.errors import SweepError
from sweep.study.starting.reading import Shown, goal_of, shown_by
from sweep.study.starting.target import target_of


def shown(folder: Path, text: str) -> Shown:
    (folder / "file.py").write_text(text)
    return shown_by(folder / "file.py")


def test_the_parameters_that_a_function_reads(here: Path) -> None:
    """By their names in trial.params, also under another name, and with defaults."""
    text = """
def train(trial):
    p = trial.params
    q = p
    trial.params["lr"] + q["width"] + p.get("epochs", 5) + trial.params.get("name")
    build(p)
"""
    [function] = shown(here, text).functions
    assert [(one.name, one.default, one.required) for one in function.parameters] == [
        ("lr", None, True),
        ("width", None, True),
        ("epochs", 5, False),
        ("name", None, False),
    ]
    assert function.passes_on


@pytest.mark.parametrize(
    "fit",
    [
        "def fit(lr=0.1, width: int = 8, *, shuffle=True, need: float, made=[0][0]): pass",
        "class fit:\n    lr: float = 0.1\n    width: int = 8\n    shuffle: bool = True\n    need: float\n    made: int = [0][0]",
    ],
)
def test_the_signature_of_what_gets_all_parameters(here: Path, fit: str) -> None:
    """A function or dataclass of the same file, with defaults and annotations."""
    [function] = shown(here, f"{fit}\ndef objective(trial):\n    return fit(**trial.params)\n").functions
    assert [(one.name, one.kind, one.default, one.required) for one in function.parameters] == [
        ("lr", "float", 0.1, False),
        ("width", "int", 8, False),
        ("shuffle", "bool", True, False),
        ("need", "float", None, True),
        ("made", "int" if "class" in fit else "unknown", None, False),
    ]
    assert not function.passes_on


OPTUNA = """
import optuna
def define(trial): return trial.suggest_int("n", 1, 3)
def objective(trial):
    accuracy = define(trial)
    return accuracy
optuna.create_study(direction="maximize").optimize(objective, n_trials=3)
"""


def test_an_objective_of_optunas(here: Path) -> None:
    """The function that is optimized comes first; its metric is what it returns, with the direction of the study."""
    found = shown(here, OPTUNA)
    assert [(one.name, one.optimized, one.optuna) for one in found.functions] == [
        ("objective", True, True),
        ("define", False, True),
    ]
    assert [(one.name, one.goal) for one in found.metrics] == [("accuracy", "maximize")]


def test_an_objective_with_several_values(here: Path) -> None:
    """Each has its direction."""
    text = """
def objective(trial):
    return trial.suggest_float("x", 0, 1), flops
study.create_study(directions=["minimize", "maximize"]).optimize(func=objective)
"""
    assert [(one.name, one.goal) for one in shown(here, text).metrics] == [("value_0", "minimize"), ("flops", "maximize")]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("def train(trial): trial.report(1, {'train/loss': 1, 'val/acc': 2, 'lr': 3})", ["val/acc", "train/loss"]),
        ("import wandb\nwandb.log({'epoch': 1, 'test_loss': 1})", ["test_loss"]),
        ("math.log({'loss': 1})", []),
        ("print(json.dumps({'step': 1, 'loss': 1}))", ["loss"]),
        ("writer.add_scalar('accuracy', 1, 2)", ["accuracy"]),
        ("import lightning\nself.log('val_loss', 1)", ["val_loss"]),
        ("trial.report(0.1, epoch); print('loss', 1); print()", []),
    ],
)
def test_the_metrics_that_a_file_reports(here: Path, text: str, names: list[str]) -> None:
    """The likeliest objective first, without steps and the like."""
    assert [one.name for one in shown(here, text).metrics] == names


@pytest.mark.parametrize(
    ("text", "writes"),
    [
        ("import torch\ntorch.save(1, 'x')", "torch.save, line 2"),
        ("open('x', 'w')", "open, line 1"),
        ("open(name, mode='a')", "open, line 1"),
        ("SummaryWriter()", "SummaryWriter, line 1"),
        ("open('x'); open('x', 'rb'); print(1)", ""),
    ],
)
def test_whether_a_file_writes_files(here: Path, text: str, writes: str) -> None:
    """What does, and where."""
    assert shown(here, text).writes == writes


def test_a_relative_path_in_a_file(here: Path) -> None:
    """The first one, which is that of data, mostly."""
    assert shown(here, "x = 'a/b'\nload('../data', './x')").beside == "../data in line 2"
    assert shown(here, "x = '... / y', './a b'").beside == ""


def test_the_goal_of_a_metric() -> None:
    """By its name."""
    assert {goal_of(name) for name in ("loss", "reward_loss", "x")} == {"minimize"}
    assert {goal_of(name) for name in ("val/accuracy", "f1")} == {"maximize"}


@pytest.mark.parametrize("text", ["def", "\0", "(" * 5000])
def test_a_file_that_is_no_python(here: Path, text: str) -> None:
    """An error that names it."""
    with pytest.raises(SweepError, match=r"file\.py"):
        shown(here, text)


def test_what_a_target_means(here: Path) -> None:
    """A script that reads arguments, a function of a trial, or the function that a script gives to Optuna."""
    (here / "pkg").mkdir()
    (here / "pkg" / "opt.py").write_text(OPTUNA)
    (here / "script.py").write_text("import argparse\ndef train(trial): pass\n")
    for word in ("pkg/opt.py", "pkg/opt.py:objective", "pkg.opt:objective"):
        target = target_of(word)
        assert (target.path, target.reference(here)) == (Path("pkg/opt.py"), "pkg.opt:objective")
    assert target_of("script.py").function is None
    found = target_of("script.py:train").function
    assert found is not None
    assert found.name == "train"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("scrpt.py", "here are: script.py"),
        ("script.py:tain", "did you mean 'train'?"),
        ("script.py:fit", "return fit(**trial.params)\n         sweep init script.py:objective"),
        ("two.py", "sweep init two.py:other"),
        ("train.sh", "command: sh train.sh ${args}"),
    ],
)
def test_a_target_that_means_nothing(here: Path, word: str, message: str) -> None:
    """The error says what to type."""
    (here / "script.py").write_text("def train(trial): pass\ndef fit(lr=1, width=2): pass\n")
    (here / "two.py").write_text("def one(trial): pass\ndef other(trial): pass\n")
    (here / "train.sh").write_text("echo\n")
    with pytest.raises(SweepError) as caught:
        target_of(word)
    assert message in str(caught.value)


def test_a_function_that_the_study_could_not_import(here: Path) -> None:
    """From a folder that does not hold it."""
    (here / "mine.py").write_text("def train(trial): pass\n")
    (here / "other").mkdir()
    with pytest.raises(SweepError, match="cannot import"):
        target_of("mine.py").reference(here / "other")
