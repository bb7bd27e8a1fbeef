"""Start TensorBoard on a study's folder, at the HPARAMS tab, and stay with it until it ends."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from sweep.errors import SweepError
from sweep.processes import die_with_parent

_START_TIMEOUT_S = 60
_TRIES = 3


@contextlib.contextmanager
def tensorboard(
    logdir: Path, *, host: str, port: int, options: tuple[str, ...] = ()
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run TensorBoard while the block runs; give its address at the HPARAMS tab and its process.

    Args:
        logdir: the study's folder.
        host: where it listens; 127.0.0.1 keeps it on this machine.
        port: the port to take; another free one is taken when it is in use.
        options: more of TensorBoard's own options.

    Raises:
        SweepError: TensorBoard does not come up.
    """
    _raise_file_limit()
    process, address = _start(logdir, host, port, options)
    try:
        yield f"{address}#hparams", process
    finally:
        _end(process)


def _start(logdir: Path, host: str, port: int, options: tuple[str, ...]) -> tuple[subprocess.Popen[str], str]:
    for _ in range(_TRIES):
        port = port if _is_free(host, port) else _free_port(host)
        command = [sys.executable, "-m", "tensorboard.main", f"--logdir={logdir}", f"--host={host}", f"--port={port}", *options]
        address = f"http://{host}:{port}/"
        with tempfile.TemporaryFile("w+") as said:  # no pipe: nobody would read it once TensorBoard is up
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                text=True,
                preexec_fn=lambda: die_with_parent(signal.SIGTERM),  # noqa: PLW1509  # one call, and no thread runs here
            )
            try:
                if _comes_up(process, address, logdir):
                    return process, address
            except BaseException:  # Ctrl-C while waiting
                _end(process)
                raise
            _end(process)
            said.seek(0)
            last = said.read().strip().splitlines()[-5:]
        if _is_free(host, port):
            break  # it was not the port, which somebody else may have taken a moment after we looked
    raise SweepError(
        "tensorboard-did-not-start",
        "TensorBoard did not come up",
        why="\n".join(last) or f"it did not answer at {address} within {_START_TIMEOUT_S} s",
        do="sweep doctor   checks the installation",
        exit_code=1,
    )


def _comes_up(process: subprocess.Popen[str], address: str, logdir: Path) -> bool:
    deadline = time.monotonic() + _START_TIMEOUT_S
    # A proxy of the environment's is not asked for an address of this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with opener.open(f"{address}data/environment", timeout=5) as answer:
                # Another TensorBoard may have taken the port: it would answer for its own folder.
                if json.load(answer).get("data_location") == str(logdir):
                    return True
        except (OSError, ValueError):
            pass
        time.sleep(0.1)
    return False


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _raise_file_limit() -> None:
    # The fast loader keeps every event file open: under the usual limit of 1,024 it dies at about 1,000 trials.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
