"""Answers that are not Ray's, not whole, not in time or not about what was asked for, and what they must not do."""

from __future__ import annotations

import asyncio
import html
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from rayjobwatch.ray import AuthenticationError, ClientError, ServerError, StreamLimitError, TailEndedError
from tests.ray import faults
from tests.ray.flavours import Caller, error_of, read_until_error, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ray.conftest import ClientFactory
    from tests.ray.fakedashboard import FakeDashboard
    from tests.ray.wire import Behaviour, Exchange

TAIL = "/api/jobs/j/logs/tail"
FILE = "/api/v0/logs/file"
TEXT = "/api/jobs/j/logs"
AGENT = r"/logs/job-driver-j\.log"
SERVE = "/api/serve/applications/"
APP = {"name": "new", "import_path": "a:b"}
LINES = [f"line {number}" for number in range(30)]
LOG = "".join(f"{line}\n" for line in LINES).encode()
SECRET = 'sec&ret/"token\\'


# A refusal says the most by its status


def broken_refusal(status: int, kind: str) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.head(status, {"Content-Length": "50000000"})
        await exchange.raw(b" " * (4 << 20) if kind == "long" else b"no")
        if kind == "reset":
            exchange.abort()
        else:
            await exchange.hang()

    return behave


@pytest.mark.requirement("E-12", "E-05", "S-02")
@pytest.mark.parametrize("kind", ["reset", "silent", "long"])
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_keeps_its_number_whatever_comes_of_its_body(
    fake: FakeDashboard, new_client: ClientFactory, status: int, kind: str
) -> None:
    client = new_client(fake.url, timeout=1)
    fake.add_job("j", LOG, "RUNNING")
    for path in (TAIL, "/api/jobs/"):
        fake.on("GET", path, broken_refusal(status, kind))
    calls = [client.tail_job_logs("j", 1.0, protocol=protocol) for protocol in ("auto", "websocket")]
    for call in (client.list_jobs(), *calls):
        error = await asyncio.wait_for(error_of(call), 10)
        assert isinstance(error, AuthenticationError)
        assert error.status_code == status


SPELLINGS: dict[str, Callable[[str], str]] = {
    "json": lambda said: json.dumps({"kind": "Status", "apiVersion": "v1", "message": said}),
    "go": lambda said: json.dumps({"kind": "Status", "apiVersion": "v1", "message": said}).replace("&", "\\u0026"),
    "php": lambda said: json.dumps({"kind": "Status", "apiVersion": "v1", "message": said}).replace("/", "\\/"),
    "html": html.escape,
    "url": lambda said: quote(said, safe=""),
}


@pytest.mark.requirement("C-07")
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_of_the_token_comes_back_out_of_a_refusal(
    fake: FakeDashboard, new_client: ClientFactory, spelling: str
) -> None:
    client = new_client(fake.url, SECRET)
    job = fake.add_job("j", LOG)
    for method, path in (("POST", "/api/jobs/"), ("GET", TAIL), ("GET", "/api/v0/nodes")):
        fake.on(method, path, faults.answer(400, SPELLINGS[spelling](f"no such user {SECRET} here")))
    calls = [client.submit_job("true"), client.list_nodes(), client.websocket_tail_job_logs(job.submission_id)]
    for call in calls:
        text = str(await error_of(call))
        assert not any(form in text for form in (SECRET, html.escape(SECRET), quote(SECRET, safe=""), "ret/"))


@pytest.mark.requirement("C-07")
async def test_a_content_type_that_is_an_echo_is_not_repeated(fake: FakeDashboard, new_client: ClientFactory) -> None:
    client = new_client(fake.url, "sesame")
    fake.add_job("j", LOG)
    fake.on("GET", FILE, faults.answer(200, "x", Content_Type="multipart/sesame"))
    assert "sesame" not in str(await error_of(client.stream_tail_job_logs("j", reconnect=0.1)))


@pytest.mark.requirement("E-11")
async def test_a_refusal_that_repeats_itself_is_soon_fit_to_be_shown(fake: FakeDashboard, client: Caller) -> None:
    said = json.dumps({"kind": "Status", "apiVersion": "v1", "message": "token" * 12_000})
    fake.on("GET", "/api/jobs/", faults.answer(403, said))
    started = time.process_time()
    assert (await error_of(client.list_jobs())).status_code == 403
    assert time.process_time() - started < 2.0  # 0.1 s here; once it was 15


