"""The engine: what was heard of objects goes into a queue of keys, workers reconcile them."""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from rayjobwatch.engine import tasks
from rayjobwatch.engine.logs import WatchKey
from rayjobwatch.engine.madewatches import MadeWatches
from rayjobwatch.engine.objects import Objects, cluster_part, key_of, watch_part
from rayjobwatch.engine.queue import WorkQueue
from rayjobwatch.engine.reconciler import Reconciler
from rayjobwatch.engine.targets import Targets
from rayjobwatch.kube.client import RAY_CLUSTERS, RAY_JOB_WATCHES, Body, KubeClient, KubeError, Resource
from rayjobwatch.kube.recorder import Recorder
from rayjobwatch.model import pace
from rayjobwatch.settings import Settings

WORKERS = 16
# More for the watches of which a job has ended: where the API server is slow, verdicts do not wait behind the rest.
URGENT_WORKERS = 8
SWEEP_SECONDS = 300.0
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0

logger = logging.getLogger(__name__)


class Engine:
    """Runs workers, the periodic sweep and the Event recorder between `start` and `stop`."""

    def __init__(self, client: KubeClient, settings: Settings, instance: str) -> None:
        self._client = client
        self._settings = settings
        self._queue: WorkQueue[WatchKey] = WorkQueue()
        self._failures: dict[WatchKey, int] = {}
        self._recorder = Recorder(client, instance, time.monotonic)
        self._watches = Objects(RAY_JOB_WATCHES, "RayJobWatch", watch_part)
        self._clusters = Objects(RAY_CLUSTERS, "RayCluster", cluster_part)
        targets = Targets(client, self._clusters, settings, time.monotonic)
        self._reconciler = Reconciler(
            client, self._watches, self._recorder, targets, self._queue.add_after, self._news, time.monotonic
        )
        self._made = MadeWatches(client, self._clusters, self._watches, self._recorder)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start working."""
        self._tasks = [
            *(tasks.start(f"worker {number}", self._work) for number in range(WORKERS)),
            *(tasks.start(f"urgent worker {number}", self._work_on_urgent) for number in range(URGENT_WORKERS)),
            tasks.start("sweep", self._sweep),
            tasks.start("recorder", self._recorder.run),
            tasks.start("made watches", self._made.run),
        ]

    async def stop(self) -> None:
        """Stop everything and close all connections to dashboards."""
        self._queue.close()
        self._made.close()
        await tasks.stop(*self._tasks)
        await self._reconciler.close()

    def watch_seen(self, body: Body, *, deleted: bool = False) -> None:
        """Take note of a RayJobWatch as the watch stream tells it."""
        if self._watches.gone(body) if deleted else self._watches.seen(body):
            self._queue.add(key_of(body))
            self._made.look(key_of(body))

    def cluster_seen(self, body: Body, *, deleted: bool = False) -> None:
        """Take note of a RayCluster as the watch stream tells it."""
        if self._is_gone(body) if deleted else self._clusters.seen(body):
            for key in self._reconciler.on_cluster(*key_of(body)):
                self._queue.add(key)
            self._made.look(key_of(body))

    def _is_gone(self, cluster: Body) -> bool:
        # Also where it was not known: it may be being read anew just now.
        return self._clusters.gone(cluster) or key_of(cluster) not in self._clusters

    def _news(self, key: WatchKey, urgent: bool) -> None:
        # What failed waits for its turn: a session would ask for it with every poll.
        if key not in self._failures:
            self._queue.add(key, urgent=urgent)

    async def _work_on_urgent(self) -> None:
        await self._work(urgent_only=True)

    async def _work(self, *, urgent_only: bool = False) -> None:
        while True:
            key = await self._queue.get(urgent_only=urgent_only)
            try:
                await self._reconcile(key)
            finally:
                self._queue.done(key)

    async def _reconcile(self, key: WatchKey) -> None:
        try:
            await self._reconciler.reconcile(key)
        except KubeError as error:
            logger.warning("RayJobWatch %s/%s: %s", *key, error)
        except Exception:
            # One watch that cannot be reconciled must not keep the others from it.
            logger.exception("RayJobWatch %s/%s cannot be reconciled", *key)
        else:
            self._failures.pop(key, None)
            return
        self._failures[key] = failures = self._failures.get(key, 0) + 1
        longest = pace.backed_off(FIRST_RETRY_SECONDS, failures, LONGEST_RETRY_SECONDS)
        self._queue.add_after(key, pace.jittered(longest, random.random()))  # noqa: S311

    async def _sweep(self) -> None:
        """List and compare now and then: watch streams do not tell of every deletion."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS * random.uniform(0.8, 1.0))  # noqa: S311
            self._reconciler.tidy()
            for compare in (self._compare_watches, self._compare_clusters):
                try:
                    await compare()
                except KubeError as error:
                    logger.warning("not compared with what the API server has: %s", error)
            self._made.look_at_all()

    async def _compare_watches(self) -> None:
        unlisted = await self._list(RAY_JOB_WATCHES, self._watches, self.watch_seen)
        for key in unlisted | (self._reconciler.known - self._watches.keys()):
            self._reconciler.doubt(key)
            self._queue.add(key)

    async def _compare_clusters(self) -> None:
        if not self._clusters.keys():
            return  # perhaps the API server knows no such kind
        for key in await self._list(RAY_CLUSTERS, self._clusters, self.cluster_seen):
            self._clusters.forget(key)  # whether it is really gone is asked when it is needed
            for watch in self._reconciler.on_cluster(*key):
                self._queue.add(watch)

    async def _list(self, resource: Resource, objects: Objects, seen: Callable[[Body], None]) -> set[WatchKey]:
        """Take note of all that is listed; return what was known before and is not."""
        before, listed = objects.keys(), set[WatchKey]()
        for namespace in self._settings.namespaces or (None,):
            async for page in self._client.pages(resource, namespace):
                for body in page:
                    listed.add(key_of(body))
                    seen(body)
        return before - listed
