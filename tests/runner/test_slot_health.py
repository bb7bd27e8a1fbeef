"""A failure on a GPU is the trial's or the slot's. Sessions, processes and trials are real, the GPUs and their memory are not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep.runner import gpu_trouble, slot_rules
from sweep.runner.observers import SessionOutcome
from sweep.runner.slot_health import SlotHealth
from sweep.study.trial import TrialState
from sweep.worker.gpus import Gpu, GpuReading
from tests.conftest import REPOSITORY
from tests.support.command_line import run_sweep
from tests.support.fake_driver import fake_machine
from tests.support.gpu_sessions import DEVICE, gpu_slots, run_on
from tests.support.studies import study_text, write_study

GIB = 2**30
TEN = {"x": list(range(10))}


def states(outcome: SessionOutcome) -> dict[str, int]:
    found = [str(record.state) for record in outcome.records]
    return {state: found.count(state) for state in dict.fromkeys(sorted(found))}


def put_back(outcome: SessionOutcome) -> list[int]:
    return [record.number for record in outcome.records if any(span.how == "put back" for span in record.spans)]


def slots_of(outcome: SessionOutcome, number: int) -> list[int]:
    return [span.slot for span in outcome.records[number].spans]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a session's slots have a driver that says this much memory is used, and what is wrong with a GPU."""

    def answer(used: float = 0.0, wrong: str = "") -> None:
        reading = GpuReading(used_bytes=int(used * GIB), total_bytes=80 * GIB)
        monkeypatch.setattr(slot_rules, "SlotHealth", lambda slots: SlotHealth(slots, lambda _: reading, lambda _: wrong))

    return answer


BROKEN = """
def train(trial):
    use_device()
    if gpu() == "B":
        time.sleep(1)
        hurt_device("CUDA error: unspecified launch failure")
    time.sleep(0.3)
    trial.report(1, {"score": 1})
"""


@pytest.mark.slow
def test_a_broken_gpu_costs_one_trial(here: Path, monkeypatch: pytest.MonkeyPatch, asked: Callable[..., None]) -> None:
    """Its slot is closed at the second error, whose trial another slot completes; the driver's word is in the reason."""
    asked(wrong="NVIDIA's driver says: GPU is lost")
    outcome, observer = run_on(gpu_slots(2), BROKEN, TEN, here, monkeypatch)
    assert states(outcome) == {"complete": 9, "failed": 1}
    [number] = put_back(outcome)
    assert slots_of(outcome, number) == [1, 0]
    assert outcome.notes == (
        "gpu B: 2 trials in a row failed on slot 1 with errors of the device, each in a new process, while other slots went on."
        f" The slot is closed, and trial {number} waits for another one (NVIDIA's driver says: GPU is lost)",
    )
    assert outcome.notes[0] in observer.notices
    [change] = [run for _, what, run in observer.seen if what == "put back"]
    assert change.number == number
    assert "unspecified launch failure" in (change.error or "")
    told = run_sweep("status", "runs/study", "--json", here=here).json["slot_notes"]
    assert [note["text"] for note in told] == list(outcome.notes)
    shown = " ".join(run_sweep("status", "runs/study", here=here).out.split())
    assert f"slots {outcome.notes[0]}" in shown
    assert run_sweep("report", "runs/study", "--out", "page.html", here=here).code == 0
    assert "The slot is closed, and trial" in (here / "page.html").read_text()


AS_GPUS = """
import sys
from sweep.cli.main import main
from sweep.runner import session
from tests.support.fake_driver import fake_machine
from tests.support.gpu_sessions import gpu_slots

if __name__ == "__main__":
    session.slots_for = lambda workers: gpu_slots(2)
    sys.exit(main())
"""


