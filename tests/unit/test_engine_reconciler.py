"""Reconciling against an API server that fails in between."""

import asyncio
from typing import cast

import pytest

from rayjobwatch.engine.objects import Objects, cluster_part, watch_part
from rayjobwatch.engine.reconciler import Reconciler
from rayjobwatch.engine.targets import Targets
from rayjobwatch.engine.watch import LOG_GRACE
from rayjobwatch.kube.client import RAY_CLUSTERS, RAY_JOB_WATCHES, Body, KubeClient, KubeError, Resource
from rayjobwatch.kube.recorder import Recorder
from rayjobwatch.settings import Settings
from tests.ray.fakedashboard import FakeDashboard

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


class Patient:
    """An API server that takes every write; before the first status comes to be, the spec is edited if so told."""

    def __init__(self, body: Body, *, edited: bool = False) -> None:
        self.body = body
        self.edited = edited
        self.version = 7

    async def create(self, _resource: Resource, _namespace: str, body: Body) -> Body:
        return body

    async def apply_status(self, _resource: Resource, _namespace: str, _name: str, body: Body) -> Body:
        self.version += 1
        more = {"resourceVersion": str(self.version), "generation": 2 if self.edited else 1}
        spec = self.body["spec"] | ({"jobs": {"ids": ["b"]}} if self.edited else {})
        self.body = self.body | {"spec": spec, "status": body["status"], "metadata": self.body["metadata"] | more}
        return self.body


def _reconciler(server: Patient, waits: list[float]) -> Reconciler:
    client = cast("KubeClient", server)
    objects = Objects(RAY_JOB_WATCHES, "RayJobWatch", watch_part)
    objects.seen(server.body)
    settings = Settings(allowed_dashboard_urls=("*",))
    targets = Targets(client, Objects(RAY_CLUSTERS, "RayCluster", cluster_part), settings, lambda: 0.0)
    recorder = Recorder(client, "test", lambda: 0.0)
    clock = asyncio.get_running_loop().time
    return Reconciler(
        client, objects, recorder, targets, lambda _, seconds: waits.append(seconds), lambda *_: None, clock
    )


def _watch(url: str) -> Body:
    meta = {"name": "train", "namespace": "ml", "uid": "u1", "generation": 1, "resourceVersion": "7"}
    return {"metadata": meta, "spec": {"dashboard": {"url": url}, "jobs": {"ids": ["a"]}}}


async def test_a_spec_that_is_edited_while_a_status_is_written_is_read() -> None:
    waits: list[float] = []
    server = Patient(_watch("http://127.0.0.1:9"), edited=True)
    reconciler = _reconciler(server, waits)
    try:
        async with asyncio.timeout(10):
            while server.version == 7:
                await reconciler.reconcile(KEY)
                await asyncio.sleep(0.01)
        assert waits[-1] == 0.0
        await reconciler.reconcile(KEY)
        assert [row["id"] for row in server.body["status"]["jobs"]] == ["b"]
    finally:
        await reconciler.close()


async def test_a_log_that_cannot_be_read_to_its_end_is_given_up_in_time() -> None:
    fake = FakeDashboard()
    waits: list[float] = []
    reconciler = _reconciler(server := Patient(_watch(fake.url)), waits)
    try:
        fake.add_job("a").row.update(type="DRIVER", submission_id=None, job_id="a")
        async with asyncio.timeout(10):
            while (server.body.get("status") or {}).get("state") != "Unknown":
                await reconciler.reconcile(KEY)
                await asyncio.sleep(0.01)
        assert LOG_GRACE.total_seconds() in waits
    finally:
        await reconciler.close()
        fake.stop()
