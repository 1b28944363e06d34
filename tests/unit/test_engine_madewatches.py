"""Watches that annotations ask for, against an API server that is not always as the watch streams told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from rayjobwatch.engine.madewatches import FAILURES_TO_TELL, MadeWatches
from rayjobwatch.engine.objects import Objects, cluster_part, watch_part
from rayjobwatch.kube.client import (
    NAMESPACE_TERMINATING,
    RAY_CLUSTERS,
    RAY_JOB_WATCHES,
    Body,
    KubeClient,
    KubeError,
    Resource,
)
from rayjobwatch.model.annotation import ANNOTATION
from rayjobwatch.model.events import EventNote
from rayjobwatch.model.reasons import EventReason

if TYPE_CHECKING:
    from rayjobwatch.kube.recorder import Recorder

KEY = ("ml", "shared")


class Server:
    """An API server with one name in it; `refusals` are what its next writes are refused with."""

    def __init__(self) -> None:
        self.objects: dict[Resource, Body | None] = {RAY_CLUSTERS: None, RAY_JOB_WATCHES: None}
        self.refusals: list[KubeError] = []
        self.writes: list[tuple[str, Any]] = []
        self.told: list[EventNote] = []

    async def get(self, resource: Resource, *key: str) -> Body | None:
        assert key == KEY
        return self.objects[resource]

    async def create(self, resource: Resource, _namespace: str, body: Body) -> Body:
        self._written("create", body)
        if self.objects[resource]:
            raise KubeError(409, "AlreadyExists", "it exists")
        made = {**body, "metadata": {**body["metadata"], "uid": f"w{len(self.writes)}", "resourceVersion": "9"}}
        self.objects[resource] = made
        return made

    async def delete(self, resource: Resource, _namespace: str, _name: str, preconditions: Body) -> None:
        self._written("delete", preconditions)
        self.objects[resource] = None

    async def record(self, _involved: Body, note: EventNote) -> None:
        self.told.append(note)

    def _written(self, verb: str, body: Any) -> None:
        self.writes.append((verb, body))
        if self.refusals:
            raise self.refusals.pop(0)

    @property
    def reasons(self) -> list[EventReason]:
        return [note.reason for note in self.told]


class World:
    """The server, what the streams told of it, and what is made of that."""

    def __init__(self) -> None:
        self.server = Server()
        self.clusters = Objects(RAY_CLUSTERS, "RayCluster", cluster_part)
        self.watches = Objects(RAY_JOB_WATCHES, "RayJobWatch", watch_part)
        client, recorder = cast("KubeClient", self.server), cast("Recorder", self.server)
        self.made = MadeWatches(client, self.clusters, self.watches, recorder)
        self._version = 10

    async def cluster(self, value: str | None, *, uid: str = "c1", known_only: bool = False) -> None:
        """Annotate the RayCluster; `known_only`: only the stream says so, which is late."""
        self._version += 1
        annotations = {} if value is None else {ANNOTATION: value}
        meta = {"name": "shared", "namespace": "ml", "uid": uid, "resourceVersion": str(self._version)}
        body = {"metadata": meta | {"annotations": annotations}, "spec": {}}
        if not known_only:
            self.server.objects[RAY_CLUSTERS] = body
        self.clusters.seen(body)
        await self.look()

    async def told_of_watch(self) -> None:
        """Let the stream tell of the watch as it is, or of its deletion."""
        body, known = self.server.objects[RAY_JOB_WATCHES], self.watches.get(KEY)
        if body:
            self.watches.seen(body)
        elif known:
            self.watches.gone(known)
        await self.look()

    async def retry(self) -> None:
        """Let the pause before the next try be over."""
        self.made._queue.add(KEY)
        await turns()

    async def look(self) -> None:
        self.made.look(KEY)
        await turns()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def running() -> AsyncIterator[World]:
    world = World()
    task = asyncio.create_task(world.made.run())
    try:
        yield world
    finally:
        task.cancel()
        world.made.close()
        await asyncio.wait([task])


async def test_the_annotation_makes_one_watch_and_its_removal_removes_it() -> None:
    async with running() as world:
        await world.cluster("all")
        await world.look()
        await world.told_of_watch()
        await world.look()
        await world.cluster(None)
        await world.told_of_watch()
        assert [verb for verb, _ in world.server.writes] == ["create", "delete"]
        assert world.server.writes[1] == ("delete", {"uid": "w1"})
        assert world.server.reasons == [EventReason.WATCH_CREATED, EventReason.WATCH_DELETED]


async def test_a_watch_that_its_user_deletes_is_made_again() -> None:
    async with running() as world:
        await world.cluster("all")
        await world.told_of_watch()
        world.server.objects[RAY_JOB_WATCHES] = None
        await world.told_of_watch()
        assert [verb for verb, _ in world.server.writes] == ["create", "create"]


async def test_what_was_removed_while_nobody_looked_is_cleaned_up() -> None:
    async with running() as before:
        await before.cluster("all")
    async with running() as world:
        world.server.objects[RAY_JOB_WATCHES] = before.server.objects[RAY_JOB_WATCHES]
        await world.told_of_watch()
        assert world.server.writes == []
        await world.cluster(None)
        assert world.server.writes == [("delete", {"uid": "w1"})]


@pytest.mark.parametrize("value", ["all", None])
async def test_a_late_stream_neither_makes_nor_deletes_anything(value: str | None) -> None:
    async with running() as world:
        await world.cluster(None if value else "all")
        await world.told_of_watch()
        done = list(world.server.writes)
        await world.cluster(value, known_only=True)
        assert world.server.writes == done


async def test_a_watch_of_that_name_is_left_alone_and_told_once() -> None:
    async with running() as world:
        theirs: Body = {"metadata": {"name": "shared", "namespace": "ml", "uid": "t1", "resourceVersion": "5"}}
        world.server.objects[RAY_JOB_WATCHES] = theirs
        await world.told_of_watch()
        await world.cluster("all")
        for _ in range(3):
            await world.look()
        world.made.look_at_all()
        await turns()
        assert world.server.reasons == [EventReason.WATCH_NOT_CREATED]
        await world.cluster(None)
        assert world.server.writes == []
        await world.cluster("all")
        world.server.objects[RAY_JOB_WATCHES] = None
        await world.told_of_watch()
        assert [verb for verb, _ in world.server.writes] == ["create"]


async def test_a_bad_value_is_told_and_the_next_bad_one_too() -> None:
    async with running() as world:
        for value in ("al", "al", "true"):
            await world.cluster(value)
        assert world.server.reasons == [EventReason.WATCH_NOT_CREATED] * 2
        assert world.server.writes == []


async def test_a_replaced_raycluster_gets_its_own_watch_when_that_of_the_first_is_collected() -> None:
    async with running() as world:
        await world.cluster("all")
        await world.told_of_watch()
        await world.cluster("all", uid="c2")
        assert len(world.server.writes) == 1
        world.server.objects[RAY_JOB_WATCHES] = None
        await world.told_of_watch()
        made = world.server.writes[1][1]
        assert made["metadata"]["ownerReferences"][0]["uid"] == "c2"
        assert EventReason.WATCH_NOT_CREATED not in world.server.reasons


async def test_in_a_namespace_that_goes_nothing_is_made_and_nothing_tried_again() -> None:
    async with running() as world:
        world.server.refusals = [KubeError(403, NAMESPACE_TERMINATING, "it is being terminated")]
        await world.cluster("all")
        assert (world.server.told, world.made._queue._timers) == ([], {})


async def test_a_refusal_that_stands_is_told_and_tried_again_with_growing_pauses() -> None:
    async with running() as world:
        forbidden = KubeError(403, "Forbidden", "cannot create resource rayjobwatches")
        world.server.refusals = [forbidden] * (FAILURES_TO_TELL + 1)
        await world.cluster("all")
        assert world.server.told == []
        for _ in range(FAILURES_TO_TELL):
            await world.look()  # news does not cut the pause short
            assert world.made._queue._timers
            await world.retry()
        assert world.server.reasons == [EventReason.WATCH_NOT_CREATED]
        assert "cannot create resource rayjobwatches" in world.server.told[0].message
        await world.retry()
        assert world.server.reasons[1:] == [EventReason.WATCH_CREATED]
        assert not world.made._failures


async def test_an_api_server_that_is_away_is_asked_again() -> None:
    async with running() as world:
        await world.cluster("all")
        await world.told_of_watch()
        world.server.refusals = [KubeError(0, "TimeoutError", "the API server did not answer")]
        await world.cluster(None)
        assert world.server.objects[RAY_JOB_WATCHES]
        await world.retry()
        assert not world.server.objects[RAY_JOB_WATCHES]