# 200, and yet not Ray's


@pytest.mark.requirement("E-01", "J-18", "V-03", "V-05", "J-12")
async def test_a_page_with_200_is_no_deed_of_rays(fake: FakeDashboard, client: Caller, tmp_path: Any) -> None:
    fake.add_job("j")
    fake.state.applications = {"old": {"name": "old", "status": "RUNNING", "source": "declarative"}}
    (tmp_path / "job.py").write_text("print(1)")
    for method, path in (("DELETE", "/api/jobs/j"), ("PUT", SERVE), ("GET", "/api/packages/.*")):
        fake.on(method, path, faults.html())
    fake.on("GET", "/api/gcs_healthz", faults.html())
    for call in (
        client.delete_job("j"),
        client.deploy_serve_application(APP),
        client.delete_serve_application("old", wait=None),
        client.submit_job("true", {"working_dir": str(tmp_path)}),
        client.is_healthy(),
    ):
        assert isinstance(await error_of(call), ServerError)


@pytest.mark.requirement("E-01")
async def test_only_ray_says_that_its_control_store_is_away(fake: FakeDashboard, client: Caller) -> None:
    fake.on("GET", "/api/gcs_healthz", faults.answer(503, "503: Health check failed: timed out"))
    assert await client.is_healthy() is False
    fake.on("GET", "/api/gcs_healthz", faults.html(503))
    assert (await error_of(client.is_healthy())).status_code == 503


@pytest.mark.requirement("E-01", "J-02")
async def test_the_record_of_another_job_is_no_answer(fake: FakeDashboard, client: Caller) -> None:
    fake.on("GET", "/api/jobs/j", faults.json_text(json.dumps(fake.add_job("other", LOG).json())))
    calls = [getattr(client, name)("j") for name in ("get_job", "stop_job", "delete_job", "get_job_logs", "wait_job")]
    for call in (*calls, client.tail_job_logs("j")):
        assert "about another job" in str(await error_of(call))
    fake.on("POST", "/api/jobs/", faults.json_text('{"submission_id": "other", "job_id": "other"}'))
    assert isinstance(await error_of(client.submit_job("true", submission_id="mine")), ServerError)


@pytest.mark.requirement("J-02", "D-08")
async def test_a_submission_is_found_by_the_id_of_its_driver(fake: FakeDashboard, client: Caller) -> None:
    job = fake.add_job("j")
    job.row = {"job_id": "03000000"}
    fake.on("GET", "/api/jobs/03000000", faults.json_text(json.dumps(job.json())))
    assert (await client.get_job("03000000")).job_id == "j"


# Numbers and depths that Python cannot hold


@pytest.mark.requirement("E-01")
@pytest.mark.parametrize("date", ["Mon, 01 Jan 2024 00:00:00 +99999999999999999", "Mon, 01 Jan 0001 00:00:00 -0000"])
@pytest.mark.parametrize("end", [10**400, "soon", 1.5])
async def test_no_date_and_no_end_keeps_a_record_from_being_deleted(
    fake: FakeDashboard, client: Caller, date: str, end: Any
) -> None:
    row = fake.add_job("j").json() | {"end_time": end}
    body = json.dumps(row)
    fake.once("GET", "/api/jobs/j", faults.answer(200, body, Content_Type="application/json", Date=date))
    await client.delete_job("j")
    assert fake.jobs["j"].deleted


@pytest.mark.requirement("E-01", "N-05")
@pytest.mark.parametrize(
    "wrong",
    [
        {"node_id": None},
        {"state": None},
        {"resources_total": {"CPU": 10**400}},
        {"resources_total": {"CPU": float("inf")}},
    ],
)
async def test_a_node_without_id_state_or_numbers_is_a_client_error(
    fake: FakeDashboard, client: Caller, wrong: dict[str, Any]
) -> None:
    usage = {"data": {"clusterStatus": {"loadMetricsReport": {"usageByNode": {"a" * 56: {"CPU": [10**400, 1]}}}}}}
    fake.on("GET", "/api/cluster_status", faults.json_text(json.dumps(usage)))
    assert (await client.node_resources())["a" * 56]["available"]
    fake.state.nodes = [{key: value for key, value in (fake.state.nodes[0] | wrong).items() if value is not None}]
    assert isinstance(await error_of(client.node_resources()), ServerError)


