"""Compare what the search finds with Optuna's own `study.optimize`, same sampler and seed: the best value of 100 trials.

    python -m tests.benchmarks.search [--seeds 20] [--gp-seeds 3] [--trials 100] [--json FILE]

The figure is the median over the seeds, in the unit of each problem. All problems are minimised, so a difference below zero
means that ours is better. The planner is asked and told in this process, without workers and without a folder.

The proposals are those of Optuna's sampler with the same random numbers, so both find the same to the last bit until the
sampler proposes a point for the second time. Optuna tries it again; here it is a failed trial for the sampler, and another point
is drawn, so that 100 trials are 100 different points. From there on the two searches differ: one is better with this
seed, the other with the next. It happens on `finite` (504 points), with NSGA-II in two dimensions, where a child may take all
its genes from one parent, and with GP, which starts its search from the best point and often ends there near an optimum.
GP takes a second where the others take milliseconds, so it has fewer seeds; a column has their number.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from sweep.search.methods import make_sampler
from sweep.search.planner import Planner
from sweep.storage.optuna_terms import distributions
from sweep.study.methods import SAMPLERS
from sweep.study.space import assignment
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from tests.benchmarks.machine import describe
from tests.support.studies import study_spec

_HARTMANN_A = ((10, 3, 17, 3.5, 1.7, 8), (0.05, 10, 17, 0.1, 8, 14), (3, 3.5, 1.7, 10, 17, 8), (17, 8, 0.05, 10, 0.1, 14))
_HARTMANN_P = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A function to minimise, its space as a study file writes it, and its known minimum."""

    value: Callable[[Mapping[str, Any]], float]
    parameters: dict[str, Any]
    optimum: float


def branin(p: Mapping[str, Any]) -> float:
    x, y = p["x"], p["y"]
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


def hartmann(p: Mapping[str, Any]) -> float:
    x = [p[f"x{place}"] for place in range(6)]
    total = 0.0
    for weight, a, centre in zip((1.0, 1.2, 3.0, 3.2), _HARTMANN_A, _HARTMANN_P, strict=True):
        total -= weight * math.exp(-sum(scale * (at - mid) ** 2 for scale, at, mid in zip(a, x, centre, strict=True)))
    return total


def conditional(p: Mapping[str, Any]) -> float:
    """Return a loss of three optimizers, each with parameters of its own; 0 with adam, lr 1e-3, beta 0.95, 4 layers."""
    rate = math.log10(p["lr"])
    depth = (p["layers"] - 4) ** 2 / 40
    if p["optimizer"] == "sgd":
        return float(0.1 + (rate + 1) ** 2 / 4 + (p["momentum"] - 0.9) ** 2 + depth)
    if p["optimizer"] == "adam":
        return float((rate + 3) ** 2 / 4 + 4 * (p["beta"] - 0.95) ** 2 + depth)
    return float(0.05 + (rate + 4) ** 2 / 2 + (math.log10(p["decay"]) + 2) ** 2 / 10 + depth)


def finite(p: Mapping[str, Any]) -> float:
    """Return a loss on 504 points; 0 at 1e-3, 64, 0.3, wide."""
    rate, batch = math.log10(p["lr"]) + 3, math.log2(p["batch_size"]) - 6
    return float(rate**2 + batch**2 / 4 + (p["dropout"] - 0.3) ** 2 + (0.0 if p["width"] == "wide" else 0.2))


PROBLEMS = {
    "branin": Problem(
        value=branin, parameters={"x": {"min": -5.0, "max": 10.0}, "y": {"min": 0.0, "max": 15.0}}, optimum=0.397887
    ),
    "hartmann-6": Problem(
        value=hartmann, parameters={f"x{place}": {"min": 0.0, "max": 1.0} for place in range(6)}, optimum=-3.322368
    ),
    "conditional": Problem(
        value=conditional,
        parameters={
            "optimizer": {"values": ["sgd", "adam", "lion"]},
            "lr": {"min": 1e-6, "max": 1.0, "log": True},
            "layers": {"min": 1, "max": 10},
            "momentum": {"min": 0.0, "max": 0.99, "when": {"optimizer": "sgd"}},
            "beta": {"min": 0.5, "max": 0.999, "when": {"optimizer": "adam"}},
            "decay": {"min": 1e-5, "max": 1.0, "log": True, "when": {"optimizer": "lion"}},
        },
        optimum=0.0,
    ),
    "finite": Problem(
        value=finite,
        parameters={
            "lr": {"values": [1e-1, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5]},
            "batch_size": {"values": [16, 32, 64, 128, 256, 512]},
            "dropout": {"min": 0.0, "max": 0.5, "step": 0.1},
            "width": {"values": ["narrow", "wide"]},
        },
        optimum=0.0,
    ),
}


def study_of(problem: Problem, method: str, seed: int, trials: int) -> StudySpec:
    metric = {"name": "loss", "goal": "minimize"}
    return study_spec(problem.parameters, metric=metric, method=method, budget={"trials": trials}, seed=seed)


def ours(study: StudySpec, problem: Problem) -> float:
    """Return the best value that our planner finds."""
    planner, best = Planner(study), math.inf
    while asked := planner.ask():
        number, params = asked
        value = problem.value(params)
        planner.tell(number, TrialState.COMPLETE, value)
        best = min(best, value)
    return best


def optunas(study: StudySpec, problem: Problem) -> float:
    """Return the best value that Optuna's own loop finds."""
    space = distributions(study.parameters)

    def objective(trial: optuna.Trial) -> float:
        return problem.value(assignment(study.parameters, lambda name, _: trial._suggest(name, space[name])))

    theirs = optuna.create_study(sampler=make_sampler(study.method, study.seed, {}))
    theirs.optimize(objective, n_trials=study.budget.trials)
    return theirs.best_value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--gp-seeds", type=int, default=3, help="of GP, which is slow")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--methods", nargs="+", default=list(SAMPLERS), choices=list(SAMPLERS))
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--json", metavar="FILE", help="where to write the best value of every seed")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")  # Optuna's, on what is experimental and on parameters with conditions
    print(describe(["optuna"]))
    print(f"the median over seeds of the best of {options.trials} trials, minimised\n")
    columns = ("problem", "method", "seeds", "optimum", "ours", "Optuna's", "difference", "seeds that differ")
    print(("{:<12} {:<7} {:>5} {:>10} {:>12} {:>12} {:>12} {:>18}").format(*columns))
    rows: list[dict[str, Any]] = []
    began = time.monotonic()
    for name in options.problems:
        problem = PROBLEMS[name]
        for method in options.methods:
            count = min(options.seeds, options.gp_seeds) if method == "gp" else options.seeds
            studies = [study_of(problem, method, seed, options.trials) for seed in range(count)]
            mine, theirs = [ours(study, problem) for study in studies], [optunas(study, problem) for study in studies]
            medians = statistics.median(mine), statistics.median(theirs)
            differ = sum(one != other for one, other in zip(mine, theirs, strict=True))
            print(
                f"{name:<12} {method:<7} {count:>5} {problem.optimum:>10.5f} {medians[0]:>12.6f} {medians[1]:>12.6f}"
                f" {medians[0] - medians[1]:>12.6f} {differ:>18}",
                flush=True,
            )
            rows.append({"problem": name, "method": method, "optimum": problem.optimum, "ours": mine, "optunas": theirs})
    print(f"\n{time.monotonic() - began:.0f} s")
    if options.json:
        found = {"trials": options.trials, "optuna": optuna.__version__, "rows": rows}
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
