"""Slots that are opened and closed while a session runs. Their workers are real processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from unittest import mock

import pytest

from sweep.runner.session import worker_maker
from sweep.runner.slots import Slots
from sweep.runner.timers import SessionTimer
from sweep.worker.devices import plan_slots
from sweep.worker.gpus import Gpu
from sweep.worker.protocol import Loaded
from tests.support.studies import study_spec, write_objectives


@pytest.fixture
def slots(here: Path) -> Iterator[Slots]:
    """Two slots on GPU 4 and one on GPU 5, loaded and idle."""
    write_objectives(here)
    found = Slots(worker_maker(study_spec({"x": [1]}, import_dir=here), False), SessionTimer())
    places = plan_slots("auto", 2, 1, gpus=[Gpu(uuid="4", index="4"), Gpu(uuid="5", index="5")], cores=4)
    for place in places[:3]:
        found.open(place)
    answered = 0
    while found.busy:
        for slot, event in found.events(60):
            assert isinstance(event, Loaded)
            slot.timer.turn_to("waiting")
            answered += 1
    assert answered == len(found) == 3
    yield found
    found.end()


def names(slots: Slots) -> list[str]:
    return [f"{slot.place.index} {slot.place.device}" for slot in slots]


def test_slots_beside_each_other_share_a_gpu(slots: Slots) -> None:
    """A slot is not beside itself."""
    assert names(slots) == ["0 gpu 4", "1 gpu 5", "2 gpu 4"]
    assert [[other.place.index for other in slots.beside(slot.place)] for slot in slots] == [[2], [], [0]]


def test_an_idle_slot_that_is_retired_is_closed_at_once(slots: Slots) -> None:
    """Its time is not counted any more, and it is not asked again."""
    _, _, last = slots
    slots.retire([2])
    assert names(slots) == ["0 gpu 4", "1 gpu 5"]
    assert [slot.place.index for slot in slots.idle] == [0, 1]
    assert last.timer.read() == last.timer.read()


def test_the_last_slot_on_a_gpu_that_was_to_be_closed_stays(slots: Slots) -> None:
    """When the one beside it is closed for another reason before."""
    first, _, last = slots
    last.closing = True
    slots.close(first)
    assert names(slots) == ["1 gpu 5", "2 gpu 4"]
    assert not last.closing


def test_workers_that_do_not_answer_are_waited_for_together() -> None:
    """Not one after another, since each of them may take seconds."""
    together = threading.Barrier(3)  # which is broken, and raises, unless all three close at the same time
    workers = [
        mock.Mock(**{"next_event.return_value": Future(), "close.side_effect": lambda: together.wait(20)}) for _ in range(3)
    ]
    made = iter(workers)
    found = Slots(lambda _: next(made), SessionTimer())
    for place in plan_slots("cpu", 3, 1, gpus=[], cores=4):
        found.open(place)
    found.end()
    assert [worker.close.call_count for worker in workers] == [1, 1, 1]
