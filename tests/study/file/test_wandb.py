"""Sweep files of W&B's: taken as they are, in our keys, with the lines of theirs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from sweep.errors import StudyFileError
from sweep.search.methods import option_problems
from sweep.search.planner import Planner
from sweep.study.file.reading import given_study, read_study
from sweep.study.file.writing import write_study as text_of
from sweep.study.space import Range, by_shares, domain_keys
from sweep.study.spec import BudgetSpec, StudySpec
from tests.support.searching import asked
from tests.support.studies import write_study

WHOLE = """
program: train.py
method: bayes
name: My first sweep!
description: of the learning rate
project: fashion
entity: us
metric:
  name: val_loss
run_cap: 12
early_terminate: {type: hyperband, max_iter: 27, s: 2, eta: 3}
parameters:
  lr: {distribution: log_uniform, min: -9.21, max: -2.3}
  batch_size: {values: [32, 64]}
  epochs: {value: 27}
  optimizer:
    parameters:
      name: {values: [sgd, adam]}
      momentum: {min: 0.0, max: 0.9}
"""
RANDOM = "program: train.py\nmethod: random\nmetric: {name: loss}\nparameters: {x: {min: 0.0, max: 1.0}}\n"


def read(here: Path, text: str, *overrides: str) -> StudySpec:
    (here / "train.py").touch()
    return read_study(write_study(here, text, "sweep.yaml"), overrides, option_problems=option_problems)


def problems(here: Path, text: str) -> list[str]:
    with pytest.raises(StudyFileError) as caught:
        read(here, text)
    return [str(problem).replace(f"{here}/", "") for problem in caught.value.problems]


def test_a_whole_file_is_a_study(here: Path) -> None:
    """Of which everything is what W&B would do, or is told."""
    study = read(here, WHOLE)
    assert study.command == ("python", "train.py", "${python_args}")
    assert (study.name, study.method, study.budget) == ("My-first-sweep", "gp", BudgetSpec(trials=12))
    assert (study.metric.name, study.metric.goal) == ("val_loss", "minimize")
    assert study.pruner == {"type": "brackets", "at": [3, 9], "keep": 3}
    assert list(study.parameters) == ["lr", "batch_size", "epochs", "optimizer.name", "optimizer.momentum"]
    assert study.nested == ("optimizer",)
    assert study.notes == (
        "name: the study and its folder are called My-first-sweep",
        "method: bayes is gp here, Optuna's Gaussian process",
        "lr: log_uniform's min and max are exponents of e: from 0.0001 to 0.1",
        "early_terminate: after 3, 9 reports of the metric, the best 1/3 of the trials go on",
        "description, project, entity: ignored, because nothing is sent to W&B's server",
    )


def test_a_name_without_letters_for_a_folder_is_left_out(here: Path) -> None:
    """The study is called as its file, and that is told."""
    study = read(here, RANDOM + "name: 我的\n")
    assert study.name == "sweep"
    assert "name: no letter of it can be a folder's, so the study and its folder are called as this file" in study.notes


def test_the_study_that_it_becomes_is_an_ordinary_one(here: Path) -> None:
    """What is stored in its folder has no word of W&B's, and is read as the same study."""
    study = read(here, WHOLE)
    again = read_study(write_study(here, text_of(study), "stored.yaml"))
    assert again == study
    assert not again.notes


