"""What newcomers type first, with the words of other tools: each is refused with what to type here, or means what it says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweep.errors import EXIT_WRONG_INPUT, StudyFileError
from sweep.search.methods import option_problems
from sweep.study.file.reading import read_study
from sweep.study.space import Choice, Constant, Range
from tests.conftest import Cli

pytestmark = pytest.mark.slow
TEXT = """\
name: study
objective: mine:train
metric: {name: loss, goal: minimize}
method: random
budget: {trials: 4}
parameters:
  lr: {values: [0.1, 0.01]}
  batch_size: {values: [32, 64]}
"""
MINE = """\
from somewhere import imported

def train(trial):
    trial.report(1, {"loss": 1.0})

def no_arguments(): ...
def two(lr, batch_size): ...
def keyword(trial, *, lr): ...
def defaults(trial, lr=0.1, *, fast=False): ...
def anything(*args, **kwargs): ...
async def awaited(trial): ...
def generator(trial):
    yield 1
def has_inner_generator(trial):
    def inner():
        yield 1
    return sum(inner())
class Trainer: ...
class Trial: ...
small = lambda trial: 0.5
none = lambda: 0.5
number = 3
words = ["a"]
made = two(1, 2)
"""


@pytest.fixture
def mine(here: Path) -> Path:
    (here / "mine.py").write_text(MINE)
    (here / "src").mkdir()
    (here / "src" / "mine.py").write_text(MINE)
    return here


def problems(folder: Path, text: str, overrides: Sequence[str] = ()) -> list[str]:
    (folder / "study.yaml").write_text(text)
    with pytest.raises(StudyFileError) as caught:
        read_study(folder / "study.yaml", overrides, option_problems=option_problems)
    assert caught.value.exit_code == EXIT_WRONG_INPUT
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def parameter(domain: str) -> str:
    return TEXT.replace("lr: {values: [0.1, 0.01]}", f"lr: {domain}".rstrip())


# What stands in place of the domain of `lr` in line 7, and what is suggested.
DOMAINS = {
    "a bare number": ("0.1", "for a constant write lr: {value: 0.1}"),
    "a bare text": ("adam", "for a constant write lr: {value: adam}"),
    "a number in quotes": ('"32"', "for a constant write lr: {value: 32}"),
    "a bare list": ("[0.1, 0.01]", "for several values write lr: {values: [0.1, 0.01]}"),
    "a block list": ("\n  - 0.1\n  - 0.01", "for several values write lr: {values: [0.1, 0.01]}"),
    "a list of words": ("[adam, sgd]", 'for several values write lr: {values: ["adam", "sgd"]}'),
    "nothing": ("", "write lr: {value: 0.1}, or {values: [0.1, 0.01]}, or {min: 0.01, max: 0.1}"),
    "true": ("true", "for a constant write lr: {value: true}"),
    "mappings as values": ("{values: [{a: 1}, {a: 2}]}", "a value is a number, a text, a boolean, null, or a list of these"),
    "one value as values": ("{values: 0.1}", "write lr: {values: [0.1]}, or {value: 0.1} for a constant"),
    "values without brackets": ("{values: '0.1, 0.01'}", "write lr: {values: [0.1, 0.01]}"),
    "no values": ("{values: []}", "values is empty; list at least one"),
    "values of nothing": ("{values: }", "values is empty; list at least one"),
    "Hydra's range": ("range(1, 10)", "nothing is called in a study; write lr: {values: [1, 2, 3]}, or {min: 1, max: 3}"),
    "Hydra's choice": ("choice(1, 2)", "nothing is called in a study"),
    "Hydra's interval": ("interval(0, 1)", "nothing is called in a study"),
    "Python's range as values": ("{values: 'range(1, 10)'}", "nothing is called in a study"),
    "NumPy as values": ("{values: 'np.logspace(-4, -1, 4)'}", "nothing is called in a study"),
    "Ray's call": ("tune.loguniform(1e-4, 1e-1)", "nothing is called in a study"),
    "Ray's grid_search": ("{grid_search: [0.1, 0.01]}", "lr.grid_search: unknown key; write values: [0.1, 0.01]"),
    "Ray's choice": ("{choice: [0.1, 0.01]}", "write values: [0.1, 0.01]"),
    "Ray's uniform": ("{uniform: [0, 1]}", "write lr: {min: 0, max: 1}"),
    "Ray's loguniform": ("{loguniform: [0.0001, 0.1]}", "write lr: {min: 0.0001, max: 0.1, log: true}"),
    "Ray's randint": ("{randint: [1, 8]}", "write lr: {min: 1, max: 8}"),
    "Optuna's suggest_float": ("{suggest_float: [0.1, 1]}", "write lr: {min: 0.1, max: 1}"),
    "Optuna's suggest_categorical": ("{suggest_categorical: [a, b]}", 'write values: ["a", "b"]'),
    "Optuna's low": ("{low: 0.1, high: 1}", "lr.low: unknown key; write min: 0.1"),
    "Optuna's high": ("{low: 0.1, high: 1}", "lr.high: unknown key; write max: 1"),
    "a type": ("{type: float, min: 0.1, max: 1}", "lr.type: unknown key; remove it: whole numbers as min and max make"),
    "Keras Tuner's min_value": ("{min_value: 1, max_value: 8}", "write min: 1"),
    "Keras Tuner's sampling": ("{min: 1, max: 8, sampling: log}", "log: true}"),
    "Keras Tuner's default": ("{default: 0.1}", "write value: 0.1"),
    "W&B's q_normal": ("{distribution: q_normal, mu: 0, q: 1}", "write distribution: normal, with round in place of q"),
    "W&B's log_uniform": ("{distribution: log_uniform, min: -4, max: -1}", "write min, max and log: true"),
    "W&B's inv_log_uniform": ("{distribution: inv_log_uniform_values, min: 1, max: 2}", "write min, max and log: true"),
    "W&B's uniform without ends": ("{distribution: uniform}", "has no domain; give exactly one of value, values, or min and max"),
    "W&B's nested parameters": ("{parameters: {a: {value: 1}}}", "lr.parameters: unknown key"),
    "probabilities of other values": (
        "{values: [1, 2], probabilities: [1]}",
        "has 2 values and 1 probabilities",
    ),
    "min alone": ("{min: 0.1}", "has min without max"),
    "min above max": ("{min: 1, max: 0.1}", "min (1) must be below max (0.1)"),
    "log as a word": ("{min: 0.1, max: 1, log: yes}", "yes is a word in YAML 1.2; write true"),
    "a typing error": ("{vlaues: [1]}", "lr.vlaues: unknown key; did you mean 'values'?"),
    "a range in words": ("{min: 0.1, max: 1 to 2}", "lr.max: must be a finite number, got '1 to 2'"),
}


@pytest.mark.parametrize(("domain", "hint"), DOMAINS.values(), ids=DOMAINS)
def test_a_parameter_that_is_written_otherwise(mine: Path, domain: str, hint: str) -> None:
    """The message names the parameter, its line, and the right form."""
    found = problems(mine, parameter(domain))
    assert any(hint in line and re.match(r"study\.yaml:[789]: parameters\.lr", line) for line in found), found


# What replaces a line of the file, and what is suggested.
KEYS = {
    "a metric's name alone": ("metric: loss", "write metric: {name: loss, goal: minimize}"),
    "an accuracy's name alone": ("metric: val_acc", "write metric: {name: val_acc, goal: maximize}"),
    "names of metrics": ("metric: [loss, acc]", "for several write metrics: [{name: accuracy, goal: maximize}"),
    "a metric and its goal": ("metric: {loss: minimize}", "write metric: {name: loss, goal: minimize}"),
    "a metric without a goal": ("metric: {name: accuracy}", "metric.goal: missing; write goal: maximize"),
    "goal: min": ("metric: {name: loss, goal: min}", "'min' is not known; write goal: minimize"),
    "goal: max": ("metric: {name: loss, goal: max}", "'max' is not known; write goal: maximize"),
    "goal: Minimise": ("metric: {name: loss, goal: minimise}", "did you mean 'minimize'?"),
    "Ray's mode": ("metric: {name: loss, mode: min}", "metric.mode: unknown key; write goal: minimize"),
    "Optuna's direction": ("metric: {name: loss, direction: maximize}", "metric.direction: unknown key; write goal: maximize"),
    "a goal at the top": ("metric: {name: loss, goal: minimize}\ngoal: minimize", "goal: unknown key; write it in metric"),
    "a target in words": ("metric: {name: loss, goal: minimize, target: low}", "metric.target: must be a finite number"),
    "W&B's bayes": ("method: bayes", "'bayes' is not known; write method: tpe"),
    "W&B's Bayes": ("method: Bayes", "write method: tpe"),
    "grid_search": ("method: grid_search", "write method: grid"),
    "random_search": ("method: random_search", "write method: random"),
    "a typing error in a method": ("method: rnadom", "did you mean 'random'?"),
    "hyperband as a method": ("method: hyperband", "write method: tpe, and pruner: {type: hyperband}"),
    "cma-es": ("method: cma-es", "write method: cmaes"),
    "nsga2": ("method: nsga2", "write method: nsgaii"),
    "sobol": ("method: sobol", "write method: qmc"),
    "a budget as a number": ("budget: 30", "write budget: {trials: 30}"),
    "num_samples": ("num_samples: 30", "num_samples: unknown key; write budget: {trials: 50}"),
    "n_trials": ("n_trials: 30", "write budget: {trials: 50}"),
    "run_cap": ("run_cap: 30", "write budget: {trials: 50}"),
    "a budget of runs": ("budget: {runs: 30}", "budget.runs: unknown key; known here: trials, time, patience, epochs"),
    "no budget": ("# none", "method random never ends by itself; add budget: {trials: 50}"),
    "W&B's program": ("program: train.py", 'program: unknown key; write command: python train.py "${args}"'),
    "W&B's early_terminate": ("early_terminate: {type: hyperband}", "write pruner: {type: median}"),
    "a pruner's name alone": ("pruner: median", "write pruner: {type: median}"),
    "Ray's scheduler": ("scheduler: asha", "write pruner: {type: median}"),
    "search_alg": ("search_alg: optuna", "write method: tpe"),
    "n_jobs": ("n_jobs: 4", "write workers: {per_device: 4}"),
    "workers as a number": ("workers: 4", "write workers: {per_device: 4}"),
    "gpus": ("gpus: [0, 1]", "write workers: {devices: [0, 1]}"),
    "devices as a word": ("workers: {devices: gpu}", "must be auto, cpu, or a list of GPU indices such as [0, 1]"),
    "random_state": ("random_state: 3", "write seed: 0"),
    "a seed in words": ("seed: three", "seed: input should be a valid integer, got 'three'"),
    "storage": ("storage: runs", "write output: runs"),
    "W&B's project": ("project: mine", "remove it: nothing here needs it"),
    "Hydra's defaults": ("defaults: [a]", "remove it: nothing here needs it"),
    "max_epochs": ("max_epochs: 10", "write max_steps: 20"),
    "a timeout without its time": ("timeout: {then: complete}", "write {after: 30m, then: complete}"),
    "a timeout in words": ("timeout: half an hour", "must be a duration such as 30m, 2h, 1h30m or 90s"),
    "checkpoints as a number": ("checkpoints: 3", "write checkpoints: {keep_best: 3}"),
    "a log that is false": ("log: false", "log: needs keys"),
    "a typing error in a key": ("paramters: {a: {value: 1}}", "did you mean 'parameters'?"),
    "hyperparameters": ("hyperparameters: {a: {value: 1}}", "write parameters: {lr: {values: [0.1, 0.01]}}"),
    "search_space": ("search_space: {a: [1, 2]}", "write parameters: {lr: {values: [0.1, 0.01]}}"),
    "a parameter outside of parameters": (
        "sample: {values: [1, 2]}",
        "write it under parameters:, indented: sample: {values: [1, 2]}",
    ),
    "a list outside of parameters": (
        "momentum: [0.9, 0.99]",
        "if it is a parameter, write parameters: {momentum: {values: [0.9, 0.99]}}",
    ),
    "a range outside of parameters": (
        "dropout: {min: 0, max: 1}",
        "write it under parameters:, indented: dropout: {min: 0, max: 1}",
    ),
    "a constant outside of parameters": ("epochs: 5", "if it is a parameter, write parameters: {epochs: {value: 5}}"),
    "an objective by its file": ("objective: mine.py:train", "write objective: mine:train"),
    "an objective by its path": ("objective: src/mine.py:train", "write objective: src.mine:train"),
    "an objective by ./": ("objective: ./mine.py:train", "write objective: mine:train"),
    "a file as the objective": (
        "objective: train.py",
        'write objective: train:FUNCTION, or for a script command: python train.py "${args}"',
    ),
    "a dot before the function": ("objective: mine.train", "write objective: mine:train"),
    "a module alone": ("objective: mine", "write objective: mine:FUNCTION, for a function in mine.py"),
    "a call": ("objective: mine:train()", "write objective: mine:train"),
    "a method of a class": ("objective: mine:Trainer.fit", "write objective: mine:fit"),
    "a command as the objective": (
        "objective: python train.py",
        'write command: python train.py "${args}", in place of objective',
    ),
    "torchrun as the objective": ("objective: torchrun train.py", "write command: torchrun train.py"),
    "a lambda as the objective": ("objective: 'lambda trial: 1'", "write objective: mine:train"),
    "a list as the objective": ("objective: [mine, train]", "write objective: mine:train, for the function train in mine.py"),
    "a function that is not there": ("objective: mine:trian", "module 'mine' has no 'trian'; did you mean 'train'?"),
    "a module that is not there": ("objective: mien:train", "there is no module 'mien'"),
    "a function without arguments": ("objective: mine:no_arguments", "no_arguments takes no argument, but an objective gets one"),
    "a function of the parameters": (
        "objective: mine:two",
        "two needs lr, batch_size, but an objective gets one argument, the trial",
    ),
    "a function with a keyword": ("objective: mine:keyword", "keyword needs trial, lr, but an objective gets one argument"),
    "an async function": ("objective: mine:awaited", "awaited is async, and nothing would await it"),
    "a generator": ("objective: mine:generator", "generator is a generator (it has yield), so that calling it runs nothing"),
    "a class": ("objective: mine:Trainer", "Trainer is a class, not a function; write it as def train(trial)"),
    "a lambda without arguments": ("objective: mine:none", "none takes no argument"),
    "a number": ("objective: mine:number", "number is a value, not a function"),
    "a list of the module": ("objective: mine:words", "words is a value, not a function"),
    "objective and command": ("command: python mine.py", "command: cannot be combined with objective; keep one of the two"),
}


@pytest.mark.parametrize(("line", "hint"), KEYS.values(), ids=KEYS)
def test_a_key_that_is_written_otherwise(mine: Path, line: str, hint: str) -> None:
    """The message has the line of the file and what to write there."""
    key = line.partition(":")[0]
    lines = [other for other in TEXT.splitlines() if not other.startswith((f"{key}:", "budget:" if line == "# none" else "\0"))]
    found = problems(mine, "\n".join([*line.splitlines(), *lines]) + "\n")
    assert any(hint in problem and re.match(r"study\.yaml:\d+: ", problem) for problem in found), found


@pytest.mark.parametrize("name", ["train", "defaults", "anything", "has_inner_generator", "small", "imported", "made"])
def test_a_function_that_may_be_an_objective_is_accepted(mine: Path, name: str) -> None:
    """Also where its source does not show what it is."""
    (mine / "study.yaml").write_text(TEXT)
    assert read_study(mine / "study.yaml", [f"objective=mine:{name}"]).objective == f"mine:{name}"


@pytest.mark.parametrize(
    "content", [b"\0", b"\xff\xfe", b"def train(:\n", b"(" * 3000, b"# coding: nonsense\n", b"\tx = 1\n"], ids=repr
)
def test_a_module_that_is_no_python_is_named(mine: Path, content: bytes) -> None:
    """With its file, before anything starts."""
    (mine / "mine.py").write_bytes(content)
    [problem] = problems(mine, TEXT)
    assert "study.yaml:2: objective: " in problem
    assert "mine.py" in problem


# What is typed after `sweep plan study.yaml`, and what is suggested.
OVERRIDES = {
    "a value without its key": ("lr=0.1", "write lr.value=0.1"),
    "values without their key": ("lr=[0.1, 0.2]", "write lr.values='[0.1, 0.2]'"),
    "Hydra's comma": ("lr=0.1,0.2", "for several values write lr.values='[0.1, 0.2]'"),
    "Hydra's range in an override": ("lr=range(1,10)", "nothing is called in a study; write lr.values='[1, 2, 3]'"),
    "Hydra's choice in an override": ("lr=choice(1,2)", "nothing is called in a study"),
    "the whole key": ("parameters.lr=0.1", "write lr.value=0.1"),
    "a colon": ("lr:0.1", "an override is written key=value; for example lr.values='[0.1, 0.01]'"),
    "no value": ("lr", "an override is written key=value"),
    "an empty value": ("lr=", "write lr.value=null"),
    "Hydra's plus": ("+lr.value=0.1", "no such key or parameter; did you mean 'lr'?"),
    "a typing error": ("learning_rate.value=1", "a new parameter is added with parameters.learning_rate.value=..."),
    "a near name": ("batchsize.value=1", "did you mean 'batch_size'?"),
    "several dots": ("lr..value=1", "an override is written key=value"),
    "a dot at the end": ("lr.value.=1", "an override is written key=value"),
    "values without brackets": ("lr.values=0.1,0.2", "write lr: {values: [0.1,0.2]}"),
    "an open bracket": ("lr.values=[0.1", "is no valid YAML; a bracket is not closed"),
    "a tag": ("lr.value=!!python/object:os.system x", "remove the tag"),
    "yes": ("lr.value=yes", "yes is a word in YAML 1.2; write true"),
    "5,000 digits": ("seed=" + "1" * 5000, "is too large"),
    "a part of a scalar": ("seed.x=1", "parameters.seed.x: unknown key"),
    "a method of another tool": ("method=bayes", "write method: tpe"),
    "a budget as a number": ("budget=30", "write budget: {trials: 30}"),
    "a key of a budget": ("budget.trails=30", "did you mean 'trials'?"),
    "an objective by its file": ("objective=mine.py:train", "write objective: mine:train"),
    "a metric's name": ("metric=loss", "write metric: {name: loss, goal: minimize}"),
    "a goal": ("metric.goal=min", "write goal: minimize"),
    "two documents": ("lr.value=1\n---\n2", "is no valid YAML"),
}


@pytest.mark.parametrize(("word", "hint"), OVERRIDES.values(), ids=OVERRIDES)
def test_an_override_that_is_written_otherwise(mine: Path, word: str, hint: str) -> None:
    """The message says that it is on the command line, and what to type there."""
    found = problems(mine, TEXT, [word])
    assert all(line.startswith("command line: ") for line in found)
    assert any(hint in line for line in found), found


def test_overrides_that_mean_what_they_say(mine: Path) -> None:
    """Numbers without a dot, words in quotes, ranges, and parameters that are new."""
    (mine / "study.yaml").write_text(TEXT)
    words = ["lr.value=1e-3", "batch_size.min=1", "batch_size.max=8", "parameters.new.values=['yes', true]", "name=other"]
    study = read_study(mine / "study.yaml", words)
    assert study.parameters == {
        "lr": Constant(value=0.001),
        "batch_size": Range(low=1, high=8),
        "new": Choice(values=("yes", True)),
    }


COMMANDS = {
    "a file that is not there": (["run", "stduy.yaml"], "here are: study.yaml"),
    "a Python file": (["run", "mine.py"], "sweep init mine.py"),
    "a metric's name alone": (["run", "study.yaml", "metric=loss"], "write metric: {name: loss, goal: minimize}"),
    "an option for a parameter": (["run", "study.yaml", "--lr", "0.1"], "--lr"),
    "a word for a parameter": (["run", "study.yaml", "lr:0.1"], "an override is written key=value"),
    "an objective by its file": (["plan", "study.yaml", "objective=mine.py:train"], "write objective: mine:train"),
    "a class as the objective": (["check", "study.yaml", "objective=mine:Trainer"], "Trainer is a class, not a function"),
    "values of another form": (["run", "study.yaml", "lr=0.1,0.2"], "lr.values='[0.1, 0.2]'"),
}


@pytest.mark.parametrize(("words", "hint"), COMMANDS.values(), ids=COMMANDS)
def test_the_command_line_says_what_to_type(cli: Cli, mine: Path, words: list[str], hint: str) -> None:
    """Exit code 2, no traceback, nothing started."""
    (mine / "study.yaml").write_text(TEXT)
    done = cli(*words, timeout=60)
    assert done.code == EXIT_WRONG_INPUT
    assert hint in done.err
    assert "Traceback" not in done.err
    assert not (mine / "runs").exists()
