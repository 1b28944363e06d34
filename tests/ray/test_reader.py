"""Reading a log piece by piece: every line once, whatever happens between and during the readings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest

from rayjobwatch.ray import ClientError, Cursor, StreamLimits, TextCursor
from tests.ray import faults
from tests.ray.flavours import in_thread

if TYPE_CHECKING:
    from tests.ray.fakedashboard import FakeDashboard
    from tests.ray.flavours import Caller

AGENT_LOG = r"/logs/job-driver-a\.log"


class Reader:
    """A log reader of either flavour."""

    def __init__(self, client: Caller, job_id: str = "a", **options: Any) -> None:
        self._client = client
        self._job_id = job_id
        self._reader = client.raw.log_reader(job_id, **options)

    @property
    def cursor(self) -> Cursor:
        cursor: Cursor = self._reader.cursor
        return cursor

    async def read(self) -> list[str]:
        """Return the lines of one reading."""
        job = await self._client.get_job(self._job_id)
        if self._client.flavour == "sync":
            batches = await in_thread(lambda: list(self._reader.read(job)))
        else:
            batches = [batch async for batch in self._reader.read(job)]
        return [line for batch in batches for line in batch.lines]


def paths(fake: FakeDashboard) -> list[str]:
    """Return which sources of the log were asked."""
    return [request.server for request in fake.requests if "logs" in request.path]


@pytest.mark.parametrize("agent", [True, False], ids=["agent", "file"])
async def test_each_reading_brings_the_lines_since_the_last(client: Caller, fake: FakeDashboard, agent: bool) -> None:
    job = fake.add_job("a", b"one\ntw", "RUNNING", agent=agent)
    reader = Reader(client)
    assert await reader.read() == ["one"]
    assert await reader.read() == []
    job.append(b"o\nthree\r\n\xff\n")
    assert await reader.read() == ["two", "three\r", "\ufffd"]
    job.append(b"end")
    assert await reader.read() == []
    job.finish()
    assert await reader.read() == ["end"]
    assert set(paths(fake)) == {"agent" if agent else "dashboard"}


async def test_a_later_reader_goes_on_at_the_cursor(client: Caller, fake: FakeDashboard) -> None:
    job = fake.add_job("a", b"one\ntwo\nthr", "RUNNING", agent=True)
    first = Reader(client)
    assert await first.read() == ["one", "two"]
    job.append(b"ee\n")
    assert await Reader(client, cursor=first.cursor).read() == ["three"]
    assert await Reader(client, cursor=TextCursor(8, crc32(b"two"))).read() == ["three"]


async def test_a_reading_that_breaks_off_is_gone_on_with_by_the_next(client: Caller, fake: FakeDashboard) -> None:
    fake.add_job("a", b"one\ntwo\nthree\n", "RUNNING", agent=True)
    fake.once("GET", AGENT_LOG, faults.short_body(14, b"one\ntw"))
    fake.once("GET", "/api/v0/logs/file", faults.answer(500))
    reader = Reader(client)
    with pytest.raises(ClientError):
        await reader.read()
    assert str(reader.cursor) == "b:4:0"
    assert await reader.read() == ["two", "three"]


async def test_an_agent_that_cannot_be_reached_is_left_alone_for_a_while(client: Caller, fake: FakeDashboard) -> None:
    for job_id in "ab":
        job = fake.add_job(job_id, b"one\n", "RUNNING")
        job.agent_url = "http://127.0.0.1:9"
    assert await Reader(client, "a").read() == ["one"]
    assert await Reader(client, "b").read() == ["one"]
    assert client.raw._sources.agent_of(await client.get_job("a")) is None


async def test_an_agent_without_the_log_is_asked_again_the_next_time(client: Caller, fake: FakeDashboard) -> None:
    fake.add_job("a", b"one\n", "RUNNING", agent=True)
    fake.once("GET", AGENT_LOG, faults.answer(404))
    reader = Reader(client)
    assert await reader.read() == ["one"]
    assert await reader.read() == []
    assert sorted(paths(fake)) == ["agent", "agent", "dashboard"]


async def test_nothing_is_asked_for_the_log_of_a_job_that_never_started(client: Caller, fake: FakeDashboard) -> None:
    job = fake.add_job("a", b"", "PENDING")
    job.row["driver_node_id"] = None
    reader = Reader(client)
    assert await reader.read() == []
    job.finish("FAILED")
    assert await reader.read() == []
    assert paths(fake) == []


async def test_a_driver_has_no_log(client: Caller, fake: FakeDashboard) -> None:
    fake.add_job("a", b"").row.update(type="DRIVER", submission_id=None, job_id="a")
    with pytest.raises(ClientError, match="it has no log"):
        await Reader(client).read()


async def test_readers_share_their_connections(client: Caller, fake: FakeDashboard) -> None:
    for number in range(20):
        fake.add_job(f"j{number}", b"line\n", "RUNNING", agent=True)
        assert await Reader(client, f"j{number}").read() == ["line"]
    assert client.open_connections <= 2


async def test_what_is_no_cursor_is_refused(client: Caller) -> None:
    with pytest.raises(ClientError, match="cursor"):
        client.raw.log_reader("a", cursor="b:4:0")


async def test_the_limits_of_a_reader_hold_over_all_its_readings(client: Caller, fake: FakeDashboard) -> None:
    job = fake.add_job("a", b"one\n", "RUNNING", agent=True)
    reader = Reader(client, limits=StreamLimits(max_lines=2))
    assert await reader.read() == ["one"]
    job.append(b"two\nthree\n")
    with pytest.raises(ClientError, match="max_lines=2"):
        await reader.read()
