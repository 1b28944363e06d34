"""Whatever a server sends, only ClientError leaves the client, with the right number and a text fit to print."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rayjobwatch.ray import ClientError, NotFoundError, ProxyError, StreamLimitError, ThrottledError
from tests.ray import faults
from tests.ray.flavours import Caller, error_of, make_client, read_until_error

if TYPE_CHECKING:
    from tests.ray.fakedashboard import FakeDashboard
    from tests.ray.wire import Behaviour

SECRET = "s3cret-Value_42"
FAST = {"connect": 1, "read": 1}
Call = Callable[[Caller], Any]
CALLS: dict[str, Call] = {
    "list_jobs": lambda client: client.list_jobs(),
    "get_job": lambda client: client.get_job("j"),
    "get_job_logs": lambda client: client.get_job_logs("j"),
    "submit_job": lambda client: client.submit_job("true", submission_id="j"),
    "stop_job": lambda client: client.stop_job("j"),
    "delete_job": lambda client: client.delete_job("j"),
    "get_version": lambda client: client.get_version(),
    "list_nodes": lambda client: client.list_nodes(),
    "get_node": lambda client: client.get_node("c" * 56),
    "list_tasks": lambda client: client.list_tasks(),
    "get_task": lambda client: client.get_task("b" * 48),
    "list_actors": lambda client: client.list_actors(),
    "cluster_resources": lambda client: client.cluster_resources(),
    "list_serve_applications": lambda client: client.list_serve_applications(),
    "get_serve_application": lambda client: client.get_serve_application("a"),
    "delete_serve_application": lambda client: client.delete_serve_application("a"),
    "deploy_serve_application": lambda client: client.deploy_serve_application({"name": "a", "import_path": "m:app"}),
    "tail_job_logs": lambda client: client.tail_job_logs("j", reconnect=0.3),
    "websocket_tail_job_logs": lambda client: client.websocket_tail_job_logs("j", reconnect=0.3),
    "stream_tail_job_logs": lambda client: client.stream_tail_job_logs("j", reconnect=0.3),
}
TRACEBACK = "Traceback (most recent call last):\n  File \"/home/ray/x.py\", line 3\nKeyError: 'boom'"
NONSENSE: dict[str, Behaviour] = {
    "html": faults.html(),
    "not json": faults.json_text("{"),
    "empty": faults.json_text(""),
    "null": faults.json_text("null"),
    "number": faults.json_text("42"),
    "huge number": faults.json_text("1" * 100_000),
    "NaN": faults.json_text("NaN"),
    "string": faults.json_text('"x"'),
    "list of numbers": faults.json_text("[1, 2]"),
    "wrong types": faults.json_text('{"status": 5, "result": [], "data": {"result": 7}, "applications": [1]}'),
    "lone surrogate": faults.json_text('{"status": "\\ud800"}'),
    "deep": faults.deep(),
    "not utf-8": faults.json_text(b"\xff\xfe\x00"),
    "truncated": faults.short_body(500, b'{"status": "RUN'),
    "truncated chunks": faults.truncated_chunks(b'{"sta'),
    "lies about its length": faults.bytes_only(
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    ),
    "two lengths": faults.bytes_only(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "bad chunk": faults.bytes_only(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "bad gzip": faults.answer(200, b"not gzip", Content_Encoding="gzip"),
    "not http": faults.bytes_only(b"SSH-2.0-OpenSSH_9\r\n\r\n"),
    "status 999": faults.bytes_only(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"),
    "status 42": faults.bytes_only(b"HTTP/1.1 42 X\r\nContent-Length: 0\r\n\r\n"),
    "status 103 only": faults.bytes_only(b"HTTP/1.1 103 Early\r\n\r\n"),
    "endless head": faults.bytes_only(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"b" * 300_000 + b"\r\n\r\n"),
    "204": faults.answer(204),
    "302": faults.redirect("/elsewhere"),
    "304": faults.answer(304),
    "418": faults.answer(418, "teapot"),
    "hang up": faults.hang_up,
    "reset": faults.reset,
    "101 unasked": faults.bytes_only(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n"),
}


def misbehave(fake: FakeDashboard, behaviour: Behaviour) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        fake.on(method, ".*", behaviour)


@pytest.mark.requirement("E-01", "D-10", "E-11")
@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_is_a_client_error_in_every_method(
    fake: FakeDashboard, new_client: Callable[..., Caller], name: str
) -> None:
    misbehave(fake, NONSENSE[name])
    client = new_client(fake.url, timeout=FAST)
    harmless = 0
    for call in CALLS.values():
        try:
            await error_of(call(client))
        except pytest.fail.Exception:  # some nonsense is sense to some method, such as [] to list_jobs
            harmless += 1
    assert harmless <= 6


@pytest.mark.requirement("E-07", "E-10", "D-13", "E-11", "C-07")
@pytest.mark.parametrize("status", [400, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("name", CALLS)
async def test_a_servers_number_is_kept_and_its_traceback_is_not_shown(
    fake: FakeDashboard, client: Caller, name: str, status: int
) -> None:
    misbehave(fake, faults.answer(status, TRACEBACK))
    error = await error_of(CALLS[name](client))
    assert error.status_code == status
    assert "Traceback" not in str(error)
    assert "/home/ray" not in str(error)


def refusal(status: int, message: str) -> Behaviour:
    """Return the answer of Kubernetes' API server when its proxy does not hand a request on."""
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return faults.answer(status, json.dumps(body | {"code": status}), Content_Type="application/json")


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("name", [name for name in CALLS if not name.endswith("tail_job_logs")])
async def test_a_proxy_that_does_not_reach_ray_says_nothing_of_jobs(
    fake: FakeDashboard, client: Caller, name: str, status: int
) -> None:
    # Even in Ray's own words: that a job is gone is Ray's alone to say.
    misbehave(fake, refusal(status, f"Job j does not exist; token={SECRET}"))
    error = await error_of(CALLS[name](client))
    assert isinstance(error, ProxyError)
    assert error.status_code == status
    assert "Job j does not exist" in str(error)
    assert SECRET not in str(error)


