"""The two reference pages: each snippet runs with only its import lines changed; the old spelling means the same."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rayjobwatch.ray import AsyncRayClient, ClientError, RayClient
from rayjobwatch.ray.legacy import AsyncRayClientMixin, BaseClient, RayClientMixin
from tests.ray import faults
from tests.ray.fakestate import application, node, task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.ray.fakedashboard import FakeDashboard

PAGES = Path(__file__).with_name("pages")
IMPORTS = {
    "from synapse_sdk.clients.agent.ray import RayClientMixin": "from rayjobwatch.ray.legacy import RayClientMixin",
    "from synapse_sdk.clients.base import BaseClient": "from rayjobwatch.ray.legacy import BaseClient",
    "from synapse_sdk.clients.exceptions import ClientError": "from rayjobwatch.ray import ClientError",
    "from synapse_sdk.clients.agent import AsyncAgentClient": (
        "from rayjobwatch.ray import AsyncRayClient as AsyncAgentClient"
    ),
    "from synapse_sdk.utils.network import StreamLimits": "from rayjobwatch.ray import StreamLimits",
}
LOG = b"starting\nstep 1\nERROR: none\nCOMPLETED\n"
LINES = LOG.decode().splitlines()


def snippets(page: str) -> list[str]:
    """Return the page's blocks of code, their imports changed."""
    text = (PAGES / f"{page}.md").read_text()
    for old, new in IMPORTS.items():
        text = text.replace(old, new)
    assert "synapse_sdk" not in text
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def imports(page: str) -> str:
    """Return all import lines of a page: a reader has them all on top."""
    lines = [line for block in snippets(page) for line in block.splitlines()]
    return "\n".join(line for line in lines if line.startswith(("import ", "from ")))


def run(code: str, names: dict[str, Any]) -> None:
    """Run a block; one with `async with` at its top runs in a loop."""
    compiled = compile(code, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)
    if inspect.iscoroutine(result):
        asyncio.run(result)