@pytest.mark.slow
def test_the_last_lines_of_a_sweep_say_it(here: Path) -> None:
    """The command is the real one, but for its slots."""
    (here / "as_gpus.py").write_text(AS_GPUS)
    (here / "mine.py").write_text(DEVICE + BROKEN)
    write_study(here, study_text(TEN))
    command = [sys.executable, "as_gpus.py"]
    done = run_sweep("run", "study.yaml", here=here, env={"PYTHONPATH": str(REPOSITORY)}, command=command)
    assert done.code == 1, done.out + done.err
    assert " waits for another slot: " in done.out
    [line] = [line for line in done.out.splitlines() if line.startswith("slots: ")]
    assert line.startswith("slots: gpu B: 2 trials in a row failed on slot 1 with errors of the device")
    assert done.out.index("1 failed; all trials are done") < done.out.index(line) < done.out.index("read the report:")


@pytest.mark.slow
def test_each_slot_on_a_broken_gpu_is_closed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed on one of them is tried on another GPU, so that it does not look like the trial's fault."""
    outcome, _ = run_on(gpu_slots(2, 2), BROKEN, {"x": list(range(16))}, here, monkeypatch)
    assert states(outcome) == {"complete": 14, "failed": 2}
    assert len(outcome.notes) == 2
    assert not any("pen again" in note for note in outcome.notes)
    for number in put_back(outcome):
        broken, whole = slots_of(outcome, number)
        assert (broken % 2, whole % 2) == (1, 0)


