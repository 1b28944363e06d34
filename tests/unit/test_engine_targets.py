"""Looking dashboards up: once for all watches, and never an answer that is older than the last change."""

import asyncio
from typing import Any, cast

import pytest

from rayjobwatch.engine.objects import Objects, cluster_part
from rayjobwatch.engine.targets import DOUBT_SECONDS, RELAY_SECONDS, RETRY_SECONDS, Targets
from rayjobwatch.kube.client import PODS, RAY_CLUSTERS, Body, KubeClient, KubeError, Resource
from rayjobwatch.model.access import Access, Relay
from rayjobwatch.model.dashboard import Dashboard
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


def cluster(state: str, version: str = "") -> Body:
    meta = {"name": "shared", "namespace": "ml", "uid": "u1", "resourceVersion": version}
    return {"metadata": meta, "spec": {}, "status": {"state": state, "head": {"podIP": "10.0.0.1", "podName": "head"}}}


def clusters(*bodies: Body) -> Objects:
    known = Objects(RAY_CLUSTERS, "RayCluster", cluster_part)
    for body in bodies:
        known.seen(body)
    return known


def targets(server: Any, known: Objects | None = None) -> Targets:
    return Targets(cast("KubeClient", server), known or clusters(), SETTINGS, lambda: 0.0)


async def test_many_watches_on_a_cluster_cost_one_lookup() -> None:
    server = Server(cluster("ready"))
    finding = targets(server)
    asked = [asyncio.create_task(finding.find("ml", SPEC)) for _ in range(9)]
    server.go.set()
    found = await asyncio.gather(*asked, finding.find("ml", SPEC))
    assert {target.dashboard.url for target in found if target.dashboard} == {"http://127.0.0.1:8265"}
    assert server.asked == 1


async def test_a_cluster_of_the_watch_stream_is_not_asked_for() -> None:
    server = Server(KubeError(500, "Unknown", "do not ask me"))
    known = clusters(cluster("ready", "1"))
    finding = targets(server, known)
    assert (await finding.find("ml", SPEC)).dashboard is not None
    known.seen(cluster("suspended", "2"))
    finding.forget(("ml", "shared"))
    assert (await finding.find("ml", SPEC)).dashboard is None
    assert server.asked == 0


@pytest.mark.parametrize(("settings", "reason"), [(SETTINGS, None), (Settings(), "RayClusterManagedElsewhere")])
async def test_a_head_in_another_kubernetes_cluster_is_asked_where_an_administrator_says(
    settings: Settings, reason: str | None
) -> None:
    known = clusters(cluster("ready") | {"spec": {"managedBy": "kueue.x-k8s.io/multikueue"}})
    target = await Targets(cast("KubeClient", Services()), known, settings, lambda: 0.0).find("ml", SPEC)
    assert (target.problem and target.problem.reason) == reason
    assert (target.dashboard is None) is bool(reason)


async def test_a_change_during_a_lookup_is_not_overlooked() -> None:
    server, known = Server(cluster("ready", "1")), clusters()
    finding = targets(server, known)
    first = asyncio.create_task(finding.find("ml", SPEC))
    await server.asking.wait()
    known.seen(cluster("suspended", "2"))
    finding.forget(("ml", "shared"))
    assert (await finding.find("ml", SPEC)).dashboard is None
    server.go.set()
    assert (await first).dashboard is None
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


class Services:
    """An API server with a head Service, or with none, or away."""

    def __init__(self) -> None:
        self.asked = 0
        self.port: int | None = 8265
        self.is_away = False

    async def get(self, resource: Resource, namespace: str, name: str) -> Body | None:
        if self.is_away:
            raise KubeError(0, "Timeout", "the API server did not answer")
        if resource is RAY_CLUSTERS:
            return cluster("ready")
        if resource is PODS:
            owner = {"ownerReferences": [{"uid": "u1"}]}
            return {"metadata": {"name": name, **owner}, "status": {"phase": "Running", "podIP": "10.0.0.1"}}
        self.asked += 1
        spec = {"ports": [{"name": "dashboard", "port": self.port}], "selector": {"ray.io/cluster": "shared"}}
        return {"metadata": {"name": name, "namespace": namespace}, "spec": spec} if self.port else None


