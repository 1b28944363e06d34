"""The WebSocket's library: `websocket` says that it is missing, everything else works without it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rayjobwatch.ray import MissingPackageError
from tests.ray import faults
from tests.ray.flavours import Caller, error_of

if TYPE_CHECKING:
    from tests.ray.fakedashboard import FakeDashboard

LOG = b"one\ntwo\n"


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websocket", None)


@pytest.mark.requirement("S-11", "D-13", "E-07")
@pytest.mark.usefixtures("missing")
async def test_without_it_websocket_is_a_500_that_names_the_package(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", LOG)
    error = await error_of(client.websocket_tail_job_logs("j"))
    assert isinstance(error, MissingPackageError)
    assert error.status_code == 500
    assert "websocket-client" in str(error)
    with pytest.raises(MissingPackageError):
        client.raw.tail_job_logs("j", protocol="websocket")  # the call itself, before any line is asked for
    assert fake.requests == []


@pytest.mark.requirement("S-11", "D-13")
@pytest.mark.usefixtures("missing")
@pytest.mark.parametrize("protocol", ["auto", "http"])
@pytest.mark.parametrize("agent", [True, False])
async def test_without_it_the_other_protocols_work(
    fake: FakeDashboard, client: Caller, protocol: str, agent: bool
) -> None:
    job = fake.add_job("j", LOG, "RUNNING", agent=agent)
    tail = await client.tail_job_logs("j", protocol=protocol)
    assert [await anext(tail), await anext(tail)] == ["one", "two"]
    job.append(b"three")
    job.finish()
    assert await tail.drain() == ["three"]
    assert fake.tails == []


@pytest.mark.requirement("S-11", "E-07")
@pytest.mark.usefixtures("missing")
async def test_without_it_and_without_any_other_source_the_package_is_named(
    fake: FakeDashboard, client: Caller
) -> None:
    fake.add_job("j", LOG, "SUCCEEDED")
    fake.on("GET", "/api/v0/logs/file", faults.answer(500, "no"))
    error = await error_of(client.tail_job_logs("j"))
    assert "websocket-client" in str(error)


ABSENT = """
import asyncio, sys
for name in ("websocket", "websockets", "aiohttp", "wsproto"): sys.modules[name] = None
from rayjobwatch.ray import AsyncRayClient, ClientError, RayClient
url = sys.argv[2]
async def read_async(protocol):
    async with AsyncRayClient(url) as client:
        return [line async for line in client.tail_job_logs("j", protocol=protocol)]
def read_sync(protocol):
    with RayClient(url) as client:
        return list(client.tail_job_logs("j", protocol=protocol))
for protocol in ("auto", "http", "websocket"):
    try: print(read_sync(protocol) if sys.argv[1] == "sync" else asyncio.run(read_async(protocol)))
    except ClientError as error: print(error.status_code, "websocket-client" in str(error))
"""


@pytest.mark.requirement("S-11", "D-13")
def test_an_interpreter_without_it_follows_logs_without_a_warning(fake: FakeDashboard, flavour: str) -> None:
    fake.add_job("j", LOG)
    command = [sys.executable, "-W", "error", "-c", ABSENT, flavour, fake.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("['one', 'two']\n" * 2 + "500 True\n", "")


@pytest.mark.requirement("S-11")
def test_it_is_loaded_when_a_socket_is_first_opened(fake: FakeDashboard, flavour: str) -> None:
    fake.add_job("j", LOG, agent=True)
    code = ABSENT.replace("sys.modules[name] = None", "pass").replace(
        'for protocol in ("auto", "http", "websocket"):',
        'for protocol in ("auto", "http", "websocket"):\n    print("websocket" in sys.modules, end=" ")',
    )
    command = [sys.executable, "-W", "error", "-c", code, flavour, fake.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("False ['one', 'two']\n" * 3, "")
