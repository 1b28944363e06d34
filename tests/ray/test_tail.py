"""Following a log on a dashboard that misbehaves: each line once, and an end only when the job is over."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.ray import faults
from tests.ray.flavours import Caller, error_of, read_until_error, take, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ray.fakedashboard import FakeDashboard
    from tests.ray.wire import Behaviour, Exchange

PROTOCOLS = ("auto", "websocket", "http")
TAIL = "/api/jobs/j/logs/tail"
LINES = [f"line {number}" for number in range(25)]
LOG = "".join(f"{line}\n" for line in LINES).encode()
FIRST_THREE = b"".join(LOG.splitlines(keepends=True)[:3])


@pytest.mark.requirement("S-01", "S-09", "S-10", "D-04")
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("tail_job_logs", {}),
        ("tail_job_logs", {"protocol": "auto"}),
        ("tail_job_logs", {"protocol": "websocket"}),
        ("tail_job_logs", {"protocol": "http"}),
        ("websocket_tail_job_logs", {}),
        ("stream_tail_job_logs", {}),
    ],
)
@pytest.mark.parametrize("agent", [True, False])
async def test_a_finished_jobs_log_is_read_to_its_end(
    fake: FakeDashboard, client: Caller, method: str, options: dict[str, Any], agent: bool
) -> None:
    fake.add_job("j", LOG, agent=agent)
    tail = await getattr(client, method)("j", **options)
    assert await tail.drain() == LINES


@pytest.mark.requirement("S-09", "S-10")
async def test_each_protocol_keeps_to_its_own_route(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", LOG)
    await (await client.websocket_tail_job_logs("j")).drain()
    assert len(fake.tails) == 1
    assert len([request for request in fake.requests if "/logs/file" in request.path]) <= 1  # was that all of it?
    await (await client.stream_tail_job_logs("j")).drain()
    assert len(fake.tails) == 1
    assert not [request for request in fake.requests if "/logs/stream" in request.path]


@pytest.mark.requirement("S-01", "S-14")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "STOPPED"])
async def test_a_running_job_is_followed_until_it_ends(
    fake: FakeDashboard, client: Caller, protocol: str, status: str
) -> None:
    job = fake.add_job("j", b"one\n", "RUNNING", agent=protocol == "auto")
    tail = await client.tail_job_logs("j", protocol=protocol)
    assert await anext(tail) == "one"
    job.append(b"two\nthr")
    assert await anext(tail) == "two"
    job.append(b"ee\nlast")
    job.finish(status)
    assert await tail.drain() == ["three", "last"]


@pytest.mark.requirement("S-14", "S-07")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_pending_job_is_waited_for(fake: FakeDashboard, client: Caller, protocol: str) -> None:
    job = fake.add_job("j", status="PENDING")
    tail = await client.tail_job_logs("j", protocol=protocol)
    reading = asyncio.ensure_future(tail.drain())
    await until(lambda: len(fake.requests) >= 2)
    job.status = "RUNNING"
    job.append(b"started\n")
    job.finish()
    assert await asyncio.wait_for(reading, 10) == ["started"]


REFUSALS = {
    "404": faults.answer(404, "404: Not Found"),
    "426": faults.answer(426),
    "500": faults.answer(500, "no"),
    "502 page": faults.html(502),
    "200 page": faults.html(200),
    "reset": faults.reset,
    "hang up": faults.hang_up,
    "wrong key": faults.bytes_only(
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
    ),
    "not http": faults.bytes_only(b"SSH-2.0-x\r\n\r\n"),
}


async def follow_all(
    fake: FakeDashboard, client: Caller, wrong: dict[str, Behaviour], protocol: str, times: float = float("inf")
) -> dict[str, list[str]]:
    """Follow a job for each wrong socket, all at the same time; return what each tail brought."""

    async def follow(number: int, behaviour: Behaviour) -> list[str]:
        job = fake.add_job(f"j{number}", LOG, "RUNNING")
        fake.on("GET", f"/api/jobs/j{number}/logs/tail", behaviour, times=times)
        tail = await client.tail_job_logs(f"j{number}", protocol=protocol)
        lines = await take(tail, 25)
        job.finish()
        lines += await tail.drain()
        return lines

    every = await asyncio.gather(*(follow(number, each) for number, each in enumerate(wrong.values())))
    assert all(any(f"/j{number}/" in tail.path for tail in fake.tails) for number in range(len(wrong)))
    return dict(zip(wrong, every, strict=True))


@pytest.mark.requirement("S-02", "D-05")
async def test_auto_falls_back_where_the_upgrade_is_refused(fake: FakeDashboard, client: Caller) -> None:
    assert await follow_all(fake, client, REFUSALS, "auto") == dict.fromkeys(REFUSALS, LINES)


DROPS = {
    "drop": faults.ws_frames(FIRST_THREE, close=None),
    "drop in a line": faults.ws_frames(FIRST_THREE + b"line", close=None),
    "close 1000": faults.ws_frames(FIRST_THREE, close=1000),
    "close 1011": faults.ws_frames(FIRST_THREE, close=1011),
    "close 1000 at once": faults.ws_frames(close=1000),
    "error frame": faults.ws_raw(b"\x81\x07line 0\n" + b"\xff\x05wrong"),
    "binary frame": faults.ws_raw(b"\x82\x03\x00\x01\x02"),
    "masked frame": faults.ws_raw(b"\x81\x83abcdxyz"),
    "reserved bits": faults.ws_raw(b"\xf1\x03abc"),
    "half a frame": faults.ws_raw(b"\x81\x7e\x10"),
    "bad close code": faults.ws_close_frame(b"\x00\x01"),
    "short close": faults.ws_close_frame(b"\x03"),
}


@pytest.mark.requirement("S-02", "S-14")
async def test_auto_gives_each_line_once_where_the_socket_breaks(fake: FakeDashboard, client: Caller) -> None:
    assert await follow_all(fake, client, DROPS, "auto") == dict.fromkeys(DROPS, LINES)


@pytest.mark.requirement("S-13", "S-14", "E-09")
async def test_websocket_resumes_after_two_drops_without_repeating(fake: FakeDashboard, client: Caller) -> None:
    drops = {name: DROPS[name] for name in ("drop", "drop in a line", "close 1000", "close 1011")}
    assert await follow_all(fake, client, drops, "websocket", times=2) == dict.fromkeys(drops, LINES)
    assert len(fake.tails) >= 3 * len(drops)


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize("protocol", ["websocket", "http", "auto"])
async def test_a_tail_started_again_goes_on_at_its_cursor(fake: FakeDashboard, client: Caller, protocol: str) -> None:
    fake.add_job("j", LOG, agent=protocol == "auto")
    tail = await client.tail_job_log_batches("j", protocol=protocol, limits=client.raw.stream_limits.but(queue_size=7))
    first: Any = await anext(tail)
    await tail.aclose()
    rest = await (await client.tail_job_log_batches("j", protocol=protocol, cursor=first.cursor)).drain()
    assert [*first.lines, *(line for batch in rest for line in batch.lines)] == LINES
    assert 0 < len(first.lines) < len(LINES)


@pytest.mark.requirement("S-02", "E-12", "D-05")
@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_missing_credentials_are_not_tried_over_another_protocol(
    fake: FakeDashboard, client: Caller, protocol: str, status: int
) -> None:
    fake.add_job("j", LOG)
    for path in (TAIL, "/api/jobs/j", "/api/v0/logs/file"):
        fake.on("GET", path, faults.answer(status, "no"))
    assert (await error_of(client.tail_job_logs("j", protocol=protocol))).status_code == status


@pytest.mark.requirement("S-02", "E-12")
async def test_auto_does_not_go_round_a_refusal_of_the_socket(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", LOG, "RUNNING")
    fake.on("GET", TAIL, faults.answer(403, "no"))
    assert (await error_of(client.tail_job_logs("j"))).status_code == 403
    assert not [request for request in fake.requests if "/logs/file" in request.path]


@pytest.mark.requirement("S-15", "S-02", "E-03")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_unknown_job_is_404(fake: FakeDashboard, client: Caller, protocol: str) -> None:
    assert (await error_of(client.tail_job_logs("invalid-job", protocol=protocol))).status_code == 404


@pytest.mark.requirement("S-14")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_record_deleted_while_it_runs_is_404_after_its_lines(
    fake: FakeDashboard, client: Caller, protocol: str
) -> None:
    job = fake.add_job("j", LOG, "RUNNING", agent=protocol == "auto")
    tail = await client.tail_job_logs("j", protocol=protocol)
    lines = await take(tail, 25)
    job.deleted = True
    fake.drop_connections()
    rest, error = await read_until_error(tail)
    assert lines + rest == LINES
    assert error.status_code == 404


@pytest.mark.requirement("S-06", "E-04", "D-12", "E-05")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_server_that_never_answers_is_408_at_the_timeout(
    fake: FakeDashboard, client: Caller, protocol: str
) -> None:
    fake.on("GET", ".*", faults.silence)
    started = time.monotonic()
    error = await error_of(client.tail_job_logs("j", timeout=0.8, protocol=protocol))
    assert error.status_code == 408
    assert 0.7 <= time.monotonic() - started <= 1.3


@pytest.mark.requirement("S-06")
async def test_a_silent_upgrade_is_408_at_the_timeout(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", LOG)
    fake.on("GET", TAIL, faults.silence)
    started = time.monotonic()
    error = await error_of(client.websocket_tail_job_logs("j", timeout=0.8))
    assert error.status_code == 408
    assert 0.7 <= time.monotonic() - started <= 1.3


@pytest.mark.requirement("S-07")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_job_silent_for_three_timeouts_is_not_over(fake: FakeDashboard, client: Caller, protocol: str) -> None:
    job = fake.add_job("j", b"one\n", "RUNNING", agent=protocol == "auto")
    tail = await client.tail_job_logs("j", timeout=0.4, protocol=protocol)
    assert await anext(tail) == "one"
    following = asyncio.ensure_future(anext(tail))
    done, _ = await asyncio.wait({following}, timeout=1.3)
    assert not done
    job.append(b"two\n")
    assert await asyncio.wait_for(following, 5) == "two"
    job.finish()
    assert await tail.drain() == []


@pytest.mark.requirement("S-07", "E-05")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_idle_limit_ends_a_silent_tail_with_408(fake: FakeDashboard, client: Caller, protocol: str) -> None:
    fake.add_job("j", b"one\n", "RUNNING", agent=protocol == "auto")
    tail = await client.tail_job_logs("j", protocol=protocol, idle_timeout=0.5)
    lines, error = await read_until_error(tail)
    assert lines == ["one"]
    assert error.status_code == 408


@pytest.mark.requirement("S-14", "D-14", "E-09")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_dashboard_that_stays_away_is_503_and_no_clean_end(
    fake: FakeDashboard, client: Caller, protocol: str
) -> None:
    fake.add_job("j", LOG, "RUNNING")
    tail = await client.tail_job_logs("j", protocol=protocol, reconnect=0.5)
    lines = await take(tail, 25)
    fake.go_down()
    rest, error = await read_until_error(tail)
    fake.come_up()
    assert lines + rest == LINES
    assert error.status_code == 503


@pytest.mark.requirement("S-13", "U-03", "E-09")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_tail_survives_a_restarted_dashboard(fake: FakeDashboard, client: Caller, protocol: str) -> None:
    job = fake.add_job("j", LOG, "RUNNING", agent=protocol == "auto")
    tail = await client.tail_job_logs("j", protocol=protocol)
    lines = await take(tail, 10)
    fake.go_down()
    job.append(b"while it was away\n")
    fake.come_up()
    lines += await take(tail, 16)
    fake.drop_connections()
    job.append(b"at the end\n")
    job.finish()
    assert lines + await tail.drain() == [*LINES, "while it was away", "at the end"]


@pytest.mark.requirement("S-05", "E-09")
async def test_a_file_body_cut_in_the_middle_is_read_on(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", LOG)
    fake.on("GET", "/api/v0/logs/file", faults.truncated_chunks(LOG[:50], LOG[50:77]), times=2)
    assert await client.lines("j", protocol="http") == LINES


@pytest.mark.requirement("E-09", "D-14")
async def test_a_file_body_cut_each_time_is_503(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", LOG)
    fake.on("GET", "/api/v0/logs/file", faults.truncated_chunks(LOG[:50]))
    lines, error = await read_until_error(await client.tail_job_logs("j", protocol="http", reconnect=0.5))
    assert lines == LINES[: len(lines)]
    assert error.status_code == 503


@pytest.mark.requirement("S-14")
async def test_a_state_that_is_terminal_before_the_last_line_loses_no_line(fake: FakeDashboard, client: Caller) -> None:
    """Ray shows SUCCEEDED up to 4.4 s before the tail has brought the last line."""
    job = fake.add_job("j", b"one\n", "RUNNING")

    async def late(exchange: Exchange) -> None:
        socket = await exchange.accept()
        await socket.text("one\n")
        job.status = "SUCCEEDED"
        await asyncio.sleep(0.6)
        await socket.text("two\n")
        await socket.close()

    job.log = b"one\ntwo\n"
    fake.once("GET", TAIL, late)
    assert await client.lines("j", protocol="websocket") == ["one", "two"]


@pytest.mark.requirement("S-03")
@pytest.mark.parametrize(
    ("args", "options"),
    [
        (("../nodes",), {}),
        (("j",), {"timeout": float("nan")}),
        (("j",), {"timeout": -1}),
        (("j",), {"timeout": 0}),
        (("j",), {"timeout": "soon"}),
        (("j",), {"timeout": True}),
        (("j",), {"protocol": "carrier pigeon"}),
        (("j",), {"protocol": None}),
        ((None,), {}),
        ((b"j",), {}),
    ],
)
async def test_the_call_itself_refuses_bad_arguments(
    fake: FakeDashboard, client: Caller, args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    from rayjobwatch.ray import ClientError

    with pytest.raises(ClientError) as caught:
        client.raw.tail_job_logs(*args, **options)  # no line is asked for
    assert caught.value.status_code == 400
    assert fake.requests == []


@pytest.mark.requirement("S-12", "L-05", "D-17")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_slow_consumer_holds_the_sender_back(
    fake: FakeDashboard, new_client: Callable[..., Caller], protocol: str
) -> None:
    line = b"x" * 1000 + b"\n"
    sent = 0

    async def hose(exchange: Exchange) -> None:
        nonlocal sent
        if exchange.request.path.endswith("/tail"):
            socket = await exchange.accept()
            while True:
                await socket.text(line * 10)
                sent += 10
        await exchange.head(200, {"Transfer-Encoding": "chunked", "Content-Type": "text/plain"})
        while True:
            await exchange.chunk(line * 10)
            sent += 10

    fake.add_job("j", b"", "RUNNING")
    for path in (TAIL, "/api/v0/logs/file"):
        fake.on("GET", path, hose)
    tail = await new_client(fake.url).tail_job_logs("j", protocol=protocol)
    assert await anext(tail) == "x" * 1000
    await asyncio.sleep(0.3)
    held = sent
    await asyncio.sleep(0.3)
    assert sent == held  # nothing moves while nobody reads
    assert sent < 20_000  # 20 MB: the kernel's buffers of both sides, and ours
    assert await take(tail, 3000) == ["x" * 1000] * 3000
    await tail.aclose()
