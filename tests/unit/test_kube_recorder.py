"""Events on their way to the API server: named for good, bounded, tried again, and never in the way."""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest

from rayjobwatch.kube import recorder
from rayjobwatch.kube.client import EVENTS, Body, KubeClient, KubeError, Resource
from rayjobwatch.kube.recorder import (
    BURST,
    KNOWN_OBJECTS,
    QUEUE_LENGTH,
    REFILL_SECONDS,
    REPEAT_BURST,
    REPEAT_SECONDS,
    TRIES_OF_ENDS,
    Recorder,
    event_body,
)
from rayjobwatch.model.events import EventNote
from rayjobwatch.model.reasons import EventReason
from tests.unit.observations import T0

NOTE = EventNote(EventReason.JOB_RUNNING, "job a running", "s\na\nt\nJobRunning")
END = EventNote(EventReason.JOB_FAILED, "job a failed: x", "s\na\nt\nJobFailed", is_warning=True, is_end=True)


def _object(name: str = "train", uid: str = "u1") -> Body:
    return {"apiVersion": "v1", "kind": "X", "metadata": {"name": name, "namespace": "ml", "uid": uid}}


class Server:
    """Stands in for `KubeClient.create`: fails with `errors` in turn, then takes every Event."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)
        self.tries = 0
        self.taken: list[Body] = []
        self.patches: list[tuple[str, Body]] = []
        self.changed = asyncio.Event()

    async def create(self, resource: Resource, namespace: str, body: Body) -> Body:
        assert (resource, namespace) == (EVENTS, "ml")
        self.tries += 1
        self.changed.set()
        if self.errors:
            raise KubeError(self.errors.pop(0), "R", "no")
        self.taken.append(body)
        return body

    async def patch(self, resource: Resource, namespace: str, name: str, body: Body) -> Body:
        assert (resource, namespace) == (EVENTS, "ml")
        if name not in {event["metadata"]["name"] for event in self.taken}:
            raise KubeError(404, "NotFound", "no")
        self.patches.append((name, body))
        self.changed.set()
        return body


def _recorder(server: Any, clock: Callable[[], float] = lambda: 0.0) -> Recorder:
    return Recorder(cast("KubeClient", server), "pod", clock)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_delay", lambda _tries: 0.0)
    monkeypatch.setattr(recorder, "ROUND_SECONDS", 0.001)


async def _run_until(posting: Recorder, done: Callable[[], bool], server: Server) -> None:
    task = asyncio.create_task(posting.run())
    async with asyncio.timeout(5):
        while not done():
            server.changed.clear()
            await server.changed.wait()
            await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_an_event_is_found_by_kubectl_describe() -> None:
    body = event_body(_object(), END, "pod", T0)
    assert body["involvedObject"] == {"apiVersion": "v1", "kind": "X", "name": "train", "namespace": "ml", "uid": "u1"}
    assert (body["type"], body["reason"], body["message"]) == ("Warning", "JobFailed", "job a failed: x")
    assert body["firstTimestamp"] == body["lastTimestamp"] == "2026-11-21T10:00:00Z"


def _name(watch: Body, note: EventNote, instance: str = "pod") -> str:
    return str(event_body(watch, note, instance, T0)["metadata"]["name"])


def test_the_same_thing_told_by_another_process_has_the_same_name() -> None:
    assert _name(_object(), NOTE, "pod-2") == _name(_object(), NOTE)
    assert len({_name(_object(), NOTE), _name(_object(), END), _name(_object(uid="u2"), NOTE)}) == 3


@pytest.mark.parametrize("name", ["a", "a" * 253, "a" * 199 + "-b", "a" * 198 + ".-b", "a.b-c"])
def test_the_api_server_takes_the_name_of_every_event(name: str) -> None:
    label = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    shown = _name(_object(name), NOTE)
    assert re.fullmatch(rf"{label}(\.{label})*", shown)
    assert len(shown) <= 253


async def test_an_event_that_is_there_already_is_not_told_again() -> None:
    server = Server(409)
    posting = _recorder(server)
    await posting.record(_object(), END)
    assert (server.tries, posting.dropped, posting.waiting) == (1, 0, 0)


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_an_event_that_is_refused_for_good_is_dropped_and_counted(status: int) -> None:
    server = Server(status)
    posting = _recorder(server)
    await posting.record(_object(), END)
    assert (server.tries, posting.dropped, posting.waiting) == (1, 1, 0)


@pytest.mark.parametrize("status", [0, 401, 403, 429, 500, 503])
async def test_an_event_outlives_a_short_trouble_of_the_api_server(status: int) -> None:
    server = Server(status, status)
    posting = _recorder(server)
    await posting.record(_object(), END)
    await _run_until(posting, lambda: bool(server.taken), server)
    assert (server.tries, posting.dropped) == (3, 0)


async def test_an_event_that_is_told_again_while_it_waits_is_tried_at_once_and_waits_once() -> None:
    server = Server(503, 503)
    posting = _recorder(server)
    for waiting in (1, 1, 0):
        await posting.record(_object(), END)
        assert posting.waiting == waiting
    assert (server.tries, len(server.taken), posting.dropped) == (3, 1, 0)


async def test_an_event_is_given_up_after_its_last_try() -> None:
    server = Server(*[503] * 99)
    posting = _recorder(server)
    await posting.record(_object(), END)
    await _run_until(posting, lambda: posting.dropped == 1, server)
    assert server.tries == TRIES_OF_ENDS


async def test_a_slow_api_server_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "TRY_SECONDS", 0.01)

    class Slow:
        async def create(self, *_: object) -> Body:
            await asyncio.Event().wait()
            return {}

    posting = _recorder(Slow())
    await posting.record(_object(), END)
    assert posting.waiting == 1


async def test_no_more_events_wait_than_the_queue_holds() -> None:
    server = Server(*[503] * (QUEUE_LENGTH + 5))
    posting = _recorder(server)
    for number in range(QUEUE_LENGTH + 5):
        await posting.record(_object(uid=str(number)), END)
    assert (posting.waiting, posting.dropped) == (QUEUE_LENGTH, 5)


async def test_one_objects_chatter_is_limited_but_never_its_ends_nor_another_object() -> None:
    server, now = Server(), [0.0]
    posting = _recorder(server, lambda: now[0])
    for _ in range(BURST + 3):
        await posting.record(_object(), NOTE)
    assert (len(server.taken), posting.dropped) == (BURST, 3)
    await posting.record(_object(), END)
    await posting.record(_object(uid="u2"), NOTE)
    assert len(server.taken) == BURST + 2
    now[0] = REFILL_SECONDS
    await posting.record(_object(), NOTE)
    await posting.record(_object(), NOTE)
    assert (len(server.taken), posting.dropped) == (BURST + 3, 4)


def _fired(count: int, identity: str = "s\na\nt\noom\nLogRuleFired") -> EventNote:
    return EventNote(EventReason.LOG_RULE_FIRED, f"rule oom fired for job a: line {count}", identity, count=count)


async def test_what_happens_again_is_one_event_whose_count_grows() -> None:
    server = Server()
    posting = _recorder(server)
    for count in (1, 5):
        await posting.record(_object(), _fired(count))
    (event,) = server.taken
    assert (event["count"], event["message"]) == (1, "rule oom fired for job a: line 1")
    assert [(name, body["count"]) for name, body in server.patches] == [(event["metadata"]["name"], 5)]


async def test_a_count_is_posted_where_its_event_is_gone_or_was_never_posted() -> None:
    server = Server()
    posting = _recorder(server)
    await posting.record(_object(), _fired(7))
    server.taken.clear()
    await posting.record(_object(), _fired(8))
    assert [event["count"] for event in server.taken] == [8]


async def test_a_count_is_shown_on_the_event_that_an_earlier_process_posted() -> None:
    server = Server()
    await _recorder(server).record(_object(), _fired(1))
    server.errors = [409]
    await _recorder(server).record(_object(), _fired(5))
    assert [body["count"] for _, body in server.patches] == [5]


async def test_what_flaps_is_told_seldom_and_in_the_end_with_its_last_count() -> None:
    server, now = Server(), [0.0]
    posting = _recorder(server, lambda: now[0])
    for count in range(1, 1001):
        await posting.record(_object(), _fired(count))
        now[0] = count / 100
    assert (len(server.taken), len(server.patches), posting.waiting) == (1, REPEAT_BURST - 1, 1)
    now[0] += REPEAT_SECONDS
    await _run_until(posting, lambda: len(server.patches) == REPEAT_BURST, server)
    assert server.patches[-1][1]["count"] == 1000
    assert (posting.dropped, posting.waiting) == (0, 0)


async def test_many_rules_that_flap_are_limited_together_and_leave_room_for_the_rest() -> None:
    server = Server()
    posting = _recorder(server)
    for number in range(BURST + 20):
        await posting.record(_object(), _fired(1, str(number)))
    assert (len(server.taken), posting.dropped) == (BURST, 20)
    await posting.record(_object(), NOTE)
    await posting.record(_object(), END)
    assert len(server.taken) == BURST + 2


@pytest.mark.parametrize("note", [NOTE, _fired(1)], ids=["running", "fired"])
async def test_an_api_server_that_is_overloaded_gets_no_event_again_but_ends(note: EventNote) -> None:
    server = Server(429)
    posting = _recorder(server)
    await posting.record(_object(), note)
    assert (server.tries, posting.dropped, posting.waiting) == (1, 1, 0)


def test_the_limiter_remembers_a_bounded_number_of_objects() -> None:
    buckets = recorder._Buckets(lambda: 0.0, 3, 10.0)
    assert all(buckets.take(str(number)) for number in range(KNOWN_OBJECTS + 10))
    assert len(buckets._left) == KNOWN_OBJECTS


@pytest.mark.parametrize("tries", [1, 2, 5, 50])
def test_the_pause_between_tries_is_capped(monkeypatch: pytest.MonkeyPatch, tries: int) -> None:
    monkeypatch.undo()
    assert 0.5 <= recorder._delay(tries) <= 30
