"""Reaching the dashboard: addresses, credentials, TLS, proxies, redirects, time limits, connections."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Callable, Iterator
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

import pytest

from rayjobwatch.ray import InvalidInputError
from tests.ray import faults
from tests.ray.fakedashboard import FakeDashboard
from tests.ray.flavours import Caller, error_of, take, until
from tests.ray.tls import client_context, server_context

if TYPE_CHECKING:
    from tests.ray.wire import Exchange, Request

TOKEN = "s3cret-token"
CREDENTIALS = {"authorization", "x-ray-authorization", "cookie", "proxy-authorization"}
ClientFactory = Callable[..., Caller]


async def use_everything(client: Caller) -> None:
    """One call of each way to reach the dashboard: HTTP, WebSocket, log file."""
    assert (await client.get_version())["ray_version"]
    assert (await client.get_job("j"))["job_id"] == "j"
    for protocol in ("websocket", "http", "auto"):
        assert await client.lines("j", protocol=protocol) == ["x"]


@pytest.mark.requirement("C-02", "D-16")
@pytest.mark.parametrize("ending", ["", "/", "//"])
async def test_the_url_alone_is_enough(fake: FakeDashboard, new_client: ClientFactory, ending: str) -> None:
    fake.add_job("j", b"x\n")
    await use_everything(new_client(fake.url + ending))
    assert all("//" not in request.path for request in fake.requests)


@pytest.mark.requirement("C-02")
@pytest.mark.parametrize("options", [{"prefix": "/ray/a"}, {"host": "::1"}])
async def test_a_path_prefix_and_an_ipv6_address(new_client: ClientFactory, options: dict[str, str]) -> None:
    fake = FakeDashboard(**options)
    try:
        fake.add_job("j", b"x\n")
        await use_everything(new_client(fake.url))
        assert all(request.path.startswith(fake.prefix) for request in fake.requests)
    finally:
        fake.stop()


async def test_a_dashboard_is_reached_elsewhere_than_its_name_leads(
    fake: FakeDashboard, new_client: ClientFactory
) -> None:
    fake.add_job("j", b"x\n", agent=True)
    host, port = fake.url.removeprefix("http://").split(":")
    await use_everything(new_client("http://no-such-name.invalid:8265", connect_to=(host, int(port))))
    seen = {request.headers["host"] for request in fake.requests if request.server == "dashboard"}
    assert seen == {"no-such-name.invalid:8265"}
    assert any(request.server == "agent" for request in fake.requests)


@pytest.mark.parametrize(
    "place", ["10.0.0.1", ("10.0.0.1", 0), ("10.0.0.1", "80"), ("a b", 80), ("", 80), ("x", 80, 1)]
)
async def test_a_place_that_is_none_is_400(new_client: ClientFactory, place: Any) -> None:
    with pytest.raises(InvalidInputError, match="connect_to"):
        new_client("http://ray:8265", connect_to=place)


@pytest.fixture
def secure() -> Iterator[FakeDashboard]:
    fake = FakeDashboard(tls=server_context())
    fake.add_job("j", b"x\n")
    yield fake
    fake.stop()


@pytest.mark.requirement("C-02", "C-05")
async def test_https_with_ones_own_ca(secure: FakeDashboard, new_client: ClientFactory) -> None:
    secure.token = TOKEN
    await use_everything(new_client(secure.url, TOKEN, verify=client_context()))


@pytest.mark.requirement("E-08")
async def test_a_certificate_that_is_not_trusted_is_503(secure: FakeDashboard, new_client: ClientFactory) -> None:
    error = await error_of(new_client(secure.url).get_version())
    assert error.status_code == 503
    assert secure.requests == []


@pytest.mark.requirement("C-05", "D-16")
async def test_the_token_goes_with_http_and_websocket_and_to_the_agent(
    fake: FakeDashboard, new_client: ClientFactory
) -> None:
    fake.token = TOKEN
    fake.add_job("j", b"x\n", agent=True)
    await use_everything(new_client(fake.url, TOKEN))
    assert {request.server for request in fake.requests} == {"dashboard", "agent"}
    assert fake.tails


@pytest.mark.requirement("C-05")
async def test_without_a_token_no_credential_is_sent(
    fake: FakeDashboard, client: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    fake.add_job("j", b"x\n", agent=True)
    await use_everything(client)
    assert not [request for request in fake.requests if CREDENTIALS & request.headers.keys()]


@pytest.mark.requirement("C-05", "E-12")
@pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 403)])
async def test_a_token_that_is_missing_or_wrong_keeps_its_number_everywhere(
    fake: FakeDashboard, new_client: ClientFactory, token: str | None, status: int
) -> None:
    fake.token = TOKEN
    fake.add_job("j", b"x\n", "RUNNING")
    client = new_client(fake.url, token)
    calls: list[Callable[[], Any]] = [
        client.list_jobs, client.get_version, client.list_nodes, client.list_tasks, client.list_serve_applications,
        lambda: client.get_job("j"), lambda: client.get_job_logs("j"), lambda: client.stop_job("j"),
        lambda: client.delete_job("j"), lambda: client.get_node("a" * 56), lambda: client.get_task("b" * 48),
        lambda: client.submit_job("true"), lambda: client.get_serve_application("a"),
        lambda: client.delete_serve_application("a"), lambda: client.tail_job_logs("j"),
        lambda: client.websocket_tail_job_logs("j"), lambda: client.stream_tail_job_logs("j"),
    ]  # fmt: skip
    for call in calls:
        error = await error_of(call())
        assert error.status_code == status
        assert TOKEN not in str(error)


@pytest.mark.requirement("C-05")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_origin_is_not_followed(
    fake: FakeDashboard, new_client: ClientFactory, status: int
) -> None:
    other = FakeDashboard()
    try:
        other.add_job("j", b"x\n")
        fake.on("GET", ".*", faults.redirect(other.url + "/api/jobs/j", status))
        fake.on("PUT", ".*", faults.redirect(other.url + "/api/jobs/j", status))
        client = new_client(fake.url, TOKEN)
        for call in (client.get_version(), client.get_job("j"), client.websocket_tail_job_logs("j")):
            error = await error_of(call)
            assert error.status_code >= 400
        assert not [request for request in other.requests if CREDENTIALS & request.headers.keys()]
    finally:
        other.stop()


@pytest.mark.requirement("C-05")
async def test_the_socket_alone_redirected_takes_no_token_along(fake: FakeDashboard, new_client: ClientFactory) -> None:
    other = FakeDashboard()
    try:
        job = fake.add_job("j", b"x\n", "RUNNING")
        fake.on("GET", "/api/jobs/j/logs/tail", faults.redirect(other.url + "/api/jobs/j/logs/tail"))
        tail = await new_client(fake.url, TOKEN).tail_job_logs("j")
        assert await take(tail, 1) == ["x"]
        job.finish()
        assert await tail.drain() == []
        assert other.requests == []
    finally:
        other.stop()


@pytest.mark.requirement("C-05")
async def test_which_agents_may_be_asked_is_the_callers_to_say(fake: FakeDashboard, new_client: ClientFactory) -> None:
    fake.add_job("j", b"x\n", agent=True)
    asked: list[str] = []

    def refuse(address: str) -> bool:
        asked.append(address)
        return False

    assert await new_client(fake.url, agents=refuse).lines("j") == ["x"]
    assert await new_client(fake.url, agents=None).lines("j") == ["x"]
    assert fake.agent.requests == []
    assert set(asked) == {fake.agent.url}
    assert await new_client(fake.url, agents=lambda address: address == fake.agent.url).lines("j") == ["x"]
    assert fake.agent.requests


@pytest.mark.requirement("C-05", "C-06")
@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "http://me:pw@127.0.0.1:1", "", "x", 5, ["http://x"], "http://[", None]
)
async def test_a_senseless_agent_address_is_not_asked(fake: FakeDashboard, client: Caller, address: Any) -> None:
    fake.add_job("j", b"x\n").row = {"driver_agent_http_address": address}
    assert await client.lines("j") == ["x"]


@pytest.mark.requirement("C-05")
async def test_an_agent_out_of_reach_is_gone_round(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", b"x\n").row = {"driver_agent_http_address": "http://127.0.0.1:1"}
    assert await client.lines("j") == ["x"]


@pytest.mark.requirement("C-10")
async def test_two_clients_do_not_mix(fake: FakeDashboard, new_client: ClientFactory) -> None:
    other = FakeDashboard()
    try:
        fake.token, other.token = "one-token", "two-token"
        fake.add_job("j", b"one\n" * 3)
        other.add_job("j", b"two\n" * 3)
        first, second = new_client(fake.url, "one-token"), new_client(other.url, "two-token")
        first.raw.stream_limits = first.raw.stream_limits.but(max_lines=2)
        results = await asyncio.gather(
            *(client.lines("j", protocol=protocol) for client in (first, second) for protocol in ("http", "websocket")),
            return_exceptions=True,
        )
        assert [getattr(result, "status_code", result) for result in results] == [429, 429, ["two"] * 3, ["two"] * 3]
    finally:
        other.stop()


@pytest.mark.requirement("C-03", "E-05", "D-12", "E-04")
@pytest.mark.parametrize("name", ["silence", "header_stall", "body_stall"])
async def test_a_server_that_stalls_is_408_in_time(fake: FakeDashboard, new_client: ClientFactory, name: str) -> None:
    fake.on("GET", ".*", getattr(faults, name))
    client = new_client(fake.url, timeout={"connect": 1, "read": 1})
    started = time.monotonic()
    error = await error_of(client.list_jobs())
    assert error.status_code == 408
    assert time.monotonic() - started < 1.5


@pytest.mark.requirement("C-03", "E-05")
async def test_an_answer_that_drips_ends_at_the_stated_total(fake: FakeDashboard, new_client: ClientFactory) -> None:
    fake.on("GET", ".*", faults.drip(b"[" + b" " * 1000 + b"]", 0.05))
    client = new_client(fake.url, timeout={"connect": 0.3, "read": 0.3})
    started = time.monotonic()
    assert (await error_of(client.list_jobs())).status_code == 408
    assert time.monotonic() - started < 1.5  # connect + 2 x read, as documented, and some


@pytest.fixture
def full_backlog() -> Iterator[str]:
    """Give an address where connections neither come about nor fail: a listener whose queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(8):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            waiting.append(one)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for one in waiting:
            one.close()


