"""Following a log across every failure of its tail."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from rayjobwatch.engine import follower
from rayjobwatch.engine.circuit import Circuit
from rayjobwatch.engine.follower import FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, Follower
from rayjobwatch.engine.hearing import Hearing
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.ray import ByteCursor, LogBatch, UnavailableError

LOG = ["one", "two", "three"]


class Log:
    """A log whose tail breaks, once each, before the lines whose numbers are in `breaks`."""

    def __init__(self, breaks: list[int]) -> None:
        self.breaks = breaks
        self.opened: list[str] = []

    async def tail(self, cursor: str) -> AsyncIterator[LogBatch]:
        self.opened.append(cursor)
        first = int(cursor.split(":")[1]) if cursor else 0
        for number in range(first, len(LOG)):
            self._maybe_break(number)
            yield LogBatch((LOG[number],), ByteCursor(number + 1))
        self._maybe_break(len(LOG))

    def _maybe_break(self, number: int) -> None:
        if number in self.breaks:
            self.breaks.remove(number)
            raise UnavailableError("the agent\nis away")


@pytest.fixture(autouse=True)
def delays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    failures: list[int] = []

    def delay(count: int) -> float:
        failures.append(count)
        return 0.0

    monkeypatch.setattr(follower, "_delay", delay)
    return failures


async def _followed(log: Log, seed: LogDigest | None = None) -> tuple[LogDigest, list[LogDigest]]:
    told: list[LogDigest] = []
    hearing = Hearing(seed or LogDigest())
    one = Follower(log.tail, hearing, lambda: told.append(hearing.digest), asyncio.Semaphore(), Circuit())
    async with asyncio.timeout(5):
        await one.run()
    return replace(hearing.digest, last_line_time=None), told


@pytest.mark.parametrize("breaks", [[], [0], [1], [3], [0, 0, 1, 2, 3, 3]], ids=str)
async def test_every_line_is_counted_once_however_often_the_tail_breaks(breaks: list[int]) -> None:
    digest, _ = await _followed(Log(breaks))
    assert digest == LogDigest(3, "b:3:0", complete=True, tail=tuple(LOG), bytes=14)


async def test_a_later_process_goes_on_after_the_last_counted_line() -> None:
    log = Log([])
    digest, _ = await _followed(log, LogDigest(2, "b:2:0", tail=("one", "two")))
    assert log.opened == ["b:2:0"]
    assert (digest.lines, digest.tail) == (3, tuple(LOG))


async def test_a_log_read_to_its_end_is_not_opened_again() -> None:
    log = Log([])
    digest, told = await _followed(log, LogDigest(3, "b:3:0", complete=True))
    assert (log.opened, told, digest.lines) == ([], [], 3)


async def test_the_user_is_told_why_a_log_is_not_read_and_when_it_is_again() -> None:
    _, told = await _followed(Log([1]))
    messages = [digest.message for digest in told]
    assert messages[1].startswith("the agent")
    assert "\n" not in messages[1]
    assert messages[0] == messages[2] == messages[-1] == ""


async def test_nobody_is_told_the_same_twice() -> None:
    _, told = await _followed(Log([0, 0, 0]))
    assert len(told) == len({str(digest) for digest in told})


async def test_the_pause_grows_while_nothing_is_read_and_starts_anew_with_progress(delays: list[int]) -> None:
    await _followed(Log([0, 0, 1, 1]))
    assert delays == [1, 2, 0, 1]


async def test_a_failure_that_is_not_of_the_dashboard_is_not_hidden() -> None:
    def broken(cursor: str) -> AsyncIterator[LogBatch]:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await Follower(broken, Hearing(LogDigest()), lambda: None, asyncio.Semaphore(), Circuit()).run()


async def test_a_log_without_a_place_says_that_it_waits_and_is_read_when_one_is_free() -> None:
    places = asyncio.Semaphore()
    told = asyncio.Event()
    hearing = Hearing(LogDigest())
    one = Follower(Log([]).tail, hearing, told.set, places, Circuit())
    async with asyncio.timeout(5):
        async with places:
            task = asyncio.create_task(one.run())
            await told.wait()
            assert hearing.digest == LogDigest().failing("waiting: too many logs of this cluster are followed already")
        await task
    assert hearing.digest.complete
    assert (hearing.digest.lines, hearing.digest.message) == (3, "")


def test_the_pause_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert FIRST_RETRY_SECONDS / 2 <= follower._delay(0) <= FIRST_RETRY_SECONDS
    assert LAST_RETRY_SECONDS / 2 <= follower._delay(10**6) <= LAST_RETRY_SECONDS