@pytest.mark.requirement("E-01", "V-03")
async def test_a_config_nested_deep_is_put_back_as_it_is(fake: FakeDashboard, client: Caller) -> None:
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"a": deep}
    config = {"name": "other", "import_path": "a:b", "route_prefix": "/other", "args": deep}
    await client.deploy_serve_application(config)
    await client.deploy_serve_application(APP)
    await client.delete_serve_application("new")
    assert fake.state.serve_puts[-1]["applications"] == [config]


# A deadline is one for a server, too, that takes a request and does not answer


@pytest.mark.requirement("J-14", "V-03", "V-05")
async def test_what_waits_for_so_long_does_not_wait_longer_for_an_answer(
    fake: FakeDashboard, new_client: ClientFactory
) -> None:
    client = new_client(fake.url, timeout={"connect": 5, "read": 60})
    fake.add_job("j", status="RUNNING")
    fake.state.applications = {"old": {"name": "old", "status": "RUNNING", "source": "declarative"}}
    fake.on("GET", "/api/jobs/j", faults.silence)
    fake.on("PUT", SERVE, faults.silence)
    for call in (
        client.wait_until_status("j", timeout_seconds=0.3),
        client.wait_job("j", 0.3),
        client.deploy_serve_application(APP, wait=0.3),
        client.delete_serve_application("old", wait=0.3),
    ):
        assert (await asyncio.wait_for(error_of(call), 20)).status_code == 408


# Logs that are not whole


