"""The one way to start a real TensorBoard and to ask it, over HTTP as its own page does."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sweep.cli.dashboard import tensorboard
from tests.support.waiting import wait_for

STATUSES = tuple(f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING"))
_NOT_LOADED = (400, 404, 503)  # TensorBoard's answers until it has read the runs
# A proxy of the environment's is not asked for an address of this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class TensorBoard:
    """A TensorBoard that runs, and its answers.

    Args:
        address: as `sweep dashboard` prints it, with or without the name of a tab.
        seconds: how long each question may take: one whose answer does not come, or ends early, is asked again until then.
    """

    def __init__(self, address: str, seconds: float = 60) -> None:
        self.address = address.strip().partition("#")[0]
        self._seconds = seconds

    def ask(self, path: str, body: Any = None) -> Any:
        """Return the answer to a GET, or to a POST where there is a body; None as long as nothing is loaded.

        Raises:
            OSError: it does not answer in time, or with an error.
        """
        request = urllib.request.Request(  # noqa: S310  # an address of our own making
            f"{self.address}data/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                with _OPENER.open(request, timeout=self._seconds) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code in _NOT_LOADED:
                    return None
                raise
            # A busy machine: the connection was refused or closed, or the answer is not whole.
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def rows(self, statuses: Sequence[str] = STATUSES, *, cols: Sequence[Any] = (), **filters: Any) -> list[Any]:
        """Return rows of the HPARAMS tab.

        Args:
            statuses: those of the rows that are wanted.
            cols: conditions as TensorBoard takes them, for columns of metrics.
            filters: conditions by the name of a hyperparameter, such as `x={"filterDiscrete": [1.0]}`.
        """
        wanted = [*cols, *({"hparam": name, **condition} for name, condition in filters.items())]
        body = {"allowedStatuses": statuses, "colParams": wanted, "sliceSize": 5000, "startIndex": 0}
        found: list[Any] = (self.ask("plugin/hparams/session_groups", body) or {}).get("sessionGroups", [])
        return found

    def wait_for_rows(self, count: int, metrics: int = 1, seconds: float = 60) -> list[Any]:
        """Return the rows of the HPARAMS tab when there are `count`, each with at least as many metrics as `metrics`."""

        def whole() -> list[Any]:
            found = self.rows()
            there = len(found) == count and all(len(row.get("metricValues", ())) >= metrics for row in found)
            return found if there else []

        rows: list[Any] = wait_for(whole, seconds)
        return rows

    def hparams(self) -> dict[str, Any]:
        """Return the description of each hyperparameter by its name, in the order of the columns."""
        return {info["name"]: info for info in self._experiment()["hparamInfos"]}

    def metrics(self) -> list[str]:
        """Return the tags of the columns of metrics, in their order."""
        return [info["name"]["tag"] for info in self._experiment()["metricInfos"]]

    def _experiment(self) -> Any:
        return wait_for(lambda: self.ask("plugin/hparams/experiment", {}))

    def wait_for_curves(self, tag: str, runs: int) -> None:
        """Return when the HPARAMS tab is there and this many runs have the curve."""
        wait_for(lambda: (self.ask("plugins_listing") or {}).get("hparams", {}).get("enabled"), 120)
        wait_for(lambda: sum(tag in tags for tags in (self.ask("plugin/scalars/tags") or {}).values()) == runs, 120)


@contextlib.contextmanager
def served(folder: Path, loader: str | None = None) -> Iterator[TensorBoard]:
    """Run TensorBoard on a study's folder while the block runs.

    Args:
        folder: the study's.
        loader: `true` for TensorBoard's fast loader, `false` for the slow one, None for what `sweep dashboard` takes.
    """
    options = ["--reload_interval=1", *([f"--load_fast={loader}"] if loader else [])]
    with tensorboard(folder, host="127.0.0.1", port=6006, options=tuple(options)) as (address, _):
        yield TensorBoard(address)