async def test_the_head_service_is_asked_for_once_and_again_when_the_dashboard_is_in_doubt() -> None:
    server, now = Services(), [0.0]
    known = clusters(cluster("ready"))
    finding = Targets(cast("KubeClient", server), known, Settings(), lambda: now[0])
    for seconds in (0.0, DOUBT_SECONDS, 86400.0):
        now[0] = seconds
        target = await finding.find("ml", SPEC)
        assert target.dashboard is not None
        assert target.dashboard.url == "http://shared-head-svc.ml.svc.cluster.local:8265"
    assert server.asked == 1
    server.port = 8080
    doubted = await finding.find("ml", SPEC, in_doubt=True)
    assert doubted.dashboard is not None
    assert doubted.dashboard.url.endswith(":8080")
    assert doubted.dashboard.place == ("10.0.0.1", 8080)
    await finding.find("ml", SPEC, in_doubt=True)
    assert server.asked == 2


async def test_a_head_service_that_is_missing_is_looked_for_now_and_then() -> None:
    server, now = Services(), [0.0]
    server.port = None
    finding = Targets(cast("KubeClient", server), clusters(cluster("ready")), Settings(), lambda: now[0])
    for _ in range(3):
        assert (await finding.find("ml", SPEC)).seconds(in_doubt=False) == RETRY_SECONDS
    assert server.asked == 1
    server.port, now[0] = 8265, RETRY_SECONDS
    assert (await finding.find("ml", SPEC)).dashboard is not None


async def test_a_known_dashboard_is_kept_while_the_api_server_is_away() -> None:
    server, now = Services(), [0.0]
    finding = Targets(cast("KubeClient", server), clusters(cluster("ready")), Settings(), lambda: now[0])
    await finding.find("ml", SPEC)
    now[0], server.is_away = DOUBT_SECONDS, True
    assert (await finding.find("ml", SPEC, in_doubt=True)).dashboard is not None


class Relaying(Services):
    """One that hands requests on, too, with the token that it has now."""

    def __init__(self) -> None:
        super().__init__()
        self.relays = [Relay("Bearer one")]

    def service_proxy(self, namespace: str, service: str, port: str) -> tuple[str, None]:
        return f"https://kube/{namespace}/{service}:{port}", None

    async def relay(self, refused: Relay | None = None) -> Relay:
        if refused == self.relays[0] and len(self.relays) > 1:
            del self.relays[0]
        return self.relays[0]


async def test_a_dashboard_behind_the_api_server_has_neither_pod_nor_agent_and_is_asked_with_what_holds_now() -> None:
    server = Relaying()
    server.relays.append(Relay("Bearer two"))
    settings = Settings(use_kubernetes_proxy=True)
    finding = Targets(cast("KubeClient", server), clusters(cluster("ready")), settings, lambda: 0.0)
    first = await finding.find("ml", SPEC)
    assert first.dashboard == Dashboard(
        "https://kube/ml/shared-head-svc:dashboard", "u1", access=Access(relay=Relay("Bearer one")), relayed=True
    )
    assert first.seconds(in_doubt=False) == RELAY_SECONDS
    second = await finding.find("ml", SPEC, refused=first.dashboard.access)
    assert second.dashboard
    assert second.dashboard.access.relay == Relay("Bearer two")


async def test_an_override_and_a_dashboards_own_url_are_asked_directly() -> None:
    overrides = {("ml", "shared"): "http://127.0.0.1:8265"}
    settings = Settings(dashboard_overrides=overrides, allowed_dashboard_urls=("*",), use_kubernetes_proxy=True)
    finding = Targets(cast("KubeClient", Relaying()), clusters(cluster("ready")), settings, lambda: 0.0)
    by_url = WatchSpec.model_validate({"dashboard": {"url": "http://ray.example.com"}, "jobs": {"ids": ["a"]}})
    for spec, url in ((SPEC, "http://127.0.0.1:8265"), (by_url, "http://ray.example.com")):
        found = (await finding.find("ml", spec)).dashboard
        assert found
        assert (found.url, found.relayed, found.access.relay) == (url, False, None)


async def test_a_cluster_that_no_stream_tells_of_is_found_all_the_same() -> None:
    server, now = Server(None), [0.0]
    server.go.set()
    finding = Targets(cast("KubeClient", server), clusters(), SETTINGS, lambda: now[0])
    assert (await finding.find("ml", SPEC)).dashboard is None
    server.answer = cluster("ready")
    assert (await finding.find("ml", SPEC)).dashboard is None
    now[0] = DOUBT_SECONDS
    assert (await finding.find("ml", SPEC)).dashboard is not None
    assert server.asked == 2