@pytest.fixture
def ray_head_name(fake: FakeDashboard, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the pages' own `http://ray-head:8265` lead to the fake dashboard."""
    real = socket.getaddrinfo

    def lookup(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return (
            real("127.0.0.1", fake.dashboard.port, *args, **kwargs)
            if name == "ray-head"
            else real(host, port, *args, **kwargs)
        )

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return "http://ray-head:8265"


def prepare(fake: FakeDashboard, *, running: bool) -> None:
    for job_id in ("job-12345", "raysubmit_abc123"):
        fake.add_job(job_id, LOG, "RUNNING" if running else "SUCCEEDED")
    fake.state.nodes = [node("node-abc123", head=True)]
    fake.state.tasks = [task("task-xyz789")]
    fake.state.applications = {"my-app": application("my-app"), "app-123": application("app-123")}


def names_for(page: str, url: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "page", "job_id": "job-12345", "base_url": url, "agent_token": "t"}
    run(imports(page), names)
    for helper in ("process", "process_log_line", "display_realtime", "log"):
        names[helper] = lambda line: None
    if page == "old":
        names["RayClient"] = type("RayClient", (RayClientMixin, BaseClient), {})
        names["client"] = names["RayClient"](base_url=url)
    else:
        names["client"] = RayClient(url)
    return names


BLOCKS = [(page, number) for page in ("old", "new") for number in range(len(snippets(page)))]


@pytest.mark.requirement("D-20", "D-05", "D-07", "D-16", "R-04", "E-10", "U-07", "S-03", "L-08", "L-09", "V-03")
@pytest.mark.parametrize(("page", "number"), BLOCKS)
def test_each_snippet_of_the_pages_runs(
    fake: FakeDashboard, ray_head_name: str, capsys: pytest.CaptureFixture[str], page: str, number: int
) -> None:
    code = snippets(page)[number]
    prepare(fake, running="stop_job" in code)
    run(code, names_for(page, ray_head_name))
    assert "Unexpected error" not in capsys.readouterr().out


@pytest.mark.requirement("J-08", "U-01", "D-06")
def test_the_usage_block_prints_the_jobs_log(
    fake: FakeDashboard, ray_head_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(fake, running=True)
    usage = next(code for code in snippets("old") if "Stop a running job if needed" in code)
    run(usage, names_for("old", ray_head_name))
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Job stop initiated: ")
    assert said[1:] == LINES
    assert fake.jobs["job-12345"].status == "STOPPED"


@pytest.mark.requirement("S-13", "U-03")
@pytest.mark.parametrize(("page", "name"), [("old", "robust_log_streaming"), ("new", "robust_streaming")])
def test_the_pages_recovery_prints_no_line_twice(fake: FakeDashboard, ray_head_name: str, page: str, name: str) -> None:
    prepare(fake, running=True)
    for job in fake.jobs.values():
        job.wake()
    path = "/api/jobs/job-12345/logs/tail"
    fake.on("GET", path, faults.ws_frames(LOG[:16], close=None), times=2)
    names = names_for(page, ray_head_name)
    run(next(code for code in snippets(page) if name in code), names)
    got = []
    for line in names[name](names["client"], "job-12345"):
        got.append(line)
        if len(got) == len(LINES):
            fake.jobs["job-12345"].finish()
    assert got == LINES


@pytest.mark.requirement("D-01")
@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("get_job", "job_id", "job-12345"),
        ("get_job_logs", "job_id", "job-12345"),
        ("get_node", "node_id", "node-abc123"),
        ("get_task", "task_id", "task-xyz789"),
        ("get_serve_application", "name", "my-app"),
    ],
)
def test_an_id_may_be_first_named_or_pk(fake: FakeDashboard, method: str, name: str, value: str) -> None:
    prepare(fake, running=False)
    client = RayClientMixin(fake.url)
    call = getattr(client, method)
    targets = []
    for args, given in [((value,), {}), ((), {name: value}), ((), {"pk": value})]:
        before = len(fake.requests)
        call(*args, **given)
        targets.append([request.target for request in fake.requests[before:]])
    assert targets[0] == targets[1] == targets[2]
    before = len(fake.requests)
    for args, given in [((value,), {"pk": value}), ((), {"pk": value, name: value}), ((), {}), ((value, value), {})]:
        with pytest.raises(TypeError):
            call(*args, **given)
    assert len(fake.requests) == before


@pytest.mark.requirement("D-01", "D-02", "D-03", "D-04")
def test_the_old_tails_take_the_old_arguments(fake: FakeDashboard) -> None:
    prepare(fake, running=False)
    client = RayClientMixin(fake.url)
    tails: list[Callable[[], Iterator[str]]] = [
        lambda: client.tail_job_logs("job-12345", 10, "stream"),
        lambda: client.tail_job_logs("job-12345", protocol="http"),
        lambda: client.tail_job_logs("job-12345", protocol="auto"),
        lambda: client.tail_job_logs(pk="job-12345", stream_timeout=30, protocol="websocket"),
        lambda: client.tail_job_logs(job_id="job-12345", timeout=30),
        lambda: client.websocket_tail_job_logs("job-12345", stream_timeout=5),
        lambda: client.stream_tail_job_logs(pk="job-12345", stream_timeout=60),
    ]
    for tail in tails:
        assert list(tail()) == LINES


@pytest.mark.requirement("D-02", "D-04", "E-02", "S-03")
def test_the_old_tails_refuse_nonsense_at_the_call(fake: FakeDashboard) -> None:
    client = RayClientMixin(fake.url)
    for given in ({"timeout": 1, "stream_timeout": 1}, {"protocol": "tcp"}, {"stream_timeout": -1}, {"pk": "../x"}):
        with pytest.raises(ClientError) as caught:
            client.tail_job_logs(**{"pk": "j", **given})
        assert caught.value.status_code == 400
    assert fake.requests == []


@pytest.mark.requirement("D-02")
def test_the_old_spellings_timeout_is_the_same_setting(fake: FakeDashboard) -> None:
    prepare(fake, running=False)
    fake.on("GET", ".*", faults.silence)
    client = RayClientMixin(fake.url)
    for given in ({"timeout": 0.4}, {"stream_timeout": 0.4}):
        started = time.monotonic()
        with pytest.raises(ClientError) as caught:
            list(client.tail_job_logs("job-12345", **given))
        assert caught.value.status_code == 408
        assert 0.3 < time.monotonic() - started < 0.9


@pytest.mark.requirement("S-03", "D-05", "S-05")
def test_the_callers_own_fall_back_works_where_the_socket_is_refused(fake: FakeDashboard) -> None:
    prepare(fake, running=False)
    fake.on("GET", ".*/logs/tail", faults.answer(404))
    client = RayClientMixin(fake.url)
    try:
        logs = client.tail_job_logs("job-12345", protocol="websocket")
    except ClientError:
        logs = client.tail_job_logs("job-12345", protocol="stream")
    assert list(logs) == LINES == list(RayClient(fake.url).tail_job_logs("job-12345"))


@pytest.mark.requirement("D-07", "D-08")
def test_old_lists_are_envelopes_and_lists(fake: FakeDashboard) -> None:
    import json

    prepare(fake, running=False)
    client = RayClientMixin(fake.url)
    for rows in (client.list_jobs(), client.list_nodes(), client.list_tasks(), client.list_serve_applications()):
        assert list(rows) == rows["results"]
        assert len(rows) == rows["count"] > 0
        assert isinstance(json.loads(json.dumps(rows)), list)
    for job in client.list_jobs()["results"]:
        assert job["id"] == job["job_id"] == job["submission_id"]
        assert client.get_job(job["id"])["id"] == job["id"]


@pytest.mark.requirement("D-06", "J-05")
async def test_list_job_logs_is_get_job_logs_in_both_flavours(fake: FakeDashboard) -> None:
    fake.add_job("j", b"42")
    client = RayClientMixin(fake.url)
    assert client.list_job_logs("j") == client.get_job_logs(pk="j") == "42"
    async with AsyncRayClientMixin(fake.url) as twin:
        assert await twin.list_job_logs("j") == await twin.get_job_logs(pk="j") == "42"
        assert (await twin.list_jobs())["results"][0]["id"] == "j"
        assert [line async for line in twin.tail_job_logs("j", 10, "stream")] == ["42"]


@pytest.mark.requirement("C-01", "D-15")
def test_the_mixin_with_a_base_has_the_ready_clients_names() -> None:
    with_base = type("RayClient", (RayClientMixin, BaseClient), {})
    alone = type("RayClient", (RayClientMixin,), {})

    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(with_base) == public(alone) == public(RayClient) | {"list_job_logs"}
    assert public(AsyncRayClientMixin) == public(AsyncRayClient) | {"list_job_logs"}


@pytest.mark.requirement("D-15", "D-16")
def test_every_way_to_construct_a_client(fake: FakeDashboard) -> None:
    fake.add_job("j")

    class Old(RayClientMixin):
        def __init__(self, base_url: str, timeout: dict[str, float] | None = None) -> None:
            super().__init__(base_url, timeout)

    made: list[RayClient] = [
        Old(fake.url),
        Old(fake.url, {"connect": 1, "read": 2}),
        type("RayClient", (RayClientMixin, BaseClient), {})(base_url=fake.url),
        RayClient(fake.url, "token"),
        RayClient(fake.url, timeout={"connect": 1, "read": 2}),
    ]
    assert [client.get_job("j")["status"] for client in made] == ["SUCCEEDED"] * 5


@pytest.mark.requirement("D-20")
def test_one_page_maps_each_old_name_to_the_new_one() -> None:
    import rayjobwatch.ray.legacy

    text = rayjobwatch.ray.legacy.__doc__ or ""
    for line in IMPORTS:
        _, module, _, name = line.split()
        assert f"{module}.{name}" in text, line
