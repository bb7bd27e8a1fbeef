"""The traceback of a user's error: what is shown of it, and how it lets go of the objective's variables."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import TracebackType

from sweep.study import plain

_PACKAGE = Path(__file__).parents[1]


def user_traceback(error: BaseException) -> str:
    """Return the traceback from the first frame of the user's code on; the built-in objectives count as such code."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None and _is_own(Path(trace.tb_frame.f_code.co_filename)):
        trace = trace.tb_next
    return plain.traceback_text(error.with_traceback(trace))


def forget(error: BaseException) -> None:
    """Clear the frames of an error and of those that it came from, which hold the objective's variables: model and gradients."""
    left, known = [error], set()
    while left:
        one = left.pop()
        known.add(id(one))
        traceback.clear_frames(one.__traceback__)
        one.__traceback__ = None
        group = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        left += [other for other in (one.__context__, one.__cause__, *group) if other is not None and id(other) not in known]
    if id(getattr(sys, "last_value", None)) in known:  # an interactive session keeps it
        sys.last_value = sys.last_traceback = None


def _is_own(file: Path) -> bool:
    return file.is_relative_to(_PACKAGE) and not file.is_relative_to(_PACKAGE / "objectives")
