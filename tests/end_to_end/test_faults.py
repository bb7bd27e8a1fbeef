"""What happens to real machines: full disks, read-only folders, clocks that jump, locks of other hosts, damaged caches."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sweep.errors import SweepError
from sweep.storage import lock
from sweep.storage.folder import StudyFolder
from sweep.storage.lock import lock_holder, locked
from sweep.study.trial import TrialState
from tests.conftest import Cli
from tests.support.interrupting import assert_undisturbed
from tests.support.reading import records
from tests.support.studies import make_study

SWEEP = f"{shlex.quote(sys.executable)} -m sweep"


@pytest.fixture
def study(here: Path) -> Path:
    """A study file beside the test objectives."""
    workers = {"devices": "cpu", "per_device": 2}
    return make_study(here, {"x": [1, 2, 3], "steps": 6}, objective="mine:learn", workers=workers, checkpoints={"keep_best": 100})


def shell(script: str, here: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", script], cwd=here, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.parametrize(
    ("what", "limit_kb", "words"),
    [
        pytest.param("checkpoint", 200, ["parameters.state_kb.value=300"], marks=pytest.mark.slow),
        pytest.param("event file", 200, ["parameters.text_kb.value=60"], marks=pytest.mark.slow),
        pytest.param("database", 125, [], marks=pytest.mark.slow),
    ],
)
def test_a_file_that_cannot_grow_stops_the_sweep_and_harms_nothing(
    what: str, limit_kb: int, words: list[str], study: Path, here: Path
) -> None:
    """By a limit on the size of files: the message says what happened, and with room the study continues exactly."""
    command = f"{SWEEP} run study.yaml {shlex.join(words)}"
    stopped = shell(f"ulimit -f {limit_kb}; {command}", here)
    assert stopped.returncode == 1, (stopped.stdout, stopped.stderr)
    assert stopped.stderr.startswith("error: the session ended because a file could not be written"), stopped.stderr
    assert "[write-failed]" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert f"sweep resume {here}/runs/study" in stopped.stderr
    assert all(record.state is not TrialState.FAILED for record in records(here / "runs" / "study"))

    assert shell(f"{SWEEP} resume study.yaml {shlex.join(words)}", here).returncode == 0
    assert_undisturbed(study, *words)


def _may_mount() -> bool:
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0 and os.getuid() == 0


@pytest.mark.skipif(not _may_mount(), reason="mounting needs root; the test with a limit on the size of files runs everywhere")
@pytest.mark.slow
@pytest.mark.parametrize("size_kb", [300, 600, 1000])
def test_a_full_disk_stops_the_sweep_and_harms_nothing(size_kb: int, study: Path, here: Path) -> None:
    """A real small file system runs full; it is made larger, and the study continues exactly."""
    words = "parameters.state_kb.value=50 parameters.text_kb.value=40"
    script = f"""
        mkdir runs disk
        mount -t tmpfs -o size={size_kb}k none runs || exit 99
        {SWEEP} run study.yaml {words}; echo "first $?"
        mount -o remount,size=100m runs
        {SWEEP} resume study.yaml {words} || {SWEEP} run study.yaml {words}; echo "second $?"
        cp -r runs/study disk/
    """
    done = shell(f"unshare -m bash -c {shlex.quote(script)}", here)
    assert "first 1\n" in done.stdout, (done.stdout, done.stderr)
    assert "second 0\n" in done.stdout, (done.stdout, done.stderr)
    assert "No space left on device" in done.stderr or "disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert_undisturbed(study, *words.split(), folder=here / "disk" / "study")


@pytest.mark.slow
@pytest.mark.skipif(
    not _may_mount(), reason="as root every folder can be written unless it is mounted read-only, which needs root"
)
def test_a_read_only_folder_is_an_error_before_anything_starts(study: Path, here: Path) -> None:
    """A new study and one that exists."""
    script = f"""
        {SWEEP} run study.yaml x.values='[1]' >/dev/null
        mount --bind runs runs && mount -o remount,ro,bind runs || exit 99
        {SWEEP} run study.yaml; echo "existing $?"
        {SWEEP} run study.yaml name=new; echo "new $?"
        {SWEEP} trials study.yaml --format json > trials.json; echo "looking $?"
    """
    done = shell(f"unshare -m bash -c {shlex.quote(script)}", here)
    assert done.stdout.splitlines() == ["existing 2", "new 2", "looking 0"], done.stderr
    assert done.stderr.count("[output-not-writable]") == 2
    assert "Read-only file system" in done.stderr
    assert json.loads((here / "trials.json").read_text())[0]["state"] == "complete"


def test_a_folder_that_cannot_be_made_is_an_error(cli: Cli, study: Path) -> None:
    """The message names the folder and how to choose another one."""
    done = cli("run", str(study), "output=/proc/runs")
    assert done.code == 2
    assert "error: cannot write to /proc/runs/study" in done.err


@pytest.mark.slow
def test_a_study_of_a_newer_version_is_left_alone(cli: Cli, study: Path, here: Path) -> None:
    """Its stored study file says so, and every verb reports it."""
    assert cli("run", str(study), "x.values=[1]").code == 0
    written = here / "runs" / "study" / "study.yaml"
    written.write_text(written.read_text().replace("# sweep format 1", "# sweep format 2") + "invented_later: 1\n")
    before = {path: path.read_bytes() for path in (here / "runs").rglob("*") if path.is_file()}
    for verb, name in (
        ("run", str(study)),
        ("resume", "runs/study"),
        ("plan", str(study)),
        ("status", "runs/study"),
        ("best", str(study)),
    ):
        done = cli(verb, name)
        assert done.code == 4, (verb, done.err)
        assert "[newer-version]" in done.err
    after = {path: path.read_bytes() for path in (here / "runs").rglob("*") if path.is_file()}
    assert {path for path in before if before[path] != after[path]} <= {here / "runs" / "study" / "lock"}


@pytest.mark.slow
def test_a_trials_own_file_error_is_its_own(cli: Cli, study: Path, here: Path) -> None:
    """A cache of the user's on a read-only mount fails that trial, with its traceback; the others continue."""
    assert cli("run", str(study), "objective=mine:own_file_error").code == 1
    found = records(here / "runs" / "study")
    assert [str(record.state) for record in found] == ["complete", "failed", "complete"]
    assert "own_file_error" in (found[1].error or "")