@pytest.mark.slow
def test_a_process_that_is_killed_on_one_gpu_alone_costs_no_trial(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried once more there, as its retries say, and then elsewhere."""
    objective = BROKEN.replace('hurt_device("CUDA error: unspecified launch failure")', "os.kill(os.getpid(), signal.SIGKILL)")
    outcome, _ = run_on(gpu_slots(2), objective, TEN, here, monkeypatch)
    assert states(outcome) == {"complete": 10}
    [number] = put_back(outcome)
    assert slots_of(outcome, number) == [1, 1, 0]
    assert outcome.exit_code == 0


HURTS_EVERYWHERE = """
def train(trial):
    use_device()
    x, folder = trial.params["x"], pathlib.Path(__file__).parent
    if gpu() == "B" and len(list(folder.glob("bad*"))) < 2:
        time.sleep(1)
        (folder / f"bad{x}").touch()
    if (folder / f"bad{x}").exists():
        hurt_device()
    time.sleep(0.3)
    trial.report(1, {"score": 1})
"""


@pytest.mark.slow
def test_a_trial_that_fails_elsewhere_too_opens_the_slot_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was the trial, which fails once; the slot trains others from then on."""
    outcome, _ = run_on(gpu_slots(2), HURTS_EVERYWHERE, {"x": list(range(24))}, here, monkeypatch)
    assert states(outcome) == {"complete": 22, "failed": 2}
    [number] = put_back(outcome)
    assert slots_of(outcome, number) == [1, 0]
    assert (outcome.records[number].state, outcome.records[number].cause) == (TrialState.FAILED, "device-error")
    closed, opened = outcome.notes
    assert closed.startswith("gpu B: 2 trials in a row failed on slot 1")
    assert opened == f"trial {number} fails on gpu A in the same way, so it was the trial. Open again: slot 1 on gpu B"
    later = [record for record in outcome.records if (record.started or "") > (outcome.records[number].ended or "")]
    assert any(record.device == "gpu B" and record.state is TrialState.COMPLETE for record in later)


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ValueError(x)", "KeyError('width')", "RuntimeError('shapes cannot be multiplied')"])
def test_the_exceptions_of_an_objective_close_nothing(here: Path, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    """However many of them come in a row on a slot."""
    objective = f"""
def train(trial):
    x = trial.params["x"]
    time.sleep(0.1)
    if gpu() == "B":
        raise {error}
    trial.report(1, {{"score": 1}})
"""
    outcome, _ = run_on(gpu_slots(2), objective, TEN, here, monkeypatch, stop_after_failures=100)
    assert outcome.notes == ()
    assert put_back(outcome) == []
    assert sum(record.device == "gpu B" for record in outcome.records) >= 3


@pytest.mark.slow
def test_the_last_slot_is_not_closed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the study stops after some failures, as it does on a CPU."""
    outcome, _ = run_on(gpu_slots(1), "def train(trial):\n    hurt_device()\n", TEN, here, monkeypatch)
    assert (states(outcome), outcome.exit_code, outcome.notes) == ({"failed": 5}, 3, ())


# Memory for one trial only: each holds it by a file, as long as its process lives.
MEMORY = """
full = "CUDA out of memory. Tried to allocate 50.00 GiB. GPU 0 has a total capacity of 80.00 GiB"
held = pathlib.Path(__file__).parent / "held"
held.mkdir(exist_ok=True)

def taken():
    return [path for path in held.iterdir() if path.name != str(os.getpid()) and pathlib.Path("/proc", path.name).exists()]

def train(trial):
    mine = held / str(os.getpid())
    mine.touch()
    try:
        for step in trial.steps(3):
            if taken() or TOO_LARGE:
                raise torch.OutOfMemoryError(full)
            time.sleep(0.1)
            trial.report(step, {"score": step}, {"step": step, "before": trial.state and trial.state["step"]})
    finally:
        mine.unlink()
"""


@pytest.mark.slow
def test_trials_that_fit_only_alone_end_alone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of those beside each other is put back, its slot is closed, and nothing fails."""
    outcome, _ = run_on(gpu_slots(1, 3), MEMORY.replace("TOO_LARGE", "False"), TEN, here, monkeypatch)
    assert (states(outcome), outcome.exit_code) == ({"complete": 10}, 0)
    assert len(outcome.notes) == 2
    assert all("ran out of memory beside" in note for note in outcome.notes)
    texts = [
        f"gpu A: trial {first} ran out of memory beside 2 other slots. Slot {slots_of(outcome, first)[0]} is closed,"
        " and the trial waits for another one"
        for first in put_back(outcome)  # by number; the notes are in the order of time
    ]
    assert outcome.notes[0] in texts
    assert len({record.spans[-1].slot for record in outcome.records[4:]}) == 1


@pytest.mark.slow
def test_a_trial_that_is_too_large_fails_alone(here: Path, monkeypatch: pytest.MonkeyPatch, asked: Callable[..., None]) -> None:
    """It ends alone on its GPU, fails there, and leaves the others the slots that they had."""
    asked(used=0.3)
    objective = MEMORY.replace("taken() or TOO_LARGE", "trial.params['x'] == 3")
    outcome, _ = run_on(gpu_slots(1, 2), objective, TEN, here, monkeypatch)
    assert states(outcome) == {"complete": 9, "failed": 1}
    large = outcome.records[3]
    assert (large.cause, large.attempts) == ("out-of-memory", 2)
    assert (large.error or "").startswith("the device's memory ran out\n")
    closed, opened = outcome.notes
    where = slots_of(outcome, 3)[0]
    assert closed.startswith("gpu A: trial 3 ran out of memory beside 1 other slot. ")
    assert opened == f"gpu A: trial 3 runs out of memory alone, too, and fails. Open again: slot {where} on gpu A"
    assert {record.spans[0].slot for record in outcome.records[6:]} == {0, 1}


@pytest.mark.slow
def test_memory_that_others_hold_is_no_fault_of_the_trial(
    here: Path, monkeypatch: pytest.MonkeyPatch, asked: Callable[..., None]
) -> None:
    """On the last slot of a GPU it is tried once more, and fails if there is no more memory then."""
    asked(used=60.0)
    objective = MEMORY.replace(
        "taken() or TOO_LARGE", "trial.params['x'] == 2 or (trial.params['x'] == 1 and trial.attempt == 1)"
    )
    outcome, _ = run_on(gpu_slots(1), objective, {"x": [0, 1, 2, 3]}, here, monkeypatch)
    assert [str(record.state) for record in outcome.records] == ["complete", "complete", "failed", "complete"]
    assert [record.attempts for record in outcome.records] == [1, 2, 2, 1]
    assert outcome.notes == tuple(
        f"gpu A: trial {number} ran out of memory while others hold 60.0 of 80.0 GiB. It is tried once more" for number in (1, 2)
    )


@pytest.mark.slow
def test_where_others_hold_the_memory_another_gpu_is_tried(
    here: Path, monkeypatch: pytest.MonkeyPatch, asked: Callable[..., None]
) -> None:
    """The trial waits for a slot there, and both slots stay open."""
    asked(used=60.0)
    objective = MEMORY.replace("taken() or TOO_LARGE", "gpu() == 'B' and trial.params['x'] < 6").replace("0.1", "0.2")
    outcome, _ = run_on(gpu_slots(2), objective, TEN, here, monkeypatch)
    assert states(outcome) == {"complete": 10}
    moved = put_back(outcome)
    assert moved
    assert all(slots_of(outcome, number) == [1, 0] for number in moved)
    assert outcome.records[-1].device == "gpu B"


@pytest.mark.slow
def test_python_s_own_memory_errors_are_the_trials(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's memory is another matter: nothing is closed."""
    objective = MEMORY.replace("torch.OutOfMemoryError(full)", "MemoryError").replace("TOO_LARGE", "False")
    outcome, _ = run_on(gpu_slots(1, 2), objective, {"x": [0, 1, 2]}, here, monkeypatch)
    assert "exception" in {record.cause for record in outcome.records}
    assert outcome.notes == ()


PLACE = {"uuid": "GPU-1", "pci": "00000000:3B:00.0"}


def trouble(monkeypatch: pytest.MonkeyPatch, folder: Path, log: str = "", **says: Any) -> str:
    """Return what is known to be wrong with a GPU whose driver says this."""
    fake_machine(monkeypatch, folder, {"gpus": [PLACE | says]})
    monkeypatch.setattr(gpu_trouble, "KERNEL_LOG", folder / "kmsg")
    (folder / "kmsg").write_text(log)
    return gpu_trouble.trouble(Gpu(uuid="GPU-1", index="0"))


@pytest.mark.parametrize(
    ("says", "text"),
    [
        ({}, ""),
        ({"ecc": 0, "pending": 0, "rows": [1, 0, 0, 0]}, ""),
        ({"ecc": 2}, "2 memory errors that could not be corrected since the driver was loaded (ECC)"),
        ({"pending": 1}, "pages of its memory are to be retired: it needs a reset"),
        ({"rows": [0, 1, 1, 0]}, "rows of its memory are to be remapped: it needs a reset"),
        ({"rows": [0, 1, 1, 1]}, "rows of its memory could not be remapped: it is broken"),
        ({"fails": {"nvmlDeviceGetTotalEccErrors": 15}}, "NVIDIA's driver says: GPU is lost"),
        ({"uuid": "GPU-2"}, "NVIDIA's driver says: Not Found"),
    ],
)
def test_the_driver_is_asked_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: dict[str, Any], text: str
) -> None:
    """What it does not know is left out; a GPU that is lost, or gone, is called so."""
    assert trouble(monkeypatch, tmp_path, **says) == text


def test_the_kernel_s_last_word_about_a_gpu_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If its log can be read; messages about another GPU are not about this one."""
    log = (
        "6,1,2,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=4711, name=python\n"
        "6,2,3,-;NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', GPU has fallen off the bus.\n"
        "6,3,4,-;NVRM: Xid (PCI:0000:af:00): 48, pid=4712\n"
    )
    assert trouble(monkeypatch, tmp_path, log) == "the kernel's last message about it is Xid 79"
    monkeypatch.setattr(gpu_trouble, "KERNEL_LOG", tmp_path / "none")
    assert gpu_trouble.trouble(Gpu(uuid="GPU-1", index="0")) == ""


def test_without_a_driver_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor asked of the kernel."""
    fake_machine(monkeypatch, tmp_path, {"init": 12})
    assert gpu_trouble.trouble(Gpu(uuid="GPU-1", index="0")) == ""
