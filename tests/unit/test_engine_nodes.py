"""Whether the node of a driver is asked for, when a head may have been replaced. On real sockets."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from rayjobwatch.engine import nodes
from rayjobwatch.engine.nodes import NodeWatch
from rayjobwatch.engine.session import ClusterSession
from rayjobwatch.model import pace
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.model.selector import Selector
from rayjobwatch.ray import AsyncRayClient, JobDetails
from tests.ray import fakestate, faults
from tests.ray.fakedashboard import NODE_ID, FakeDashboard
from tests.ray.flavours import until
from tests.unit.observations import T0

PATH = "/api/v0/nodes"
RUNNING = JobDetails({"job_id": "a", "status": "RUNNING", "driver_node_id": NODE_ID})


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    dashboard = FakeDashboard()
    yield dashboard
    dashboard.stop()


@pytest.fixture
async def watch(fake: FakeDashboard) -> AsyncIterator[NodeWatch]:
    client = AsyncRayClient(fake.url)
    yield NodeWatch(client)
    await client.aclose()


def _asked(fake: FakeDashboard) -> int:
    return sum(request.path == PATH for request in fake.requests)


async def test_nodes_are_asked_for_once_where_they_decide(fake: FakeDashboard, watch: NodeWatch) -> None:
    await watch.check([RUNNING])
    assert (_asked(fake), watch.is_in_doubt) == (0, False)
    watch.doubt()
    await watch.check([JobDetails({"job_id": "a", "status": "PENDING", "driver_node_id": None})])
    assert (_asked(fake), watch.is_in_doubt) == (0, True)
    for _ in range(3):
        assert not await watch.check([RUNNING])
    assert (_asked(fake), watch.is_in_doubt) == (1, False)


async def test_a_job_on_a_dead_node_is_named_and_its_node_asked_for_again(
    fake: FakeDashboard, watch: NodeWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.state.nodes = [fakestate.node(NODE_ID, "DEAD", head=True), fakestate.node("b" * 56, head=True)]
    watch.doubt()
    assert await watch.check([RUNNING]) == {"a"}
    assert await watch.check([RUNNING]) == {"a"}
    assert _asked(fake) == 1
    monkeypatch.setattr(pace, "NODES_AGAIN", 0.0)
    await watch.check([RUNNING])
    assert _asked(fake) == 2


async def test_a_node_that_dies_within_a_minute_of_the_head_s_return_is_noticed(
    fake: FakeDashboard, watch: NodeWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "NODES_AFTER_DOUBT", 0.0)
    watch.doubt()
    assert not await watch.check([RUNNING])
    fake.state.nodes = [fakestate.node(NODE_ID, "DEAD", head=True)]
    assert await watch.check([RUNNING]) == {"a"}
    assert watch.nodes is not None
    assert watch.nodes.dead == {NODE_ID}


async def test_the_nodes_of_another_head_are_forgotten_with_it(fake: FakeDashboard, watch: NodeWatch) -> None:
    await watch.ask()
    fake.on("GET", PATH, faults.bytes_only(b""))
    watch.doubt()
    assert watch.nodes is None
    await asyncio.wait_for(watch.check([RUNNING]), 10)
    assert watch.is_in_doubt


@pytest.mark.parametrize(("status", "is_in_doubt"), [(404, False), (501, False), (500, True)])
async def test_a_ray_that_does_not_say_is_believed_at_once(
    fake: FakeDashboard, watch: NodeWatch, status: int, is_in_doubt: bool
) -> None:
    fake.once("GET", PATH, faults.answer(status))
    watch.doubt()
    assert not await watch.check([RUNNING])
    assert watch.is_in_doubt is is_in_doubt


async def test_a_ray_that_answers_other_things_only_is_believed_after_a_while(
    watch: NodeWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.doubt()
    monkeypatch.setattr(nodes, "DOUBT_SECONDS", 0.0)
    assert not watch.is_in_doubt


async def test_for_a_row_that_nobody_waits_for_no_node_is_asked_for(
    fake: FakeDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FASTEST_POLL", "SLOWEST_POLL", "LOOK_AGAIN", "NODES_AGAIN"):
        monkeypatch.setattr(pace, name, 0.01)
    fake.state.nodes = [fakestate.node(NODE_ID, "DEAD", head=True)]
    fake.add_job("a", status="RUNNING")
    session = ClusterSession(Dashboard(fake.url), lambda *_: None, lambda _: None)
    selector = Selector("all", {}, None, T0)
    try:
        session.join(("ml", "all"), ["a"], selector=selector)
        await until(lambda: _asked(fake) >= 3)
        session.join(("ml", "all"), [], selector=selector)  # it is over, as its watch knows
        await _polled(fake, 2)
        asked = _asked(fake)
        await _polled(fake, 5)
        assert _asked(fake) == asked
    finally:
        await session.close()


async def _polled(fake: FakeDashboard, times: int) -> None:
    polls = _lists(fake) + times
    await until(lambda: _lists(fake) >= polls)


def _lists(fake: FakeDashboard) -> int:
    return sum(request.path == "/api/jobs/" for request in fake.requests)