def test_wandb_itself_runs_offline(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the user's environment, or the file, says how it is to run."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert read(here, RANDOM).env == {"WANDB_MODE": "offline"}
    assert read(here, RANDOM + "env: {A: 1}\n").env == {"A": "1", "WANDB_MODE": "offline"}
    assert read(here, RANDOM + "env: {WANDB_MODE: disabled}\n").env == {"WANDB_MODE": "disabled"}
    monkeypatch.setenv("WANDB_MODE", "online")
    assert not read(here, RANDOM).env


def test_overrides_are_in_our_words(here: Path) -> None:
    """They replace what the file has become."""
    study = read(here, WHOLE, "lr.values=[0.1]", "budget.trials=3", "optimizer.momentum.max=0.5", "metric.goal=maximize")
    assert domain_keys(study.parameters["lr"]) == {"values": [0.1]}
    assert study.parameters["optimizer.momentum"] == Range(low=0.0, high=0.5)
    assert (study.budget.trials, study.metric.goal) == (3, "maximize")


def domain_of(here: Path, given: str, method: str = "random") -> dict[str, object]:
    head = f"program: train.py\nmethod: {method}\nrun_cap: 5\nmetric: {{name: loss}}\n"
    text = f"{head}parameters: {{x: {given}, y: {{values: [1, 2]}}}}\n"
    return domain_keys(read(here, text).parameters["x"])


@pytest.mark.parametrize(
    ("given", "domain"),
    [
        ("{value: a}", {"value": "a"}),
        ("{distribution: constant, value: 3}", {"value": 3}),
        ("{values: [1, b]}", {"values": [1, "b"]}),
        ("{distribution: categorical, values: [1, 2]}", {"values": [1, 2]}),
        ("{distribution: categorical, values: [1, 2], probabilities: [0, 1]}", {"values": [1, 2], "probabilities": [0.0, 1.0]}),
        ("{values: [1, 2], probabilities: [0.25, 0.75]}", {"values": [1, 2], "probabilities": [0.25, 0.75]}),
        ("{min: 1, max: 5}", {"min": 1, "max": 5}),
        ("{min: 1, max: 5.0}", {"min": 1.0, "max": 5.0}),
        ("{distribution: int_uniform, min: 1, max: 5}", {"min": 1, "max": 5}),
        ("{distribution: uniform, min: 1, max: 5}", {"min": 1.0, "max": 5.0}),
        ("{distribution: q_uniform, min: 0, max: 1, q: 0.1}", {"min": 0.0, "max": 1.0, "round": 0.1}),
        ("{distribution: q_uniform, min: 0, max: 9}", {"min": 0.0, "max": 9.0, "round": 1.0}),
        ("{distribution: log_uniform, min: 0, max: 1}", {"min": 1.0, "max": math.e, "log": True}),
        ("{distribution: log_uniform_values, min: 1, max: 100}", {"min": 1.0, "max": 100.0, "log": True}),
        ("{distribution: inv_log_uniform, min: 1, max: 2}", {"min": math.exp(-2), "max": math.exp(-1), "log": True}),
        ("{distribution: inv_log_uniform_values, min: 0.1, max: 2}", {"min": 0.1, "max": 2.0, "log": True}),
        ("{distribution: q_log_uniform, min: 0, max: 3, q: 2}", {"min": 1.0, "max": math.exp(3), "log": True, "round": 2}),
        ("{distribution: q_log_uniform_values, min: 1, max: 90, q: 5}", {"min": 1.0, "max": 90.0, "log": True, "round": 5}),
        ("{distribution: normal}", {"distribution": "normal", "mu": 0.0, "sigma": 1.0}),
        ("{distribution: normal, mu: 2, sigma: 3}", {"distribution": "normal", "mu": 2.0, "sigma": 3.0}),
        ("{distribution: q_normal, q: 2}", {"distribution": "normal", "mu": 0.0, "sigma": 1.0, "round": 2}),
        ("{distribution: log_normal, mu: -3}", {"distribution": "log_normal", "mu": -3.0, "sigma": 1.0}),
        ("{distribution: q_log_normal}", {"distribution": "log_normal", "mu": 0.0, "sigma": 1.0, "round": 1.0}),
        ("{distribution: beta, a: 2, b: 5}", {"distribution": "beta", "a": 2.0, "b": 5.0}),
        ("{distribution: q_beta, a: 2, q: 0.1}", {"distribution": "beta", "a": 2.0, "b": 1.0, "round": 0.1}),
    ],
)
def test_each_distribution_has_its_domain(here: Path, given: str, domain: dict[str, object]) -> None:
    """With W&B's rules for what is left out, and the types of its values."""
    found = domain_of(here, given)
    assert found == domain
    assert [type(value) for value in found.values()] == [type(value) for value in domain.values()]


def test_a_grid_has_the_steps_of_a_rounded_range(here: Path) -> None:
    """A grid has no probabilities."""
    assert domain_of(here, "{distribution: q_uniform, min: 0, max: 1, q: 0.25}", "grid") == {"min": 0.0, "max": 1.0, "step": 0.25}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{distribution: log_uniform, min: -9, max: -2}", stats.loguniform(math.exp(-9), math.exp(-2))),
        ("{distribution: inv_log_uniform, min: 2, max: 9}", stats.loguniform(math.exp(-9), math.exp(-2))),
        ("{distribution: inv_log_uniform_values, min: 0.001, max: 1}", stats.loguniform(0.001, 1)),
        ("{distribution: normal, mu: 3, sigma: 2}", stats.norm(3, 2)),
        ("{distribution: log_normal, mu: 1, sigma: 0.5}", stats.lognorm(0.5, scale=math.e)),
        ("{distribution: beta, a: 2, b: 5}", stats.beta(2, 5)),
        ("{min: 2.0, max: 4.0}", stats.uniform(2, 2)),
    ],
)
def test_draws_have_the_distribution(here: Path, given: str, expected: Any) -> None:
    """By a Kolmogorov-Smirnov test of 400 trials against SciPy's."""
    text = f"program: train.py\nmethod: random\nmetric: {{name: loss}}\nparameters: {{x: {given}}}\n"
    planner = Planner(read(here, text))
    assert stats.kstest([asked(planner)[1]["x"] for _ in range(400)], expected.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("${env} ${interpreter} ${program} ${args}", "python train.py ${python_args}"),
        ("${interpreter} ${program} --fast ${args_no_hyphens}", "python train.py --fast ${python_pairs}"),
        ("${env} bash train.py ${args_no_boolean_flags}", "/usr/bin/env bash train.py ${python_flags}"),
        ("python3 -u ${program} ${args_json}", "python3 -u train.py ${json}"),
        ("${interpreter} ${program} ${args_json_file} 3", "python train.py ${json_file} 3"),
        (
            "${interpreter} ${program} --home=${envvar:HOME} ${args_no_equals}",
            "python train.py --home=${env:HOME} ${python_args_apart}",
        ),
        ("${interpreter} ${program} ${args_append_hydra}", "python train.py ${python_pairs_added}"),
        ("${interpreter} ${program} ${args_override_hydra}", "python train.py ${python_pairs_forced}"),
    ],
)
def test_macros_become_placeholders(here: Path, command: str, words: str) -> None:
    """Each of W&B's agent."""
    assert " ".join(read(here, f"{RANDOM}command: {json.dumps(command.split())}\n").command or ()) == words