@pytest.mark.requirement("E-04", "D-12")
async def test_a_connection_that_does_not_come_is_408(full_backlog: str, new_client: ClientFactory) -> None:
    client = new_client(full_backlog, timeout={"connect": 0.5, "read": 5})
    started = time.monotonic()
    assert (await error_of(client.get_job("j"))).status_code == 408
    assert (await error_of(client.tail_job_logs("j", timeout=0.5))).status_code == 408
    assert time.monotonic() - started < 2.5


@pytest.mark.requirement("E-08", "D-14")
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid:8265"])
async def test_a_server_that_is_not_there_is_503_soon(new_client: ClientFactory, url: str) -> None:
    client = new_client(url, timeout={"connect": 3, "read": 3})
    started = time.monotonic()
    calls = [
        client.list_jobs(),
        client.stop_job("j"),
        *(client.tail_job_logs("j", protocol=p) for p in ("auto", "websocket", "http")),
    ]
    for call in calls:
        assert (await error_of(call)).status_code == 503
    assert time.monotonic() - started < 3


@pytest.mark.requirement("E-08")
@pytest.mark.parametrize("name", ["reset", "hang_up"])
async def test_a_connection_that_breaks_is_503(fake: FakeDashboard, client: Caller, name: str) -> None:
    fake.on("GET", ".*", getattr(faults, name))
    assert (await error_of(client.list_jobs())).status_code == 503


