"""Start TensorBoard on a study's folder, at the HPARAMS tab, and stay with it until it ends."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from sweep.errors import SweepError
from sweep.processes import die_with_parent

_START_TIMEOUT_S = 60


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
    port = port if _is_free(host, port) else _free_port(host)
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={logdir}", f"--host={host}", f"--port={port}", *options]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM),  # noqa: PLW1509  # one call, and no thread runs here
    )
    address = f"http://{host}:{port}/"
    try:
        _wait_until_up(process, address)
        yield f"{address}#hparams", process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stderr is not None
        process.stderr.close()


def _wait_until_up(process: subprocess.Popen[str], address: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    # A proxy of the environment's is not asked for an address of this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with opener.open(f"{address}data/environment", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    process.kill()
    assert process.stderr is not None
    last = process.stderr.read().strip().splitlines()[-5:]
    raise SweepError(
        "tensorboard-did-not-start",
        "TensorBoard did not come up",
        why="\n".join(last) or f"it did not answer at {address} within {_START_TIMEOUT_S} s",
        do="sweep doctor   checks the installation",
        exit_code=1,
    )


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
