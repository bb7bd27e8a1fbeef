"""Draw the last pictures of trials that have ended, in a thread of the runner: see `sweep.tensorboard.drawings`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Any

from sweep.study import plain
from sweep.tensorboard import drawings

_QUIET_S, _MANY = 1.0, 20  # what takes longer, and more trials than are drawn in that time, are announced


class Drawing:
    """A thread that draws, as a context: it leaves when everything is drawn, unless an error is raised.

    Args:
        ended: the folders of the runs that have ended. What a session that was killed has left of them is drawn at once.
        notice: shows a line.
    """

    def __init__(self, ended: Iterable[Path], notice: Callable[[str], None]) -> None:
        self._notice = notice
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="drawing")
        self._waiting: set[Future[None]] = set()
        self._failed: list[str] = []
        left = [run_folder for run_folder in ended if drawings.is_left(run_folder)]
        if len(left) > _MANY:
            notice(f"drawing the last pictures of {len(left)} trials for TensorBoard, as an earlier session was killed")
        for run_folder in left:
            self._draw(run_folder, again=True)
        self._say_what_failed()

    def __enter__(self) -> Drawing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if kind is None and (count := len(wait(set(self._waiting), timeout=_QUIET_S).not_done)):
            self._notice(f"drawing the last pictures of {count} trial{'s' * (count > 1)} for TensorBoard")
        self._thread.shutdown(cancel_futures=kind is not None)
        self._say_what_failed()

    def ended(self, run_folder: Path, best: Callable[[], bool]) -> None:
        """Draw what is left for a run that has ended; its embeddings only while `best` says so."""
        if drawings.is_left(run_folder):
            future = self._thread.submit(self._draw, run_folder, best=best)
            self._waiting.add(future)
            future.add_done_callback(self._waiting.discard)
        self._say_what_failed()

    def _draw(self, run_folder: Path, **options: Any) -> None:
        try:
            drawings.draw(run_folder, **options)
        except Exception as error:  # whatever it is, it must not end a session
            self._failed.append(f"the last pictures of {run_folder.name} could not be drawn: {plain.text(error)}")

    def _say_what_failed(self) -> None:
        while self._failed:
            self._notice(self._failed.pop())
