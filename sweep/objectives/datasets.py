"""FashionMNIST, MNIST and KMNIST in a per-user cache: downloaded once, checked, and safe with two sessions at once.

    already in the cache ─► installed Debian package ─► torchvision's download ─► Debian's package, unpacked without root

The four decompressed files are checked, since Debian's .gz files differ from those that torchvision has MD5 sums of.
FashionMNIST is compared with the SHA-256 sums below. The others come from torchvision only, which checks their MD5; later they
are compared with the sums in `SHA256SUMS`. The files are where `torchvision.datasets` looks for them, so an existing torchvision
root can be the cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sweep.errors import SweepError
from sweep.worker.protocol import Progress

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
# torchvision's class, which is also its folder's name
TORCHVISION = {"fashion_mnist": "FashionMNIST", "mnist": "MNIST", "kmnist": "KMNIST"}
CLASSES = {
    "fashion_mnist": ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    "mnist": tuple("0123456789"),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}
_SIZES = dict(zip(FILES, (47_040_016, 60_008, 7_840_016, 10_008), strict=True))
_FASHION_SUMS = """\
c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888  train-images-idx3-ubyte
bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9  train-labels-idx1-ubyte
5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b  t10k-images-idx3-ubyte
0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34  t10k-labels-idx1-ubyte
"""
_FASHION_DOWNLOAD_BYTES = 30_900_000
_DEBIAN_PACKAGE = "dataset-fashion-mnist"
_DEBIAN_FOLDER = Path("usr/share/datasets/fashion-mnist")
_SUMS = "SHA256SUMS"
_SOCKET_TIMEOUT_S = 20.0


class _Unavailable(Exception):
    """A source does not have the data; the message says why."""


def cache_root() -> Path:
    """Return where data sets are kept: `SWEEP_DATA`, else `sweep` in the user's cache folder."""
    if chosen := os.environ.get("SWEEP_DATA"):
        return Path(chosen).expanduser().absolute()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sweep"
    except RuntimeError:  # no HOME, and a user whom the system does not know
        what = "there is no home folder for the cache of the data sets"
        raise SweepError("no-home", what, do="SWEEP_DATA=/path/with/space sweep run STUDY") from None


def raw_folder(name: str, root: Path) -> Path:
    """Return the folder of a data set's four files, torchvision's own."""
    return root / TORCHVISION[name] / "raw"


def fetch(name: str, root: Path) -> Iterator[Progress]:
    """Make sure that a data set is in the cache, complete and unchanged; yield the progress.

    Args:
        name: `fashion_mnist`, `mnist` or `kmnist`.
        root: the cache.

    Raises:
        SweepError: no source has it, or the cache cannot be written.
    """
    raw = raw_folder(name, root)
    if intact(name, raw):
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / f".{name}.lock").open("a") as lock:
            yield from _wait_for(lock.fileno(), name)
            if intact(name, raw):  # another process has fetched it in the meantime
                return
            with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}-") as temporary:
                yield from _from_any_source(name, raw, Path(temporary))
    except OSError as error:
        raise SweepError(
            "data-cache-not-writable",
            f"the data cache cannot be written: {error.strerror or error}",
            where=str(root),
            do="SWEEP_DATA=/path/with/space sweep run STUDY",
        ) from error


def intact(name: str, raw: Path) -> bool:
    """Return whether the four files exist and have the right SHA-256 (takes about 0.1 s)."""
    try:
        return not _differing(name, raw)
    except OSError:
        return False


def _differing(name: str, folder: Path) -> list[str]:
    """Return the files whose size or SHA-256 is not the expected one."""
    lines = [f"{_sha256(folder / file)}  {file}\n" for file in FILES]
    stored = folder / _SUMS
    known = _FASHION_SUMS if name == "fashion_mnist" else stored.read_text() if stored.exists() else "".join(lines)
    right = [line in known and (folder / file).stat().st_size == _SIZES[file] for file, line in zip(FILES, lines, strict=True)]
    if all(right) and name != "fashion_mnist" and not stored.exists():
        with contextlib.suppress(OSError):  # torchvision has checked the files; from now on they must not change
            stored.write_text(known)
    return [file for file, same in zip(FILES, right, strict=True) if not same]


def _from_any_source(name: str, raw: Path, temporary: Path) -> Iterator[Progress]:
    sources: list[tuple[str, Callable[[str, Path], Iterator[Progress]]]] = [("torchvision's download", _torchvision)]
    if name == "fashion_mnist":
        sources.insert(0, ("the installed Debian package", _installed_package))
        sources.append((f"Debian's package {_DEBIAN_PACKAGE}", _debian_package))
    reasons = []
    for number, (label, source) in enumerate(sources):
        folder = temporary / str(number) / "raw"
        folder.mkdir(parents=True)
        try:
            yield from source(name, folder)
            if wrong := _differing(name, folder):
                raise _Unavailable(f"its data differ from those expected ({', '.join(wrong)})")
            if name == "fashion_mnist":
                (folder / _SUMS).write_text(_FASHION_SUMS)
            if raw.exists():  # damaged, or the user's own: moved, not deleted
                raw.rename(raw.with_name(f"raw.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"))
            raw.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(raw)
            return
        except (_Unavailable, OSError) as error:
            reasons.append(f"{label}: {error}")
    do = [f"download them elsewhere, and put the files {', '.join(FILES)} into {raw}"]
    if name == "fashion_mnist":
        do.insert(0, f"on Debian or Ubuntu:            sudo apt install {_DEBIAN_PACKAGE}")
    raise SweepError(
        "data-unavailable",
        f"the data set {name} is not in the cache and no source has it",
        where=str(raw),
        why="\n".join(reasons),
        do="\n".join([*do, "if they are in another folder:   SWEEP_DATA=/folder/that/holds/" + TORCHVISION[name]]),
    )


