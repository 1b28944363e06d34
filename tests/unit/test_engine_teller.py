"""Events of a watch while the API server hangs: in order, each thing once, and nobody waits for them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import cast

import pytest

from rayjobwatch.engine.teller import Teller
from rayjobwatch.kube.client import Body, KubeClient, Resource
from rayjobwatch.kube.recorder import Recorder
from rayjobwatch.model import pace
from rayjobwatch.model.events import EventNote
from rayjobwatch.model.reasons import EventReason
from tests.ray.flavours import until

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


async def test_of_many_watches_at_once_each_has_its_turn_and_what_is_urgent_goes_before(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "EVENTS_AT_ONCE", 1)
    monkeypatch.setattr(pace, "TURNS_PER_SECOND", 2.0)
    teller = Teller(cast("Recorder", hanging))
    hanging.let.set()
    keys = [("ml", f"w{number}") for number in range(4)]
    try:
        waits = [await teller.tell_in_turn(key, [note(key[1], key[1])], 10) for key in keys]
        assert hanging.posted == ["w0"]
        assert waits == sorted(waits)
        assert 0 == waits[0] < waits[1] <= 1 / pace.TURNS_PER_SECOND
        assert teller.owes(WATCH, keys[3])
        end = WATCH, EventNote(EventReason.JOB_FAILED, "w3 failed", "w3 failed", is_end=True)
        assert await teller.tell_in_turn(keys[3], [end], 10) == 0
        assert hanging.posted == ["w0", "w3", "w3 failed"]
        await until(lambda: hanging.posted[3:] == ["w1", "w2"])
        assert not any(teller.owes(WATCH, key) for key in keys)
        await teller.tell_in_turn(keys[0], [note("late", "late")], 10)
        assert [await teller.tell_in_turn(key, [note("last", "last")], 10) > 0 for key in keys] == [True] * 4
    finally:
        await teller.close()
    assert len(asyncio.all_tasks()) == 1


class Storm:
    """An API server that counts Events, by the kind of object they are about."""

    def __init__(self) -> None:
        self.posted: Counter[tuple[str, str]] = Counter()

    async def create(self, _resource: Resource, _namespace: str, body: Body) -> Body:
        self.posted[body["involvedObject"]["kind"], body["reason"]] += 1
        return body


def _object(kind: str, name: str) -> Body:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "ml", "uid": f"uid-{name}"}}


async def test_of_200_watches_on_a_dashboard_that_goes_away_one_tells_it_on_the_raycluster() -> None:
    server, clock = Storm(), asyncio.get_running_loop().time
    teller = Teller(Recorder(cast("KubeClient", server), "test", clock))
    shared = _object("RayCluster", "shared")
    away, failed, other = EventReason.DASHBOARD_UNREACHABLE, EventReason.JOB_FAILED, EventReason.HEAD_REPLACED
    try:
        for number in range(200):
            watch = _object("RayJobWatch", f"w{number}")
            about = [
                EventNote(away, "away", "since 10:00", on_cluster=True),
                EventNote(away, "away", f"as session {number % 2} saw it", on_cluster=True),
                EventNote(other, "replaced", "s1 s2", on_cluster=True),
                EventNote(failed, "failed", "job a", is_end=True, on_cluster=True),
                EventNote(failed, "failed", "job b", is_end=True, on_cluster=True),
            ]
            notes = [(where, note) for note in about for where in (watch, shared)]
            await teller.tell(("ml", f"w{number}"), notes, 10)
    finally:
        await teller.close()
    assert server.posted == {
        ("RayJobWatch", away): 400,
        ("RayJobWatch", other): 200,
        ("RayJobWatch", failed): 400,
        ("RayCluster", away): 1,
        ("RayCluster", other): 1,
        ("RayCluster", failed): 2,
    }
