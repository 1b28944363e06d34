"""Events of a watch while the API server hangs: in order, each thing once, and nobody waits for them."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

import pytest

from rayjobwatch.engine.teller import Teller
from rayjobwatch.kube.client import Body
from rayjobwatch.model.events import EventNote
from rayjobwatch.model.reasons import EventReason

if TYPE_CHECKING:
    from rayjobwatch.kube.recorder import Recorder

KEY = ("ml", "train")
WATCH: Body = {"metadata": {"name": "train", "namespace": "ml", "uid": "u1"}}


class Hanging:
    """A recorder that posts only when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.posted: list[str] = []

    async def record(self, _involved: Body, note: EventNote) -> None:
        await self.let.wait()
        self.posted.append(note.message)

    def owes(self, _watch: Body) -> bool:
        return False


@pytest.fixture
async def hanging() -> Hanging:
    return Hanging()


@pytest.fixture
async def teller(hanging: Hanging) -> AsyncIterator[Teller]:
    teller = Teller(cast("Recorder", hanging))
    yield teller
    await teller.close()


def note(message: str, identity: str) -> tuple[Body, EventNote]:
    return WATCH, EventNote(EventReason.LOG_RULE_FIRED, message, identity)


async def test_what_is_told_anew_takes_the_place_of_what_waits(teller: Teller, hanging: Hanging) -> None:
    for number in range(1000):
        await teller.tell(KEY, [note(f"a {number}", "a"), note(f"b {number}", "b")], 0.0)
    assert sum("tell ml/train" in task.get_name() for task in asyncio.all_tasks()) == 1
    assert teller.owes(WATCH, KEY)
    hanging.let.set()
    await teller.tell(KEY, [note("the last", "c")], 10)
    # The first was under way already.
    assert hanging.posted[0] == "a 0"
    assert sorted(hanging.posted[1:]) == ["a 999", "b 999", "the last"]
    assert not teller.owes(WATCH, KEY)


async def test_events_of_a_watch_come_in_their_order(teller: Teller, hanging: Hanging) -> None:
    for number in range(5):
        await teller.tell(KEY, [note(str(number), str(number))], 0.0)
    hanging.let.set()
    await teller.tell(KEY, [note("5", "5")], 10)
    assert hanging.posted == ["0", "1", "2", "3", "4", "5"]
