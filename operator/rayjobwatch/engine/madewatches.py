"""Making and deleting the RayJobWatches that annotations of RayClusters ask for; `model.annotation` decides.

Level-triggered: each look compares what there is with what is asked for, whatever was missed before it. What the watch
streams told decides whether anything may be due, and only what the API server says now whether it is done.
"""

import logging
import random

from rayjobwatch.engine.objects import Key, Objects
from rayjobwatch.engine.queue import WorkQueue
from rayjobwatch.kube.client import NAMESPACE_TERMINATING, RAY_CLUSTERS, RAY_JOB_WATCHES, Body, KubeClient, KubeError
from rayjobwatch.kube.recorder import Recorder
from rayjobwatch.model import annotation, pace
from rayjobwatch.model.annotation import Step
from rayjobwatch.model.events import EventNote

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
# An API server that has just started refuses everybody until it knows all roles: only then is a refusal told.
FAILURES_TO_TELL = 3

logger = logging.getLogger(__name__)


class MadeWatches:
    """Has each RayCluster that asks for a watch have one, and no longer than it asks."""

    def __init__(self, client: KubeClient, clusters: Objects, watches: Objects, recorder: Recorder) -> None:
        self._client = client
        self._clusters = clusters
        self._watches = watches
        self._recorder = recorder
        self._queue: WorkQueue[Key] = WorkQueue()
        self._failures: dict[Key, int] = {}
        self._told: dict[Key, str] = {}

    def look(self, key: Key) -> None:
        """Take note that the RayCluster or the RayJobWatch of that name has changed, or may have."""
        cluster = self._clusters.get(key)
        decision = annotation.decide(cluster, self._watches.get(key))
        if cluster is None or decision.step is Step.NONE:
            self._told.pop(key, None)
        elif key not in self._failures and not self._is_told(key, cluster, decision.note):
            self._queue.add(key)

    def look_at_all(self) -> None:
        """Look at every RayCluster: of some change perhaps no stream has told."""
        keys = self._clusters.keys()
        for key in keys:
            self.look(key)

    async def run(self) -> None:
        """Do what is due, until cancelled."""
        while True:
            key = await self._queue.get()
            try:
                await self._try(key)
            finally:
                self._queue.done(key)

    def close(self) -> None:
        """Try nothing again."""
        self._queue.close()

    async def _try(self, key: Key) -> None:
        try:
            await self._settle(key)
        except KubeError as error:
            logger.warning("RayJobWatch for RayCluster %s/%s: %s", *key, error)
            self._failures[key] = failures = self._failures.get(key, 0) + 1
            longest = pace.backed_off(FIRST_RETRY_SECONDS, failures, LONGEST_RETRY_SECONDS)
            self._queue.add_after(key, pace.jittered(longest, random.random()))  # noqa: S311
        else:
            self._failures.pop(key, None)

    async def _settle(self, key: Key) -> None:
        if annotation.decide(self._clusters.get(key), self._watches.get(key)).step is Step.NONE:
            return
        cluster = await self._client.get(RAY_CLUSTERS, *key)
        watch = await self._client.get(RAY_JOB_WATCHES, *key)
        decision = annotation.decide(cluster, watch)
        if cluster is None:
            return
        if decision.step is Step.CREATE:
            await self._create(key, cluster)
        elif decision.step is Step.DELETE and watch is not None:
            await self._delete(key, cluster, watch)
        elif decision.note:
            await self._tell(key, cluster, decision.note)

    async def _create(self, key: Key, cluster: Body) -> None:
        try:
            made = await self._client.create(RAY_JOB_WATCHES, key[0], annotation.watch_for(cluster))
        except KubeError as error:
            if error.reason == NAMESPACE_TERMINATING:
                return
            if error.status in (400, 403, 422) and self._failures.get(key, 0) + 1 >= FAILURES_TO_TELL:
                await self._tell(key, cluster, annotation.refused(cluster, str(error)))
            raise
        logger.info("RayJobWatch %s/%s made, as its RayCluster's annotation asks", *key)
        await self._tell(key, cluster, annotation.created(made))

    async def _delete(self, key: Key, cluster: Body, watch: Body) -> None:
        try:
            await self._client.delete(RAY_JOB_WATCHES, *key, {"uid": watch["metadata"]["uid"]})
        except KubeError as error:
            if error.status != 404:
                raise
            return
        logger.info("RayJobWatch %s/%s deleted: the annotation that asked for it was removed", *key)
        await self._tell(key, cluster, annotation.deleted(watch))

    async def _tell(self, key: Key, cluster: Body, note: EventNote) -> None:
        """Tell on the RayCluster, once while it holds."""
        if not self._is_told(key, cluster, note):
            self._told[key] = _name(cluster, note)
            await self._recorder.record(cluster, note)

    def _is_told(self, key: Key, cluster: Body, note: EventNote | None) -> bool:
        return note is not None and self._told.get(key) == _name(cluster, note)


def _name(cluster: Body, note: EventNote) -> str:
    return f"{cluster['metadata'].get('uid', '')}\n{note.identity}"
