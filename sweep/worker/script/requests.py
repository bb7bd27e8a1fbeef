"""The requests of a script, answered by its trial's handle. What is not valid is refused, and the trial goes on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sweep.worker.endings import TrialPruned, TrialStopped
from sweep.worker.handle import MetricNotFinite, Trial
from sweep.worker.script.connection import Answer, refusal
from sweep.worker.script.reports import Reports


class Requests:
    """Answer what a script asks.

    Args:
        trial, reports: the handle, and where its reports go.
        reason: returns the exception that the script is being ended for, None while it runs.
        end: is called with what the handle raised.

    Attributes:
        stopping: the sweep is being stopped; the next report is the last.
        refused: the metric that was no number, if nothing was reported since.
    """

    def __init__(
        self, trial: Trial, reports: Reports, reason: Callable[[], BaseException | None], end: Callable[[BaseException], None]
    ) -> None:
        self._trial, self._reports, self._reason, self._end = trial, reports, reason, end
        self._steps: Iterator[int] = iter(())
        self._saves = False
        self.stopping = False
        self.refused: MetricNotFinite | None = None
        self._known: dict[Any, Callable[..., Any]] = {
            "report": self._report,
            "save": self._save,
            "state": self._state,
            "stop_requested": self._stop_requested,
            "steps": self._begin_steps,
            "next": lambda: next(self._steps, None),
        }

    def answer(self, request: Any) -> Answer:
        """Return the answer to a request, which may be any JSON."""
        if self._reason() is None:
            try:
                return {"answer": self._function(request)()}
            except (TypeError, ValueError, OverflowError) as error:
                self.refused = error if isinstance(error, MetricNotFinite) else self.refused
                return refusal(error)
            except BaseException as error:  # TrialPruned and a write that failed as well
                self._end(error)
        return {"end": "pruned" if isinstance(self._reason(), TrialPruned) else "stopped"}

    def _function(self, request: Any) -> Callable[[], Any]:
        if not isinstance(request, dict):
            raise TypeError("a request must be a JSON object in one line")
        words = {name: value for name, value in request.items() if name != "do"}
        what = request.get("do")
        if not isinstance(what, str) or what not in self._known:
            raise ValueError(f"a request must have a known 'do' ({', '.join(self._known)})")
        return functools.partial(self._known[what], **words)

    def _report(self, step: Any, metrics: Any, state: Any = None) -> None:
        if not isinstance(metrics, dict):
            raise TypeError("trial.report needs a dict of metrics")
        self._reports.connected(step, metrics, self._unpacked(state))
        self.refused = None
        if self.stopping and not self._saves:
            raise TrialStopped

    def _save(self, state: Any) -> None:
        self._reports.save(self._unpacked(state) or {})

    def _state(self) -> str | None:
        from sweep.worker import checkpoint

        state = (self._trial.state or {}).get("script")
        if state is None:
            return None
        path = self._trial.dir / ".state"
        checkpoint.write_state(path, state)
        return str(path)

    def _stop_requested(self) -> bool:
        self._saves = True  # it asks in order to save
        return self._trial.stop_requested

    def _begin_steps(self, total: Any) -> int | None:
        if type(total) is not int:
            raise TypeError(f"trial.steps needs a whole number, got {total!r:.100}")
        self._steps = self._trial.steps(total)
        return next(self._steps, None)

    def _unpacked(self, name: Any) -> dict[str, Any] | None:
        """Read a state that the client wrote into the run folder, and remove its file."""
        if name is None:
            return None
        from sweep.worker import checkpoint

        path = Path(str(name))
        if path.parent != self._trial.dir or not path.name.startswith(".state.") or not path.is_file():
            raise ValueError(f"a state must be in a file .state.* that the client wrote into {self._trial.dir}")
        try:
            found = checkpoint.take_state(path)
        except Exception as error:
            raise ValueError(f"the file of the state cannot be read: {error}") from None
        self._saves = True
        return found