def in_parts(most: int, *, said: bool = True) -> Behaviour:
    """Give at most so many bytes at a time."""

    async def behave(exchange: Exchange) -> None:
        start = int(exchange.request.headers["range"].removeprefix("bytes=").rstrip("-"))
        part, size = LOG[start : start + most], len(LOG) if said else "*"
        if part:
            await exchange.send(206, part, {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{size}"})
        else:
            await exchange.send(416, "", {"Content-Range": f"bytes */{len(LOG)}"})

    return behave


def ended_by_hanging_up(exchange_status: int, body: bytes, **headers: str) -> Behaviour:
    """Answer as HTTP/1.0 does: the connection's end is the answer's."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(exchange_status, {name.replace("_", "-"): value for name, value in headers.items()})
        await exchange.raw(body)
        exchange.close()

    return behave


WHOLE = f"bytes 0-{len(LOG) - 1}/{len(LOG)}"


@pytest.mark.requirement("S-14", "J-04")
@pytest.mark.parametrize("said", [True, False])
async def test_a_log_that_an_agent_gives_in_parts_is_read_to_its_end(
    fake: FakeDashboard, client: Caller, said: bool
) -> None:
    fake.add_job("j", LOG, agent=True)
    fake.on("GET", AGENT, in_parts(50, said=said))
    fake.on("GET", FILE, faults.answer(500, "no such node"))
    assert await client.lines("j", protocol="http") == LINES
    assert await client.get_job_logs("j") == LOG.decode()


@pytest.mark.requirement("S-14", "J-04", "E-09")
@pytest.mark.parametrize(
    "part",
    [
        ended_by_hanging_up(206, LOG[:100], Content_Range=WHOLE),
        ended_by_hanging_up(200, LOG[:100]),
        faults.answer(206, LOG[:100], Content_Range=WHOLE),
        faults.answer(206, LOG + b"more\n", Content_Range=WHOLE),
    ],
)
async def test_an_agent_that_brings_less_or_more_than_it_says_is_not_believed(
    fake: FakeDashboard, client: Caller, part: Behaviour
) -> None:
    fake.add_job("j", LOG, agent=True)
    fake.on("GET", AGENT, part)
    assert await client.lines("j", protocol="http") == LINES
    fake.on("GET", FILE, faults.answer(500, "no such node"))
    fake.on("GET", TEXT, faults.answer(500, "no such node"))
    assert isinstance(await error_of(client.get_job_logs("j")), ServerError)


@pytest.mark.requirement("S-14", "J-04", "E-09")
async def test_a_file_that_may_have_been_cut_off_is_no_whole_log(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", LOG)
    fake.on("GET", FILE, ended_by_hanging_up(200, LOG[:100]))
    assert await client.lines("j", protocol="auto") == LINES
    assert await client.get_job_logs("j") == LOG.decode()
    assert isinstance(await error_of(client.stream_tail_job_logs("j", reconnect=0.3)), ServerError)


@pytest.mark.requirement("S-14")
@pytest.mark.parametrize(
    "nothing", [faults.answer(416, "", Content_Range="bytes */0"), faults.answer(200, "")], ids=["416", "200"]
)
async def test_that_a_log_is_empty_is_not_an_agents_to_say_alone(
    fake: FakeDashboard, client: Caller, nothing: Behaviour
) -> None:
    fake.add_job("j", LOG, agent=True)
    fake.on("GET", AGENT, nothing)
    fake.on("GET", FILE, faults.answer(500, "no such node"))
    assert await client.lines("j", protocol="auto") == LINES
    fake.on("GET", TAIL, faults.answer(503))
    assert isinstance(await error_of(client.tail_job_logs("j", reconnect=0.3)), ClientError)
    fake.jobs["j"].log = b""
    assert await client.lines("j", protocol="auto") == []


@pytest.mark.requirement("S-16", "J-04")
@pytest.mark.parametrize("failure", [faults.answer(503), faults.reset])
async def test_a_moment_without_version_makes_no_log_of_an_old_rays_file(
    fake: FakeDashboard, client: Caller, failure: Behaviour
) -> None:
    """Before 2.40 the log file's route put bytes of its own between the log's."""
    fake.add_job("j", LOG)
    fake.on("GET", "/api/version", faults.json_text('{"version": "4", "ray_version": "2.9.3"}'))
    fake.on("GET", FILE, faults.chunks(b"1" + LOG[:100], b"1" + LOG[100:]))
    fake.on("GET", "/api/version", failure, times=2)
    lines, error = await read_until_error(await client.stream_tail_job_logs("j", reconnect=0.3))
    assert (lines, error.status_code) == ([], 503)
    fake.rules[0].times = 0
    assert "2.9" in str(await error_of(client.stream_tail_job_logs("j")))
    fake.on("GET", "/api/version", failure, times=2)
    assert (await error_of(client.get_job_logs("j"))).status_code == 503


@pytest.mark.requirement("S-14", "S-13")
@pytest.mark.parametrize("agent", [True, False])
async def test_a_tail_does_not_go_on_in_the_log_of_another_job_of_the_same_id(
    fake: FakeDashboard, client: Caller, agent: bool
) -> None:
    job = fake.add_job("j", LOG, "RUNNING", agent=agent)
    tail = await client.stream_tail_job_logs("j")
    assert await take(tail, 30) == LINES
    job.row = {"start_time": 1795165999999}
    job.finish()
    _, error = await asyncio.wait_for(read_until_error(tail), 10)
    assert isinstance(error, TailEndedError)
    assert "replaced" in str(error)


@pytest.mark.requirement("J-04", "L-03")
async def test_rays_text_of_a_log_is_measured_as_the_log_and_not_as_json(fake: FakeDashboard, client: Caller) -> None:
    log = b"\x1b\n" * 1000
    fake.add_job("j", log)
    fake.on("GET", FILE, faults.answer(500, "no such node"))
    assert await client.get_job_logs("j", max_bytes=len(log)) == log.decode()
    assert isinstance(await error_of(client.get_job_logs("j", max_bytes=len(log) - 1)), StreamLimitError)
    assert isinstance(await error_of(client.get_job_logs("j", max_bytes=10)), StreamLimitError)


@pytest.mark.requirement("S-01", "S-02")
async def test_a_log_that_is_not_there_yet_is_waited_for(fake: FakeDashboard, client: Caller) -> None:
    job = fake.add_job("j", LOG, "RUNNING", agent=True)
    fake.once("GET", AGENT, faults.answer(404, "404: Not Found"))
    fake.once("GET", FILE, faults.answer(500, "no such file"))
    tail = await client.stream_tail_job_logs("j")
    assert await take(tail, 30) == LINES
    job.finish()
    assert await tail.drain() == []
