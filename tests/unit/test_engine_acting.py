"""Reconciling a watch that cleans up after its jobs: written down first, then done, then verified. On real sockets."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from rayjobwatch.engine import reconciler
from rayjobwatch.engine.objects import Objects, cluster_part, watch_part
from rayjobwatch.engine.reconciler import Reconciler
from rayjobwatch.engine.stops import AT_A_TIME
from rayjobwatch.engine.targets import Targets
from rayjobwatch.kube.client import RAY_CLUSTERS, RAY_JOB_WATCHES, Body, KubeClient, KubeError, Resource
from rayjobwatch.kube.recorder import Recorder
from rayjobwatch.model import pace
from rayjobwatch.model.times import rfc3339
from rayjobwatch.settings import Settings
from tests.ray import faults
from tests.ray.fakedashboard import FakeDashboard
from tests.ray.fakestate import application
from tests.ray.wire import Exchange

KEY = ("ml", "train")
SERVE_PATH = "/api/serve/applications/"


class Server:
    """An API server with one watch and the RayCluster `shared`; takes every write, and remembers it."""

    def __init__(self, spec: Body, cluster: Body | None = None) -> None:
        meta = {"name": "train", "namespace": "ml", "uid": "u1", "generation": 1, "resourceVersion": "7"}
        self.body: Body = {"metadata": meta, "spec": {"rayCluster": {"name": "shared"}, **spec}}
        self.cluster = cluster or {}
        self.statuses: list[Body] = []
        self.events: list[str] = []
        self.deletions: list[Body] = []
        self.listed_in: set[str | None] = set()
        self.refuses_deletion = False
        self.takes_events = asyncio.Event()
        self.takes_events.set()

    async def get(self, resource: Resource, *_: str) -> Body | None:
        if resource is RAY_JOB_WATCHES:
            return self.body
        assert resource is RAY_CLUSTERS
        meta = {"name": "shared", "namespace": "ml", "uid": "c1", "resourceVersion": "3", **self.cluster}
        return {"metadata": meta, "spec": {}, "status": {"state": "ready"}}

    async def pages(self, _resource: Resource, namespace: str | None = None) -> AsyncIterator[list[Body]]:
        self.listed_in.add(namespace)
        yield []

    async def create(self, _resource: Resource, _namespace: str, body: Body) -> Body:
        await self.takes_events.wait()
        self.events.append(body["reason"])
        return body

    async def apply_status(self, _resource: Resource, _namespace: str, _name: str, body: Body) -> Body:
        self.statuses.append(body["status"])
        version = str(int(self.body["metadata"]["resourceVersion"]) + 1)
        meta = self.body["metadata"] | {"resourceVersion": version}
        self.body = {**self.body, "status": body["status"], "metadata": meta}
        return self.body

    async def patch(self, _resource: Resource, _namespace: str, _name: str, body: Body) -> Body:
        version = str(int(self.body["metadata"]["resourceVersion"]) + 1)
        self.body = {**self.body, "metadata": self.body["metadata"] | body["metadata"] | {"resourceVersion": version}}
        return self.body

    async def delete(self, _resource: Resource, _namespace: str, _name: str, preconditions: Body) -> None:
        self.deletions.append(preconditions)
        if self.refuses_deletion:
            raise KubeError(409, "Conflict", "the object has been modified")


class World:
    """A reconciler, its API server and a dashboard."""

    def __init__(self, fake: FakeDashboard, server: Server) -> None:
        self.fake, self.server = fake, server
        self.passes = 0
        self._again: set[float] = set()
        client = cast("KubeClient", server)
        self.objects = objects = Objects(RAY_JOB_WATCHES, "RayJobWatch", watch_part)
        objects.seen(server.body)
        settings = Settings(dashboard_overrides={("ml", "shared"): fake.url}, allowed_dashboard_urls=(fake.url,))
        targets = Targets(client, Objects(RAY_CLUSTERS, "RayCluster", cluster_part), settings, lambda: 0.0)
        self.clock = asyncio.get_running_loop().time
        self._wake = asyncio.Event()
        self.reconciler = Reconciler(
            client, objects, Recorder(client, "test", lambda: 0.0), targets,
            lambda _, seconds: self._again.add(self.clock() + seconds), lambda *_: self._wake.set(), self.clock,
        )  # fmt: skip

    async def until(self, holds: Callable[[], bool], seconds: float = 15) -> None:
        """Reconcile whenever that is asked for, as the engine does, until it is as wanted."""
        async with asyncio.timeout(seconds):
            while True:
                self.passes += 1
                self._wake.clear()
                self._again.clear()  # so does the queue: what is still to come is asked for anew
                await self.reconciler.reconcile(KEY)
                if holds():
                    return
                await self._next()

    async def _next(self) -> None:
        due = min(self._again, default=None)
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - self.clock())):
                await self._wake.wait()
        except TimeoutError:
            pass

    @property
    def serve(self) -> Body:
        return cast("Body", self.server.body.get("status", {}).get("serve", {}))

    def served(self) -> set[str]:
        cluster = self.server.body.get("status", {}).get("cluster", {})
        return {one["name"] for one in cluster.get("applications", [])}

    def record(self) -> Body:
        rows = self.server.body.get("status", {}).get("jobs") or [{}]
        return cast("Body", rows[0].get("record", {}))


def edited(world: World, **parts: Body) -> None:
    """Edit these parts of the spec."""
    body = world.server.body
    meta = body["metadata"] | {"generation": 2, "resourceVersion": str(int(body["metadata"]["resourceVersion"]) + 1)}
    world.server.body = body | {"metadata": meta, "spec": body["spec"] | parts}
    world.objects.seen(world.server.body)


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    """Run a dashboard with a job that succeeded just now, and two applications."""
    dashboard = FakeDashboard()
    dashboard.add_job("a").row["end_time"] = int(datetime.now(UTC).timestamp() * 1000)
    dashboard.state.applications = {"llm": application("llm"), "other": application("other")}
    yield dashboard
    dashboard.stop()


async def test_applications_stand_in_status_before_they_are_deleted_and_all_is_told_once(fake: FakeDashboard) -> None:
    server = Server({"jobs": {"ids": ["a"]}, "serve": {"applications": ["llm"], "cleanup": "OnFinished"}})
    world = World(fake, server)

    async def put(exchange: Exchange) -> None:
        assert [app["name"] for app in world.serve["applications"]] == ["llm"]
        await fake.state._serve_put(exchange)

    fake.on("PUT", SERVE_PATH, put)
    try:
        await world.until(lambda: world.serve.get("state") == "Done")
        assert world.serve["deleted"] == ["llm"]
        assert set(fake.state.applications) == {"other"}
        assert server.events == ["JobSucceeded", "ServeApplicationDeleted"]
        assert world.passes < 40
        requests = len(fake.requests)
        await world.reconciler.reconcile(KEY)
        assert len(fake.requests) == requests
    finally:
        await world.reconciler.close()


async def test_what_is_said_of_the_cluster_names_no_application_that_is_said_to_be_deleted(
    fake: FakeDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "FACTS_FIRST", 0.0)
    ended = dict(fake.jobs["a"].row)
    fake.jobs["a"].row = {**ended, "status": "RUNNING", "end_time": None}
    world = World(fake, Server({"jobs": {"ids": ["a"]}, "serve": {"applications": ["llm"], "cleanup": "OnFinished"}}))
    try:
        await world.until(lambda: world.served() == {"llm", "other"})
        fake.jobs["a"].row = {**ended, "status": "SUCCEEDED"}
        await world.until(lambda: world.serve.get("state") == "Done")
        assert world.served() == {"other"}
    finally:
        await world.reconciler.close()


async def test_a_process_that_takes_over_a_finished_watch_goes_on_with_its_clean_up(fake: FakeDashboard) -> None:
    server = Server({"jobs": {"ids": ["a"]}, "serve": {"applications": ["llm"], "cleanup": "OnFinished"}})
    first = World(fake, server)
    fake.on("PUT", SERVE_PATH, faults.answer(503, "later"))
    await first.until(lambda: "tried again" in first.serve.get("message", ""))
    await first.reconciler.close()
    fake.rules.clear()
    second = World(fake, server)
    try:
        await second.until(lambda: second.serve.get("state") == "Done")
        assert set(fake.state.applications) == {"other"}
        assert server.events.count("ServeApplicationDeleted") == 1
    finally:
        await second.reconciler.close()


async def test_an_application_that_is_deployed_anew_before_it_could_be_deleted_stays(fake: FakeDashboard) -> None:
    server = Server({"jobs": {"ids": ["a"]}, "serve": {"applications": ["llm", "other"], "cleanup": "OnFinished"}})
    first = World(fake, server)
    fake.on("PUT", SERVE_PATH, faults.answer(503, "later"))
    await first.until(lambda: "tried again" in first.serve.get("message", ""))
    await first.reconciler.close()
    fake.rules.clear()
    fake.state.applications["llm"]["last_deployed_time_s"] += 600
    second = World(fake, server)
    try:
        await second.until(lambda: second.serve.get("state") == "Done")
        assert second.serve["message"] == "deleted other; left llm"
        assert set(fake.state.applications) == {"llm"}
    finally:
        await second.reconciler.close()


@pytest.mark.parametrize("jobs", [{"ids": ["a"]}, {"entrypoint": "job", "includeFinished": True}])
async def test_a_clean_up_that_is_taken_back_before_it_is_its_turn_deletes_nothing(
    jobs: Body, fake: FakeDashboard
) -> None:
    world = World(fake, server := Server({"jobs": jobs, "serve": {"applications": ["llm"], "cleanup": "OnFinished"}}))
    released = threading.Event()

    async def hang(exchange: Exchange) -> None:
        if server.body.get("status", {}).get("serve", {}).get("applications"):
            await asyncio.to_thread(released.wait, 20)
        await fake.state._serve_get(exchange)

    fake.on("GET", SERVE_PATH, hang)
    try:
        await world.until(lambda: "applications" in world.serve)
        edited(world, serve={"cleanup": "Never"})
        await world.until(lambda: not world.serve)
    finally:
        released.set()
        await world.reconciler.close()
    assert fake.state.serve_puts == []


@pytest.mark.parametrize(
    "owner",
    [
        {"ownerReferences": [{"kind": "RayService", "name": "llm", "uid": "s1"}]},
        {"labels": {"ray.io/originated-from-crd": "RayService", "ray.io/originated-from-cr-name": "llm"}},
    ],
)
async def test_on_the_cluster_of_a_ray_service_serve_is_not_even_asked(fake: FakeDashboard, owner: Body) -> None:
    server = Server({"jobs": {"ids": ["a"]}, "serve": {"applications": ["*"], "cleanup": "OnFinished"}}, owner)
    world = World(fake, server)
    try:
        await world.until(lambda: world.serve.get("state") == "Refused")
        assert not [request for request in fake.requests if request.path == SERVE_PATH]
        assert server.events == ["JobSucceeded", "ServeApplicationDeleteFailed"]
    finally:
        await world.reconciler.close()


async def test_a_deleted_watch_tells_what_came_of_it_before_it_is_let_go_however_slow_writes_are(
    fake: FakeDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = {"ownerReferences": [{"kind": "RayService", "name": "llm", "uid": "s1"}]}
    server = Server({"jobs": {"ids": ["b"]}, "serve": {"applications": ["*"], "cleanup": "OnDeletion"}}, owner)
    world = World(fake, server)
    try:
        await world.until(lambda: "finalizers" in server.body["metadata"] and bool(server.statuses))
        monkeypatch.setattr(pace, "state_write_pause", lambda _: 30.0)
        await deleted(world)
        await world.until(lambda: not server.body["metadata"]["finalizers"])
        assert world.serve["state"] == "Refused"
        assert server.events == ["ServeApplicationDeleteFailed"]
    finally:
        await world.reconciler.close()


async def test_without_the_right_to_its_finalizer_a_watch_is_followed_and_says_what_is_lacking(
    fake: FakeDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OlderRights(Server):
        refusals, granted = 0, False

        async def patch(self, *args: Any) -> Body:
            if self.granted:
                return await super().patch(*args)
            self.refusals += 1
            raise KubeError(403, "Forbidden", 'cannot patch resource "rayjobwatches"')

    def ready() -> Body:
        return next(item for item in server.statuses[-1]["conditions"] if item["type"] == "Ready")

    monkeypatch.setattr(reconciler, "FORBIDDEN_SECONDS", 2.0)
    fake.add_job("a", status="SUCCEEDED")
    world = World(fake, server := OlderRights({"jobs": {"ids": ["a"]}, "stop": {"onDeletion": True}}))
    try:
        await world.until(lambda: bool(server.statuses) and server.statuses[-1]["state"] == "Succeeded")
        assert ready()["reason"] == "Forbidden"
        assert 'cannot patch resource "rayjobwatches"' in ready()["message"]
        assert server.refusals == 1
        server.granted = True
        await world.until(lambda: ready()["status"] == "True")
        assert server.body["metadata"]["finalizers"] == ["rayjobwatch.dev/cleanup"]
    finally:
        await world.reconciler.close()


async def deleted(world: World) -> None:
    """Delete the watch."""
    time = rfc3339(datetime.now(UTC))
    await world.server.patch(RAY_JOB_WATCHES, *KEY, {"metadata": {"deletionTimestamp": time}})
    world.objects.seen(world.server.body)


@pytest.mark.parametrize("jobs", [{"ids": ["late"]}, {"entrypoint": "job"}])
async def test_a_deleted_watch_stops_a_job_that_came_after_the_last_look_too(
    jobs: Body, fake: FakeDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOOK_AGAIN", "FASTEST_POLL", "SLOWEST_POLL"):
        monkeypatch.setattr(pace, name, 2.0)
    world = World(fake, server := Server({"jobs": jobs, "stop": {"onDeletion": True}}))
    try:
        await world.until(lambda: server.body.get("status", {}).get("cluster", {}).get("session") == "session_fake")
        fake.add_job("late", status="RUNNING")
        await deleted(world)
        await world.until(lambda: not server.body["metadata"]["finalizers"])
        assert fake.jobs["late"].status == "STOPPED"
    finally:
        await world.reconciler.close()


async def test_a_watch_that_the_stream_tells_gone_before_the_answer_does_is_gone(fake: FakeDashboard) -> None:
    class ToldFirst(Server):
        async def patch(self, *args: Any) -> Body:
            body = await super().patch(*args)
            if not body["metadata"]["finalizers"]:
                world.objects.gone(body)
            return body

    world = World(fake, server := ToldFirst({"jobs": {"ids": ["a"]}, "stop": {"onDeletion": True}}))
    try:
        await world.until(lambda: bool(server.statuses))
        await deleted(world)
        await world.until(lambda: not server.body["metadata"]["finalizers"])
        assert KEY not in world.objects
    finally:
        await world.reconciler.close()


async def test_a_stop_that_is_taken_back_while_others_take_long_is_not_asked_for(fake: FakeDashboard) -> None:
    ids = [f"j{number}" for number in range(AT_A_TIME + 1)]
    for id_ in ids:
        fake.add_job(id_, status="RUNNING")
    released = threading.Event()

    async def hang(exchange: Exchange) -> None:
        await asyncio.to_thread(released.wait, 20)
        await exchange.json({"stopped": True})

    fake.on("POST", "/api/jobs/.+/stop", hang)
    world = World(fake, server := Server({"jobs": {"ids": ids}, "stop": {"requested": True}}))

    def asked() -> int:
        return len([request for request in fake.requests if request.method == "POST"])

    try:
        await world.until(lambda: asked() == AT_A_TIME)
        session = world.reconciler._watches[KEY].session
        assert session is not None
        edited(world, stop={"requested": False})
        await world.until(lambda: not any("stop" in row for row in server.body["status"]["jobs"]))
        released.set()
        await world.until(lambda: all(session.stop_answer(id_) == "" for id_ in ids))
        assert asked() == AT_A_TIME
    finally:
        released.set()
        await world.reconciler.close()


async def test_no_deadline_is_told_to_have_passed_before_the_head_s_clock_is_known(fake: FakeDashboard) -> None:
    fake.go_down()
    server = Server({"jobs": {"ids": ["a"]}, "stop": {"activeDeadlineSeconds": 300}})
    started = rfc3339(datetime.now(UTC) - timedelta(seconds=400))
    server.body["status"] = {"jobs": [{"id": "a", "state": "Running", "session": "s", "startTime": started}]}
    world = World(fake, server)
    try:
        await world.until(lambda: "staleSince" in server.body["status"])
        assert "stop" not in server.body["status"]["jobs"][0]
        assert set(server.events) == {"DashboardUnreachable"}
    finally:
        await world.reconciler.close()


def old_job(fake: FakeDashboard) -> None:
    """Make job `a` a job that is over for an hour."""
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    fake.jobs["a"].row["end_time"] = int(hour_ago.timestamp() * 1000)

    async def dated(exchange: Exchange) -> None:
        now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        if fake.jobs["a"].deleted:
            await exchange.send(404, "Job a does not exist", {"Date": now})
        else:
            await exchange.send(200, json.dumps(fake.jobs["a"].json()), {"Date": now})

    fake.on("GET", "/api/jobs/a", dated)


@pytest.mark.parametrize("by_url", [False, True])
async def test_a_record_is_deleted_once_that_is_written_down_and_then_verified(
    fake: FakeDashboard, by_url: bool
) -> None:
    old_job(fake)
    target = {"rayCluster": None, "dashboard": {"url": fake.url}} if by_url else {}
    server = Server({"jobs": {"ids": ["a"]}, "retention": {"deleteRecordAfterSeconds": 60}, **target})
    world = World(fake, server)

    async def delete(exchange: Exchange) -> None:
        assert world.record()["state"] == "Pending"
        fake.jobs["a"].deleted = True
        await exchange.json({"deleted": True})

    fake.on("DELETE", "/api/jobs/a", delete)
    try:
        await world.until(lambda: world.record().get("state") == "Deleted")
        assert server.body["status"]["jobs"][0]["state"] == "Succeeded"
        assert server.events == ["JobSucceeded", "JobRecordDeleted"]
        assert server.listed_in == {None if by_url else "ml"}
        assert world.passes < 40
    finally:
        await world.reconciler.close()


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_watch_is_deleted_just_as_it_is(fake: FakeDashboard, refuses: bool) -> None:
    server = Server({"jobs": {"ids": ["a"]}, "retention": {"ttlSecondsAfterFinished": 1}})
    server.refuses_deletion = refuses
    world = World(fake, server)
    try:
        await world.until(lambda: bool(server.deletions))
        assert server.deletions == [{"uid": "u1", "resourceVersion": server.body["metadata"]["resourceVersion"]}]
        assert server.body["status"]["state"] == "Succeeded"
        if refuses:
            await world.until(lambda: len(server.deletions) == 2)
    finally:
        await world.reconciler.close()


async def test_a_selection_is_kept_for_its_time_after_the_last_end_though_no_look_saw_that_job_open(
    fake: FakeDashboard,
) -> None:
    spec = {"jobs": {"entrypoint": "job", "includeFinished": True}, "logs": {"protocol": "None"}}
    server = Server({**spec, "retention": {"ttlSecondsAfterFinished": 600}})

    async def finished(number: int) -> None:
        world = World(fake, server)
        try:
            await world.until(lambda: server.body.get("status", {}).get("finished") == f"{number}/{number}")
            await world.reconciler.reconcile(KEY)
        finally:
            await world.reconciler.close()

    await finished(1)
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    for condition in server.body["status"]["conditions"]:
        condition["lastTransitionTime"] = rfc3339(hour_ago)
    now = int(datetime.now(UTC).timestamp() * 1000)
    fake.jobs["a"].row["end_time"] = int(hour_ago.timestamp() * 1000)
    fake.add_job("b").row.update(start_time=now - 1000, end_time=now)
    await finished(2)
    assert not server.deletions


async def test_a_watch_is_not_deleted_before_its_events_are_posted(fake: FakeDashboard) -> None:
    server = Server({"jobs": {"ids": ["a"]}, "retention": {"ttlSecondsAfterFinished": 0}})
    world = World(fake, server)
    server.takes_events.clear()
    try:
        await world.until(lambda: server.body.get("status", {}).get("state") == "Succeeded")
        await world.reconciler.reconcile(KEY)
        assert not server.deletions
        server.takes_events.set()
        await world.until(lambda: bool(server.deletions))
        assert server.events == ["JobSucceeded"]
    finally:
        await world.reconciler.close()


async def test_a_dashboard_that_is_away_is_said_and_does_not_keep_the_controller_busy(fake: FakeDashboard) -> None:
    server = Server({"jobs": {"ids": ["a"]}, "serve": {"applications": ["llm"], "cleanup": "OnFinished"}})
    world = World(fake, server)
    fake.on("GET", SERVE_PATH, faults.answer(503, "The GCS may be down"))
    try:
        await world.until(lambda: "ServeApplicationDeleteFailed" in server.events, 30)
        assert world.serve["state"] == "Pending"
        assert len([request for request in fake.requests if request.path == SERVE_PATH]) == 3
        assert world.passes < 60
    finally:
        await world.reconciler.close()