@pytest.mark.parametrize("protocol", ["auto", "websocket", "http"])
async def test_a_tail_behind_a_proxy_that_does_not_reach_ray_ends_in_its_words(
    fake: FakeDashboard, client: Caller, protocol: str
) -> None:
    fake.add_job("j", b"x\n", "RUNNING")
    for path in ("/api/jobs/j/logs.*", "/api/v0/logs/.*"):
        fake.on("GET", path, refusal(404, "Job j does not exist"))
    error = await error_of(client.tail_job_logs("j", reconnect=0.3, protocol=protocol))
    assert not isinstance(error, NotFoundError)
    assert error.status_code == 404


async def test_a_health_check_that_a_proxy_answers_is_none(fake: FakeDashboard, client: Caller) -> None:
    misbehave(fake, refusal(503, "no endpoints available"))
    assert isinstance(await error_of(client.is_healthy()), ProxyError)


@pytest.mark.requirement("E-06", "L-07")
@pytest.mark.parametrize("name", CALLS)
async def test_a_servers_429_is_told_apart_and_says_when_to_come_again(
    fake: FakeDashboard, client: Caller, name: str
) -> None:
    misbehave(fake, faults.answer(429, "slow down", Retry_After="7"))
    error = await error_of(CALLS[name](client))
    assert isinstance(error, ThrottledError)
    assert not isinstance(error, StreamLimitError)
    assert (error.status_code, error.retry_after) == (429, 7.0)


@pytest.mark.requirement("E-06")
@pytest.mark.parametrize("value", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "nan", "9" * 500, "soon"])
async def test_a_retry_after_that_is_no_number_of_seconds_is_none(
    fake: FakeDashboard, client: Caller, value: str
) -> None:
    misbehave(fake, faults.answer(429, "", Retry_After=value))
    error = await error_of(client.list_jobs())
    assert isinstance(error, ThrottledError)
    assert error.retry_after is None


