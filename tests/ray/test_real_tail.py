"""Following logs on real Ray: soon, in order, each line once, to the end, and away at once.

Jobs take seconds, whoever watches: both flavours and all protocols follow the same job at the same time.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from rayjobwatch.ray import ClientError, StreamLimits, TailEndedError, entrypoint_of
from tests.localcluster.rayvenv import RAY_VERSION
from tests.ray.flavours import FLAVOURS, Caller, error_of, in_thread, make_client, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from tests.localcluster.rayhead import RayHead

T = TypeVar("T")
pytestmark = pytest.mark.real_ray
PROTOCOLS = ("auto", "websocket", "http")
UNBOUNDED = StreamLimits.unbounded()
STAMPED = (
    "import time\n"
    "for n in range(5):\n"
    "    print(n, time.time(), flush=True)\n"
    "    time.sleep(1)\n"
)  # fmt: skip


@pytest.fixture
async def both(ray_head: RayHead) -> AsyncIterator[list[Caller]]:
    """Make a client of each flavour."""
    callers = [make_client(flavour, ray_head.dashboard_url) for flavour in FLAVOURS]
    yield callers
    for caller in callers:
        await caller.shut()


async def everyone(
    both: list[Caller], follow: Callable[[Caller, str], Awaitable[T]], protocols: Iterable[str] = PROTOCOLS
) -> list[T]:
    """Follow with each flavour and protocol at the same time."""
    return await asyncio.gather(*(follow(client, protocol) for client in both for protocol in protocols))


def submit(head: RayHead, entrypoint: str) -> str:
    return head.submit(entrypoint, submission_id=f"t-{uuid.uuid4().hex[:12]}")


def file_of(head: RayHead, job_id: str) -> bytes:
    """Return the log as Ray wrote it so far."""
    path = Path(head.session_directory, "logs", f"job-driver-{job_id}.log")
    return path.read_bytes() if path.exists() else b""


def lines_in(log: bytes) -> list[str]:
    lines = log.decode("utf-8", "replace").split("\n")
    return lines if lines[-1] else lines[:-1]


@pytest.mark.requirement("S-01", "S-04", "S-09", "S-10", "U-04")
async def test_lines_come_soon_in_order_each_once_until_the_end(ray_head: RayHead, both: list[Caller]) -> None:
    job_id = submit(ray_head, entrypoint_of("python", "-c", STAMPED))

    async def follow(client: Caller, protocol: str) -> tuple[list[str], list[float]]:
        got, delays = [], []
        async for line in await client.tail_job_logs(job_id, protocol=protocol):
            got.append(line)
            if line[:1].isdigit() and line[1:2] == " ":
                delays.append(time.time() - float(line.split()[1]))
        return got, delays

    results = await everyone(both, follow)
    want = lines_in(file_of(ray_head, job_id))
    assert [got == want for got, _ in results] == [True] * 6
    medians = [sorted(delays)[2] for _, delays in results]
    late = [1.0, 4.0, 1.0] * 2  # Ray's own tail looks once a second, twice over: 1.45 s and up to 2.8 s
    assert [median < limit for median, limit in zip(medians, late, strict=True)] == [True] * 6, medians
    assert ray_head.job(job_id)["status"] == "SUCCEEDED"


@pytest.mark.requirement("S-14", "S-01")
@pytest.mark.parametrize(
    ("command", "status"),
    [
        pytest.param("echo a; exit 3", "FAILED", marks=pytest.mark.slow),
        ("echo a; printf end", "SUCCEEDED"),
        pytest.param("echo a; sleep 60", "STOPPED", marks=pytest.mark.slow),
    ],
)
async def test_the_end_of_a_tail_is_the_end_of_the_log(
    ray_head: RayHead, both: list[Caller], command: str, status: str
) -> None:
    job_id = submit(ray_head, command)

    async def follow(client: Caller, protocol: str) -> list[str]:
        return await client.lines(job_id, protocol=protocol)

    following = asyncio.ensure_future(everyone(both, follow))
    if status == "STOPPED":
        await until(lambda: b"a\n" in file_of(ray_head, job_id), 20)
        await in_thread(ray_head.stop_job, job_id)
    results = await following
    assert "a" in results[0]
    assert [lines == lines_in(file_of(ray_head, job_id)) for lines in results] == [True] * 6
    assert ray_head.job(job_id)["status"] == status


@pytest.mark.requirement("S-15", "E-03")
async def test_an_unknown_job_is_404(both: list[Caller]) -> None:
    errors = await everyone(
        both, lambda client, protocol: error_of(client.tail_job_logs("invalid-job", protocol=protocol))
    )
    assert [error.status_code for error in errors] == [404] * 6


HARD = {
    "invalid byte": r"echo before; printf 'bad \377\376 byte\n'; sleep 2; echo after",
    "half a character": (
        r"echo before; printf 'half \342\202'; sleep 3; printf '\254 whole\n'; echo after; printf '\360\237'"
    ),
    "a line of 5 MiB": "echo before; head -c 5242880 /dev/zero | tr '\\0' x; echo; sleep 2; echo after",
    "nul and separators": r"printf 'a\000b\014c\302\205d\342\200\250e\n'; printf '10%%\r20%%\rdone\r\n'",
}


@pytest.mark.requirement("S-16", "S-17", "L-04")
@pytest.mark.slow
async def test_logs_that_end_rays_own_tail_are_followed_to_their_end(ray_head: RayHead, both: list[Caller]) -> None:
    """With the agent, and where it is out of reach: WebSocket until that breaks, then the log file."""
    jobs = {name: submit(ray_head, command) for name, command in HARD.items()}
    limits = StreamLimits(max_message_size=8 << 20)
    remote = [make_client(flavour, ray_head.dashboard_url, agents=None) for flavour in FLAVOURS]

    async def follow(client: Caller, name: str) -> tuple[list[str], ClientError | None]:
        lines: list[str] = []
        try:
            async for line in await client.tail_job_logs(jobs[name], limits=limits):
                lines.append(line)  # noqa: PERF401 - they are kept when it raises
        except TailEndedError as error:
            return lines, error
        return lines, None

    results = await everyone([*both, *remote], follow, HARD)
    for client in remote:
        await client.shut()
    for at, (lines, error) in enumerate(results):
        name, with_agent = list(HARD)[at % len(HARD)], at < 2 * len(HARD)
        log = file_of(ray_head, jobs[name])
        if error is not None:  # Ray before 2.40 has nothing but the agent that brings such a log, and we say so
            assert (with_agent, RAY_VERSION) == (False, "2.9.3"), name
            assert lines == lines_in(log)[: len(lines)], name
        elif not with_agent and b"\r" in log:  # the text tail turns CR into line ends, bytes do not
            assert "".join(lines).replace("\r", "") == "".join(lines_in(log)).replace("\r", ""), name
        else:
            assert lines == lines_in(log), name
        assert ray_head.job(jobs[name])["status"] == "SUCCEEDED"


@pytest.mark.requirement("S-08", "U-02")
async def test_break_returns_within_200_ms(ray_head: RayHead, both: list[Caller]) -> None:
    job_id = submit(ray_head, "echo ERROR; sleep 30")

    async def leave(client: Caller, protocol: str) -> float:
        tail = await client.tail_job_logs(job_id, protocol=protocol)
        async for line in tail:
            if line == "ERROR":
                break
        started = time.monotonic()
        await tail.aclose()
        return time.monotonic() - started

    took = await everyone(both, leave)
    assert max(took) < 0.2
    assert [client.raw.open_connections <= 4 for client in both] == [True, True]
    await in_thread(ray_head.stop_job, job_id)


@pytest.mark.requirement("S-07")
@pytest.mark.slow
async def test_a_job_silent_for_three_timeouts_is_followed_on(ray_head: RayHead, both: list[Caller]) -> None:
    job_id = submit(ray_head, "echo a; sleep 4; echo b")
    results = await everyone(both, lambda client, protocol: client.lines(job_id, timeout=1.3, protocol=protocol))
    assert [("a" in lines, lines[-1]) for lines in results] == [(True, "b")] * 6


MANY = "import sys; sys.stdout.write(''.join('%08d ' % n + 'x' * 90 + '\\n' for n in range(200000)))"


@pytest.mark.requirement("S-01", "L-08", "S-04")
@pytest.mark.slow
async def test_200000_lines_written_at_once_come_all_and_in_order(ray_head: RayHead, both: list[Caller]) -> None:
    job_id = submit(ray_head, entrypoint_of("python", "-c", MANY))

    async def follow(client: Caller, protocol: str) -> list[Any]:
        batches: list[Any] = await (
            await client.tail_job_log_batches(job_id, protocol=protocol, limits=UNBOUNDED)
        ).drain()
        return batches

    for batches in await everyone(both, follow):
        lines = [line for batch in batches for line in batch.lines if len(line) == 99 and line.endswith("x")]
        assert [int(line[:8]) for line in lines] == list(range(200_000))


@pytest.mark.slow
@pytest.mark.requirement("S-18", "R-01")
async def test_many_tails_of_a_real_job_all_make_progress(ray_head: RayHead, real: Caller) -> None:
    """200 with asyncio, 50 in threads."""
    count = 200 if real.flavour == "async" else 50
    job_id = submit(ray_head, "echo one; sleep 6; echo two; sleep 2")
    await in_thread(ray_head.wait_job, job_id, {"RUNNING"})
    every = await asyncio.gather(*(real.lines(job_id) for _ in range(count)))
    want = lines_in(file_of(ray_head, job_id))
    assert [lines == want for lines in every] == [True] * count


@pytest.mark.requirement("S-14", "J-04")
async def test_a_pending_job_that_cannot_start_is_silent(ray_head: RayHead, both: list[Caller]) -> None:
    client = both[1]
    job_id = await client.submit_job("true", submission_id=f"t-{uuid.uuid4().hex[:12]}", entrypoint_num_cpus=4096)
    assert await client.get_job_logs(job_id) == ""
    errors = await everyone(
        both, lambda client, protocol: error_of(client.tail_job_logs(job_id, protocol=protocol, idle_timeout=1.2))
    )
    assert [error.status_code for error in errors] == [408] * 6
    assert (await client.stop_job(job_id))["stopped"] is True
