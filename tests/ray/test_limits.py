"""StreamLimits: what a log stream may bring, and that memory stays bounded whatever a server sends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rayjobwatch.ray import ClientError, StreamLimitError, StreamLimits
from tests.ray import faults
from tests.ray.flavours import Caller, read_until_error, take, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ray.fakedashboard import FakeDashboard

PROTOCOLS = ("auto", "websocket", "http")
TAIL = "/api/jobs/j/logs/tail"


def limit_of(error: ClientError) -> tuple[str, int]:
    assert isinstance(error, StreamLimitError)
    assert error.status_code == 429
    return error.limit, error.allowed


def numbered(count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(count))


@pytest.mark.requirement("L-01", "L-07")
@pytest.mark.parametrize("extra", [0, 1])
async def test_10000_messages_pass_and_the_next_is_429(fake: FakeDashboard, client: Caller, extra: int) -> None:
    fake.add_job("j", numbered(100_000 + extra))
    client.raw.stream_limits = StreamLimits(max_lines=None)
    tail = await client.tail_job_logs("j", protocol="websocket")
    if not extra:
        assert len(await tail.drain()) == 100_000
        return
    batches = await client.tail_job_log_batches("j", protocol="websocket")
    got, error = await read_until_error(batches)
    assert limit_of(error) == ("max_messages", 10_000)
    assert sum(len(batch.lines) for batch in got) == 100_000


@pytest.mark.requirement("L-02", "L-07")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_line_50001_is_429_after_50000_came(fake: FakeDashboard, client: Caller, protocol: str) -> None:
    fake.add_job("j", numbered(50_001), agent=protocol == "auto")
    got, error = await read_until_error(await client.tail_job_log_batches("j", protocol=protocol))
    assert limit_of(error) == ("max_lines", 50_000)
    assert isinstance(error, StreamLimitError)
    assert error.counts["lines"] == 50_000
    assert [line for batch in got for line in batch.lines] == [str(number) for number in range(50_000)]


@pytest.mark.requirement("L-03", "L-07")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_bytes_are_counted_as_they_come(
    fake: FakeDashboard, new_client: Callable[..., Caller], protocol: str
) -> None:
    fake.add_job("j", b"0123456789\n" * 10, agent=protocol == "auto")
    client = new_client(fake.url, stream_limits=StreamLimits(max_bytes=60))
    lines, error = await read_until_error(await client.tail_job_logs("j", protocol=protocol))
    assert lines == ["0123456789"] * 5
    assert limit_of(error) == ("max_bytes", 60)
    exact = await client.lines("j", protocol=protocol, limits=StreamLimits(max_bytes=110))
    assert len(exact) == 10


@pytest.mark.requirement("L-03", "L-10", "E-01")
@pytest.mark.parametrize("protocol", ["websocket", "http"])
async def test_a_line_that_never_ends_is_cut_at_max_bytes(
    fake: FakeDashboard, new_client: Callable[..., Caller], protocol: str
) -> None:
    fake.add_job("j", b"", "RUNNING")
    fake.on("GET", TAIL, faults.ws_endless(b"x" * 100_000))
    fake.on("GET", "/api/v0/logs/file", faults.endless(b"x" * 100_000))
    client = new_client(fake.url, stream_limits=StreamLimits(max_bytes=3_000_000))
    lines, error = await read_until_error(await client.tail_job_logs("j", protocol=protocol))
    assert lines == []
    assert limit_of(error) == ("max_bytes", 3_000_000)


@pytest.mark.requirement("L-03", "L-10", "E-01")
async def test_a_message_that_never_ends_is_an_error(fake: FakeDashboard, new_client: Callable[..., Caller]) -> None:
    fake.add_job("j", b"", "RUNNING")
    fake.on("GET", TAIL, faults.ws_endless(b"x" * 1_000_000, continued=True))
    client = new_client(fake.url, stream_limits=StreamLimits(max_bytes=3_000_000))
    lines, error = await read_until_error(await client.websocket_tail_job_logs("j", reconnect=0.2))
    assert lines == []
    assert error.status_code in {429, 500, 503}


@pytest.mark.requirement("L-03", "L-10", "E-01")
@pytest.mark.parametrize("size", [(4 << 20) + 1, 1 << 40, (1 << 63) - 1])
async def test_of_a_frame_that_is_too_large_nothing_is_read(fake: FakeDashboard, client: Caller, size: int) -> None:
    head = b"\x81\x02a\n" + b"\x81\x7f" + size.to_bytes(8, "big")
    fake.add_job("j", b"", "RUNNING")
    fake.on("GET", TAIL, faults.ws_raw(head + b"x" * 100_000))
    lines, error = await read_until_error(await client.websocket_tail_job_logs("j"))
    assert lines == ["a"]
    assert error.status_code == 503
    assert str(size) in str(error)


@pytest.mark.requirement("L-03", "L-07")
async def test_a_frame_beyond_max_bytes_is_429_before_it_is_read(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", b"", "RUNNING")
    fake.on("GET", TAIL, faults.ws_raw(b"\x81\x02a\n" + b"\x81\x7f" + (3_000_000).to_bytes(8, "big") + b"x" * 1000))
    limits = StreamLimits(max_bytes=1_000_000)
    lines, error = await read_until_error(await client.websocket_tail_job_logs("j", limits=limits))
    assert (lines, limit_of(error)) == (["a"], ("max_bytes", 1_000_000))


@pytest.mark.requirement("L-04", "L-07")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_line_of_10240_bytes_passes_and_a_longer_one_is_cut_with_a_trace(
    fake: FakeDashboard, client: Caller, protocol: str
) -> None:
    fits, longer = b"a" * 10_240, "é".encode() * 5_121
    fake.add_job("j", b"first\n" + fits + b"\n" + longer + b"\nlast\n", agent=protocol == "auto")
    batches = await (await client.tail_job_log_batches("j", protocol=protocol)).drain()
    lines = [line for batch in batches for line in batch.lines]
    assert lines[:2] == ["first", "a" * 10_240]
    assert lines[2].startswith("é" * 5_120)
    assert "10242" in lines[2]
    assert len(lines[2]) < 5_200
    assert lines[3:] == ["last"]
    assert sum(batch.truncated for batch in batches) == 1


@pytest.mark.requirement("L-04")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_long_lines_are_skipped_or_an_error_where_asked(
    fake: FakeDashboard, client: Caller, protocol: str
) -> None:
    fake.add_job("j", b"first\n" + b"a" * 10_241 + b"\nlast\n", agent=protocol == "auto")
    skipping = StreamLimits(long_lines="skip")
    assert await client.lines("j", protocol=protocol, limits=skipping) == ["first", "last"]
    refusing = StreamLimits(long_lines="error")
    lines, error = await read_until_error(await client.tail_job_logs("j", protocol=protocol, limits=refusing))
    assert lines == ["first"]
    assert limit_of(error) == ("max_message_size", 10_240)


@pytest.mark.requirement("L-05", "D-17")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_no_batch_holds_more_than_the_queue_size(
    fake: FakeDashboard, new_client: Callable[..., Caller], protocol: str
) -> None:
    fake.add_job("j", numbered(1_000), agent=protocol == "auto")
    client = new_client(fake.url, stream_limits=StreamLimits(queue_size=17))
    batches = await (await client.tail_job_log_batches("j", protocol=protocol)).drain()
    assert max(len(batch.lines) for batch in batches) <= 17
    assert sum(len(batch.lines) for batch in batches) == 1_000


@pytest.mark.requirement("L-06", "D-17")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_new_limits_hold_for_the_next_tail_and_not_for_a_running_one(
    fake: FakeDashboard, client: Caller, protocol: str
) -> None:
    fake.add_job("j", numbered(50), agent=protocol == "auto")
    running = await client.tail_job_logs("j", protocol=protocol)
    first = await take(running, 3)
    client.raw.stream_limits = StreamLimits(max_lines=10)
    assert first + await running.drain() == [str(number) for number in range(50)]
    lines, error = await read_until_error(await client.tail_job_logs("j", protocol=protocol))
    assert len(lines) == 10
    assert limit_of(error) == ("max_lines", 10)


@pytest.mark.requirement("L-06")
def test_limits_of_another_type_are_refused(flavour: str) -> None:
    from tests.ray.flavours import make_client

    client = make_client(flavour, "http://127.0.0.1:1")
    with pytest.raises(ClientError, match="stream_limits"):
        client.raw.stream_limits = {"max_lines": 5}


@pytest.mark.requirement("L-08")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_production_limits_pass_100000_lines(
    fake: FakeDashboard, new_client: Callable[..., Caller], protocol: str
) -> None:
    fake.add_job("j", numbered(100_000), agent=protocol == "auto")
    limits = StreamLimits(max_messages=50_000, max_lines=100_000, max_bytes=200 * 1024 * 1024)
    lines = await new_client(fake.url, stream_limits=limits).lines("j", protocol=protocol)
    assert lines == [str(number) for number in range(100_000)]


@pytest.mark.requirement("L-09", "U-06")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_small_limits_stop_exactly_there(
    fake: FakeDashboard, new_client: Callable[..., Caller], protocol: str
) -> None:
    fake.add_job("j", numbered(20_000), agent=protocol == "auto")
    limits = StreamLimits(max_messages=1_000, max_lines=5_000, max_bytes=10 * 1024 * 1024)
    client = new_client(fake.url, stream_limits=limits)
    lines, error = await read_until_error(await client.tail_job_logs("j", protocol=protocol))
    assert (len(lines), limit_of(error)) == (5_000, ("max_lines", 5_000))
    fake.add_job("m", b"x" * 50 + b"\n")
    fake.on("GET", "/api/jobs/m/logs/tail", faults.ws_frames(*["x\n"] * 1_500))
    lines, error = await read_until_error(await client.websocket_tail_job_logs("m"))
    assert (len(lines), limit_of(error)) == (1_000, ("max_messages", 1_000))
    fake.add_job("b", (b"x" * 5_000 + b"\n") * 3_000, agent=protocol == "auto")
    lines, error = await read_until_error(await client.tail_job_logs("b", protocol=protocol))
    assert (len(lines), limit_of(error)) == (10 * 1024 * 1024 // 5_001, ("max_bytes", 10 * 1024 * 1024))


@pytest.mark.requirement("L-07")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_limit_closes_the_connection(
    fake: FakeDashboard, new_client: Callable[..., Caller], protocol: str
) -> None:
    fake.add_job("j", numbered(100), "RUNNING", agent=protocol == "auto")
    client = new_client(fake.url, stream_limits=StreamLimits(max_lines=10))
    await read_until_error(await client.tail_job_logs("j", protocol=protocol))
    assert client.raw.open_connections <= 1  # the one that looked the job up is kept for the next call
    await until(lambda: fake.open_connections <= 1)


MEASURE = """
import asyncio, gc, resource, sys, time
from rayjobwatch.ray import AsyncRayClient, RayClient, StreamLimits, ClientError
flavour, protocol, warm, url, job = sys.argv[1:]
limits = StreamLimits(max_messages=None, max_lines=None)
def read_sync(job):
    count = 0
    with RayClient(url, stream_limits=limits) as client:
        try:
            for line in client.tail_job_logs(job, protocol=protocol): count += 1
        except ClientError as error: assert error.status_code == 429, error
    return count
