"""The data cache: each source, damaged files, two processes at once, and the error without any source."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.errors import SweepError
from sweep.objectives import datasets
from sweep.worker.protocol import Progress
from tests.support.waiting import wait_for


def fetch(root: Path, name: str = "fashion_mnist") -> list[Progress]:
    return list(datasets.fetch(name, root))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, no apt, no installed package."""
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(datasets, "_DEBIAN_FOLDER", Path("nowhere/at/all"))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fashion_data: Path, offline: None) -> Path:
    """Debian's package installed on this machine, and no other source: the same images in .gz files made anew."""
    folder = tmp_path / "usr" / "fashion-mnist"
    folder.mkdir(parents=True)
    for file in datasets.FILES:
        with gzip.open(folder / f"{file}.gz", "wb", compresslevel=1) as packed:
            packed.write((datasets.raw_folder("fashion_mnist", fashion_data) / file).read_bytes())
    monkeypatch.setattr(datasets, "_DEBIAN_FOLDER", folder.relative_to("/"))
    return folder


def test_what_is_there_and_right_is_used(fashion_data: Path, offline: None) -> None:
    """No source is asked."""
    assert fetch(fashion_data) == []


def test_the_installed_package_is_unpacked_into_the_cache(installed: Path, tmp_path: Path) -> None:
    """Into the folders where torchvision looks; nothing else is left in the cache."""
    root = tmp_path / "cache"
    assert fetch(root) == [Progress(text=f"unpacking {installed}")]
    raw = root / "FashionMNIST" / "raw"
    assert {path.name for path in raw.iterdir()} == {*datasets.FILES, "SHA256SUMS"}
    assert {path.name for path in root.iterdir()} == {"FashionMNIST", ".fashion_mnist.lock"}
    from torchvision.datasets import FashionMNIST

    assert len(FashionMNIST(str(root), train=False, download=False)) == 10_000
    assert fetch(root) == []


@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_a_damaged_cache_is_found_and_replaced(installed: Path, tmp_path: Path, damage: str) -> None:
    """By its SHA-256; the damaged files are moved, not deleted, since they may be the user's."""
    root = tmp_path / "cache"
    fetch(root)
    file = datasets.raw_folder("fashion_mnist", root) / "t10k-labels-idx1-ubyte"
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    assert fetch(root) != []
    assert file.read_bytes() == content
    assert len(list((root / "FashionMNIST").glob("raw.damaged-*"))) == 1


def test_a_source_with_other_data_is_not_believed(installed: Path, tmp_path: Path) -> None:
    """The files are checked before they are put in place."""
    with gzip.open(installed / "t10k-labels-idx1-ubyte.gz", "wb") as packed:
        packed.write(b"other labels")
    with pytest.raises(SweepError) as caught:
        fetch(tmp_path / "cache")
    assert "its data differ from those expected (t10k-labels-idx1-ubyte)" in str(caught.value)
    assert not datasets.raw_folder("fashion_mnist", tmp_path / "cache").exists()


