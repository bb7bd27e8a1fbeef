"""What in a function's source shows that it cannot be an objective, which is called with one argument, the trial."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

_HOW = 'write it as def train(trial), with trial.params["lr"] inside'


def why_unfit(tree: ast.Module, name: str) -> str | None:
    """Return why a module's function cannot be an objective; None if it can be, or if its source does not tell.

    Only what is certain counts: the name is bound once in the module, by a plain definition.
    """
    bound = [node for node in tree.body if name in names_in((node, *_own(node)))]
    if len(bound) != 1:
        return None
    node = bound[0]
    if isinstance(node, ast.ClassDef):
        return f"{name} is a class, not a function; {_HOW}" if not (node.decorator_list or node.keywords) else None
    if isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
        if isinstance(node.value, ast.Lambda):
            return _of_arguments(name, node.value.args)
        if isinstance(node.value, ast.Constant | ast.List | ast.Dict | ast.Tuple | ast.JoinedStr):
            return f"{name} is a value, not a function; {_HOW}"
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.decorator_list:
        return None
    if isinstance(node, ast.AsyncFunctionDef):
        return f"{name} is async, and nothing would await it; write def {name}(trial), with asyncio.run(...) inside"
    if any(isinstance(part, ast.Yield | ast.YieldFrom) for part in _own(node)):
        return f"{name} is a generator (it has yield), so that calling it runs nothing; report with trial.report instead"
    return _of_arguments(name, node.args)


def _of_arguments(name: str, args: ast.arguments) -> str | None:
    positional = [arg.arg for arg in (*args.posonlyargs, *args.args)]
    needed = positional[: len(positional) - len(args.defaults)]
    needed += [arg.arg for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is None]
    if len(needed) > 1 or (needed and not positional):
        return f"{name} needs {', '.join(needed)}, but an objective gets one argument, the trial; {_HOW}"
    if not positional and args.vararg is None:
        return f"{name} takes no argument, but an objective gets one, the trial; {_HOW}"
    return None


def names_in(parts: Iterable[ast.AST]) -> Iterator[str]:
    """Yield every name that these parts of a module may bind in it."""
    for part in parts:
        match part:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.alias(name=name, asname=other):
                yield other or name.partition(".")[0]
            case ast.Global(names=names):
                yield from names


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a node that are not inside of another function or class."""
    for part in ast.iter_child_nodes(node):
        yield part
        if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _own(part)
