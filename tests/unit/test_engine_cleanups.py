"""Asking a dashboard about Serve applications: one thing at a time, never on another head. On real sockets."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest

from rayjobwatch.engine import cleanups
from rayjobwatch.engine.cleanups import CleanUps
from rayjobwatch.engine.logs import WatchKey
from rayjobwatch.model.serve import Delete, Look
from rayjobwatch.model.servestate import Application, ServeAnswer
from rayjobwatch.ray import AsyncRayClient
from tests.ray import faults
from tests.ray.fakedashboard import FakeDashboard
from tests.ray.fakestate import DEPLOYED, application
from tests.ray.wire import Exchange

PATH = "/api/serve/applications/"
SESSION = "session_fake"
KEY: WatchKey = ("ml", "train")


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    dashboard = FakeDashboard()
    dashboard.state.applications = {name: application(name) for name in ("a", "b", "c")}
    yield dashboard
    dashboard.stop()


def delete(*names: str) -> Delete:
    """Return the step that deletes these as they were at the beginning."""
    return Delete(tuple(Application(name, "RUNNING", datetime.fromtimestamp(int(DEPLOYED), UTC)) for name in names))


class Asked:
    """A `CleanUps` and whom it told."""

    def __init__(self, client: AsyncRayClient) -> None:
        self.told: list[WatchKey] = []
        self.clean_ups = CleanUps(client, self._hear, lambda *_: None)
        self._some = asyncio.Event()

    async def ask(self, step: Look | Delete, session: str = SESSION) -> ServeAnswer:
        """Take a step and wait until that is told; return what came of it."""
        self._some.clear()
        self.clean_ups.ask(KEY, step, session)
        assert self.clean_ups.is_asking(KEY)
        await self.heard()
        assert not self.clean_ups.is_asking(KEY)
        answer = self.clean_ups.take_answer(KEY)
        assert answer is not None
        assert self.clean_ups.take_answer(KEY) is None
        return answer

    async def heard(self) -> None:
        """Wait until that is told."""
        async with asyncio.timeout(10):
            await self._some.wait()

    def _hear(self, key: WatchKey) -> None:
        self.told.append(key)
        if key == KEY:
            self._some.set()


@pytest.fixture
async def asked(fake: FakeDashboard) -> AsyncIterator[Asked]:
    async with AsyncRayClient(fake.url, timeout={"connect": 2, "read": 2}) as client:
        asked = Asked(client)
        yield asked
        await asked.clean_ups.close()


async def test_a_look_tells_all_applications_and_when_they_were_deployed(fake: FakeDashboard, asked: Asked) -> None:
    fake.state.applications["b"]["status"] = "DEPLOY_FAILED"
    fake.state.applications["c"]["last_deployed_time_s"] = None
    answer = await asked.ask(Look(), "")
    assert (answer.session, answer.problem) == (SESSION, "")
    assert [(one.name, one.state, one.deployed) for one in answer.seen or ()] == [
        ("a", "RUNNING", datetime.fromtimestamp(1795168357, UTC)),
        ("b", "DEPLOY_FAILED", datetime.fromtimestamp(1795168357, UTC)),
        ("c", "RUNNING", None),
    ]
    assert fake.state.serve_puts == []


async def test_exactly_the_named_are_deleted(fake: FakeDashboard, asked: Asked) -> None:
    answer = await asked.ask(delete("a", "c", "gone"))
    assert answer == ServeAnswer(SESSION, asked=("a", "c", "gone"))
    assert set(fake.state.applications) == {"b"}
    assert len(fake.state.serve_puts) == 1


async def test_on_another_head_nothing_is_deleted(fake: FakeDashboard, asked: Asked) -> None:
    answer = await asked.ask(delete("a"), "session_of_another_head")
    assert (answer.session, len(answer.seen or ())) == (SESSION, 3)
    assert fake.state.serve_puts == []


async def test_what_was_deployed_anew_is_not_deleted_but_shown(fake: FakeDashboard, asked: Asked) -> None:
    fake.state.applications["b"]["last_deployed_time_s"] = DEPLOYED + 1
    answer = await asked.ask(delete("a", "b"))
    assert [one.name for one in answer.seen or ()] == ["a", "b", "c"]
    assert fake.state.serve_puts == []


async def test_what_a_deletion_was_cut_short_of_is_deleted_at_the_next_attempt(
    fake: FakeDashboard, asked: Asked
) -> None:
    fake.state.applications["a"] = application("a", "imperative")
    fake.on("PUT", PATH, faults.answer(503, "later"))
    fake.once("PUT", PATH, fake.state._serve_put)
    assert (await asked.ask(delete("a", "b"))).problem
    assert set(fake.state.applications) == {"a", "c"}
    fake.rules.clear()
    assert (await asked.ask(delete("a", "b"))).asked == ("a", "b")
    assert (await asked.ask(delete("c"))).asked == ("c",)  # which was put again, twice
    assert fake.state.applications == {}


async def test_two_watches_change_serve_one_after_the_other_also_by_two_ways_to_one_head(
    fake: FakeDashboard, asked: Asked
) -> None:
    async with AsyncRayClient(f"{fake.url}/") as client:
        other_way = CleanUps(client, lambda _: None, lambda *_: None)
        other_way.ask(("ml", "a"), delete("a"), SESSION)
        asked.clean_ups.ask(("ml", "b"), delete("b"), SESSION)
        await asked.ask(delete("c"))
        await other_way.close()
    assert fake.state.applications == {}
    methods = [request.method for request in fake.requests if request.path == PATH]
    assert methods == ["GET", "GET", "PUT", "GET"] * 3


async def test_what_ray_says_is_told_in_one_clean_line(fake: FakeDashboard, asked: Asked) -> None:
    text = "Traceback (most recent call last):\n  boom\x1b[31m\npassword=hunter2secret"
    fake.on("PUT", PATH, faults.answer(500, text))
    answer = await asked.ask(delete("a"))
    assert answer.problem
    assert answer.problem.isprintable()
    assert "hunter2secret" not in answer.problem
    assert answer.seen is None
    assert not answer.asked


async def test_a_serve_that_hangs_is_given_up(
    fake: FakeDashboard, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanups, "SECONDS", 0.3)
    fake.on("GET", PATH, faults.drip(b"{}", 5.0))
    assert "not answered" in (await asked.ask(Look())).problem


async def test_a_watch_that_leaves_hears_nothing_of_the_past(fake: FakeDashboard, asked: Asked) -> None:
    asked.clean_ups.ask(KEY, Look(), "")
    await asked.heard()
    asked.clean_ups.forget(KEY)
    assert asked.clean_ups.take_answer(KEY) is None


async def test_of_a_deletion_that_nobody_waits_for_any_more_nothing_is_told(fake: FakeDashboard, asked: Asked) -> None:
    has_begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def begin(exchange: Exchange) -> None:
        loop.call_soon_threadsafe(has_begun.set)
        await fake.state._serve_put(exchange)

    fake.once("PUT", PATH, begin)
    asked.clean_ups.ask(KEY, delete("a"), SESSION)
    async with asyncio.timeout(10):
        await has_begun.wait()
    asked.clean_ups.forget(KEY)
    asked.clean_ups.ask(("ml", "other"), delete("b"), SESSION)
    await asked.ask(delete("c"))
    assert fake.state.applications == {}  # nor is it left half done
    assert asked.told == [("ml", "other"), KEY]


async def test_a_deletion_that_is_forgotten_before_its_turn_is_not_begun(fake: FakeDashboard, asked: Asked) -> None:
    asked.clean_ups.ask(KEY, delete("a"), SESSION)
    asked.clean_ups.forget(KEY)
    await asked.ask(delete("b"))
    await asked.ask(delete("c"))
    assert set(fake.state.applications) == {"a"}