def test_without_a_cap_a_search_goes_on_until_it_is_stopped(here: Path) -> None:
    """As W&B's do; a grid ends by itself."""
    study = read(here, RANDOM)
    assert study.budget == BudgetSpec(unlimited=True)
    assert study.total is None
    assert study.notes[-1].startswith(
        "run_cap: the file has none, and without another budget (budget.trials=50) the sweep goes on"
    )
    assert read(here, RANDOM, "budget.trials=4").total == 4
    grid = read(here, "program: train.py\nmethod: grid\nmetric: {name: loss}\nparameters: {x: {values: [1, 2]}}\n")
    assert (grid.budget, grid.total) == (BudgetSpec(), 2)


def test_bayes_is_tpe_where_a_gaussian_process_takes_too_long(here: Path) -> None:
    """It says which, and why."""
    study = read(here, RANDOM.replace("random", "bayes") + "run_cap: 2000\n")
    assert study.method == "tpe"
    assert study.notes == (
        "method: bayes is tpe here, Optuna's TPE: for more than 500 trials a Gaussian process is slow (method=gp takes it)",
    )


@pytest.mark.parametrize(
    ("given", "pruner"),
    [
        ("{type: hyperband, min_iter: 3}", {"at": [3, 9, 27, 81, 243, 729, 2187, 6561, 19683, 59049, 177147, 531441], "keep": 3}),
        ("{type: hyperband, max_iter: 100, s: 3, eta: 3}", {"at": [3, 11, 33], "keep": 3}),
        ("{type: hyperband, max_iter: 10, s: 9, eta: 2.5}", {"at": [1, 4], "keep": 2.5}),
        ("{type: hyperband, max_iter: 8, s: 1, eta: 2, strict: true}", {"at": [4], "keep": 2, "strict": True}),
    ],
)
def test_hyperband_has_the_brackets_of_wandb(here: Path, given: str, pruner: dict[str, Any]) -> None:
    """From the first one upwards, or from the last iteration downwards."""
    assert read(here, f"{RANDOM}early_terminate: {given}\n").pruner == {"type": "brackets"} | pruner