def _installed_package(name: str, folder: Path) -> Iterator[Progress]:
    installed = Path("/") / _DEBIAN_FOLDER
    if not installed.is_dir():
        raise _Unavailable(f"{installed} does not exist")
    yield Progress(text=f"unpacking {installed}")
    _unzip(installed, folder)


def _torchvision(name: str, folder: Path) -> Iterator[Progress]:
    yield Progress(text="loading torchvision")
    from torchvision import datasets

    kind = getattr(datasets, TORCHVISION[name])
    failure: list[Exception] = []

    def download() -> None:
        try:
            kind(str(folder.parent), train=True, download=True)
        except Exception as error:
            failure.append(error)

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SOCKET_TIMEOUT_S)  # torchvision sets none, so a silent network would block it for ever
    try:
        thread = threading.Thread(target=download, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.2)
            got = _bytes_in(folder.parent.rglob("*.gz"))
            share = min(1.0, got / _FASHION_DOWNLOAD_BYTES) if name == "fashion_mnist" else None
            yield Progress(text=f"downloading {TORCHVISION[name]}, {got / 1e6:.1f} MB", fraction=share)
    finally:
        socket.setdefaulttimeout(before)
    if failure:
        raise _Unavailable(" ".join(str(failure[0]).split())[:200] or type(failure[0]).__name__)
    for file in FILES:
        (raw_folder(name, folder.parent) / file).rename(folder / file)


def _debian_package(name: str, folder: Path) -> Iterator[Progress]:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise _Unavailable("this is not Debian or Ubuntu: apt-get and dpkg-deb are not installed")
    scratch = folder.parent
    # With its own lists and cache neither root nor a recent `apt-get update` is needed.
    for part in ("lists/partial", "cache/archives/partial"):
        (scratch / part).mkdir(parents=True)
    options = [f"Dir::State::Lists={scratch}/lists", f"Dir::Cache={scratch}/cache", "Debug::NoLocking=1", "APT::Sandbox::User="]
    apt = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    yield from _run([*apt, "update"], scratch, "asking Debian for its package lists")
    yield from _run([*apt, "download", _DEBIAN_PACKAGE], scratch, f"downloading Debian's {_DEBIAN_PACKAGE}")
    packages = list(scratch.glob("*.deb"))
    if not packages:
        raise _Unavailable("apt-get downloaded nothing")
    yield from _run(["dpkg-deb", "-x", str(packages[0]), "tree"], scratch, "unpacking it")
    _unzip(scratch / "tree" / _DEBIAN_FOLDER, folder)


def _run(command: list[str], folder: Path, text: str) -> Iterator[Progress]:
    started = time.monotonic()
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            while process.poll() is None:
                got = _bytes_in([*folder.glob("*.deb"), *folder.glob("cache/archives/partial/*.deb")])
                share = min(1.0, got / _FASHION_DOWNLOAD_BYTES) if got else None
                yield Progress(text=f"{text}, {time.monotonic() - started:.0f} s", fraction=share)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
        finally:
            process.kill()
        output.seek(0)
        lines = output.read().strip().splitlines()
    if process.returncode:
        raise _Unavailable(f"{command[0]} failed: {lines[-1] if lines else process.returncode}")


def _bytes_in(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # renamed since it was listed
            total += path.stat().st_size
    return total


def _unzip(source: Path, folder: Path) -> None:
    for file in FILES:
        with gzip.open(source / f"{file}.gz") as packed, (folder / file).open("wb") as plain:
            shutil.copyfileobj(packed, plain)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wait_for(descriptor: int, name: str) -> Iterator[Progress]:
    started = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            yield Progress(text=f"another process is fetching {name}, {time.monotonic() - started:.0f} s")
            time.sleep(0.2)


def data_text() -> str:
    """Return whether FashionMNIST is in the cache, and where, for `sweep doctor`."""
    try:
        raw = raw_folder("fashion_mnist", cache_root())
    except SweepError as error:
        return f"{error.what}; SWEEP_DATA names one"
    if intact("fashion_mnist", raw):
        return f"FashionMNIST in {raw}, checked"
    if raw.exists():
        return f"FashionMNIST in {raw} is damaged; the next run fetches it again"
    return f"FashionMNIST is not in {raw} yet; the first run fetches it (31 MB)"