async def read_async(job):
    count = 0
    async with AsyncRayClient(url, stream_limits=limits) as client:
        try:
            async for line in client.tail_job_logs(job, protocol=protocol): count += 1
        except ClientError as error: assert error.status_code == 429, error
    return count
read = read_sync if flavour == 'sync' else lambda job: asyncio.run(read_async(job))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read(warm); gc.collect()
before, started = peak(), time.process_time()
count = read(job)
print(count, peak() - before, round(time.process_time() - started, 3))
"""


def measure(flavour: str, protocol: str, url: str, job: str) -> tuple[int, int, float]:
    """Read a job's log in a process of its own; return lines, KiB that the peak grew by, seconds of CPU."""
    command = [sys.executable, "-c", MEASURE, flavour, protocol, "warm", url, job]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=50, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    lines, grown, seconds = done.stdout.split()
    return int(lines), int(grown), float(seconds)


FLOODS = {
    "50 MB in short lines": ((b"x" * 49 + b"\n") * 1_000_000, 1_000_000),
    "50 MB in one line": (b"x" * 50_000_000 + b"\n", 1),
    "50,000 empty lines": (b"\n" * 50_000, 50_000),
}


@pytest.mark.requirement("L-10", "L-03", "L-08")
@pytest.mark.parametrize("name", FLOODS)
@pytest.mark.parametrize("protocol", ["auto", "http"])
def test_memory_is_bounded_however_much_a_log_brings(
    fake: FakeDashboard, flavour: str, protocol: str, name: str
) -> None:
    log, count = FLOODS[name]
    fake.add_job("warm", b"x\n" * 20_000, agent=protocol == "auto")
    fake.add_job("j", log, agent=protocol == "auto")
    lines, grown, _ = measure(flavour, protocol, fake.url, "j")
    assert lines == count
    assert grown < 2_048  # KiB, of limits that allow 50 MiB


@pytest.mark.requirement("L-10")
def test_memory_is_bounded_on_a_websocket_that_sends_for_ever(fake: FakeDashboard, flavour: str) -> None:
    fake.add_job("warm", b"x\n" * 20_000)
    fake.add_job("j", b"", "RUNNING")
    fake.on("GET", TAIL, faults.ws_endless((b"x" * 99 + b"\n") * 10))
    lines, grown, _ = measure(flavour, "websocket", fake.url, "j")
    assert lines == 50 * 1024 * 1024 // 100
    assert grown < 2_048


@pytest.mark.requirement("L-10")
async def test_time_is_linear_in_bytes(fake: FakeDashboard, client: Caller) -> None:
    """8 MB without a line end, in frames of 1 KB: quadratic joining would take minutes."""
    fake.add_job("j", b"x")
    fake.on("GET", TAIL, faults.ws_frames(*["x" * 1_000] * 8_000))
    started = time.process_time()
    lines = await client.lines("j", protocol="websocket")
    assert len(lines) == 1
    assert time.process_time() - started < 5  # ~0.3 s here; both ends are in this process
