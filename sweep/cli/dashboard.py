"""Start TensorBoard on studies' folders, and end it with the block that uses it.

TensorBoard's fast loader keeps every event file open, and uses the description of the HPARAMS columns that it reads first. Its
slow loader does neither. It is used where the system's limit of open files is too low for the study, and for several studies side
by side: their columns are described together, in a run that it reads first.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from sweep.errors import EXIT_SOME_FAILED, SweepError
from sweep.storage.folder import StudyFolder
from sweep.storage.remarks import read_remarks
from sweep.study.space import side_by_side_space
from sweep.study.spec import StudySpec
from sweep.tensorboard.event_files import PATTERN
from sweep.worker.processes import die_with_parent

_OWN_FILES = 200  # TensorBoard opens these beside the event files
_RELOAD_THREADS = 4
_START_TIMEOUT_S = 60
_PROJECTOR_TIMEOUT_S = 5
_POLL_S = 0.1
_SERVING = re.compile(r"^TensorBoard \S+ at (http\S+)", re.MULTILINE)


@contextlib.contextmanager
def tensorboard(
    logdir: Path, *, host: str, port: int, merged: bool = False, options: tuple[str, ...] = ()
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run TensorBoard while the block runs; give the address of the HPARAMS tab and the process.

    Args:
        logdir: the study's folder.
        host: the address to listen at; 127.0.0.1 keeps it on this machine.
        port: the port to use; when it is in use, another free port.
        merged: the folder is one that `side_by_side` has made.
        options: further options of TensorBoard's.

    Raises:
        SweepError: TensorBoard does not start.
    """
    if merged or _raised_file_limit() < len(list(logdir.glob(f"*/{PATTERN}"))) + _OWN_FILES:
        options = ("--load_fast=false", f"--max_reload_threads={_RELOAD_THREADS}", *options)
    # 0 is any free port; another program can take the wanted one just after `_is_free`
    for chosen in (port, 0) if _is_free(host, port) else (0,):
        process, printed = _start([f"--logdir={logdir}", f"--host={host}", f"--port={chosen}", *options])
        if "already in use" not in printed:
            break
    try:
        if (serving := _SERVING.search(printed)) is None:
            raise SweepError(
                "tensorboard-did-not-start",
                "TensorBoard did not start",
                why="\n".join(printed.strip().splitlines()[-5:]) or f"it was not ready within {_START_TIMEOUT_S} s",
                do="sweep doctor   checks the installation",
                exit_code=EXIT_SOME_FAILED,
            )
        address = serving[1]
        if any(logdir.glob("*/**/projector_config.pbtxt")):
            # TensorBoard looks for embeddings when it is first asked for its tabs, and answers without this tab.
            _wait_for(lambda: _shows_projector(address), _PROJECTOR_TIMEOUT_S)
        yield f"{address}#hparams", process
    finally:
        _end(process)


@contextlib.contextmanager
def side_by_side(studies: Sequence[tuple[StudySpec, StudyFolder]]) -> Iterator[Path]:
    """Give a folder that shows the studies together while the block runs; a single study's own folder.

    Each study's runs are below its name. One more run, `.`, describes the HPARAMS columns of all studies.
    """
    if len(studies) == 1:
        yield studies[0][1].root
        return
    from sweep.tensorboard.columns import metric_columns, note_column
    from sweep.tensorboard.hparams import write_description

    with tempfile.TemporaryDirectory(prefix="sweep-dashboard-") as name:
        place = Path(name)
        for study, folder in studies:
            alike = len(list(place.glob(f"{study.name}*")))
            (place / (f"{study.name}-{alike + 1}" if (place / study.name).exists() else study.name)).symlink_to(folder.root)
        metrics = [tag for study, _ in studies for tag in metric_columns(study)]
        notes = (note_column(study, None) for study, folder in studies if read_remarks(folder).notes)
        columns = {**side_by_side_space([study.shown for study, _ in studies]), **dict.fromkeys(itertools.chain(*notes))}
        write_description(place, columns, metrics)
        yield place


def _start(options: Sequence[str]) -> tuple[subprocess.Popen[bytes], str]:
    """Start TensorBoard; return it, and what it has printed on stderr when it serves, has ended or takes too long."""
    with tempfile.TemporaryFile() as stderr:  # no pipe: nothing would read it once TensorBoard runs
        process = subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM),  # noqa: PLW1509  # one call, and no thread runs here
        )

        def printed() -> str:
            # Read by position: the process writes where the file's own position is.
            return os.pread(stderr.fileno(), os.fstat(stderr.fileno()).st_size, 0).decode(errors="replace")

        try:
            _wait_for(lambda: process.poll() is not None or _SERVING.search(printed()), _START_TIMEOUT_S)
        except BaseException:  # Ctrl-C while waiting
            _end(process)
            raise
        return process, printed()


def _wait_for(condition: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _shows_projector(address: str) -> bool:
    # Without the proxies of the environment: the address is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address}data/plugins_listing", timeout=5) as answer:
            return bool(json.load(answer)["projector"]["enabled"])
    except (OSError, HTTPException, ValueError, KeyError):  # it does not answer yet, or does not name this tab
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _raised_file_limit() -> float:
    """Raise the limit of open files as far as possible; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if soft == resource.RLIM_INFINITY else soft


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
