"""One run's world: a control plane, scripted dashboards as RayClusters, a watcher, and the contender."""

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.bench.scale import audit, kube, usage, verdicts
from tests.bench.scale.contenders import Contender, Start
from tests.bench.scale.jobs import Job
from tests.bench.scale.plans import Plan, jobs_of
from tests.bench.scale.records import HOST, NAMESPACE, cluster_name
from tests.bench.scale.scripted import Scripted, scripted
from tests.bench.scale.seen import Watcher
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.guard import descendants

if TYPE_CHECKING:
    from tests.cluster.controller import Program

PROBE = "probe"
QUIET_SECONDS = 30.0
READY_SECONDS = 60.0
EVENTS_SECONDS = 5.0
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of a run: CPU seconds so far (the contender's, and those of what runs beside it), MiB, requests."""

    at: float
    cpu: float
    beside: Mapping[str, float]
    memory: float
    peak: float
    requests: Counter[str]


class Arena:
    """What scenarios run in. `problems` are what went wrong beside the verdicts."""

    def __init__(self, plane: ControlPlane, client: kube.Kube, dashboards: Scripted, contender: Contender) -> None:
        self.contender = contender
        self.problems: list[str] = []
        self.watcher = Watcher(client, contender, NAMESPACE)
        self.created: dict[str, float] = {}
        self._plane = plane
        self._kube = client
        self._dashboards = dashboards
        self._objects = contender.path(NAMESPACE)
        self._program: Program | None = None

    async def start(self, *arguments: str, patience: float = QUIET_SECONDS) -> float:
        """Start the contender once the machine is quiet; return when, without waiting for anything."""
        busy = await asyncio.to_thread(usage.wait_until_quiet, patience)
        if busy >= usage.QUIET_SHARE:
            self.problems.append(f"the machine was not quiet: {busy:.0%} busy before the start")
        account = await asyncio.to_thread(self._plane.service_account_kubeconfig, *self.contender.account)
        urls = {f"{NAMESPACE}/{cluster_name(number)}": url for number, url in enumerate(self._dashboards.urls)}
        log = self._plane.directory / "contender.log"
        self._program = self.contender.program(Start(account, log, urls, self._dashboards.proxy, arguments))
        started = time.time()
        self._program.start()
        return started

    async def kill(self) -> None:
        """End the contender at once, as an evicted node does, and start it again."""
        assert self._program
        await asyncio.to_thread(self._program.kill)
        self._program.start()

    async def create_probe(self) -> None:
        """Create an object of no RayCluster, before the start: by its first status the contender is seen to be ready.

        The API server holds back for two seconds what is created of a kind that is new.
        """
        await self.create_object(PROBE, "nothing", "none")

    async def wait_ready(self) -> float:
        """Return when the probe got its first status: the contender is at work."""
        if not await self.watcher.all([PROBE], lambda sight: bool(sight.states), time.time() + READY_SECONDS):
            raise RuntimeError(f"not ready after {READY_SECONDS:.0f} s\n{self._tail()}")
        return min(self.watcher.sights[PROBE].states.values())

    async def remove_probe(self) -> None:
        """Remove the object by which the contender was seen to be ready."""
        await self._kube.delete(f"{self._objects}/{PROBE}")

    async def create_clusters(self) -> None:
        """Create a RayCluster with its head Service for each dashboard, as KubeRay leaves them."""
        names = [cluster_name(number) for number in range(len(self._dashboards.urls))]
        await asyncio.gather(*map(self._create_cluster, names))

    async def create_object(self, name: str, cluster: str, job_id: str) -> None:
        """Create the contender's object for one job."""
        self.created[name] = time.time()
        await self._kube.create(self._objects, self.contender.body(name, cluster, job_id))

    async def ask(self, **command: Any) -> None:
        """Have the dashboards do something, see their module."""
        await self._dashboards.ask(**command)

    async def load(self, plan: Plan) -> dict[str, Job]:
        """Have the jobs of a plan on the dashboards; return them by the names of their objects."""
        await self._dashboards.load(plan)
        return {f"job-{number:05d}": job for number, job in enumerate(jobs_of(plan))}

    async def create_objects(self, jobs: Mapping[str, Job]) -> None:
        """Create an object for each job as soon as it is submitted."""
        async with asyncio.TaskGroup() as group:
            for name, job in jobs.items():
                await asyncio.sleep(max(0.0, job.submitted - time.time()))
                group.create_task(self.create_object(name, cluster_name(job.dashboard), job.id))

    async def snapshot(self, at: float = 0.0) -> Snapshot:
        """Take a snapshot at the time `at` (at once when that is past). RuntimeError when the contender is gone."""
        await asyncio.sleep(max(0.0, at - time.time()))
        counters = await self._dashboards.ask(do="counters")
        if self._program is None or not self._program.is_running:
            raise RuntimeError(f"{self.contender.name} has ended\n{self._tail()}")
        pid = self._program.pid
        plane = [below for guard in self._plane.pids for below in descendants(guard)]
        beside = {"control plane": usage.cpu_seconds(plane), "dashboards": counters["cpu"]}
        beside["bench"] = usage.cpu_seconds([os.getpid()])
        now, cpu = time.time(), usage.cpu_seconds([pid])
        return Snapshot(now, cpu, beside, *usage.memory_mib(pid), Counter(counters["requests"]))

    async def events(self, ends: int, patience: float = EVENTS_SECONDS) -> list[dict[str, Any]]:
        """Return the Events, as soon as there are so many terminal ones or after some seconds."""
        until = time.time() + patience
        while True:
            found = await self._kube.list(kube.EVENTS.format(NAMESPACE))
            if verdicts.end_events(found).total() >= ends or time.time() > until:
                return found
            await asyncio.sleep(LOOK_SECONDS)

    async def api_requests(self, begin: float, end: float) -> Counter[str]:
        """Count the contender's requests to the API server in a span of time."""
        events = await asyncio.to_thread(self._plane.audit_events)
        return audit.requests(events, self.contender.user, begin, end)

    async def stop(self) -> None:
        """Stop the contender; that it does not end by itself is a problem."""
        if self._program:
            try:
                await asyncio.to_thread(self._program.stop)
            except AssertionError as error:
                self.problems.append(str(error).splitlines()[0])

    async def _create_cluster(self, name: str) -> None:
        path = kube.CLUSTERS.format(NAMESPACE)
        cluster = raycluster.manifest(NAMESPACE, name, **self.contender.cluster)
        meta = (await self._kube.create(path, cluster))["metadata"]
        service = raycluster.head_service_manifest(NAMESPACE, name, meta["uid"])
        await self._kube.create(kube.SERVICES.format(NAMESPACE), service)
        status = raycluster.ready_status(name, head_ip=HOST)
        await self._kube.merge(f"{path}/{name}/status", raycluster.status_patch(status, meta["generation"]))

    def _tail(self) -> str:
        return self._program.tail() if self._program else ""


@contextlib.asynccontextmanager
async def arena(
    contender: Contender, dashboards: int, module: str = "tests.bench.scale.dashboards"
) -> AsyncIterator[Arena]:
    """Start all of it but the contender, the dashboards being those of a module; end all of it."""
    with contextlib.ExitStack() as stack:
        plane = await asyncio.to_thread(stack.enter_context, ControlPlane([contender.user]))
        await asyncio.to_thread(contender.install, plane)
        await asyncio.to_thread(plane.kubectl, "create", "namespace", NAMESPACE)
        async with kube.connect(plane.kubeconfig) as client, scripted(dashboards, module) as running:
            field = Arena(plane, client, running, contender)
            await field.create_clusters()
            watching = asyncio.create_task(field.watcher.run())
            try:
                yield field
            finally:
                await field.stop()
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
