"""The private folder of a script's trial."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest

from sweep.worker.endings import TrialFailed
from sweep.worker.script.private import private_folder, remove_abandoned


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    remove_abandoned.cache_clear()
    return tmp_path


def test_a_folder_is_private_and_gone_afterwards(temporary: Path) -> None:
    """Whatever is made in it."""
    with private_folder() as folder:
        assert stat.S_IMODE(folder.lstat().st_mode) == 0o700
        (folder / "logs" / "deep").mkdir(parents=True)
    assert not [*temporary.iterdir()]


def test_only_folders_that_were_left_are_removed(temporary: Path) -> None:
    """Not one that is in use, a link, a file, or a folder that others can enter."""
    left, public, elsewhere = temporary / "sweep-script-left", temporary / "sweep-script-public", temporary / "elsewhere"
    for folder, mode in ((left, 0o700), (public, 0o755), (elsewhere, 0o700)):
        folder.mkdir()
        folder.chmod(mode)
        (folder / "file").touch()
    (temporary / "sweep-script-link").symlink_to(elsewhere)
    with private_folder() as used:
        assert not left.exists()
        left.mkdir(0o700)
        remove_abandoned.cache_clear()
        with private_folder():
            assert used.exists()
            assert not left.exists()
    assert (public / "file").exists()
    assert (elsewhere / "file").exists()


def test_no_temporary_folder_is_a_failed_trial(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which says what to set."""
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "nowhere"))
    with pytest.raises(TrialFailed, match="set TMPDIR to a folder"), private_folder():
        pass
