"""What a trial may leave behind in its process, so that the next trial starts as if it were the first.

A worker runs many trials. After each one, what was found before the first is compared with what is there now, which takes some
tenths of a millisecond. What differs and can be put back exactly (gradient mode, working directory, environment) is put back.
After anything else (a thread that is still alive, a child process, a counter in the study's modules) the process is replaced.
So no order of the trials and no number of workers changes a result. Putting back costs microseconds, a new process some 100 ms
and the import of the objective.

Not compared, and left: values in lists, dicts and objects, since a data set that is kept for the next trial is one.
"""

from __future__ import annotations

import contextlib
from typing import Any

from sweep.worker import interpreter_state, library_state, module_state
from sweep.worker.interpreter_state import State

_FIRST = 2  # parts of `interpreter_state`: timers and streams


class ProcessState:
    """The state of this process as it was when this was made.

    Args:
        modules: remembers the modules of the study's folder.
    """

    def __init__(self, modules: module_state.Modules) -> None:
        self._modules = modules
        self._parts = [*interpreter_state.parts(), *library_state.parts()]
        self._found = [_read(part) for part in self._parts]
        self._next = 0  # the first part that is not yet put back

    def add_torch(self) -> None:
        """Take in what belongs to torch, as it is now, at the end of its import."""
        from sweep.worker import torch_state

        parts = list(torch_state.parts())
        self._parts += parts
        self._found += map(_read, parts)

    def put_back_first(self) -> None:
        """Put back timers and streams, at once when the objective has returned: what follows prints and must not be disturbed."""
        self._next = 0 if self._put_back(0, _FIRST) else _FIRST

    def put_back(self) -> list[str]:
        """Put back everything else that differs; return the names of what cannot be put back."""
        start, self._next = self._next, 0
        return self._put_back(start, None) + self._modules.changed()

    def _put_back(self, start: int, end: int | None) -> list[str]:
        parts = zip(self._parts[start:end], self._found[start:end], strict=True)
        changed = [(part, before) for part, before in parts if _read(part) != before]
        for part, before in changed:
            _, _, restore = part
            if restore is not None:
                with contextlib.suppress(Exception):  # then it still differs
                    restore(before)
        return [part[0] for part, before in changed if _read(part) != before]

    def close(self) -> None:
        """Leave this process to others."""
        self._modules.close()


def _read(part: State) -> Any:
    _, read, _ = part
    try:
        return read()
    except Exception as error:  # such as a working directory that was deleted
        return type(error).__name__
