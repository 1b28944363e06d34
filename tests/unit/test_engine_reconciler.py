"""Reconciling against an API server that fails in between."""

from typing import cast

import pytest

from rayjobwatch.engine.objects import Objects, cluster_part, watch_part
from rayjobwatch.engine.reconciler import Reconciler
from rayjobwatch.engine.targets import Targets
from rayjobwatch.kube.client import RAY_CLUSTERS, RAY_JOB_WATCHES, Body, KubeClient, KubeError, Resource
from rayjobwatch.kube.recorder import Recorder
from rayjobwatch.settings import Settings

KEY = ("ml", "train")
WATCH: Body = {
    "metadata": {"name": "train", "namespace": "ml", "uid": "u1", "generation": 1},
    "apiVersion": "rayjobwatch.dev/v1alpha1",
    "kind": "RayJobWatch",
    "spec": {"rayCluster": {"name": "shared"}, "jobs": {"ids": ["a"]}},
    "status": {"jobs": [{"id": "a", "state": "Running", "session": "s"}], "cluster": {"uid": "c1", "session": "s"}},
}


class Server:
    """An API server with one watch, of a RayCluster that is gone; refuses what is written while `is_away`."""

    def __init__(self) -> None:
        self.is_away = True
        self.writes: list[str] = []

    async def get(self, resource: Resource, *_: str) -> Body | None:
        assert resource is RAY_CLUSTERS
        return None

    async def create(self, _resource: Resource, _namespace: str, body: Body) -> Body:
        return self._written(str(body["reason"]), body)

    async def apply_status(self, _resource: Resource, _namespace: str, _name: str, body: Body) -> Body:
        self._written(str(body["status"]["state"]), body)
        return {**WATCH, "status": body["status"], "metadata": {**WATCH["metadata"], "resourceVersion": "8"}}

    def _written(self, what: str, body: Body) -> Body:
        self.writes.append(what)
        if self.is_away:
            raise KubeError(0, "ClientConnectorError", "the API server did not answer")
        return body


async def test_an_event_is_posted_before_the_status_that_says_the_same_after_a_failure_too() -> None:
    server = Server()
    client = cast("KubeClient", server)
    recorder = Recorder(client, "test", lambda: 0.0)
    targets = Targets(client, Objects(RAY_CLUSTERS, "RayCluster", cluster_part), Settings(), lambda: 0.0)
    objects = Objects(RAY_JOB_WATCHES, "RayJobWatch", watch_part)
    objects.seen(WATCH)
    reconciler = Reconciler(client, objects, recorder, targets, lambda *_: None, lambda *_: None, lambda: 0.0)
    with pytest.raises(KubeError):
        await reconciler.reconcile(KEY)
    assert server.writes == ["JobLost", "Lost"]
    server.is_away = False
    for _ in range(3):
        await reconciler.reconcile(KEY)
    assert server.writes == ["JobLost", "Lost", "JobLost", "Lost"]
    assert recorder.waiting == 0
