"""The parameters of a W&B file: each distribution of W&B's reference as a domain of ours, nested ones with dotted names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sweep.errors import did_you_mean
from sweep.study.file.source import KeyPath
from sweep.study.file.wandb_keys import Keys, number

_PLAIN = ("constant", "categorical", "categorical_w_probabilities", "int_uniform")
_RANGES = ("uniform", "log_uniform", "log_uniform_values", "inv_log_uniform", "inv_log_uniform_values")
_OTHERS = ("normal", "log_normal", "beta")
_ROUNDED = ("q_uniform", "q_log_uniform", "q_log_uniform_values", "q_normal", "q_log_normal", "q_beta")
_KNOWN = (*_PLAIN, *_RANGES, *_OTHERS, *_ROUNDED)
_DEFAULT_Q = 1.0
_LARGEST_EXPONENT = 700


def translate_parameters(keys: Keys, given: Any, method: Any) -> None:
    """Add the parameters, and which of them are nested."""
    if not isinstance(given, dict):
        if given is not None:
            keys.move(("parameters",), ("parameters",), given)
        return
    keys.put(("parameters",), {}, ("parameters",))
    groups: list[str] = []
    _add(keys, given, ("parameters",), "", method, groups)
    if groups:
        keys.put(("nested",), groups, ("parameters",))


def _add(keys: Keys, given: Mapping[str, Any], origin: KeyPath, prefix: str, method: Any, groups: list[str]) -> None:
    for name, parameter in given.items():
        where, full = (*origin, name), f"{prefix}{name}"
        if isinstance(parameter, dict) and isinstance(parameter.get("parameters"), dict):
            if other := [key for key in parameter if key != "parameters"]:
                keys.refuse((*where, other[0]), "a parameter with parameters has no other key", "remove it")
            if not prefix:
                groups.append(name)
            _add(keys, parameter["parameters"], (*where, "parameters"), f"{full}.", method, groups)
            continue
        if full in keys.data["parameters"]:
            keys.refuse(where, f"{full} is there twice", "keep one of the two")
        keys.move(where, ("parameters", full), _domain(keys, where, full, parameter, grid=method == "grid"))


def _domain(keys: Keys, where: KeyPath, name: str, given: Any, *, grid: bool) -> Any:
    """Return the keys of our domain; what is wrong with them by themselves is found when they are checked."""
    if not isinstance(given, dict):
        return given
    kind = given.get("distribution")
    own = {key: value for key, value in given.items() if key != "distribution"}
    if kind is None:
        whole = all(type(own.get(key)) is int for key in ("min", "max"))
        kind = "uniform" if {"min", "max"} <= own.keys() and not whole else "constant"
    elif kind not in _KNOWN:
        keys.refuse((*where, "distribution"), f"{kind!r} is no distribution of W&B's", did_you_mean(str(kind), _KNOWN))
    if kind in _OTHERS:
        return own | {"distribution": kind}
    if kind in _ROUNDED:
        q = own.pop("q", _DEFAULT_Q)
        if kind == "q_uniform" and grid:
            return own | {"step": q}
        own["round"] = q
        kind = kind.removeprefix("q_")
        return own | {"distribution": kind} if kind in _OTHERS else _range(keys, where, name, kind, own)
    if kind == "int_uniform":
        return own | {"distribution": kind}  # min and max must be whole numbers
    return _range(keys, where, name, kind, own) if kind in _RANGES else own


def _range(keys: Keys, where: KeyPath, name: str, kind: str, own: dict[str, Any]) -> dict[str, Any]:
    low, high = own.get("min"), own.get("max")
    if not number(low) or not number(high):
        return own
    if kind == "inv_log_uniform":  # 1 / X has these exponents
        low, high = -high, -low
    if kind in ("log_uniform", "inv_log_uniform"):
        if high > _LARGEST_EXPONENT:
            keys.refuse(where, f"e to the power of {high:g} is too large", "write log_uniform_values for the values themselves")
            return own
        low, high = math.exp(low), math.exp(high)
        keys.source.notes.append(f"{name}: {kind}'s min and max are exponents of e: from {low:.3g} to {high:.3g}")
    return own | {"min": float(low), "max": float(high)} | ({} if kind == "uniform" else {"log": True})
