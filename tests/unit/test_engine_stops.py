"""Asking a dashboard to stop jobs: once for all, only that run, and what came of it. On real sockets."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator

import pytest

from rayjobwatch.engine import stops
from rayjobwatch.engine.stops import Ask, Stops
from rayjobwatch.model.times import from_milliseconds
from rayjobwatch.ray import AsyncRayClient
from tests.ray import faults
from tests.ray.fakedashboard import FakeDashboard

START = 1795165602232
STOP = "/api/jobs/a/stop"


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    dashboard = FakeDashboard()
    yield dashboard
    dashboard.stop()


class Asked:
    """A `Stops` and whom it told."""

    def __init__(self, client: AsyncRayClient) -> None:
        self.told: list[str] = []
        self.read: list[str] = []
        self.is_wanted = True
        self._some = asyncio.Event()
        self.stops = Stops(client, self._read_on, self._hear, lambda _: self.is_wanted)

    async def ask(self, ask: Ask) -> str | None:
        """Ask and wait until that is told; return the answer."""
        self._some.clear()
        self.stops.ask(ask)
        async with asyncio.timeout(10):
            await self._some.wait()
        return self.stops.answer(ask.job_id)

    def _read_on(self, ids: Iterable[str]) -> None:
        self.read.extend(ids)

    def _hear(self, job_id: str) -> None:
        self.told.append(job_id)
        self._some.set()


@pytest.fixture
async def asked(fake: FakeDashboard) -> AsyncIterator[Asked]:
    async with AsyncRayClient(fake.url, timeout={"connect": 2, "read": 2}) as client:
        asked = Asked(client)
        yield asked
        await asked.stops.close()


def ask_for(session: str = "session_fake", start: int = START) -> Ask:
    return Ask("a", session, from_milliseconds(start))


def posts(fake: FakeDashboard) -> Counter[str]:
    return Counter(request.path for request in fake.requests if request.method == "POST")


async def test_a_job_is_asked_to_stop_and_its_log_is_read_before(fake: FakeDashboard, asked: Asked) -> None:
    fake.add_job("a", status="RUNNING")
    assert await asked.ask(ask_for()) == ""
    assert posts(fake) == {STOP: 1}
    assert asked.read == ["a"]


async def test_two_that_want_the_same_ask_once(fake: FakeDashboard, asked: Asked) -> None:
    fake.add_job("a", status="RUNNING")
    asked.stops.ask(ask_for())
    await asked.ask(ask_for())
    await asked.ask(ask_for())
    assert posts(fake) == {STOP: 1}


@pytest.mark.parametrize(("session", "start"), [("session_of_another_head", START), ("session_fake", START + 60_000)])
async def test_another_run_of_the_id_is_never_stopped(
    fake: FakeDashboard, asked: Asked, session: str, start: int
) -> None:
    fake.add_job("a", status="RUNNING")
    assert await asked.ask(ask_for(session, start)) == ""
    assert not posts(fake)


@pytest.mark.parametrize("status", ["SUCCEEDED", None])
async def test_a_job_that_is_over_or_gone_is_not_asked(fake: FakeDashboard, asked: Asked, status: str | None) -> None:
    if status:
        fake.add_job("a", status=status)
    assert await asked.ask(ask_for()) == ""
    assert not posts(fake)


async def test_what_nobody_wants_any_more_is_not_asked_for(fake: FakeDashboard, asked: Asked) -> None:
    fake.add_job("a", status="RUNNING")
    asked.is_wanted = False
    assert await asked.ask(ask_for()) == ""
    assert not posts(fake)


async def test_what_ray_says_is_told_in_one_clean_line(fake: FakeDashboard, asked: Asked) -> None:
    fake.add_job("a", status="RUNNING")
    fake.on(
        "POST", STOP, faults.answer(500, "Traceback (most recent call last):\n  boom\x1b[31m\npassword=hunter2secret")
    )
    answer = await asked.ask(ask_for())
    assert answer
    assert "stop_job('a')" in answer
    assert "hunter2secret" not in answer
    assert answer.isprintable()
    assert len(answer.encode()) <= stops.MESSAGE_BYTES


async def test_a_dashboard_that_hangs_is_given_up(
    fake: FakeDashboard, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stops, "SECONDS", 0.3)
    fake.add_job("a", status="RUNNING")
    fake.on("POST", STOP, faults.drip(b"{}", 5.0))
    assert "not answered" in (await asked.ask(ask_for()) or "")
