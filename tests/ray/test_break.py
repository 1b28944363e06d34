"""Leaving: break, cancel, close, drop. Nothing is waited for and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rayjobwatch.ray import AsyncRayClient, ClientError, RayClient, StreamLimits
from tests.ray import faults
from tests.ray.flavours import Caller, in_thread, read_until_error, take, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ray.fakedashboard import FakeDashboard

PROTOCOLS = ("auto", "websocket", "http")
TAIL = "/api/jobs/j/logs/tail"
ROOT = str(Path(__file__).parents[2])


def follow(fake: FakeDashboard, *, agent: bool = False) -> None:
    """Set up a running job whose socket says two lines, then nothing, and never answers a close frame."""
    fake.add_job("j", b"one\nERROR two\n", "RUNNING", agent=agent)
    fake.on("GET", TAIL, faults.ws_then_silence("one\nERROR two\n"))


@pytest.mark.requirement("S-08", "U-02")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("agent", [True, False])
async def test_leaving_a_tail_takes_less_than_200_ms(
    fake: FakeDashboard, client: Caller, protocol: str, agent: bool
) -> None:
    follow(fake, agent=agent)
    tail = await client.tail_job_logs("j", protocol=protocol)
    async for line in tail:
        if "ERROR" in line:
            break
    started = time.monotonic()
    await tail.aclose()
    assert time.monotonic() - started < 0.2
    assert client.raw.open_connections <= 2  # idle ones, for the next call
    await client.shut()
    await until(lambda: fake.open_connections == 0, 1)


@pytest.mark.requirement("S-08")
async def test_a_thousand_tails_left_early_leave_nothing(fake: FakeDashboard, client: Caller) -> None:
    follow(fake)
    threads, tasks = threading.active_count(), len(asyncio.all_tasks())
    for _ in range(1_000 if client.flavour == "async" else 300):
        tail = await client.websocket_tail_job_logs("j")
        assert await anext(tail) == "one"
        await tail.aclose()
    await until(lambda: len(fake.dashboard.open) <= 2, 2)
    assert client.raw.open_connections <= 2
    assert len(asyncio.all_tasks()) == tasks
    assert threading.active_count() <= threads + (1 if client.flavour == "sync" else 0)  # the tests' own caller


@pytest.mark.requirement("S-18", "R-06")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_cancelling_the_reading_task_closes_the_connection_at_once(fake: FakeDashboard, protocol: str) -> None:
    follow(fake)
    seen = asyncio.Event()

    async def watch() -> None:
        async with AsyncRayClient(fake.url) as client:
            async for _ in client.tail_job_logs("j", protocol=protocol):  # type: ignore[arg-type]
                seen.set()

    task = asyncio.ensure_future(watch())
    await asyncio.wait_for(seen.wait(), 5)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 0.2
    await until(lambda: fake.open_connections == 0, 1)


@pytest.mark.requirement("R-06", "R-04", "D-18")
async def test_async_with_closes_the_client_also_when_its_body_raises(fake: FakeDashboard) -> None:
    fake.add_job("j")
    client = AsyncRayClient(fake.url)

    async def fail() -> None:
        async with client:
            await client.get_job("j")
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert client.open_connections == 0
    await until(lambda: fake.open_connections == 0, 1)
    with pytest.raises(ClientError) as caught:
        await client.get_job("j")
    assert caught.value.status_code == 503


@pytest.mark.requirement("R-04", "D-18")
def test_with_closes_the_client_also_when_its_body_raises(fake: FakeDashboard) -> None:
    fake.add_job("j")
    client = RayClient(fake.url)

    def fail() -> None:
        with client:
            client.get_job("j")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert client.open_connections == 0
    with pytest.raises(ClientError) as caught:
        client.get_job("j")
    assert caught.value.status_code == 503
    client.close()


@pytest.mark.requirement("R-02", "D-18")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_close_ends_running_tails_with_503_within_200_ms(
    fake: FakeDashboard, client: Caller, protocol: str
) -> None:
    follow(fake)
    tails = [await client.tail_job_logs("j", protocol=protocol) for _ in range(5)]
    for tail in tails:
        await take(tail, 2)
    reading = [asyncio.ensure_future(read_until_error(tail)) for tail in tails]
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await client.shut()
    results = await asyncio.gather(*reading)
    assert time.monotonic() - started < 0.2 + 0.1  # five tails share the two cores with the fake dashboard
    assert {error.status_code for _, error in results} == {503}
    assert client.raw.open_connections == 0


@pytest.mark.requirement("R-02")
def test_close_from_another_thread_ends_a_call_that_waits(fake: FakeDashboard) -> None:
    fake.on("GET", ".*", faults.silence)
    client = RayClient(fake.url)
    threading.Timer(0.2, client.close).start()
    started = time.monotonic()
    with pytest.raises(ClientError) as caught:
        client.list_jobs()
    assert caught.value.status_code == 503
    assert time.monotonic() - started < 0.6


DROPPED = """
import asyncio, gc, sys, threading
from rayjobwatch.ray import AsyncRayClient, RayClient
url = sys.argv[2]
def use_sync():
    client = RayClient(url)
    client.get_job('j')
    tail = client.tail_job_logs('j', protocol='websocket')
    assert next(tail) == 'one'
