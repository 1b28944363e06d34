"""Reconciling against an API server that fails in between."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from rayjobwatch.engine.objects import Objects, cluster_part, watch_part
from rayjobwatch.engine.reconciler import Reconciler
from rayjobwatch.engine.session import ClusterSession
from rayjobwatch.engine.targets import Targets
from rayjobwatch.engine.watch import LOG_GRACE
from rayjobwatch.kube.client import RAY_CLUSTERS, RAY_JOB_WATCHES, Body, KubeClient, KubeError, Resource
from rayjobwatch.kube.recorder import Recorder
from rayjobwatch.model import nodes, pace
from rayjobwatch.model.events import events_of, surely_told
from rayjobwatch.model.firing import rule_events
from rayjobwatch.model.lens import Findings
from rayjobwatch.model.rules import RuleState
from rayjobwatch.model.servestate import CleanUp, ServeState
from rayjobwatch.model.spec import RuleSpec
from rayjobwatch.model.times import rfc3339
from rayjobwatch.settings import Settings
from tests.ray import fakestate, faults
from tests.ray.fakedashboard import NODE_ID, FakeDashboard
from tests.unit.observations import at, folded, heard, row

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


def _reconciler_of(server: Server) -> tuple[Reconciler, Recorder]:
    client = cast("KubeClient", server)
    recorder = Recorder(client, "test", lambda: 0.0)
    targets = Targets(client, Objects(RAY_CLUSTERS, "RayCluster", cluster_part), Settings(), lambda: 0.0)
    objects = Objects(RAY_JOB_WATCHES, "RayJobWatch", watch_part)
    objects.seen(WATCH)
    return Reconciler(client, objects, recorder, targets, lambda *_: None, lambda *_: None, lambda: 0.0), recorder


async def test_an_end_is_written_before_its_event_is_posted_after_a_failure_too() -> None:
    server = Server()
    reconciler, recorder = _reconciler_of(server)
    with pytest.raises(KubeError):
        await reconciler.reconcile(KEY)
    assert server.writes == ["Lost"]
    server.is_away = False
    for _ in range(3):
        await reconciler.reconcile(KEY)
    assert server.writes == ["Lost", "Lost", "JobLost", "Lost"]
    assert recorder.waiting == 0


class Refusing(Server):
    """One that takes no status, for good."""

    async def apply_status(self, *_: object) -> Body:
        raise KubeError(422, "Invalid", "status.jobs: Too many: 51: must have at most 50 items")

    async def create(self, _resource: Resource, _namespace: str, body: Body) -> Body:
        self.writes.append(f"{body['reason']}: {body['message']}")
        return body


async def test_a_status_that_the_api_server_refuses_is_told_by_one_event() -> None:
    reconciler, _ = _reconciler_of(server := Refusing())
    for _ in range(3):
        with pytest.raises(KubeError):
            await reconciler.reconcile(KEY)
    (told,) = server.writes
    assert told.startswith("StatusRefused: ")
    assert "must have at most 50 items" in told


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


class SlowWithEvents(Patient):
    """An API server that takes a status at once and an Event only when `let_in` is set."""

    def __init__(self, body: Body) -> None:
        super().__init__(body)
        self.let_in = asyncio.Event()
        self.events: list[str] = []

    async def create(self, _resource: Resource, _namespace: str, body: Body) -> Body:
        await self.let_in.wait()
        if body["metadata"]["name"] in self.events:
            raise KubeError(409, "AlreadyExists", "it is there")
        self.events.append(body["metadata"]["name"])
        return body


async def _status_until(reconciler: Reconciler, server: Patient, holds: Callable[[Body], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds(server.body.get("status") or {}):
            await reconciler.reconcile(KEY)
            await asyncio.sleep(0.01)


async def test_a_status_does_not_wait_for_an_api_server_that_is_slow_with_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "LOG_WRITE", 0.0)
    fake = FakeDashboard()
    fake.add_job("a", status="SUCCEEDED")
    reconciler = _reconciler(server := SlowWithEvents(_watch(fake.url)), [])
    try:
        await _status_until(reconciler, server, lambda status: status.get("state") == "Succeeded")
        assert not server.events
        assert server.body["status"]["eventsPending"] is True
        server.let_in.set()
        await _status_until(reconciler, server, lambda status: "eventsPending" not in status)
        assert len(server.events) == 1
    finally:
        await reconciler.close()
        fake.stop()


async def test_an_event_that_was_owed_when_the_process_died_is_posted_by_the_next_one_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "LOG_WRITE", 0.0)
    fake = FakeDashboard()
    now = datetime.now(UTC).timestamp() * 1000
    fake.add_job("a", status="SUCCEEDED").row.update(start_time=int(now) - 5000, end_time=int(now))
    server = SlowWithEvents(_watch(fake.url))
    try:
        dying = _reconciler(server, [])
        await _status_until(dying, server, lambda status: status.get("state") == "Succeeded")
        await dying.close()
        server.let_in.set()
        for _ in range(2):
            next_one = _reconciler(server, [])
            await _status_until(next_one, server, lambda status: "eventsPending" not in status)
            await next_one.close()
            assert len(server.events) == 1
    finally:
        fake.stop()


class AwayAfterAnEnd(Patient):
    """An API server that takes no status any more once it has the Event of a job's end."""

    def __init__(self, body: Body) -> None:
        super().__init__(body)
        self.is_away = False
        self.reasons: dict[str, str] = {}

    async def create(self, _resource: Resource, _namespace: str, body: Body) -> Body:
        self.reasons.setdefault(body["metadata"]["name"], body["reason"])
        self.is_away = self.is_away or body["reason"] == "JobStopped"
        return body

    async def apply_status(self, resource: Resource, namespace: str, name: str, body: Body) -> Body:
        if self.is_away:
            raise KubeError(0, "ClientConnectorError", "the API server did not answer")
        return await super().apply_status(resource, namespace, name, body)