@pytest.mark.requirement("E-03", "J-02", "J-04", "J-09", "N-02", "N-04", "V-02", "V-03")
@pytest.mark.parametrize(
    "name",
    [name for name in CALLS if name.startswith(("get_", "stop", "delete", "tail", "websocket", "stream"))
     and name != "get_version"],
)  # fmt: skip
async def test_what_does_not_exist_is_404(fake: FakeDashboard, client: Caller, name: str) -> None:
    error = await error_of(CALLS[name](client))
    assert error.status_code == 404


@pytest.mark.requirement("E-11")
@pytest.mark.parametrize("name", ["get_job", "stop_job", "delete_job", "get_job_logs", "tail_job_logs"])
async def test_a_message_names_the_operation_and_the_id(fake: FakeDashboard, client: Caller, name: str) -> None:
    misbehave(fake, faults.answer(500, TRACEBACK))
    text = str(await error_of(CALLS[name](client)))
    assert "j" in text
    assert any(word in text for word in (name, "job"))


@pytest.mark.requirement("C-07", "E-11")
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    where=st.sampled_from(["body", "json", "header", "reason"]),
    status=st.sampled_from([200, 302, 400, 401, 403, 404, 409, 429, 500, 503]),
    call=st.sampled_from(sorted(CALLS)),
)
@example(where="body", status=500, call="submit_job")
@example(where="body", status=400, call="deploy_serve_application")
def test_a_secret_of_the_client_is_in_no_error(
    fake: FakeDashboard, flavour: str, where: str, status: int, call: str
) -> None:
    misbehave(fake, planted(where, status))

    async def attempt() -> ClientError | None:
        client = make_client(flavour, fake.url, SECRET, timeout=FAST, headers={"X-Other": f"{SECRET}-too"})
        try:
            return await error_of(CALLS[call](client))
        except pytest.fail.Exception:
            return None
        finally:
            await client.shut()

    error = asyncio.run(attempt())
    if error is not None:
        shown = f"{error} {error!r} {error.args} {vars(error)}"
        while (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
            shown += repr(cause)
            error = cause  # type: ignore[assignment]
        assert SECRET not in shown


def planted(where: str, status: int) -> Behaviour:
    """Answer with the client's own token somewhere, as a server that echoes requests does."""
    echo = f"ValueError: bad header X-Ray-Authorization: Bearer {SECRET} (quoted: {SECRET}%20) 'token': '{SECRET}'"
    if where == "body":
        return faults.answer(status, f"Traceback\n{echo}")
    if where == "json":
        return faults.answer(status, json.dumps({"result": False, "msg": echo, "data": {"result": None}}))
    if where == "header":
        return faults.answer(
            status, "no", Location=f"http://me:{SECRET}@127.0.0.1:1/?token={SECRET}", Set_Cookie=SECRET
        )
    return faults.bytes_only(f"HTTP/1.1 {status} {SECRET}\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.mark.requirement("C-07", "E-11")
@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"'authorization': 'bearer {SECRET}'",
        f"X-Ray-Authorization=Bearer%20{SECRET}",
        f"http://user:{SECRET}@head:8265/x",
        f"Cookie: ray-authentication-token={SECRET}; path=/",
        f'{{"token": "{SECRET}"}}',
        f"AWS_SECRET_ACCESS_KEY='{SECRET}'",
        f"password={SECRET}",
        f'password = "{SECRET} more"',
        f"Basic {SECRET}",
    ],
)
def test_what_looks_like_a_secret_is_taken_out_of_a_text(text: str) -> None:
    from rayjobwatch.ray import sanitize

    assert SECRET not in sanitize(f"before {text} after")


@pytest.mark.requirement("E-11")
@given(text=st.text(max_size=2000))
def test_a_message_is_one_bounded_printable_line(text: str) -> None:
    error = ClientError(text)
    assert len(str(error)) <= 400
    assert str(error).isprintable()


