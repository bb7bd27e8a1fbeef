"""A trial's parameters as words in the way in which W&B's agent writes them: values as Python's `str` does, `True` and `None`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sweep.study.trial import Params, with_lists


def nested(params: Params, groups: Sequence[str]) -> dict[str, Any]:
    """Return parameters with one mapping for each of these groups: `optimizer.lr` becomes `{optimizer: {lr: ...}}`."""
    found: dict[str, Any] = {}
    for name, value in params.items():
        group = next((one for one in groups if name.startswith(f"{one}.")), None)
        if group is None:
            found[name] = value
            continue
        *path, last = name.removeprefix(f"{group}.").split(".")
        node = found.setdefault(group, {})
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return found


def _text(value: Any) -> str:
    return str(with_lists(value))


def _each(*words: str) -> Callable[[Mapping[str, Any]], Iterator[str]]:
    """Return a function that fills in these words for each parameter."""
    return lambda params: (word.format(name, _text(value)) for name, value in params.items() for word in words)


def _flags(params: Mapping[str, Any]) -> Iterator[str]:
    for name, value in params.items():
        if value is True:
            yield f"--{name}"
        elif value is not False:
            yield f"--{name}={_text(value)}"


PYTHON_WORDS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "python_args": _each("--{0}={1}"),
    "python_args_apart": _each("--{0}", "{1}"),
    "python_flags": _flags,
    "python_pairs": _each("{0}={1}"),
    "python_pairs_added": _each("+{0}={1}"),
    "python_pairs_forced": _each("++{0}={1}"),
}
