"""What a Python file shows about itself, read from its syntax: nothing of it is run.

Only names that are written out are found. A parameter or a metric whose name is computed is not.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.errors import SweepError
from sweep.study.code.syntax import parsed
from sweep.study.starting.declared import Option

_WRITERS = frozenset({"dump", "imwrite", "makedirs", "mkdir", "save", "save_image", "save_model", "save_pretrained", "savefig"})
_WRITERS |= {"savetxt", "savez", "SummaryWriter", "to_csv", "to_parquet", "write_bytes", "write_text"}
_READERS = frozenset({"argparse", "click", "hydra", "simple_parsing", "transformers", "typer", "tyro"})
_NO_METRICS = re.compile(r"(^|[/_.-])(step|epoch|iter(ation)?|batch|lr|learning_rate|time|seconds?)s?$", re.IGNORECASE)
_BEST = (r"val|eval|dev", r"test", r"loss|acc|score|f1|auc|error|reward")
_LARGER = re.compile(r"acc|f1|auc|precision|recall|bleu|rouge|reward|return|score|iou|dice|psnr|ssim|r2", re.IGNORECASE)
_BESIDE = re.compile(r"\.\.?/\S+")
_SUGGESTS = "suggest_"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric that is written in a file.

    Attributes:
        how: what reports it, `wandb.log` for instance; empty where nothing was found.
        line: where.
    """

    name: str
    goal: str
    how: str = ""
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function of a trial.

    Attributes:
        optimized: the file gives it to Optuna's `study.optimize`.
        optuna: it asks for its parameters itself, with `suggest_float` and its like.
        parameters: the names that it reads from `trial.params`, those that have no default as of kind `unknown`.
        passes_on: it gives `trial.params` to something else, so that there may be more.
    """

    name: str
    optimized: bool
    optuna: bool
    parameters: tuple[Option, ...]
    passes_on: bool

    @property
    def likely(self) -> bool:
        """Return whether it is the file's objective, by its use or its name."""
        return self.optimized or self.name in ("objective", "train")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a file shows.

    Attributes:
        functions: those of a trial, the likeliest objective first.
        needs: the arguments of each other function at its top.
        metrics: those that it reports, the likeliest first.
        writes: what writes files, `torch.save, line 3` for instance; empty if nothing does.
        beside: a relative path in it, `../data in line 3` for instance; empty if there is none.
        wandb: it imports W&B.
        program: it imports what reads a command line's arguments.
    """

    functions: tuple[Function, ...]
    needs: dict[str, tuple[str, ...]]
    metrics: tuple[Metric, ...]
    writes: str
    beside: str
    wandb: bool
    program: bool


def goal_of(metric: str) -> str:
    """Return whether larger values of a metric of this name are better, as a study file says it."""
    return "maximize" if _LARGER.search(metric) and not re.search("loss|error", metric, re.IGNORECASE) else "minimize"


def shown_by(path: Path) -> Shown:
    """Return what a Python file shows.

    Raises:
        SweepError: it cannot be read, or is no Python.
    """
    try:
        tree = parsed(path.read_bytes())
    except SyntaxError as error:
        raise SweepError("not-python", f"{path} is no Python: {error.msg}", where=f"{path}:{error.lineno}") from None
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise SweepError("not-python", f"{path} cannot be read: {error}") from None
    imported = {one.split(".")[0] for node in ast.walk(tree) for one in _modules(node)}
    tops = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    arguments = {node.name: tuple(one.arg for one in (*node.args.posonlyargs, *node.args.args)) for node in tops}
    optimized = {name for node in ast.walk(tree) for name in _optimized(node)}
    found = [_function(node, tree, optimized) for node in tops if len(arguments[node.name]) == 1 and _is_of_trial(node)]
    if any(one.optuna for one in found):  # an objective may leave all questions to another function
        found = [dataclasses.replace(one, optuna=one.optuna or not one.parameters) for one in found]
    found.sort(key=lambda one: (not one.optimized, not one.likely, not one.parameters))
    metrics = sorted(_metrics(tree, imported, optimized), key=_rank)
    writing = (f"{ast.unparse(call.func)}, line {call.lineno}" for name, call in _calls(tree) if _writes(name, call))
    texts = [one for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    beside = (f"{one.value!s} in line {one.lineno}" for one in texts if _BESIDE.fullmatch(str(one.value)))
    return Shown(
        functions=tuple(found),
        needs={name: args for name, args in arguments.items() if name not in {one.name for one in found}},
        metrics=tuple(metrics),
        writes=next(writing, ""),
        beside=next(beside, ""),
        wandb="wandb" in imported,
        program=bool(imported & _READERS),
    )


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call with the last name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def _writes(name: str, call: ast.Call) -> bool:
    mode = [*call.args[1:2], *(one.value for one in call.keywords if one.arg == "mode")] if name == "open" else []
    return name in _WRITERS or any(set(_text(one) or "") & set("wax+") for one in mode)


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


# ---------------------------------------------------------------- metrics


def _metrics(tree: ast.Module, imported: set[str], optimized: set[str]) -> Iterator[Metric]:
    for name, call in _calls(tree):
        first = call.args[0] if call.args else None
        names: list[str | None] = []
        given: Sequence[ast.expr | None]
        how = ast.unparse(call.func)
        if name == "report":  # trial.report(step, {...}), with the metrics also by name
            given = [*call.args[1:2], *(one.value for one in call.keywords if one.arg == "metrics")]
            names = [_text(key) for one in given if isinstance(one, ast.Dict) for key in one.keys]
        elif (name == "log" and "wandb" in imported) or name == "print":
            given = first.args[:1] if name == "print" and isinstance(first, ast.Call) else [first]  # print(json.dumps({...}))
            names = [_text(key) for one in given if isinstance(one, ast.Dict) for key in one.keys]
        elif name == "add_scalar" or (name == "log" and imported & {"lightning", "pytorch_lightning"}):
            names = [_text(first)]
        yield from (_metric(one, how, call.lineno) for one in names if one and not _NO_METRICS.search(one))
    for node in tree.body:  # what an objective of Optuna's returns, and the direction of its study
        if isinstance(node, ast.FunctionDef) and node.name in optimized:
            yield from _returned(node, tree)


def _metric(name: str, how: str, line: int) -> Metric:
    return Metric(name=name, goal=goal_of(name), how=how, line=line)


def _rank(metric: Metric) -> tuple[Any, ...]:
    return (metric.how == "return", *(not re.search(word, metric.name, re.IGNORECASE) for word in _BEST))


def _optimized(node: ast.AST) -> list[str]:
    """Return the function that `study.optimize` gets."""
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "optimize":
        given = [*node.args[:1], *(one.value for one in node.keywords if one.arg == "func")]
        return [one.id for one in given if isinstance(one, ast.Name)]
    return []


def _returned(function: ast.FunctionDef, tree: ast.Module) -> Iterator[Metric]:
    """Yield what an objective returns, under the names of the variables, each with its direction in `create_study`."""
    value = next((node.value for node in reversed([*ast.walk(function)]) if isinstance(node, ast.Return) and node.value), None)
    parts = value.elts if isinstance(value, ast.Tuple) else [value] if value else []
    goals = [
        word
        for name, call in _calls(tree)
        if name == "create_study"
        for option in call.keywords
        if option.arg in ("direction", "directions")
        for word in map(_text, option.value.elts if isinstance(option.value, ast.List | ast.Tuple) else [option.value])
    ]
    goals += ["minimize"] * (len(parts) - len(goals))  # Optuna's own default
    for place, (part, goal) in enumerate(zip(parts, goals, strict=False)):
        name = part.id if isinstance(part, ast.Name) else "value" if len(parts) == 1 else f"value_{place}"
        yield Metric(name=name, goal=goal or "minimize", how="return", line=part.lineno)


# ---------------------------------------------------------------- functions


def _is_of_trial(node: ast.FunctionDef) -> bool:
    [argument] = [*node.args.posonlyargs, *node.args.args]
    return argument.arg == "trial" or "Trial" in (ast.unparse(argument.annotation) if argument.annotation else "")


def _function(node: ast.FunctionDef, tree: ast.Module, optimized: set[str]) -> Function:
    trial = [*node.args.posonlyargs, *node.args.args][0].arg
    aliases = {f"{trial}.params"}
    written = sorted(ast.walk(node), key=lambda one: (getattr(one, "lineno", 0), getattr(one, "col_offset", 0)))
    for one in written:
        if isinstance(one, ast.Assign) and ast.unparse(one.value) in aliases:
            aliases.update(target.id for target in one.targets if isinstance(target, ast.Name))
    found: dict[str, Option] = {}
    passes_on = optuna = False
    for one in written:
        match one:
            case ast.Subscript(value=of, slice=ast.Constant(value=str(name))) if ast.unparse(of) in aliases:
                found.setdefault(name, Option(name=name, kind="unknown", required=True))
            case ast.Call(func=ast.Attribute(value=of, attr="get"), args=[ast.Constant(value=str(name)), *rest]) if (
                ast.unparse(of) in aliases
            ):
                found[name] = dataclasses.replace(_option(name, rest[0] if rest else None, None), required=False)
            case ast.Call(func=ast.Attribute(attr=attr)) if attr.startswith(_SUGGESTS):
                optuna = True
            case ast.Call(func=called, args=args, keywords=keywords):
                whole = [each.value for each in keywords if each.arg is None and ast.unparse(each.value) in aliases]
                known = _signature(called, tree) if whole else None
                for option in known or ():
                    found.setdefault(option.name, option)
                passes_on |= any(ast.unparse(each) in aliases for each in args) or (bool(whole) and known is None)
    return Function(
        name=node.name,
        optimized=node.name in optimized,
        optuna=optuna,
        parameters=tuple(found.values()),
        passes_on=passes_on,
    )


def _signature(called: ast.expr, tree: ast.Module) -> list[Option] | None:
    """Return the arguments of a function, or the fields of a class, of the same file; None for any other."""
    for node in tree.body:
        if isinstance(called, ast.Name) and getattr(node, "name", None) == called.id:
            if isinstance(node, ast.FunctionDef):
                args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                few = len(node.args.posonlyargs) + len(node.args.args) - len(node.args.defaults)
                defaults = [None] * few + node.args.defaults + node.args.kw_defaults
                return [_option(arg.arg, default, arg.annotation) for arg, default in zip(args, defaults, strict=True)]
            if isinstance(node, ast.ClassDef):
                fields = [one for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
                return [_option(one.target.id, one.value, one.annotation) for one in fields]  # type: ignore[union-attr]
    return None


def _option(name: str, default: ast.expr | None, annotation: ast.expr | None) -> Option:
    try:
        value = ast.literal_eval(default) if default is not None else None
    except ValueError:  # it is computed
        value = None
    value = list(value) if isinstance(value, tuple) else value
    value = value if isinstance(value, bool | int | float | str | list) else None
    told = ast.unparse(annotation) if annotation is not None else type(value).__name__
    kinds = {"bool": "bool", "int": "int", "float": "float", "str": "text"}
    return Option(
        name=name, kind=kinds.get(told, "unknown"), default=value, required=default is None, several=isinstance(value, list)
    )