@pytest.mark.slow
def test_a_study_that_lost_its_database_or_its_study_file_is_left_alone(cli: Cli, study: Path, here: Path) -> None:
    """Half a copy, or a mistaken rm: exit code 4, the two ways out, and every file stays."""
    folder = here / "runs" / "study"
    assert cli("run", str(study), "x.values=[1]").code == 0
    for name in ("study.db", "study.yaml"):
        (folder / name).rename(here / f"away-{name}")
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        done = cli("run", str(study), "x.values=[1]")
        assert done.code == 4
        assert f"holds trials, but its {name} is gone  [study-incomplete]" in done.err
        assert "--fresh" in done.err
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        (here / f"away-{name}").rename(folder / name)
    assert cli("run", str(study), "x.values=[1]").code == 0


@pytest.mark.slow
def test_a_damaged_copy_of_the_study_file_is_named(cli: Cli, study: Path, here: Path) -> None:
    """The message says what to do; verbs that only read results use the user's own file."""
    assert cli("run", str(study), "x.values=[1]").code == 0
    written = here / "runs" / "study" / "study.yaml"
    written.write_text(written.read_text()[:150])
    for verb in ("run", "plan", "resume"):
        done = cli(verb, str(study), "x.values=[1]")
        assert done.code == 4
        assert "[stored-study-damaged]" in done.err
    assert "1 complete" in cli("status", str(study)).out