async def use_async():
    client = AsyncRayClient(url)
    await client.get_job('j')
    tail = client.tail_job_logs('j', protocol='websocket')
    assert await anext(tail) == 'one'
use_sync() if sys.argv[1] == 'sync' else asyncio.run(use_async())
gc.collect()
import os
sockets = [fd for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')
           and 'socket' in os.readlink(f'/proc/self/fd/{fd}')]
assert not sockets, sockets
assert threading.active_count() == 1, threading.enumerate()
"""


@pytest.mark.requirement("R-03", "D-18")
def test_a_client_that_is_dropped_leaves_nothing_and_says_nothing(fake: FakeDashboard, flavour: str) -> None:
    follow(fake)
    command = [sys.executable, "-W", "error", "-c", DROPPED, flavour, fake.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


EXIT = """
import sys, asyncio
from rayjobwatch.ray import AsyncRayClient, RayClient
client = RayClient(sys.argv[2]) if sys.argv[1] == 'sync' else None
if client:
    tail = client.tail_job_logs('j', protocol='websocket')
    next(tail)
else:
    async def main():
        global client, tail
        client = AsyncRayClient(sys.argv[2])
        tail = client.tail_job_logs('j', protocol='websocket')
        await anext(tail)
    asyncio.run(main())
"""


@pytest.mark.requirement("R-03")
def test_an_interpreter_that_ends_with_a_tail_open_says_nothing(fake: FakeDashboard, flavour: str) -> None:
    follow(fake)
    warnings = ["-W", "error"] if flavour == "sync" else []  # asyncio warns of sockets that outlive their loop
    command = [sys.executable, *warnings, "-c", EXIT, flavour, fake.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.requirement("R-01", "S-18")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_many_tails_at_once_all_make_progress(
    fake: FakeDashboard, new_client: Callable[..., Caller], flavour: str, protocol: str
) -> None:
    count = 200 if flavour == "async" else 50
    job = fake.add_job("j", b"one\n", "RUNNING", agent=protocol == "auto")
    client = new_client(fake.url, timeout=20, **_many(count))
    tails = [await client.tail_job_logs("j", protocol=protocol) for _ in range(count)]
    threads = threading.active_count()
    assert await asyncio.gather(*(anext(tail) for tail in tails)) == ["one"] * count
    job.append(b"two\n")
    assert await asyncio.gather(*(anext(tail) for tail in tails)) == ["two"] * count
    if flavour == "async":
        assert threading.active_count() <= threads + 1
    await asyncio.gather(*(tail.aclose() for tail in tails))


def _many(count: int) -> dict[str, Any]:
    """Allow that many WebSockets, where the client bounds them."""
    import inspect

    return {"max_websocket_tails": count} if "max_websocket_tails" in inspect.signature(RayClient).parameters else {}


@pytest.mark.requirement("R-05", "L-06", "R-01")
async def test_many_threads_may_share_a_client(fake: FakeDashboard) -> None:
    """32 threads mix calls, tails, stops and changes of limits on one client, which then is closed under them."""
    for number in range(8):
        fake.add_job(f"j{number}", b"a\nb\nc\n", "RUNNING" if number % 2 else "SUCCEEDED", agent=number % 3 == 0)
    client = RayClient(fake.url, timeout=20)
    unexpected: list[BaseException] = []
    closed = threading.Event()

    def work(number: int) -> None:
        name = f"j{number % 8}"
        for step in range(400):
            try:
                actions[(number + step) % len(actions)](name)
            except ClientError as error:
                if error.status_code == 503 and closed.is_set():
                    return
                if error.status_code not in {400, 429}:
                    unexpected.append(error)
            except BaseException as error:  # noqa: BLE001 - nothing else may come
                unexpected.append(error)

    def limit(_: str) -> None:
        client.stream_limits = StreamLimits(max_lines=2)
        client.stream_limits = StreamLimits()

    actions: list[Callable[[str], object]] = [
        lambda name: client.list_jobs(),
        client.get_job,
        client.get_job_logs,
        lambda name: next(client.tail_job_logs(name)),
        lambda name: list(client.tail_job_logs(name, protocol="http", limits=StreamLimits(max_lines=2))),
        client.stop_job,
        limit,
    ]
    working = [in_thread(work, number) for number in range(32)]
    finished = asyncio.gather(*working)
    await asyncio.sleep(1.5)
    closed.set()
    await in_thread(client.close)
    await asyncio.wait_for(finished, 20)
    assert unexpected == []
    assert client.open_connections == 0
    gc.collect()


@pytest.mark.requirement("S-12")
async def test_a_slow_reader_of_a_long_log_loses_nothing(fake: FakeDashboard, client: Caller) -> None:
    """100,000 lines; the reader dawdles at first (scaled: 20 ms a line for 20 lines)."""
    lines = [f"{number:06d}" for number in range(49_000)]
    fake.add_job("j", "".join(f"{line}\n" for line in lines).encode())
    tail = await client.websocket_tail_job_logs("j")
    got = []
    for _ in range(20):
        got.append(await anext(tail))
        await asyncio.sleep(0.02)
    assert got + await tail.drain() == lines
