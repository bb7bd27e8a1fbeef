"""What to write instead: for words of other tools, and for the forms that come to mind first.

The words are those of W&B, Ray Tune, Optuna, Hydra, Keras Tuner and scikit-learn, by the place in the study file where they are
found. What is not listed gets the nearest known word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sweep.errors import did_you_mean
from sweep.study.distribution import PARAMETERS_OF
from sweep.study.file.document import shortened
from sweep.study.file.writing import flow

NO_MAPPING = "a value is a number, a text, a boolean, null, or a list of these"
_METRIC = "write it in metric: {name: loss, goal: minimize}"
_BUDGET = "write budget: {trials: 50}"
_PARAMETERS = "write parameters: {lr: {values: [0.1, 0.01]}}"
_PRUNER = "write pruner: {type: median}"
_WORKERS = "write workers: {per_device: 4}"
_SCRIPT = 'write command: python train.py "${args}"'
_METHOD = "write method: tpe, or random or grid"
_NOT_NEEDED = "remove it: nothing here needs it"
_AT_THE_TOP = {
    **dict.fromkeys(("params", "param", "hyperparameters", "search_space", "space", "config", "hparams"), _PARAMETERS),
    **dict.fromkeys(("program", "script", "entrypoint", "cmd"), _SCRIPT),
    **dict.fromkeys(("function", "func", "trainable", "train", "fn", "module"), "write objective: mine:train"),
    **dict.fromkeys(("goal", "direction", "directions", "mode", "target"), _METRIC),
    **dict.fromkeys(("algorithm", "search_alg", "algo", "strategy", "search", "tuner", "oracle"), _METHOD),
    **dict.fromkeys(("num_samples", "n_trials", "max_trials", "trials", "run_cap", "count", "n_iter"), _BUDGET),
    **dict.fromkeys(("early_terminate", "scheduler", "early_stopping", "pruning"), _PRUNER),
    **dict.fromkeys(("n_jobs", "num_workers", "jobs", "parallel", "max_concurrent_trials", "processes"), _WORKERS),
    **dict.fromkeys(("gpus", "gpu", "devices", "device", "resources_per_trial"), "write workers: {devices: [0, 1]}"),
    **dict.fromkeys(("gpus_per_trial", "gpus_per_worker", "nproc_per_node"), "write workers: {devices_per_trial: 2}"),
    **dict.fromkeys(("random_state", "random_seed"), "write seed: 0"),
    **dict.fromkeys(("storage", "output_dir", "outdir", "local_dir", "save_dir"), "write output: runs"),
    **dict.fromkeys(("study_name", "title"), "write name: my-study"),
    **dict.fromkeys(("project", "entity", "description", "defaults", "hydra", "version"), _NOT_NEEDED),
    "executions_per_trial": "write repeats: 3",
    "max_time": "write budget: {time: 2h}",
    "max_epochs": "write max_steps: 20",
    "max_t": "write max_steps: 20",
}
_OF_A_PARAMETER = {
    **dict.fromkeys(("grid_search", "choice", "choices", "options", "categorical", "items", "suggest_categorical"), "values"),
    **dict.fromkeys(("low", "lower", "minimum", "min_value", "start", "from"), "min"),
    **dict.fromkeys(("high", "upper", "maximum", "max_value", "stop", "end", "to"), "max"),
    **dict.fromkeys(("const", "constant", "default", "fixed"), "value"),
    **dict.fromkeys(("step_size", "by", "interval"), "step"),
}
_RANGES = "uniform", "suggest_float", "suggest_int", "randint", "range", "quniform", "int", "float"
_LOG_RANGES = "loguniform", "log_uniform", "suggest_loguniform", "lograndint", "qloguniform", "sampling", "scale"
_METHODS = {
    **dict.fromkeys(("bayes", "bayesian", "bayesopt", "optuna", "hyperopt", "bohb"), "tpe"),
    **dict.fromkeys(("grid_search", "gridsearch", "sweep", "basic"), "grid"),
    **dict.fromkeys(("random_search", "randomsearch", "rand"), "random"),
    **dict.fromkeys(("sobol", "halton", "quasi_random"), "qmc"),
    **dict.fromkeys(("cma-es", "cma_es", "cma"), "cmaes"),
    **dict.fromkeys(("nsga2", "nsga-ii", "genetic", "evolution"), "nsgaii"),
    **dict.fromkeys(("hyperband", "asha", "bandit"), "tpe, and pruner: {type: hyperband}"),
}
_GOALS = {
    **dict.fromkeys(("min", "minimum", "lower", "smaller", "down", "less", "loss"), "minimize"),
    **dict.fromkeys(("max", "maximum", "higher", "larger", "up", "greater"), "maximize"),
}
_LOG = "min, max and log: true"
_DISTRIBUTIONS = {
    **dict.fromkeys(("log_uniform", "loguniform", "inv_log_uniform", "inv_log_uniform_values", "q_log_uniform_values"), _LOG),
    **{f"q_{name}": f"{name}, with round in place of q" for name in PARAMETERS_OF},
    **dict.fromkeys(("gaussian", "randn"), "normal"),
    **dict.fromkeys(("lognormal", "lognorm"), "log_normal"),
    **dict.fromkeys(("choice", "choices", "grid"), "values"),
    **dict.fromkeys(("int", "randint", "integer"), "int_uniform"),
    "float": "uniform",
    "q_log_uniform": _LOG,
}
_SMALL = re.compile(r"loss|err|mse|mae|perplexity|ppl|nll|time|second|latency|memory|wer$|cer$|regret|cost", re.IGNORECASE)
_CALL = re.compile(r"\s*[\w.]*\(.*\)\s*", re.DOTALL)


def top_level(key: str, value: Any, known: Iterable[str], domain_keys: Iterable[str]) -> str:
    """Return the hint for an unknown key of the whole file."""
    of_a_domain = {*domain_keys, *_OF_A_PARAMETER} - {"a", "b"}  # which parameters are called, too
    if isinstance(value, Mapping) and set(value) & of_a_domain:
        return f"if it is a parameter, write it under parameters:, indented: {key}: {_text(value)}"
    found = did_you_mean(key, known)
    if key.lower() in _AT_THE_TOP:
        return _AT_THE_TOP[key.lower()]
    if isinstance(value, int | float | list) and not found.startswith("did you mean"):
        return f"if it is a parameter, write parameters: {{{key}: {_domain(value)}}}; {found}"
    return found


def parameter_key(name: str, key: str, value: Any, known: Iterable[str]) -> str:
    """Return the hint for an unknown key of a parameter."""
    ends = isinstance(value, list) and len(value) >= 2
    low, high = (_text(value[0]), _text(value[1])) if ends else ("0.001", "0.1")
    if key in _RANGES:
        return f"write {name}: {{min: {low}, max: {high}}}"
    if key in _LOG_RANGES:
        return f"write {name}: {{min: {low}, max: {high}, log: true}}"
    if key in _OF_A_PARAMETER:
        return f"write {_OF_A_PARAMETER[key]}: {_text(value)}"
    if key in ("type", "dtype"):
        return "remove it: whole numbers as min and max make whole numbers"
    return did_you_mean(key, known)


def literal(path: tuple[str | int, ...], given: Any, known: list[str]) -> str:
    """Return the hint for a word that is none of those that a key may have."""
    word = str(given).lower()
    for place, words in (("method", _METHODS), ("goal", _GOALS), ("distribution", _DISTRIBUTIONS)):
        if path[-1] == place and word in words:
            return f"write {'' if words[word].startswith('min ') or 'min,' in words[word] else f'{place}: '}{words[word]}"
    return did_you_mean(str(given), known)


def parameter(name: str, given: Any, *, typed: bool) -> str:
    """Return the hint for a parameter without keys; `typed` for an override."""
    if isinstance(given, str) and _CALL.fullmatch(given):
        several = f"{name}.values='[1, 2, 3]'" if typed else f"{name}: {{values: [1, 2, 3]}}, or {{min: 1, max: 3}}"
        return f"nothing is called in a study; write {several}"
    if typed and isinstance(given, str) and "," in given:
        return f"for several values write {name}.values='[{', '.join(part.strip() for part in given.split(','))}]'"
    if typed:
        return f"write {name}.value{'s' * isinstance(given, list)}={_quoted(given)}"
    if given is None:
        return f"write {name}: {{value: 0.1}}, or {{values: [0.1, 0.01]}}, or {{min: 0.01, max: 0.1}}"
    if isinstance(given, list):
        return f"for several values write {name}: {{values: {_text(given)}}}"
    return f"for a constant write {name}: {{value: {given if isinstance(given, str) else _text(given)}}}"


def listed(name: str, given: Any) -> str:
    """Return the hint for values that are no list."""
    if isinstance(given, str) and _CALL.fullmatch(given):
        return f"nothing is called in a study; write {name}: {{values: [1, 2, 3]}}, or {{min: 1, max: 3}}"
    if isinstance(given, str) and "," in given:
        return f"write {name}: {{values: [{given}]}}"
    if given is None:
        return f"write {name}: {{values: [0.1, 0.01]}}"
    return f"write {name}: {{values: [{_text(given)}]}}, or {{value: {_text(given)}}} for a constant"


def metric(given: Any) -> str:
    """Return the hint for a metric that is not written as a mapping."""
    if isinstance(given, list):
        return "for several write metrics: [{name: accuracy, goal: maximize}, {name: loss, goal: minimize}]"
    name = given if isinstance(given, str) and given.strip() else "loss"
    return f"write metric: {{name: {name}, goal: {goal_of(name)}}}"


def goal_of(name: Any) -> str:
    """Return the likely goal of a metric."""
    return "minimize" if _SMALL.search(str(name)) else "maximize"


def metric_key(key: str, value: Any, known: Iterable[str]) -> str:
    """Return the hint for an unknown key of a metric."""
    if key in ("direction", "mode", "objective", "optimize"):
        return f"write goal: {_GOALS.get(str(value).lower(), value if value in ('minimize', 'maximize') else 'minimize')}"
    found = did_you_mean(key, known)
    if isinstance(value, str) and (value in ("minimize", "maximize") or value.lower() in _GOALS) and "did you" not in found:
        return f"write metric: {{name: {key}, goal: {_GOALS.get(value.lower(), value)}}}"
    return found


def objective(given: Any) -> str:
    """Return the hint for an objective that is not written as a reference."""
    if not isinstance(given, str):
        return "write objective: mine:train, for the function train in mine.py"
    text = given.strip()
    program, _, rest = text.partition(" ")
    if program in ("python", "python3", "bash", "sh", "torchrun", "accelerate") and rest:
        return f'write command: {text} "${{args}}", in place of objective'
    path, _, function = text.removesuffix("()").partition(":")
    module = path.removeprefix("./").removesuffix(".py").replace("/", ".")
    if re.fullmatch(r"\w+(\.\w+)*", module):
        if function:
            return f"write objective: {module}:{function.rpartition('.')[2]}"
        if path.endswith(".py"):
            return f'write objective: {module}:FUNCTION, or for a script command: python {path} "${{args}}"'
        if "." in module:
            return "write objective: " + ":".join(module.rsplit(".", 1))
        return f"write objective: {module}:FUNCTION, for a function in {module}.py"
    return "write objective: mine:train, for the function train in mine.py"


def mapping(path: tuple[str | int, ...], given: Any, known: list[str]) -> str:
    """Return the hint for one value where a mapping is needed."""
    first = {"pruner": "type", "workers": "per_device"}.get(str(path[-1])) or next(iter(known), "")
    if given is None or isinstance(given, list | Mapping) or not first:
        return ""
    return f"write {path[-1]}: {{{first}: {given if isinstance(given, str) else _text(given)}}}"


def _domain(value: Any) -> str:
    return f"{{values: {_text(value)}}}" if isinstance(value, list) else f"{{value: {_text(value)}}}"


def _quoted(value: Any) -> str:
    text = _text(value)
    return f"'{text}'" if isinstance(value, list | Mapping) else text


def _text(value: Any) -> str:
    text = flow(value)
    return text if len(text) <= 100 else shortened(value)
