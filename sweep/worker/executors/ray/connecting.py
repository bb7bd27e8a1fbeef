"""Connect this process to a Ray cluster, or start a Ray on this machine; `ray` is imported here only when it is used."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from pathlib import Path
from typing import Any

from sweep.errors import SweepError
from sweep.worker.devices import cpu_cores
from sweep.worker.versions import version

_REACHED_S = 5.0
_LOCAL_STORE_BYTES = 256 << 20
# What Ray says itself would be printed in between: the sweep says what matters. A Ray that is started here reports no usage.
_SETTINGS = {"RAY_DEDUP_LOGS": "1", "RAY_DEDUP_LOGS_SKIP_REGEX": ".*", "RAY_USAGE_STATS_ENABLED": "0"}
# A reply with a checkpoint of up to 4 MB comes at once, not by way of two object stores, which takes twice as long.
_ON_NODES = {"RAY_max_direct_call_object_size": str(4 << 20)}
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def check_installed() -> None:
    """Look for Ray, which is not imported.

    Raises:
        SweepError: it is not installed.
    """
    if version("ray") is None:
        do = "pip install ray   here and on each node, the same version"
        raise SweepError("no-ray", "trials are to run on a Ray cluster, and Ray is not installed here", do=do)


def imported() -> Any:
    """Import Ray.

    Raises:
        SweepError: it is not installed.
    """
    check_installed()
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    return ray


def connect(ray: Any, address: str | None, code: Path | None = None) -> None:
    """Connect to the cluster at an address, or start a Ray on this machine.

    Args:
        ray: the module.
        address: `auto`, or HOST:PORT; None to start one.
        code: the archive of files that each worker gets.

    Raises:
        SweepError: it cannot be reached or started.
    """
    # Without `local` Ray would connect to any that runs on this machine.
    local = {"address": "local", "num_cpus": cpu_cores(), "include_dashboard": False, "object_store_memory": _LOCAL_STORE_BYTES}
    if address is None:
        # Ray would leave a token in the home folder, for which other clusters that are started there ask from then on.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    elif address != "auto" and (why := _unreachable(address)):
        raise _no_cluster(address, why)
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    options = {"address": address} if address else local
    try:
        sent = None if code is None else {"working_dir": str(code), "env_vars": _ON_NODES}
        ray.init(runtime_env=sent, log_to_driver=False, configure_logging=False, **options)
    except Exception as error:  # Ray raises many kinds
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _no_cluster(address, first) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():  # Ray sets its own
                signal.signal(number, handler)


def _unreachable(address: str) -> str:
    """Return why nothing can be reached at HOST:PORT, or an empty text: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACHED_S).close()
    except (OSError, OverflowError) as error:
        return str(error)
    return ""


def _no_cluster(address: str | None, why: str) -> SweepError:
    return SweepError(
        "no-cluster",
        f"no Ray cluster can be reached at {address}" if address else "no Ray could be started on this machine",
        why=why,
        do="ray start --head                 on the first machine\n"
        "ray start --address=HOST:6379    on each other, and on this one\n"
        "workers.address=auto             finds the cluster that this machine is part of",
    )