def test_a_file_without_a_metric_is_compared_by_what_wandb_always_logs(here: Path) -> None:
    """A grid and a random search need none at W&B's; another one is named on the command line."""
    text = RANDOM.replace("metric: {name: loss}\n", "")
    assert read(here, text).metric.name == "_runtime"
    assert "name yours:  metric.name=accuracy metric.goal=maximize" in read(here, text).notes[0]
    assert read(here, text, "metric.name=loss").metric.name == "loss"
    assert problems(here, text.replace("random", "bayes"))[0].startswith("sweep.yaml:1: metric: missing")


def test_keys_of_ours_may_stand_beside(here: Path) -> None:
    """What W&B has no word for: workers, seeds, repeats."""
    study = read(here, f"{RANDOM}workers: {{per_device: 3}}\nbudget: {{time: 2h}}\nseed: 4\n")
    assert (study.workers.per_device, study.budget.time_s, study.seed) == (3, 7200.0, 4)


def test_optunas_scheduler_is_optuna(here: Path) -> None:
    """Its sampler and pruner are named by their classes."""
    text = """
    job: us/jobs/job-train:latest
    run_cap: 5
    metric: {name: loss, goal: minimize}
    scheduler:
      job: wandb/sweep-jobs/job-optuna-sweep-scheduler:latest
      num_workers: 2
      settings:
        sampler: {type: TPESampler, args: {seed: 42, multivariate: true}}
        pruner: {type: PatientPruner, args: {patience: 1, wrapped_pruner: {type: MedianPruner, args: {n_warmup_steps: 2}}}}
    parameters: {lr: {min: 0.0001, max: 1.0}}
    """
    (missing,) = problems(here, text)
    assert "command[1]: there is no file 'job-train.py' in" in missing
    assert missing.endswith("; the program of us/jobs/job-train:latest is on W&B's server: copy it here, or write command=...")
    (here / "job-train.py").touch()
    study = read(here, text)
    assert (study.method, study.seed, dict(study.sampler)) == ("tpe", 42, {"multivariate": True})
    inner = {"type": "median", "n_warmup_steps": 2}
    assert study.pruner == {"type": "patient", "patience": 1, "wrapped_pruner": inner}
    assert read(here, text, "command=python train.py ${args}").command == ("python", "train.py", "${args}")


