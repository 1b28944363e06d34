"""The engine: what was heard of objects goes into a queue of keys, workers reconcile them."""

import asyncio
import logging
import random
import time

from rayjobwatch.engine import tasks
from rayjobwatch.engine.queue import WorkQueue
from rayjobwatch.engine.reconciler import Reconciler
from rayjobwatch.engine.session import WatchKey
from rayjobwatch.engine.targets import Targets
from rayjobwatch.kube.client import RAY_JOB_WATCHES, KubeClient, KubeError
from rayjobwatch.kube.recorder import Recorder
from rayjobwatch.settings import Settings

WORKERS = 8
SWEEP_SECONDS = 300.0
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
        targets = Targets(client, settings, time.monotonic)
        self._reconciler = Reconciler(client, self._recorder, targets, self._add, time.monotonic)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start working."""
        self._tasks = [
            *(tasks.start(f"worker {number}", self._work) for number in range(WORKERS)),
            tasks.start("sweep", self._sweep),
            tasks.start("recorder", self._recorder.run),
        ]

    async def stop(self) -> None:
        """Stop everything and close all connections to dashboards."""
        self._queue.close()
        await tasks.stop(*self._tasks)
        await self._reconciler.close()

    def watch_changed(self, namespace: str, name: str) -> None:
        """Take note that a RayJobWatch was added, changed or deleted."""
        self._reconciler.changed((namespace, name))
        self._queue.add((namespace, name))

    def cluster_changed(self, namespace: str, name: str) -> None:
        """Take note that a RayCluster was added, changed or deleted."""
        for key in self._reconciler.on_cluster(namespace, name):
            self._queue.add(key)

    def _add(self, key: WatchKey, seconds: float) -> None:
        if seconds > 0:
            self._queue.add_after(key, seconds)
        elif key not in self._failures:
            # What failed waits for its turn: a session would ask for it with every poll.
            self._queue.add(key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
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
        longest = min(LONGEST_RETRY_SECONDS, 0.5 * 2.0 ** min(failures, 10))
        self._queue.add_after(key, longest * random.uniform(0.5, 1.0))  # noqa: S311

    async def _sweep(self) -> None:
        """List and compare now and then: watch streams do not tell of every deletion."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS * random.uniform(0.8, 1.0))  # noqa: S311
            try:
                keys = await self._listed()
            except KubeError as error:
                logger.warning("RayJobWatches could not be listed: %s", error)
                continue
            self._reconciler.tidy()
            for key in keys | self._reconciler.known:
                self.watch_changed(*key)

    async def _listed(self) -> set[WatchKey]:
        namespaces = self._settings.namespaces or (None,)
        lists = [await self._client.list(RAY_JOB_WATCHES, namespace) for namespace in namespaces]
        return {(body["metadata"]["namespace"], body["metadata"]["name"]) for bodies in lists for body in bodies}
