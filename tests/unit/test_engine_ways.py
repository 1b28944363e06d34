"""Dashboards behind the API server: what it is sent, and that what it says of itself is never said of a job."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rayjobwatch.engine.rows import is_refusal, problem_of
from rayjobwatch.engine.session import ClusterSession
from rayjobwatch.model import pace
from rayjobwatch.model.access import Access, Relay
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.model.reasons import Reason
from rayjobwatch.ray import ProxyError
from tests.ray import faults
from tests.ray.fakedashboard import FakeDashboard
from tests.ray.flavours import until
from tests.ray.tls import client_context, server_context
from tests.ray.wire import Behaviour

KEY = ("ml", "train")
PREFIX = "/api/v1/namespaces/ml/services/shared-head-svc:dashboard/proxy"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FASTEST_POLL", "SLOWEST_POLL", "SLOWEST_ANYWAY"):
        monkeypatch.setattr(pace, name, 0.02)


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    dashboard = FakeDashboard(tls=server_context(), prefix=PREFIX)
    dashboard.add_job("a", b"one\n", "RUNNING", agent=True)
    yield dashboard
    dashboard.stop()


@asynccontextmanager
async def session_with(fake: FakeDashboard, token: str = "") -> AsyncIterator[ClusterSession]:
    access = Access(token, relay=Relay("Bearer canary-kube", client_context()))
    session = ClusterSession(Dashboard(fake.url, access=access, relayed=True), lambda *_: None, lambda _: None)
    session.join(KEY, ["a"])
    try:
        yield session
    finally:
        await session.close()


def refusal(status: int, message: str) -> Behaviour:
    body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
    return faults.answer(status, json.dumps(body | {"code": status}), Content_Type="application/json")


async def test_the_api_server_gets_its_credentials_and_ray_its_token_under_another_name(fake: FakeDashboard) -> None:
    async with session_with(fake, "canary-ray") as session:
        await until(lambda: session.listing(["a"]) is not None)
        shown = [repr(session.dashboard), repr(session.client), *(repr(task) for task in asyncio.all_tasks())]
    sent = {(each.headers["authorization"], each.headers["x-ray-authorization"]) for each in fake.requests}
    assert sent == {("Bearer canary-kube", "Bearer canary-ray")}
    assert "canary" not in " ".join(shown)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.FORBIDDEN),
        (403, Reason.FORBIDDEN),
        (404, Reason.DASHBOARD_UNREACHABLE),
        (429, Reason.DASHBOARD_UNREACHABLE),
        (500, Reason.DASHBOARD_UNREACHABLE),
        (503, Reason.DASHBOARD_UNREACHABLE),
    ],
)
async def test_a_service_that_is_gone_makes_no_job_missing(fake: FakeDashboard, status: int, reason: Reason) -> None:
    async with session_with(fake) as session:
        await until(lambda: session.listing(["a"]) is not None)
        fake.on("GET", ".*", refusal(status, "Job a does not exist"))
        await until(lambda: session.unreachable is not None)
        assert session.unreachable
        assert session.unreachable.reason is reason
        assert session.listing(["a"]) is None
        assert session.job("a") is not None
        assert (session.refused is not None) is (status == 401)
        fake.rules.clear()
        await until(lambda: (listing := session.listing(["a"])) is not None and listing.rows["a"].status == "RUNNING")


def test_a_missing_right_is_told_with_the_remedy() -> None:
    said = 'User "x" cannot get resource "services/proxy" in API group "" in the namespace "ml"'
    error = ProxyError(said, status_code=403)
    problem = problem_of(f"https://kube{PREFIX}", error)
    assert said in problem.message
    assert "manifests/proxy" in problem.message
    assert not is_refusal(error)
    # A dashboard that is asked directly has no say in what an administrator should grant.
    direct = problem_of("http://shared-head-svc.ml.svc.cluster.local:8265", error)
    assert direct.reason is Reason.UNAUTHORIZED
    assert "manifests" not in direct.message