@pytest.mark.slow
def test_a_run_folder_that_belongs_to_no_trial_is_moved_aside_whole(cli: Cli, study: Path, here: Path) -> None:
    """A power cut lost the last changes of the database; a link that looks like a run folder is not followed."""
    assert cli("run", str(study), "x.values=[1]").code == 0
    folder = here / "runs" / "study"
    orphan, outside = folder / "0007_x=9", here / "outside"
    for path in (orphan, outside):
        path.mkdir()
        (path / "trial.json").write_text(json.dumps({"folder": "0007_x=9"}))
        (path / "events.out.tfevents.1.mine").write_text("mine")
    (folder / "0008_x=9").symlink_to(outside)
    done = cli("run", str(study), "x.values=[1, 2]")
    assert done.code == 0, done.err
    assert "0007_x=9 belongs to no trial in study.db" in done.out
    assert not orphan.exists()
    assert (here / "runs" / "study.forgotten" / "0007_x=9" / "events.out.tfevents.1.mine").read_text() == "mine"
    assert len(list(outside.iterdir())) == 2
    assert (folder / "0008_x=9").is_symlink()


@pytest.mark.slow
def test_failed_trials_are_retried_with_todays_constants(cli: Cli, study: Path, here: Path) -> None:
    """A constant that made them fail can be corrected."""
    assert cli("run", str(study), "objective=mine:train", "parameters.how.value=raise", "x.values=[1]").code == 1
    done = cli("resume", str(study), "objective=mine:train", "parameters.how.value=ok", "x.values=[1]", "--retry-failed")
    assert done.code == 0, done.err
    [record] = records(here / "runs" / "study")
    assert (record.params["how"], record.state) == ("ok", TrialState.COMPLETE)


@pytest.fixture
def other_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """A study folder whose lock names another machine, as a file system without shared locks shows it."""
    folder = StudyFolder(root=tmp_path / "study")
    folder.root.mkdir()
    folder.lock.write_text(json.dumps({"host": "elsewhere", "pid": 12, "since": "2026-01-01T00:00:00+00:00"}) + "\n")
    monkeypatch.setattr(lock, "_BEAT_S", 0.2)
    monkeypatch.setattr(lock, "_SILENCE_S", 0.6)
    return folder


def test_another_hosts_lock_that_beats_is_respected(other_host: StudyFolder) -> None:
    """The error names host, process and since when."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.2):
            os.utime(other_host.lock)

    beating = threading.Thread(target=beat)
    beating.start()
    said: list[str] = []
    try:
        with pytest.raises(SweepError, match="run by another process") as caught, locked(other_host, said.append):
            pass
    finally:
        ended.set()
        beating.join()
    assert caught.value.exit_code == 4
    assert caught.value.where == "host elsewhere, process 12, since 2026-01-01T00:00:00+00:00"
    assert said[0].startswith("the study was last run on host elsewhere")


def test_another_hosts_lock_that_is_silent_is_taken_over(other_host: StudyFolder) -> None:
    """The machine is gone, or the study was moved from it."""
    with locked(other_host):
        holder = lock_holder(other_host)
        assert holder is not None
        assert holder["pid"] == os.getpid()
        stamp = other_host.lock.stat().st_mtime_ns
        deadline = time.monotonic() + 10
        while other_host.lock.stat().st_mtime_ns == stamp:
            assert time.monotonic() < deadline, "the holder never says that it lives"
            time.sleep(0.05)
    assert other_host.lock.read_text() == ""


@pytest.mark.slow
def test_a_clock_that_jumps_back_changes_nothing(cli: Cli, study: Path, here: Path) -> None:
    """A worker is killed and the clock turned back by a day: the curves are in order, with each point once."""
    # A module of its own, so that the clock is turned before the new process opens its first file.
    (here / "back.py").write_text(
        "import pathlib, time\n"
        "if list(pathlib.Path('runs').glob('study/*/killed')):\n"
        "    real = time.time\n"
        "    time.time = lambda: real() - 86_400\n"
        "from mine import learn as train\n"
    )
    done = cli(
        "run", str(study), "objective=back:train", "x.value=1", "parameters.kill.value=decided", "parameters.kill_at.value=3"
    )
    assert done.code == 0, done.err
    assert "resumed after step 3" in done.out
    assert_undisturbed(study, "x.value=1", ignoring={"kill", "kill_at"})
    first, second = sorted(path.name for path in (here / "runs" / "study").glob("*/events.out.tfevents*"))
    assert abs(int(second.split(".")[3]) - int(first.split(".")[3])) < 1000
