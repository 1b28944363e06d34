"""Sessions and credentials: each has its own, a refusal is told at once, and a CA of one's own is trusted."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from rayjobwatch.engine.hearing import Heard
from rayjobwatch.engine.logs import Follow
from rayjobwatch.engine.session import ClusterSession
from rayjobwatch.engine.sessions import Sessions
from rayjobwatch.model import pace
from rayjobwatch.model.access import Access
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.spec import Protocol
from tests.ray import faults
from tests.ray.fakedashboard import FakeDashboard
from tests.ray.flavours import until
from tests.ray.tls import authority_pem, server_context

KEY = ("ml", "train")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FASTEST_POLL", "SLOWEST_POLL", "SLOWEST_ANYWAY"):
        monkeypatch.setattr(pace, name, 0.02)


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    dashboard = FakeDashboard()
    dashboard.add_job("a", b"one\n", "RUNNING")
    yield dashboard
    dashboard.stop()


@asynccontextmanager
async def session_with(
    url: str, access: Access, told: Callable[[], None] = lambda: None
) -> AsyncIterator[ClusterSession]:
    session = ClusterSession(Dashboard(url, access=access), lambda *_: told(), lambda _: None)
    session.join(KEY, ["a"])
    try:
        yield session
    finally:
        await session.close()


async def test_a_token_is_sent_as_ray_wants_it(fake: FakeDashboard) -> None:
    fake.token = "tok"
    async with session_with(fake.url, Access("tok")) as session:
        await until(lambda: session.listing(["a"]) is not None)
        assert session.refused is None
    assert {request.headers["x-ray-authorization"] for request in fake.requests} == {"Bearer tok"}
    assert not any("authorization" in request.headers for request in fake.requests)


async def test_a_refusal_is_told_at_once_and_states_are_kept_until_it_lasts(fake: FakeDashboard) -> None:
    fake.token = "tok"
    access, said = Access("tok"), list[tuple[bool, bool]]()
    async with session_with(
        fake.url, access, lambda: said.append((session.refused == access, session.unreachable is None))
    ) as session:
        await until(lambda: session.listing(["a"]) is not None)
        fake.once("GET", "/api/.*", faults.answer(403))
        await until(lambda: (True, True) in said)
        await until(lambda: session.refused is None)
        assert session.unreachable is None
        fake.token = "other"
        await until(lambda: (gone := session.unreachable) is not None and gone.reason == "Unauthorized")


async def test_no_watch_rides_on_the_credentials_of_another(fake: FakeDashboard) -> None:
    fake.token = "tok"
    sessions = Sessions(lambda *_: None, lambda _: None)
    mine, theirs, nobodys = (sessions.get(Dashboard(fake.url, access=Access(token))) for token in ("tok", "no", ""))
    try:
        assert len({mine, theirs, nobodys}) == 3
        for session in (mine, theirs, nobodys):
            session.join(KEY, ["a"])
        await until(lambda: mine.listing(["a"]) is not None and all((theirs.refused, nobodys.refused)))
        assert theirs.listing(["a"]) is nobodys.listing(["a"]) is None
        assert sessions.get(Dashboard(fake.url, access=Access("tok"))) is mine
    finally:
        for session in (mine, theirs, nobodys):
            sessions.leave(session, KEY)
        await sessions.close()


async def test_a_lying_dashboard_sends_nobody_to_another_host(fake: FakeDashboard) -> None:
    fake.add_job("b", b"one\n", agent=True)
    follow = Follow("b", Protocol.AUTO)
    session = ClusterSession(Dashboard(fake.url, agent_host="10.0.0.1"), lambda *_: None, lambda _: None)
    try:
        session.join(KEY, ["b"])
        await until(lambda: session.listing(["b"]) is not None)
        session.follow(KEY, {follow: Heard(LogDigest())})
        await until(lambda: (heard := session.heard(KEY, follow)) is not None and heard.digest.complete)
        assert fake.agent.requests == []
    finally:
        await session.close()


async def test_only_ones_own_ca_is_trusted() -> None:
    secure = FakeDashboard(tls=server_context())
    secure.add_job("a", b"one\n", "RUNNING")
    try:
        async with session_with(secure.url, Access(ca=authority_pem().decode())) as session:
            await until(lambda: session.listing(["a"]) is not None)
        async with session_with(secure.url, Access()) as session:
            await until(lambda: session.unreachable is not None)
            assert "certificate" in str(session.unreachable).lower()
    finally:
        secure.stop()


async def test_a_session_shows_no_token(fake: FakeDashboard) -> None:
    fake.token = "canary"
    async with session_with(fake.url, Access("canary")) as session:
        await until(lambda: session.listing(["a"]) is not None)
        shown = [repr(session.dashboard), repr(session.cluster), *(repr(task) for task in asyncio.all_tasks())]
    assert "canary" not in " ".join(shown)