async def test_the_head_is_another_one_after_a_process_died_with_the_event_of_an_end_and_no_other_end_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOG_WRITE", "NEW_HEAD_AGAIN"):
        monkeypatch.setattr(pace, name, 0.0)
    fake = FakeDashboard()
    job = fake.add_job("a", status="RUNNING")
    job.row["start_time"] = int(datetime.now(UTC).timestamp() * 1000)
    server = AwayAfterAnEnd(_watch(fake.url))
    try:
        dying = _reconciler(server, [])
        await _status_until(dying, server, lambda status: status.get("state") == "Running")
        job.row["end_time"] = job.row["start_time"] + 1000
        job.finish("STOPPED")
        with pytest.raises(KubeError):
            await _status_until(dying, server, lambda _: False)
        await dying.close()
        fake.jobs.clear()
        another = '{"version": "4", "ray_version": "2.60.0", "session_name": "session_another"}'
        fake.on("GET", "/api/version", faults.answer(200, another))
        server.is_away = False
        next_one = _reconciler(server, [])
        with contextlib.suppress(KubeError):
            await _status_until(next_one, server, lambda status: "eventsPending" not in status)
        server.is_away = False
        await _status_until(next_one, server, lambda status: "eventsPending" not in status)
        await next_one.close()
        assert server.body["status"]["state"] == "Stopped"
        assert sorted(server.reasons.values()) == ["JobRunning", "JobStopped"]
    finally:
        fake.stop()