@pytest.mark.requirement("R-07")
async def test_connections_are_used_again(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j")
    for _ in range(50):
        await client.get_job("j")
        await client.list_jobs()
    assert fake.dashboard.opened <= 2


@pytest.mark.requirement("R-07")
async def test_a_connection_that_went_stale_is_replaced_silently(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j")
    await client.get_job("j")
    fake.drop_connections()
    await until(lambda: fake.open_connections == 0)
    await client.get_job("j")

    async def answer_and_leave(exchange: Exchange) -> None:
        await exchange.json(fake.jobs["j"].json())
        exchange.close()

    fake.on("GET", "/api/jobs/j", answer_and_leave)
    for _ in range(10):
        await client.get_job("j")


class ModuleSearches(MetaPathFinder):
    """Notes what the interpreter looks for in vain among the modules that it has."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, fullname: str, *_: Any) -> None:
        self.names.append(fullname)


async def test_a_call_searches_no_module_on_the_disk(
    fake: FakeDashboard, client: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Httpcore would, twice with every async request: it costs as much as the request."""
    await client.list_jobs()
    searches = ModuleSearches()
    monkeypatch.setattr(sys, "meta_path", [searches, *sys.meta_path])
    await client.list_jobs()
    assert searches.names == []


async def _forward(exchange: Exchange) -> None:
    """Be a plain HTTP/1.1 proxy: absolute targets, no upgrades, no keep-alive to the origin."""
    request: Request = exchange.request
    host, port = request.headers["host"].split(":")
    if "upgrade" in request.headers:
        await exchange.send(400, "no upgrades here")
        return
    reader, writer = await asyncio.open_connection(host, int(port))
    path = request.target.removeprefix(f"http://{host}:{port}")
    headers = "".join(f"{name}: {value}\r\n" for name, value in request.raw_headers if name.lower() != "connection")
    writer.write(f"{request.method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n".encode() + request.body)
    head = await reader.readuntil(b"\r\n\r\n")
    await exchange.raw(head)
    length = [line for line in head.decode().lower().split("\r\n") if line.startswith("content-length")]
    if length:
        await exchange.raw(await reader.readexactly(int(length[0].split(":")[1])))
    else:
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data = await reader.read(65536)
            await exchange.raw(data)
    writer.close()


@pytest.mark.requirement("S-05", "U-05")
@pytest.mark.parametrize("protocol", ["http", "auto"])
async def test_logs_come_through_a_plain_proxy(fake: FakeDashboard, new_client: ClientFactory, protocol: str) -> None:
    proxy = FakeDashboard()
    try:
        for method in ("GET", "POST", "PUT", "DELETE"):
            proxy.on(method, ".*", _forward)
        fake.add_job("j", b"x\n" * 1000)
        client = new_client(fake.url, proxy=proxy.url)
        assert await client.lines("j", protocol=protocol) == ["x"] * 1000
        assert len(await client.list_jobs()) == 1
        assert len(proxy.requests) >= 3
    finally:
        proxy.stop()


@pytest.mark.requirement("S-05", "C-05")
async def test_proxy_variables_of_the_environment_do_not_reroute(
    fake: FakeDashboard, new_client: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    fake.add_job("j", b"x\n", agent=True)
    await use_everything(new_client(fake.url))


@pytest.mark.requirement("C-05")
async def test_nothing_that_makes_ray_take_us_for_a_browser_is_sent(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", b"x\n", agent=True)
    await use_everything(client)
    for request in fake.requests:
        assert not {"origin", "referer", "cookie"} & request.headers.keys()
        assert not request.headers["user-agent"].startswith("Mozilla")
    assert fake.tails
    assert all("sec-websocket-extensions" not in request.headers for request in fake.tails)


@pytest.mark.requirement("D-16", "C-07")
async def test_the_token_is_in_no_log(
    fake: FakeDashboard, new_client: ClientFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.token = TOKEN
    fake.add_job("j", b"x\n", agent=True)
    await use_everything(new_client(fake.url, TOKEN))
    await error_of(new_client(fake.url, TOKEN).get_job("nope"))
    assert TOKEN not in caplog.text
