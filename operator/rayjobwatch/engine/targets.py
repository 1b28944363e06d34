"""Finding the dashboard that a watch speaks of."""

import asyncio
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from rayjobwatch.engine.credentials import Credentials
from rayjobwatch.engine.objects import Objects
from rayjobwatch.kube.client import PODS, RAY_CLUSTERS, SERVICES, Body, KubeClient, KubeError
from rayjobwatch.model.access import Access, Account, SecretKey, ca_source, refusal, token_source
from rayjobwatch.model.dashboard import (
    DASHBOARD_PORT_NAME,
    Dashboard,
    dashboard_of,
    head_service_name,
    is_allowed,
    service_url,
)
from rayjobwatch.model.head import head_place, head_pod_name, service_problem, status_problem
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.raycluster import cluster_problem, manager_problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.spec import WatchSpec
from rayjobwatch.settings import ClusterKey, Settings

# Credentials of the API server are renewed by whoever gave them, some minutes before the old ones end.
RELAY_SECONDS = 120.0
# A RayCluster's events tell when to look again; these are for what no event tells of.
DOUBT_SECONDS = 60.0
RETRY_SECONDS = 10.0
_UNTOLD = {
    Reason.HEAD_SERVICE_NOT_FOUND,
    Reason.HEAD_POD_NOT_FOUND,
    Reason.FOREIGN_HEAD,
    Reason.DASHBOARD_PORT_NOT_FOUND,
    Reason.FORBIDDEN,
    Reason.KUBERAY_NOT_INSTALLED,
    Reason.SECRET_NOT_FOUND,
    Reason.SERVICE_ACCOUNT_NOT_FOUND,
    Reason.INVALID_TOKEN,
    Reason.INVALID_CA,
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a watch points at: a dashboard, or why there is none now.

    `cluster` is the RayCluster, None where there is none (`spec.dashboard`, or not found). `token_source` is where the
    token comes from, and `again` when it is to be read again, in seconds.
    """

    dashboard: Dashboard | None = None
    problem: Problem | None = None
    cluster: Body | None = None
    token_source: SecretKey | Account | None = None
    again: float = math.inf

    def seconds(self, *, in_doubt: bool) -> float:
        """Return when to look again although no event tells to: soon where none ever does."""
        if self.problem is not None and self.problem.reason in _UNTOLD:
            return RETRY_SECONDS
        return min(self.again, DOUBT_SECONDS if in_doubt or self.dashboard is None else math.inf)

    def refusal(self, unreachable: Problem | None) -> Problem | None:
        """Return why the dashboard does not answer; where it refuses us, with what helps."""
        return refusal(unreachable, self.token_source) if unreachable else None


@dataclass(frozen=True, slots=True)
class _Lookup:
    task: asyncio.Task[Target]
    began: float

    @property
    def result(self) -> Target | None:
        done = self.task.done() and not self.task.cancelled() and self.task.exception() is None
        return self.task.result() if done else None

    def is_old(self, now: float, *, in_doubt: bool) -> bool:
        if not self.task.done():
            return False
        result = self.result
        if result is None:
            return True
        return now - self.began >= result.seconds(in_doubt=in_doubt)


class Targets:
    """Looks up dashboards, each RayCluster once for all watches on it, and again when it changes.

    clusters: the RayClusters as the watch stream told them; one that it did not tell of is asked for.
    """

    def __init__(self, client: KubeClient, clusters: Objects, settings: Settings, clock: Callable[[], float]) -> None:
        self._client = client
        self._clusters = clusters
        self._settings = settings
        self._clock = clock
        self._lookups: dict[ClusterKey, _Lookup] = {}
        self._credentials = Credentials(client, clock)

    def forget(self, key: ClusterKey) -> None:
        """Look the RayCluster up anew the next time, even where a lookup is under way."""
        self._lookups.pop(key, None)

    def keep(self, keys: Collection[ClusterKey]) -> None:
        """Forget all RayClusters but `keys`, and what was read for others."""
        self._credentials.tidy()
        self._lookups = {key: lookup for key, lookup in self._lookups.items() if key in keys}

    async def find(
        self, namespace: str, spec: WatchSpec, *, in_doubt: bool = False, refused: Access | None = None
    ) -> Target:
        """Return where the dashboard of `spec` is. Raises `KubeError` when the API server cannot be asked.

        in_doubt: it does not answer where it was last: perhaps its Service has changed, of which no event tells.
        refused: with what it was asked last, and refused to answer.
        """
        target = await self._located(namespace, spec, in_doubt=in_doubt)
        if target.dashboard is None:
            return target
        source = token_source(namespace, spec, target.cluster)
        token = await self._credentials.token(source, refused.token if refused else None)
        ca = await self._credentials.ca(ca_source(namespace, spec))
        if problem := token.problem or ca.problem:
            return replace(target, dashboard=None, problem=problem)
        relay = await self._client.relay(refused.relay if refused else None) if target.dashboard.relayed else None
        dashboard = replace(target.dashboard, access=Access(token.text, ca.text, relay))
        again = min(token.again, ca.again, RELAY_SECONDS if relay else math.inf)
        return replace(target, dashboard=dashboard, token_source=source, again=again)

    async def _located(self, namespace: str, spec: WatchSpec, *, in_doubt: bool) -> Target:
        if spec.dashboard:
            return self._by_url(spec.dashboard.url)
        if spec.ray_cluster is None:
            raise ValueError("a spec has rayCluster or dashboard")
        key = (namespace, spec.ray_cluster.name)
        lookup = self._lookups.get(key)
        if lookup is None or lookup.is_old(self._clock(), in_doubt=in_doubt):
            last = lookup.result if lookup else None
            if lookup:
                self._clusters.forget(key)  # perhaps no stream tells of it
            task = asyncio.create_task(self._looked_up(key, last), name=f"look up {namespace}/{key[1]}")
            lookup = self._lookups[key] = _Lookup(task, self._clock())
        return await asyncio.shield(lookup.task)

    def _by_url(self, url: str) -> Target:
        if is_allowed(url, self._settings.allowed_dashboard_urls):
            return Target(Dashboard(url))
        message = (
            "spec.dashboard.url is not allowed: an administrator must start the controller with "
            "--allow-dashboard-url and a pattern that matches it"
        )
        return Target(problem=Problem(Reason.DASHBOARD_URL_NOT_ALLOWED, message, stalled=True))

    async def _looked_up(self, key: ClusterKey, last: Target | None) -> Target:
        """Look a RayCluster up; while the API server is away, what was found last is as good as anything."""
        try:
            return await self._by_cluster(key)
        except KubeError:
            if last is None:
                raise
            return last

    async def _by_cluster(self, key: ClusterKey) -> Target:
        namespace, name = key
        try:
            cluster = self._clusters.get(key) or await self._read(key)
            if cluster is None:
                message = f"waiting for RayCluster {namespace}/{name}, which is not there: is its name right?"
                return Target(problem=Problem(Reason.RAY_CLUSTER_NOT_FOUND, message))
            url = self._settings.dashboard_overrides.get(key)
            if problem := (None if url else manager_problem(cluster)) or cluster_problem(cluster):
                return Target(problem=problem, cluster=cluster)
            if url:
                return Target(dashboard_of(cluster, url), cluster=cluster)
            dashboard = await self._head(cluster)
        except KubeError as error:
            return Target(problem=_refusal(error))
        if isinstance(dashboard, Problem):
            return Target(problem=dashboard, cluster=cluster)
        return Target(dashboard, cluster=cluster)

    async def _read(self, key: ClusterKey) -> Body | None:
        body = await self._client.get(RAY_CLUSTERS, *key)
        if body is not None:
            self._clusters.seen(body)
        return self._clusters.get(key)

    async def _head(self, cluster: Body) -> Dashboard | Problem:
        namespace, name = cluster["metadata"]["namespace"], head_service_name(cluster)
        if problem := status_problem(cluster):
            return problem
        service = await self._client.get(SERVICES, namespace, name)
        if service is None:
            return Problem(Reason.HEAD_SERVICE_NOT_FOUND, f"waiting for the head Service {namespace}/{name}")
        if problem := service_problem(cluster, service):
            return problem
        url = service_url(service, self._settings.cluster_domain)
        if isinstance(url, Problem):
            return url
        if self._settings.use_kubernetes_proxy:
            # The API server finds the Pod, and takes none but one of this namespace at that Pod's own address.
            proxy, server = self._client.service_proxy(namespace, name, DASHBOARD_PORT_NAME)
            return Dashboard(proxy, cluster["metadata"]["uid"], place=server, relayed=True)
        pod_name = head_pod_name(cluster)
        pod = await self._client.get(PODS, namespace, pod_name) if pod_name else None
        place = head_place(cluster, service, pod)
        return place if isinstance(place, Problem) else dashboard_of(cluster, url, place)


def _refusal(error: KubeError) -> Problem:
    """Say what an administrator must mend; raise again what mends itself."""
    if error.status == 403:
        return Problem(Reason.FORBIDDEN, f"the controller lacks a permission: {error}")
    if error.status == 404:
        return Problem(Reason.KUBERAY_NOT_INSTALLED, "the API server knows no RayClusters (ray.io/v1): install KubeRay")
    raise error