async def test_a_job_that_only_the_table_calls_running_is_verified_and_never_called_failed_or_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("FASTEST_POLL", "SLOWEST_POLL", "SLOWEST_ANYWAY", "NODES_AGAIN"):
        monkeypatch.setattr(pace, name, 0.02)
    fake = FakeDashboard()
    fake.add_job("a", status="RUNNING")
    server = SlowWithEvents(_watch(fake.url))
    server.let_in.set()
    reconciler = _reconciler(server, [])
    try:
        await _status_until(reconciler, server, lambda status: status.get("state") == "Running")
        fake.go_down()
        await _status_until(reconciler, server, lambda status: "staleSince" in status)
        fake.state.nodes = [fakestate.node(NODE_ID, "DEAD", head=True), fakestate.node("b" * 56, head=True)]
        fake.come_up()  # with the table of before, and the name of its session
        await _status_until(reconciler, server, lambda status: status["summary"].startswith("verifying a: Ray says"))
        assert server.body["status"]["state"] == "Running"
        monkeypatch.setattr(nodes, "DEAD_GRACE", timedelta(seconds=0.2))
        await _status_until(reconciler, server, lambda status: status["state"] == "Unknown")
    finally:
        await reconciler.close()
        fake.stop()


class Edited(Patient):
    """An API server that is asked for the watch, whose spec somebody edits, and has no other object."""

    def edit(self, **spec: object) -> None:
        self.version += 1
        more = {"resourceVersion": str(self.version), "generation": 2}
        self.body = self.body | {"spec": self.body["spec"] | spec, "metadata": self.body["metadata"] | more}

    async def get(self, resource: Resource, *_: str) -> Body | None:
        return self.body if resource is RAY_JOB_WATCHES else None


async def test_job_states_are_as_old_as_the_last_answer_however_long_nothing_had_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeDashboard()
    fake.add_job("a", status="RUNNING")
    reconciler = _reconciler(server := Edited(_watch(fake.url)), [])
    try:
        await _status_until(reconciler, server, lambda status: status.get("state") == "Running")
        monkeypatch.setattr(ClusterSession, "last_contact", at(3600))
        server.edit(auth={"tokenSecretRef": {"name": "gone", "key": "token"}})
        reconciler.doubt(KEY)
        await _status_until(reconciler, server, lambda status: "staleSince" in status)
        assert server.body["status"]["staleSince"] == rfc3339(at(3600))
    finally:
        await reconciler.close()
        fake.stop()


async def test_facts_about_the_cluster_alone_are_written_in_time_and_with_whatever_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "FACTS_FIRST", 0.2)
    fake = FakeDashboard()
    job = fake.add_job("a", status="RUNNING")
    waits: list[float] = []
    watch = _watch(fake.url)
    watch["spec"]["logs"] = {"protocol": "None"}
    reconciler = _reconciler(server := Patient(watch), waits)
    try:
        await _status_until(reconciler, server, lambda status: status.get("state") == "Running")
        async with asyncio.timeout(10):
            while not any(pace.FACTS_WRITE - 10 < wait <= pace.FACTS_WRITE for wait in waits):
                await reconciler.reconcile(KEY)
                await asyncio.sleep(0.01)
        assert "nodes" not in server.body["status"]["cluster"]
        job.finish()
        await _status_until(reconciler, server, lambda status: status.get("state") == "Succeeded")
        assert server.body["status"]["cluster"]["nodes"] == {"alive": 1, "dead": 0}
    finally:
        await reconciler.close()
        fake.stop()


def test_what_is_older_than_the_api_server_s_memory_is_not_told_again() -> None:
    rule = RuleSpec(name="nan", pattern="NaN")
    fired = Findings(rules={"nan": RuleState(count=1, fired=1, firing=True, last_match=at(0), line="NaN")})
    cleaned = ServeState(state=CleanUp.DONE, requested=at(0), session="s1", deleted=("app",))
    ended = folded(heard(0, row("SUCCEEDED", end_time=at(0))))
    state = replace(ended, findings={"a": fired}, serve=cleaned)
    for seconds, told in ((60, ["JobSucceeded", "ServeApplicationDeleted", "LogRuleFired"]), (3001, [])):
        before = surely_told(state, at(seconds))
        notes = [*events_of(before, state), *rule_events(before, state, [rule])]
        assert [note.reason for note in notes] == told
