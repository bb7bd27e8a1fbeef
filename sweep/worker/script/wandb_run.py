"""W&B offline: what a script gives `wandb.log` becomes reports, and the trial's parameters fill `wandb.config`.

    WANDB_SWEEP_PARAM_PATH ── the trial's parameters, over the script's own defaults ──► wandb.config
    WANDB_DIR/wandb/offline-run-*/*.wandb, read while it grows ◄── wandb.log, define_metric, run.summary
      a row with the metric ─────────────► report(step, its numbers)
      other rows ────────────────────────► points of their curves
      numbers of the summary alone ──────► the trial's last metrics

Only with WANDB_MODE=offline in the script's environment: then wandb asks for no login and needs no network. The runs stay in the
run folder, so that `wandb sync` can send them later. Images and other media stay in them alone.

**Steps.** A report has the value of the metric's `step_metric` (`define_metric`) where that is a whole number, else wandb's own
step, which counts the rows. Rows that are complete are written by wandb every `_FLUSH_S`, so reports are live, and a script that
is killed loses what it logged in that time.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import math
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweep.storage.regular import files_below
from sweep.study import plain
from sweep.worker.script.reports import number
from sweep.worker.script.wandb_file import EXIT, HISTORY, METRIC, SUMMARY, GrowingRun, Items, fields, items, text

_FLUSH_S = 0.01
_EXPONENT = re.compile(r"(?<=\d)e(?=[-+])")


def is_offline(environment: Mapping[str, str]) -> bool:
    """Return whether wandb runs offline with these variables."""
    return environment.get("WANDB_MODE") in ("offline", "dryrun")


def variables(folder: Path, parameters: Path, params: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables with which wandb writes its runs into a folder, and reads parameters from a file, which is written."""
    lines = [f"{_yaml(name)}: {_yaml({'value': value})}" for name, value in params.items()]
    parameters.write_text("\n".join(["wandb_version: 1", *lines, ""]), encoding="utf-8")
    return {"WANDB_DIR": str(folder), "WANDB_SWEEP_PARAM_PATH": str(parameters)}


# For a script that does not say how often wandb is to write.
DEFAULTS = {"WANDB__TRANSACTION_LOG_FLUSH_INTERVAL": str(_FLUSH_S)}


class OfflineRuns:
    """Read the offline runs of one script.

    Args:
        folder: the run folder, in which they are; those of earlier attempts are passed over.
        metric: the name that makes a row a report.
        report: called with a step and its numbers; returns nothing, and what it raises is passed on.
        point: called with the name, value and step of a number of another row.
    """

    def __init__(
        self,
        folder: Path,
        metric: str,
        report: Callable[[int, dict[str, float]], None],
        point: Callable[[str, float, int], None],
    ) -> None:
        self._folder, self._metric, self._report, self._point = folder / "wandb", metric, report, point
        self._before = set(self._found())
        self._runs: dict[Path, GrowingRun] = {}
        self._open: set[Path] = set()  # runs that have not ended
        self._axes: dict[str, str] = {}  # the step metric of a name, or of a pattern of names
        self._seen: dict[str, Any] = {}  # the last value of each name
        self._summary: dict[str, float] = {}
        self._uneven: set[str] = set()  # step metrics with a value that is no whole number
        self._media: set[tuple[str, ...]] = set()

    @property
    def unfinished(self) -> bool:
        """Return whether a run has not ended, so that wandb may still write."""
        return bool(self._open)

    def read(self, seconds: float = math.inf) -> bool:
        """Read what was written since the last call, for this long; return whether that was all."""
        end = time.monotonic() + seconds
        for path in self._found():
            if path not in self._before and path not in self._runs:
                self._runs[path] = GrowingRun(path)
                self._open.add(path)
        for path, run in self._runs.items():
            for record in run.records():
                with contextlib.suppress(_NotRead):
                    self._take(path, record)
                if time.monotonic() > end:
                    return False
        return True

    def last_metrics(self) -> dict[str, float]:
        """Return the numbers of the summary that no row had."""
        return {name: value for name, value in self._summary.items() if name not in self._seen}

    def _found(self) -> list[Path]:
        try:
            return sorted(files_below(self._folder, "*.wandb"))
        except OSError:
            return []

    def _take(self, path: Path, record: bytes) -> None:
        for kind, content in _fields(record):
            if kind == HISTORY:
                self._row(*_items(content)[:1])
            elif kind == SUMMARY:
                added, removed = _items(content)
                for parts in removed:
                    self._summary.pop(".".join(parts), None)
                self._summary |= self._numbers(added)
            elif kind == METRIC:
                named = {number: text(value) for number, value in _fields(content) if isinstance(value, bytes)}
                if 4 in named and (name := named.get(1) or named.get(2)):
                    self._axes[name] = named[4]
            elif kind == EXIT:
                self._open.discard(path)

    def _row(self, found: Items) -> None:
        numbers = self._numbers(found)
        self._seen |= {".".join(name): value for name, value in found.items()} | numbers
        if self._metric in numbers:
            self._report(self._step(self._metric), numbers)
        else:
            for name, value in numbers.items():
                self._point(name, value, self._step(name))

    def _step(self, name: str) -> int:
        axis = self._axes.get(name) or next((axis for one, axis in self._axes.items() if fnmatch.fnmatchcase(name, one)), "")
        for one in (axis, "_step"):
            value = self._seen.get(one)
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            if one not in self._uneven and value == value // 1 and plain.fits(int(value)):
                return int(value)
            self._uneven.add(one)  # then its whole values would be steps of another count than the others'
        return 0

    def _numbers(self, found: Items) -> dict[str, float]:
        """Return the numbers of a row or summary by dotted names, without wandb's own and those of media."""
        media = {name[:-1] for name in found if name[-1] == "_type"}
        media |= {name for name, value in found.items() if isinstance(value, dict) and "_type" in value}
        if media and not self._media:
            name = ".".join(min(media))
            print(
                f"sweep: images, histograms and other media, such as {name}, stay in wandb's own run", file=sys.stderr, flush=True
            )
        self._media |= media
        numbers: dict[str, float] = {}
        for parts, value in found.items():
            if not any(parts[:count] in self._media for count in range(1, len(parts) + 1)):
                _flatten(".".join(parts), value, numbers)
        own = self._metric
        names = sorted(numbers, key=lambda name: (name != own, name))  # wandb's order is another one in each row
        return {name: numbers[name] for name in names if name == own or (name[0] != "_" and math.isfinite(numbers[name]))}


class _NotRead(ValueError):
    """A record is no message that is known here."""


def _fields(message: bytes) -> list[tuple[int, Any]]:
    try:
        return list(fields(message))
    except ValueError as error:
        raise _NotRead from error


def _items(message: bytes) -> tuple[Items, list[tuple[str, ...]]]:
    try:
        return items(message)
    except (ValueError, TypeError) as error:
        raise _NotRead from error


def _flatten(name: str, value: Any, into: dict[str, float]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{name}.{key}", inner, into)
    elif isinstance(value, int | float) and not isinstance(value, bool) and plain.is_name(name):
        into[name] = number(value)


def _yaml(value: Any) -> str:
    """Return JSON that YAML 1.1 reads alike: there a number with an exponent needs a point."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml(name)}: {_yaml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    written = json.dumps(value, ensure_ascii=False)
    return _EXPONENT.sub("e" if "." in written else ".0e", written) if isinstance(value, float) else written