def with_domain(domain: str) -> str:
    return RANDOM.replace("{min: 0.0, max: 1.0}", domain)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            RANDOM + "early_terminate: {type: hyperband, max_iter: 27, s: 2, eta: 0.5}\n",
            "sweep.yaml:5: early_terminate.eta: must be a number above 1, got 0.5; write eta: 3",
        ),
        (RANDOM + f"early_terminate: {{max_iter: 1{'0' * 390}, s: 2}}\n", "early_terminate: needs min_iter, or max_iter and s"),
        (RANDOM + "early_terminate: {type: median}\n", "early_terminate.type: W&B has hyperband only; write type: hyperband"),
        (RANDOM + "early_terminate: {type: hyperband}\n", "early_terminate: needs min_iter, or max_iter and s; write early_term"),
        (
            RANDOM + "early_terminate: {max_iter: 2, s: 3}\n",
            "early_terminate.max_iter: makes no bracket; write max_iter: 27",
        ),
        (RANDOM + "run_cap: 0\n", "sweep.yaml:5: budget.trials: input should be greater than 0, got 0"),
        (RANDOM + "image_uri: us/image\n", "image_uri: sweep starts programs, not images; write command: [docker, run, IMAGE,"),
        (RANDOM + "run_caps: 3\n", "sweep.yaml:5: run_caps: unknown key"),
        (RANDOM + "run_cap: 3\nbudget: {trials: 4}\n", "sweep.yaml:6: budget: cannot be combined with run_cap; keep one"),
        (RANDOM + "scheduler: {job: us/own:latest}\n", "scheduler.job: it is a program for W&B's server; write method: bayes"),
        (RANDOM + "scheduler: {engine: optuna, source: space.py}\n", "scheduler.source: the search space is in a Python file"),
        (RANDOM.replace("method: random", "method: custom"), "method: it is a program for W&B's server; write method: bayes"),
        (RANDOM.replace("program: train.py", "project: a"), "sweep.yaml:1: objective: missing; it is `module:function`"),
        (with_domain("{distribution: nromal}"), "x.distribution: 'nromal' is no distribution of W&B's; did you mean 'normal'?"),
        (with_domain("{min: 1.0, max: 0.0}"), "sweep.yaml:4: parameters.x: min (1.0) must be below max (0.0)"),
        (with_domain("{vales: [1]}"), "parameters.x.vales: unknown key; did you mean 'values'?"),
        (
            with_domain("{distribution: log_uniform, min: 1, max: 900}"),
            "x: e to the power of 900 is too large; write log",
        ),
        (with_domain("{parameters: {y: {value: 1}}, min: 1}"), "parameters.x.min: a parameter with parameters has no other key"),
        (
            with_domain("{parameters: {y: {value: 1}}}, x.y: {value: 2}"),
            "x.y is there twice; keep one of the two",
        ),
        (RANDOM.replace("program: train.py\n", "") + "command: ['${program}', '${args}']\n", "command[0]: ${program} stands for"),
        (RANDOM + "command: [python, train.py, '${arg}']\n", "command[2]: ${arg} is neither a parameter nor a placeholder"),
        (RANDOM + "command: [python, train.py, '${envvar:NO_SUCH}', '${args}']\n", "the environment has no variable 'NO_SUCH'"),
        (RANDOM.replace("train.py", "gone.py"), "sweep.yaml:1: command[1]: there is no file 'gone.py' in"),
    ],
)
def test_what_cannot_be_done_is_refused(here: Path, text: str, expected: str) -> None:
    """In its line, with what to write instead."""
    assert expected in "\n".join(problems(here, text))


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("run_cap: 5", "run_cap: unknown key; write budget: {trials: 50}"),
        ("early_terminate: {type: hyperband, min_iter: 3}", "early_terminate: unknown key; write pruner: {type: median}"),
        ("program: train.py", "program: unknown key; write command: python train.py"),
        ("project: a", "project: unknown key; remove it: nothing here needs it"),
    ],
)
def test_a_study_file_with_a_key_of_wandbs_is_still_one(here: Path, key: str, hint: str) -> None:
    """A file that names a function, or whose command is one text, is ours, and gets its own hints."""
    for ours in ("objective: sweep.objectives.toy:train", "command: python train.py ${args}"):
        text = f"{ours}\nmetric: {{name: loss, goal: minimize}}\nmethod: grid\nparameters: {{x: {{values: [1]}}}}\n{key}\n"
        assert hint in "\n".join(problems(here, text))


def test_a_parameter_may_have_the_name_of_a_macro(here: Path) -> None:
    """In a study file of ours, whose author chose its name."""
    text = "command: [python, '${program}']\nmetric: {name: loss, goal: minimize}\nmethod: grid\n"
    study = read(here, text + "parameters: {program: {values: [train.py, other.py]}}\n")
    assert study.command == ("python", "${program}")
    assert not study.notes


def test_a_dict_may_have_wandbs_keys(here: Path) -> None:
    """As `wandb.sweep` takes it."""
    data = {"name": "a", "method": "bayes", "metric": {"name": "loss"}, "parameters": {"x": {"distribution": "normal"}}}
    study = given_study(data, {"objective": "mine:train"}, import_dir=here, find_objective=False)
    assert (study.method, study.objective, study.metric.goal) == ("gp", "mine:train", "minimize")
    assert by_shares(study.parameters["x"])


def test_a_file_with_very_many_parameters_is_read_quickly(here: Path) -> None:
    """The time grows with the file only."""
    lines = "".join(f"  p{place}: {{distribution: normal, mu: {place}}}\n" for place in range(1000))
    study = read(here, f"program: train.py\nmethod: random\nmetric: {{name: loss}}\nparameters:\n{lines}")
    assert len(study.parameters) == 1000
