"""A session with a dashboard: what it follows, for whom and from when on. On real sockets."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from rayjobwatch.engine.session import ClusterSession, Follow, WatchKey
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.spec import Protocol
from tests.ray.fakedashboard import FakeDashboard

KEY = ("ml", "train")
FOLLOW = Follow("a", Protocol.HTTP)


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    dashboard = FakeDashboard()
    yield dashboard
    dashboard.stop()


class Told:
    """Remembers who was told that something was heard."""

    def __init__(self) -> None:
        self.keys: list[WatchKey] = []
        self._some = asyncio.Event()

    def __call__(self, key: WatchKey) -> None:
        self.keys.append(key)
        self._some.set()

    async def wait(self) -> None:
        async with asyncio.timeout(10):
            self._some.clear()
            await self._some.wait()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def session(fake: FakeDashboard, told: Told) -> AsyncIterator[ClusterSession]:
    session = ClusterSession(Dashboard(fake.url), told)
    session.join(KEY, ["a"])
    yield session
    await session.close()


async def test_a_job_of_an_earlier_process_is_not_called_unknown_before_jobs_were_listed(
    fake: FakeDashboard, session: ClusterSession, told: Told
) -> None:
    fake.add_job("a", b"one\ntwo\n")
    session.follow(KEY, {FOLLOW: LogDigest(1, "b:4:0", tail=("one",))})
    assert session.digest(FOLLOW) is None
    messages = set()
    while not ((digest := session.digest(FOLLOW)) and digest.complete):
        await told.wait()
        session.follow(KEY, {FOLLOW: LogDigest(1, "b:4:0", tail=("one",))})
        messages.add(digest.message if digest else "")
    assert digest == LogDigest(2, "b:8:0", complete=True, tail=("one", "two"))
    assert messages == {""}


async def test_a_log_of_many_lines_is_told_with_the_polls_and_its_end_at_once(
    fake: FakeDashboard, session: ClusterSession, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.add_job("a", b"line\n" * 100_000)
    await told.wait()
    monkeypatch.setattr(session, "_pause", lambda _: 3600.0)  # only the follower speaks from here on
    await told.wait()
    told.keys.clear()
    session.follow(KEY, {FOLLOW: LogDigest()})
    await told.wait()
    digest = session.digest(FOLLOW)
    assert digest
    assert (digest.lines, digest.complete) == (100_000, True)
    assert told.keys == [KEY]
