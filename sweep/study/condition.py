"""When a parameter applies."""

from __future__ import annotations

from dataclasses import dataclass

from sweep.study.trial import Params, Scalar


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition: the parameter applies only if its `parent`, an earlier parameter, applies and has one of `values`."""

    parent: str
    values: tuple[Scalar, ...]

    def holds(self, params: Params) -> bool:
        """Return whether an assignment of the earlier parameters fulfils the condition."""
        return self.parent in params and self.accepts(params[self.parent])

    def accepts(self, value: Scalar) -> bool:
        """Return whether a value of the parent fulfils the condition; 1 equals 1.0, but not true."""
        return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in self.values)
