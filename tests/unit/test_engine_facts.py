"""What a dashboard is asked about its cluster, and how seldom. On real sockets."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from rayjobwatch.engine.facts import ClusterFacts
from rayjobwatch.engine.nodes import NodeWatch
from rayjobwatch.engine.rows import idle_since
from rayjobwatch.engine.session import ClusterSession
from rayjobwatch.model import pace
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.model.facts import NO_FACTS, Facts, NodeCount, Served
from rayjobwatch.ray import AsyncRayClient, JobDetails
from tests.ray import fakestate, faults
from tests.ray.fakedashboard import FakeDashboard

NODES, TASKS, SERVE = "/api/v0/nodes", "/api/v0/tasks", "/api/serve/applications/"
KEY = ("ml", "train")


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    dashboard = FakeDashboard()
    dashboard.state.nodes += [fakestate.node("b" * 56, "DEAD"), fakestate.node("c" * 56)]
    dashboard.state.tasks += [fakestate.task("t1", state="FAILED"), fakestate.task("t2"), fakestate.task("t3")]
    dashboard.state.tasks += [fakestate.task("t4", state="FAILED")]
    dashboard.state.applications["llm"] = fakestate.application("llm")
    yield dashboard
    dashboard.stop()


class Told(list[None]):
    """Counts the calls."""

    def __call__(self, *_: object) -> None:
        self.append(None)


@pytest.fixture
async def facts(fake: FakeDashboard, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterFacts]:
    monkeypatch.setattr(pace, "FACTS_FIRST", 0.0)
    client = AsyncRayClient(fake.url)
    facts = ClusterFacts(client, NodeWatch(client), Told())
    yield facts
    await facts.close()
    await client.aclose()


def _asked(fake: FakeDashboard) -> Counter[str]:
    return Counter(request.path for request in fake.requests)


async def _looked(facts: ClusterFacts, session: str = "s1") -> Facts:
    """Return the facts when what a look began is over."""
    before = asyncio.all_tasks()
    facts.look(session)
    if begun := asyncio.all_tasks() - before:
        await asyncio.wait(begun, timeout=20)
    return facts.facts


ALL = Facts(NodeCount(2, 1), 2, (Served("llm", "RUNNING"),))


async def test_a_cluster_says_what_it_has_once_a_minute(fake: FakeDashboard, facts: ClusterFacts) -> None:
    assert await _looked(facts) == ALL
    for _ in range(5):
        await _looked(facts)
    assert _asked(fake) == {NODES: 1, TASKS: 1, SERVE: 1}


async def test_nodes_that_were_listed_just_now_are_not_asked_for_again(
    fake: FakeDashboard, facts: ClusterFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await facts._nodes.ask()
    assert await _looked(facts) == ALL
    assert _asked(fake)[NODES] == 1
    monkeypatch.setattr(pace, "NODES_AFTER_DOUBT", 0.0)
    await _looked(facts, "s2")
    assert await _looked(facts, "s2") == ALL
    assert _asked(fake)[NODES] == 2


async def test_nobody_is_told_of_what_has_not_changed(
    fake: FakeDashboard, facts: ClusterFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "FACTS_AGAIN", 0.0)
    monkeypatch.setattr(pace, "FACTS_COST_FACTOR", 0.0)
    told = facts._told
    assert isinstance(told, Told)
    for _ in range(3):
        assert await _looked(facts) == ALL
    assert (len(told), _asked(fake)[TASKS]) == (1, 3)
    fake.state.tasks.append(fakestate.task("t5", state="FAILED"))
    assert (await _looked(facts)).failed_tasks == 3
    assert len(told) == 2


@pytest.mark.parametrize(
    ("path", "status", "wanted"),
    [
        (NODES, 404, Facts(None, 2, (Served("llm", "RUNNING"),))),
        (TASKS, 404, Facts(NodeCount(2, 1), None, (Served("llm", "RUNNING"),))),
        (SERVE, 501, Facts(NodeCount(2, 1), 2)),
        (SERVE, 500, Facts(NodeCount(2, 1), 2)),
    ],
)
async def test_what_a_ray_does_not_tell_is_left_out(
    fake: FakeDashboard, facts: ClusterFacts, path: str, status: int, wanted: Facts
) -> None:
    fake.on("GET", path, faults.answer(status))
    assert await _looked(facts) == wanted


async def test_a_number_that_no_status_can_hold_is_cut(fake: FakeDashboard, facts: ClusterFacts) -> None:
    rows = {"total": 10**30, "num_after_truncation": 1, "num_filtered": 10**30, "result": [fakestate.task("t1")]}
    fake.on("GET", TASKS, faults.json_text(json.dumps({"result": True, "msg": "", "data": {"result": rows}})))
    assert (await _looked(facts)).failed_tasks == 2**31 - 1


@pytest.mark.parametrize(("status", "applications"), [(500, ALL.applications), (404, ())])
async def test_what_was_known_stays_while_there_is_no_answer(
    fake: FakeDashboard, facts: ClusterFacts, monkeypatch: pytest.MonkeyPatch, status: int, applications: tuple[Served]
) -> None:
    monkeypatch.setattr(pace, "FACTS_AGAIN", 0.0)
    monkeypatch.setattr(pace, "FACTS_COST_FACTOR", 0.0)
    await _looked(facts)
    fake.on("GET", SERVE, faults.answer(status))
    assert (await _looked(facts)).applications == applications


async def test_the_facts_of_another_session_are_forgotten(facts: ClusterFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    await _looked(facts)
    monkeypatch.setattr(pace, "FACTS_FIRST", 60.0)
    assert await _looked(facts, "s2") == NO_FACTS


async def test_a_session_asks_while_it_polls_and_says_since_when_the_cluster_is_idle(
    fake: FakeDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "FACTS_FIRST", 0.0)
    monkeypatch.setattr(pace, "FASTEST_POLL", 0.02)
    moved, news = asyncio.Event(), asyncio.Event()
    session = ClusterSession(Dashboard(fake.url), lambda *_: news.set(), lambda _: moved.set())
    try:
        job = fake.add_job("a", status="RUNNING")
        session.join(KEY, ["a"])
        async with asyncio.timeout(10):
            await moved.wait()
            assert session.cluster.facts == ALL
            session.join(KEY, ["a"], urgent=["a"])  # the whole table is asked for
            job.finish()
            while (row := session.job("a")) is None or not row.status.is_terminal:
                news.clear()
                await news.wait()
        assert session.cluster.facts.idle_since is not None
    finally:
        await session.close()


@pytest.mark.parametrize(
    ("rows", "seconds"),
    [
        ([], None),
        ([("SUCCEEDED", 5000), ("FAILED", 9000), ("STOPPED", 7000)], 9),
        ([("SUCCEEDED", 5000), ("RUNNING", None)], None),
        ([("PENDING", None)], None),
        ([("A_NEW_WORD", None), ("SUCCEEDED", 5000)], None),
        ([("SUCCEEDED", None)], None),
    ],
)
def test_a_cluster_is_idle_since_its_last_job_ended(rows: list[tuple[str, int | None]], seconds: int | None) -> None:
    since = idle_since(JobDetails({"status": status, "end_time": end}) for status, end in rows)
    assert (since and since.timestamp()) == seconds
