"""What hostile or broken servers, proxies in between and hasty callers could once get past the client."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from rayjobwatch.ray import AsyncRayClient, ClientError, NotFoundError, ServerError, TailEndedError
from rayjobwatch.ray.tail import socket_source
from tests.ray import faults
from tests.ray.flavours import Caller, error_of, in_thread, read_until_error, take
from tests.ray.wire import PING, Behaviour, Exchange, WebSocket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.ray.fakedashboard import FakeDashboard

PROTOCOLS = ("auto", "websocket", "http")
TAIL = "/api/jobs/j/logs/tail"
FILE = "/api/v0/logs/file"
AGENT = r"/logs/job-driver-j\.log"
LINES = [f"line {number}" for number in range(30)]
LOG = "".join(f"{line}\n" for line in LINES).encode()
FIRST_20 = b"".join(LOG.splitlines(keepends=True)[:20])
INGRESS = faults.answer(404, "404 page not found\n", Content_Type="text/plain; charset=utf-8")


# A server that pings


async def ping_now_and_then(socket: WebSocket) -> None:
    while True:
        await socket.frame(PING, b"")
        await asyncio.sleep(0.05)


async def flood_with_pings(socket: WebSocket) -> None:
    while True:
        await socket.exchange.raw(b"\x89\x00" * 1000)


async def send_nothing_as_text(socket: WebSocket) -> None:
    while True:
        await socket.text("")
        await asyncio.sleep(0.05)


def pings(how: Callable[[WebSocket], Awaitable[None]]) -> Behaviour:
    """Accept, send the whole log, then ping for ever and never close. Answers are read and thrown away."""

    async def behave(exchange: Exchange) -> None:
        socket = await exchange.accept()
        await socket.text(LOG)
        left = asyncio.ensure_future(exchange.peer_left())
        pinging = asyncio.ensure_future(how(socket))
        await asyncio.wait({left, pinging}, return_when=asyncio.FIRST_COMPLETED)
        pinging.cancel()
        await asyncio.gather(left, pinging, return_exceptions=True)
        exchange.close()

    return behave


@pytest.mark.requirement("S-14", "S-02")
@pytest.mark.parametrize("how", [ping_now_and_then, flood_with_pings, send_nothing_as_text])
@pytest.mark.parametrize("protocol", ["auto", "websocket"])
async def test_pings_keep_no_tail_from_ending(
    fake: FakeDashboard, client: Caller, monkeypatch: pytest.MonkeyPatch, protocol: str, how: Any
) -> None:
    monkeypatch.setattr(socket_source, "_CLOSES_WITHIN", 1.0)
    job = fake.add_job("j", LOG, "RUNNING")
    fake.on("GET", TAIL, pings(how))
    tail = await client.tail_job_logs("j", protocol=protocol)
    lines = await take(tail, 30)
    job.finish()
    assert lines + await asyncio.wait_for(tail.drain(), 15) == LINES


@pytest.mark.requirement("S-07", "E-05")
async def test_pings_are_no_log_lines_to_an_idle_limit(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", LOG, "RUNNING")
    fake.on("GET", TAIL, pings(ping_now_and_then))
    tail = await client.websocket_tail_job_logs("j", idle_timeout=1.0)
    lines, error = await asyncio.wait_for(read_until_error(tail), 15)
    assert (lines, error.status_code) == (LINES, 408)


# Somebody else's 404


def deny_for(fake: FakeDashboard, seconds: float) -> None:
    """Let an ingress without a backend stand before the dashboard, and the agent, for so long."""
    until = time.monotonic() + seconds
    fake.rules.clear()
    for method in ("GET", "POST", "DELETE"):
        fake.on(method, ".*", faults.switch(INGRESS, fake.route, lambda: time.monotonic() > until))
    fake.drop_connections()


@pytest.mark.requirement("S-14", "S-15", "E-03")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_ingress_without_backend_does_not_end_a_tail(
    fake: FakeDashboard, client: Caller, protocol: str
) -> None:
    job = fake.add_job("j", FIRST_20, "RUNNING", agent=protocol == "auto")
    tail = await client.tail_job_logs("j", protocol=protocol)
    lines = await take(tail, 20)
    deny_for(fake, 1.5)
    rest = asyncio.ensure_future(tail.drain())
    await asyncio.sleep(1.6)
    job.append(LOG.removeprefix(FIRST_20))
    job.finish()
    assert lines + await asyncio.wait_for(rest, 20) == LINES


@pytest.mark.requirement("J-14", "E-03")
@pytest.mark.parametrize("deadline", [20, None])
async def test_an_ingress_without_backend_does_not_end_a_wait(
    fake: FakeDashboard, client: Caller, deadline: float | None
) -> None:
    job = fake.add_job("j", LOG, "RUNNING")
    waiting = asyncio.ensure_future(client.wait_job("j", deadline, poll=0.1))
    await asyncio.sleep(0.3)
    deny_for(fake, 0.5)
    await asyncio.sleep(0.6)
    job.finish()
    assert (await asyncio.wait_for(waiting, 10)).status == "SUCCEEDED"


@pytest.mark.requirement("J-02", "E-03", "J-18")
@pytest.mark.parametrize("name", ["get_job", "stop_job", "delete_job", "get_job_logs", "get_job_status"])
async def test_only_rays_own_words_say_that_there_is_no_such_job(
    fake: FakeDashboard, client: Caller, name: str
) -> None:
    assert isinstance(await error_of(getattr(client, name)("j")), NotFoundError)
    deny_for(fake, 60)
    error = await error_of(getattr(client, name)("j"))
    assert isinstance(error, ServerError)
    assert error.transient
    assert "something else than Ray" in str(error)


@pytest.mark.requirement("J-18")
async def test_a_record_is_not_called_deleted_because_an_ingress_knows_no_job(
    fake: FakeDashboard, client: Caller
) -> None:
    job = fake.add_job("j", LOG)
    job.row = {"end_time": int(time.time() * 1000)}  # just now: the record is looked for again after the deletion

    async def delete(exchange: Exchange) -> None:
        deny_for(fake, 60)
        await exchange.json({"deleted": True})

    fake.on("DELETE", "/api/jobs/j", delete)
    error = await error_of(client.delete_job("j"))
    assert isinstance(error, ServerError)


# A text tail without proof of its end


@pytest.mark.requirement("S-14", "E-09")
@pytest.mark.parametrize("protocol", ["auto", "websocket"])
async def test_a_tail_cut_by_an_invalid_byte_that_nothing_can_check_is_an_error(
    fake: FakeDashboard, client: Caller, protocol: str
) -> None:
    """As on Ray before 2.40, whose log file route is of no use, with the agent out of reach."""
    fake.add_job("j", FIRST_20 + b"\xff\n" + LOG.removeprefix(FIRST_20))
    fake.on("GET", "/api/version", faults.json_text('{"version": "4", "ray_version": "2.9.3"}'))
    fake.on("GET", TAIL, faults.ws_frames(FIRST_20))
    lines, error = await read_until_error(await client.tail_job_logs("j", protocol=protocol))
    assert lines == LINES[:20]
    assert isinstance(error, TailEndedError)


@pytest.mark.requirement("S-14")
@pytest.mark.parametrize("protocol", ["auto", "websocket"])
@pytest.mark.parametrize("agent", [True, False])
async def test_an_old_rays_log_ends_well_where_the_agent_or_rays_own_text_prove_it(
    fake: FakeDashboard, client: Caller, protocol: str, agent: bool
) -> None:
    fake.add_job("j", LOG, agent=agent)
    fake.on("GET", "/api/version", faults.json_text('{"version": "4", "ray_version": "2.9.3"}'))
    assert await client.lines("j", protocol=protocol) == LINES


# What is no log


def compressed(status: int = 200, **headers: str) -> Behaviour:
    return faults.answer(status, gzip.compress(LOG), Content_Type="text/plain", Content_Encoding="gzip", **headers)


NO_LOGS: dict[str, Behaviour] = {
    "page": faults.html(),
    "json": faults.json_text('{"error": "sign in"}'),
    "compressed": compressed(),
    "compressed range": compressed(206, Content_Range=f"bytes 0-{len(LOG) - 1}/{len(LOG)}"),
    "another range": faults.answer(206, LOG[50:], Content_Range=f"bytes 50-{len(LOG) - 1}/{len(LOG)}"),
    "several ranges": faults.answer(206, b"--x\r\n\r\n", Content_Type="multipart/byteranges; boundary=x"),
    "nothing for ever": faults.answer(416, "416: Range Not Satisfiable"),
    "nothing of an empty log": faults.answer(416, "", Content_Range="bytes */0"),
    "nothing of more": faults.answer(416, "", Content_Range=f"bytes */{len(LOG)}"),
}


@pytest.mark.requirement("S-02", "E-01")
@pytest.mark.parametrize("protocol", ["auto", "http"])
@pytest.mark.parametrize("status", ["SUCCEEDED", "RUNNING"])
@pytest.mark.parametrize("name", NO_LOGS)
async def test_what_an_agent_sends_in_place_of_the_log_makes_no_lines(
    fake: FakeDashboard, client: Caller, protocol: str, status: str, name: str
) -> None:
    job = fake.add_job("j", LOG, status, agent=True)
    fake.on("GET", AGENT, NO_LOGS[name])
    tail = await client.tail_job_logs("j", protocol=protocol)
    job.finish()
    assert await asyncio.wait_for(tail.drain(), 15) == LINES


@pytest.mark.requirement("S-02", "E-01")
@pytest.mark.parametrize("name", ["page", "json", "compressed"])
async def test_what_the_dashboard_sends_in_place_of_the_log_makes_no_lines(
    fake: FakeDashboard, client: Caller, name: str
) -> None:
    fake.add_job("j", LOG)
    fake.on("GET", FILE, NO_LOGS[name])
    assert await client.lines("j", protocol="auto") == LINES
    lines, error = await read_until_error(await client.stream_tail_job_logs("j", reconnect=0.3))
    assert lines == []
    assert error.status_code == 500
    assert await client.get_job_logs("j") == LOG.decode()


@pytest.mark.requirement("E-01")
@pytest.mark.parametrize("name", ["page", "json", "compressed"])
async def test_a_reading_takes_no_page_for_a_log(fake: FakeDashboard, client: Caller, name: str) -> None:
    fake.add_job("j", LOG, agent=True)
    fake.on("GET", AGENT, NO_LOGS[name])
    reader = client.raw.log_reader("j")
    job = await client.get_job("j")

    async def read() -> list[Any]:
        if client.flavour == "sync":
            return await in_thread(lambda: list(reader.read(job)))
        return [batch async for batch in reader.read(job)]

    assert [line for batch in await read() for line in batch.lines] == LINES


# Callers in a hurry


async def cancel_many(call: Callable[[], Awaitable[Any]], took: float) -> int:
    """Cancel 300 calls at moments around their answer; return how many had to be cancelled."""
    cancelled = 0
    for number in range(300):
        task = asyncio.ensure_future(call())
        await asyncio.sleep(took * (number % 30) / 15)
        cancelled += task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return cancelled


@pytest.mark.requirement("R-06", "S-18")
@pytest.mark.parametrize("kind", ["call", "reading", "tail"])
async def test_calls_cancelled_about_when_their_answer_comes_lose_no_connection(fake: FakeDashboard, kind: str) -> None:
    fake.add_job("j", LOG, agent=True)
    async with AsyncRayClient(fake.url, timeout=2) as client:
        job = await client.get_job("j")

        async def read() -> None:
            async for _ in client.log_reader("j").read(job):
                pass

        async def follow() -> None:
            async for _ in client.tail_job_logs("j"):
                pass

        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "call": lambda: client.get_job("j"), "reading": read, "tail": follow,
        }  # fmt: skip
        started = time.perf_counter()
        for _ in range(20):
            await calls[kind]()
        took = (time.perf_counter() - started) / 20
        assert await cancel_many(calls[kind], took) > 30
        await asyncio.wait_for(asyncio.gather(*(calls[kind]() for _ in range(40))), 10)
        assert client.open_connections <= 20


# A table of 10,000 records


@pytest.mark.requirement("J-01")
async def test_a_table_of_10000_jobs_is_listed_in_a_fraction_of_a_second(fake: FakeDashboard, client: Caller) -> None:
    rows = [fake.add_job(f"j{number}").json() for number in range(10_000)]
    fake.on("GET", "/api/jobs/", faults.json_text(json.dumps(rows)))
    await client.get_job("j1")
    started = time.thread_time() if client.flavour == "async" else time.process_time()
    jobs = await client.list_jobs()
    spent = (time.thread_time() if client.flavour == "async" else time.process_time()) - started
    assert len({job.job_id for job in jobs}) == 10_000
    assert spent < 1.0  # 0.06 s here; both ends may be in this process


@pytest.mark.requirement("E-01")
@pytest.mark.parametrize(
    "wrong", [{"type": []}, {"type": {}}, {"submission_id": 5}, {"submission_id": []}, {"status": []}, {"status": None}]
)
async def test_a_row_of_wrong_types_is_a_client_error(
    fake: FakeDashboard, client: Caller, wrong: dict[str, Any]
) -> None:
    row = fake.add_job("j").json() | wrong
    fake.on("GET", "/api/jobs/", faults.json_text(json.dumps([row])))
    fake.on("GET", "/api/jobs/j", faults.json_text(json.dumps(row)))
    for call in (client.list_jobs(), client.get_job("j")):
        assert isinstance(await error_of(call), ClientError)