def test_without_any_source_one_error_says_what_to_do(tmp_path: Path, offline: None) -> None:
    """It has the package to install, the files to copy, the variable to set, and the reason of each source."""
    with pytest.raises(SweepError) as caught:
        fetch(tmp_path / "cache")
    text = str(caught.value)
    assert "[data-unavailable]" in text
    assert "sudo apt install dataset-fashion-mnist" in text
    assert "put the files train-images-idx3-ubyte, " in text
    assert "SWEEP_DATA=" in text
    assert "torchvision's download: " in text
    assert "this is not Debian or Ubuntu" in text
    assert text.count("error:") >= 1


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """It names the folder and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SweepError) as caught:
        fetch(tmp_path / "file" / "cache")
    assert "[data-cache-not-writable]" in str(caught.value)


def test_two_runs_starting_together_fetch_once(installed: Path, tmp_path: Path) -> None:
    """The second waits, prints that it waits, and then uses the files."""
    root = tmp_path / "cache"
    first: Iterator[Progress] = datasets.fetch("fashion_mnist", root)
    assert next(first).text.startswith("unpacking")
    code = (
        "import sys; from pathlib import Path; from sweep.objectives import datasets\n"
        "datasets._DEBIAN_FOLDER = Path('nowhere')\n"
        f"for progress in datasets.fetch('fashion_mnist', Path({str(root)!r})): print(progress.text, flush=True)\n"
    )
    second = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert second.stdout is not None
    assert second.stdout.readline().startswith("another process is fetching fashion_mnist")
    assert list(first) == []
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert all(line.startswith("another process") for line in out.splitlines())
    assert datasets.intact("fashion_mnist", datasets.raw_folder("fashion_mnist", root))


def test_another_torchvision_root_is_taken_as_it_is_and_watched(fashion_data: Path, tmp_path: Path, offline: None) -> None:
    """MNIST has no known sums: the first ones are stored, and a later change is damage."""
    raw = datasets.raw_folder("mnist", tmp_path)
    shutil.copytree(datasets.raw_folder("fashion_mnist", fashion_data), raw, ignore=shutil.ignore_patterns("SHA256SUMS"))
    assert fetch(tmp_path, "mnist") == []
    labels = raw / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x63")
    with pytest.raises(SweepError, match="the data set mnist is not in the cache and no source has it"):
        fetch(tmp_path, "mnist")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="Debian's package needs apt-get, which is not on this machine")
def test_debians_package_is_fetched_without_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own lists, so that none of the system's are read or written; progress is shown."""
    probe = subprocess.run(["apt-cache", "policy", "dataset-fashion-mnist"], capture_output=True, text=True, check=False)
    if "Candidate: (none)" in probe.stdout or not probe.stdout:
        update = subprocess.run(["apt-get", "-qq", "update"], capture_output=True, text=True, check=False)
        if update.returncode:
            pytest.skip(f"the package lists cannot be had here: {update.stderr[:200]}")
    monkeypatch.setattr(datasets, "_torchvision", _nothing)
    monkeypatch.setattr(datasets, "_DEBIAN_FOLDER", Path("usr/share/datasets/fashion-mnist"))
    monkeypatch.setattr(datasets, "_installed_package", _nothing)
    root = tmp_path / "cache"
    texts = [progress.text for progress in fetch(root)]
    assert any(text.startswith("asking Debian for its package lists") for text in texts)
    assert any(text.startswith("downloading Debian's dataset-fashion-mnist") for text in texts)
    assert datasets.intact("fashion_mnist", datasets.raw_folder("fashion_mnist", root))
    assert [path.name for path in root.iterdir() if path.name.startswith(".fashion_mnist-")] == []


def _nothing(_name: str, _folder: Path) -> Iterator[Progress]:
    yield Progress(text="asking nobody")
    raise datasets._Unavailable("switched off for this test")


def test_the_cache_is_where_the_variables_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SWEEP_DATA, else the user's cache folder."""
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    assert datasets.cache_root() == tmp_path
    monkeypatch.delenv("SWEEP_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert datasets.cache_root() == tmp_path / "sweep"


def test_torchvisions_download_is_used_with_its_progress(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fashion_data: Path, offline: None
) -> None:
    """Its files end up in the cache, checked; here it downloads from a folder instead of the internet."""
    import torchvision.datasets.mnist as theirs

    def copied(url: str, download_root: str, filename: str, md5: str) -> None:
        assert md5
        source = datasets.raw_folder("fashion_mnist", fashion_data) / filename.removesuffix(".gz")
        shutil.copy(source, Path(download_root) / source.name)

    monkeypatch.setattr(theirs, "download_and_extract_archive", copied)
    texts = [progress.text for progress in fetch(tmp_path)]
    assert texts[0] == "loading torchvision"
    assert texts[-1].startswith("downloading FashionMNIST, ")
    wait_for(lambda: datasets.intact("fashion_mnist", datasets.raw_folder("fashion_mnist", tmp_path)), seconds=1)
