"""Words for applications of Hydra: `key=value` overrides, quoted as Hydra's grammar wants.

The grammar: https://hydra.cc/docs/advanced/override_grammar/basic
"""

from __future__ import annotations

import re

from sweep.study.trial import Params, Scalar

_BARE = re.compile(r"[A-Za-z_/][\w/.:+-]*", re.ASCII)  # needs no quotes, unless it is one of these words
_OTHER_TYPES = {"null", "true", "false", "nan", "inf"}
# A quote begins or ends a text, `${` an interpolation, and backslashes before them have a meaning.
_ESCAPED = re.compile(r"(\\*)('|\$\{|$)")
_ASSIGNED = re.compile(r"([+~]{0,2}[A-Za-z_][^=\s]*=)(.+)", re.DOTALL)


def overrides(params: Params) -> list[str]:
    """Return an override for each parameter."""
    return [f"{name}={_value(value)}" for name, value in params.items()]


def quoted(word: str) -> str:
    """Return a word in which the value of an override is quoted if Hydra would not take it as one text."""
    match = _ASSIGNED.fullmatch(word)
    if match is None or match[2][0] in "'\"[{" or not re.search(r"[\s=,'\"\[\]{}()\\]", match[2]):
        return word
    return match[1] + _text(match[2])


def _value(value: Scalar) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(_value, value))}]"
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) and value.lower() not in _OTHER_TYPES else _text(value)
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)


def _text(value: str) -> str:
    def escaped(match: re.Match[str]) -> str:
        return match[1] * 2 + (f"\\{match[2]}" if match[2] else "")

    return f"'{_ESCAPED.sub(escaped, value)}'"