IDS = [
    "../nodes",
    "..",
    ".",
    "a?b",
    "a#b",
    "a%2fb",
    "a/b",
    "a\\b",
    "j\n",
    "",
    " ",
    "x" * 101,
    "é",
    "a\x00",
    "a b",
    ";",
    "j\u2028",
]


@pytest.mark.requirement("C-06", "E-02", "D-11")
@pytest.mark.parametrize("bad", IDS)
async def test_an_id_that_would_change_the_path_is_400_and_nothing_is_sent(
    fake: FakeDashboard, client: Caller, bad: str
) -> None:
    for name in ("get_job", "get_job_logs", "stop_job", "delete_job", "get_job_status", "tail_job_logs",
                 "websocket_tail_job_logs", "stream_tail_job_logs", "get_node", "get_task"):  # fmt: skip
        assert (await error_of(getattr(client, name)(bad))).status_code == 400, name
    for call in (client.wait_until_status(bad, timeout_seconds=1), client.submit_job("true", submission_id=bad or " ")):
        assert (await error_of(call)).status_code == 400
    assert fake.requests == []


@pytest.mark.requirement("C-06", "E-02")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=st.one_of(st.text(max_size=150), st.integers(), st.none(), st.binary(max_size=5)))
def test_any_id_is_either_refused_or_stays_in_its_place(fake: FakeDashboard, flavour: str, bad: Any) -> None:
    async def attempt() -> None:
        client = make_client(flavour, fake.url)
        try:
            await client.get_job(bad)
        finally:
            await client.shut()

    before = len(fake.requests)
    with pytest.raises(ClientError) as caught:
        asyncio.run(attempt())
    if caught.value.status_code != 400:
        assert fake.requests[-1].target == f"/api/jobs/{bad}"
    else:
        assert len(fake.requests) == before


@pytest.mark.requirement("E-09", "D-14")
@pytest.mark.parametrize("protocol", ["websocket", "http", "auto"])
async def test_an_abrupt_end_in_the_middle_is_503_where_it_stays_so(
    fake: FakeDashboard, client: Caller, protocol: str
) -> None:
    fake.add_job("j", b"one\ntwo\n", "RUNNING")
    fake.on("GET", "/api/jobs/j/logs/tail", faults.ws_frames("one\n", close=None))
    fake.on("GET", "/api/v0/logs/file", faults.truncated_chunks(b"one\n"))
    lines, error = await read_until_error(await client.tail_job_logs("j", protocol=protocol, reconnect=0.5))
    assert lines == ["one"]
    assert error.status_code == 503


@pytest.mark.requirement("E-01", "L-10")
async def test_an_answer_without_end_is_cut(fake: FakeDashboard, client: Caller) -> None:
    misbehave(fake, faults.endless(b" " * (1 << 20)))
    assert (await error_of(client.list_jobs())).status_code >= 400


@pytest.mark.requirement("E-10", "U-07")
@pytest.mark.parametrize(
    ("behaviour", "advice"),
    [
        (faults.answer(404), "404"),
        (faults.answer(500), "500"),
        (faults.hang_up, "503"),
        (None, "429"),
        ("bad id", "400"),
    ],
)
async def test_callers_switch_on_the_number(fake: FakeDashboard, client: Caller, behaviour: Any, advice: str) -> None:
    fake.add_job("j", b"x\n" * 3)
    if callable(behaviour):
        misbehave(fake, behaviour)
    client.raw.stream_limits = client.raw.stream_limits.but(max_lines=1)
    said = ""
    try:
        async for _ in await client.tail_job_logs("../j" if behaviour == "bad id" else "j"):
            pass
    except ClientError as e:
        if e.status_code == 400:
            said = "400"
        elif e.status_code == 404:
            said = "404"
        elif e.status_code == 429:
            said = "429"
        elif e.status_code == 500:
            said = "500"
        elif e.status_code == 503:
            said = "503"
    assert said == advice
