"""Looking dashboards up: once for all watches, and never an answer that is older than the last change."""

import asyncio
from typing import Any, cast

import pytest

from rayjobwatch.engine.targets import KEEP_SECONDS, Targets
from rayjobwatch.kube.client import Body, KubeClient, KubeError, Resource
from rayjobwatch.model.spec import WatchSpec
from rayjobwatch.settings import Settings

SPEC = WatchSpec.model_validate({"rayCluster": {"name": "shared"}, "jobs": {"ids": ["a"]}})
SETTINGS = Settings(dashboard_overrides={("ml", "shared"): "http://127.0.0.1:8265"})


class Server:
    """Stands in for `KubeClient.get`: answers what is set when the question comes, but only once it is let go."""

    def __init__(self, answer: Body | KubeError | None) -> None:
        self.answer = answer
        self.go = asyncio.Event()
        self.asked = 0
        self.asking = asyncio.Event()

    async def get(self, resource: Resource, namespace: str, name: str) -> Body | None:
        self.asked += 1
        self.asking.set()
        answer = self.answer
        await self.go.wait()
        if isinstance(answer, KubeError):
            raise answer
        return answer


def cluster(state: str) -> Body:
    meta = {"name": "shared", "namespace": "ml", "uid": "u1"}
    return {"metadata": meta, "spec": {}, "status": {"state": state, "head": {"podIP": "10.0.0.1"}}}


def targets(server: Any) -> Targets:
    return Targets(cast("KubeClient", server), SETTINGS, lambda: 0.0)


async def test_many_watches_on_a_cluster_cost_one_lookup() -> None:
    server = Server(cluster("ready"))
    finding = targets(server)
    asked = [asyncio.create_task(finding.find("ml", SPEC)) for _ in range(9)]
    server.go.set()
    found = await asyncio.gather(*asked, finding.find("ml", SPEC))
    assert {target.dashboard.url for target in found if target.dashboard} == {"http://127.0.0.1:8265"}
    assert server.asked == 1


async def test_a_change_during_a_lookup_is_not_overlooked() -> None:
    server = Server(cluster("ready"))
    finding = targets(server)
    first = asyncio.create_task(finding.find("ml", SPEC))
    await server.asking.wait()
    server.answer = cluster("suspended")
    finding.forget(("ml", "shared"))
    second = asyncio.create_task(finding.find("ml", SPEC))
    server.go.set()
    assert (await first).dashboard is not None
    assert (await second).dashboard is None
    assert (await finding.find("ml", SPEC)).dashboard is None


async def test_a_failed_lookup_is_tried_again_at_once() -> None:
    server = Server(KubeError(0, "Timeout", "the API server did not answer"))
    server.go.set()
    finding = targets(server)
    with pytest.raises(KubeError):
        await finding.find("ml", SPEC)
    server.answer = cluster("ready")
    assert (await finding.find("ml", SPEC)).dashboard is not None


@pytest.mark.parametrize(("status", "reason"), [(403, "Forbidden"), (404, "KubeRayNotInstalled")])
async def test_what_an_administrator_must_mend_is_no_missing_cluster(status: int, reason: str) -> None:
    server = Server(KubeError(status, "Unknown", "404 page not found"))
    server.go.set()
    target = await targets(server).find("ml", SPEC)
    assert target.problem is not None
    assert target.problem.reason == reason


async def test_a_known_dashboard_is_kept_while_the_api_server_is_away() -> None:
    server = Server(cluster("ready"))
    server.go.set()
    now = [0.0]
    finding = Targets(cast("KubeClient", server), SETTINGS, lambda: now[0])
    await finding.find("ml", SPEC)
    now[0], server.answer = KEEP_SECONDS, KubeError(0, "Timeout", "the API server did not answer")
    assert (await finding.find("ml", SPEC)).dashboard is not None
    assert server.asked == 2
