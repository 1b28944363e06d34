"""Deleting records: only that run's, only of its age, and none that somebody still needs. On real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast

import pytest

from rayjobwatch.engine.logs import WatchKey
from rayjobwatch.engine.recordkeeper import RecordKeeper, Wish
from rayjobwatch.engine.sessions import Sessions
from rayjobwatch.kube.client import RAY_JOBS, Body, KubeClient, KubeError, Resource
from rayjobwatch.model.access import Access
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.model.records import Outcome, RecordAnswer
from rayjobwatch.model.times import from_milliseconds
from tests.ray import faults
from tests.ray.fakedashboard import FakeDashboard
from tests.ray.wire import Exchange

START, END = 1795165602232, 1795165612232
KEY: WatchKey = ("ml", "train")


class Server:
    """An API server that knows some RayJobs, or refuses to say."""

    def __init__(self) -> None:
        self.ray_jobs: list[Body] = []
        self.error: KubeError | None = None

    async def pages(self, resource: Resource, namespace: str | None = None) -> AsyncIterator[list[Body]]:
        assert resource is RAY_JOBS
        if self.error:
            raise self.error
        for ray_job in self.ray_jobs:
            if namespace in (None, ray_job["metadata"].get("namespace", "ml")):
                yield [ray_job]


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    """Run a dashboard with a job that is over for an hour, by a clock of its own."""
    dashboard = FakeDashboard()
    dashboard.add_job("a")
    age(dashboard, timedelta(hours=1, seconds=5))
    yield dashboard
    dashboard.stop()


def age(fake: FakeDashboard, over_for: timedelta) -> None:
    """Set the dashboard's clock by how long job `a` is over."""
    date = format_datetime(datetime.fromtimestamp(END / 1000, UTC) + over_for, usegmt=True)

    async def dated(exchange: Exchange) -> None:
        job = fake.jobs["a"]
        if job.deleted:
            await exchange.send(404, "Job a does not exist")
        else:
            await exchange.send(200, json.dumps(job.json()), {"Date": date})

    fake.on("GET", "/api/jobs/a", dated)


class Asked:
    """A `RecordKeeper`, a session and an API server."""

    def __init__(self, url: str) -> None:
        self.server = Server()
        self.listed = asyncio.Event()
        self.sessions = Sessions(lambda *_: self.listed.set(), lambda *_: None)
        self.session = self.sessions.get(Dashboard(url))
        self.keeper = RecordKeeper(cast("KubeClient", self.server), self._hear, self.sessions.awaits)
        self._some = asyncio.Event()

    async def ask(
        self,
        session: str = "session_fake",
        start: int = START,
        seconds: float = 3600,
        others: Sequence[Wish] = (),
        ray_jobs_in: str | None = "ml",
    ) -> RecordAnswer:
        """Wish for the end of `a`'s record and return what came of it."""
        self._some.clear()
        wish = Wish("a", session, from_milliseconds(start), seconds)
        self.keeper.ask(KEY, self.session, [wish, *others], ray_jobs_in=ray_jobs_in)
        assert self.keeper.is_asking(KEY)
        async with asyncio.timeout(10):
            await self._some.wait()
        answers = self.keeper.take_answers(KEY)
        assert not self.keeper.take_answers(KEY)
        return answers["a"]

    def _hear(self, _: WatchKey) -> None:
        self._some.set()


@pytest.fixture
async def asked(fake: FakeDashboard) -> AsyncIterator[Asked]:
    asked = Asked(fake.url)
    yield asked
    await asked.keeper.close()
    await asked.sessions.close()


def deletions(fake: FakeDashboard) -> int:
    return len([request for request in fake.requests if request.method == "DELETE"])


async def test_a_record_is_deleted_and_then_found_gone(fake: FakeDashboard, asked: Asked) -> None:
    assert (await asked.ask()).outcome is Outcome.ASKED
    assert fake.jobs["a"].deleted
    assert (await asked.ask()).outcome is Outcome.GONE
    assert deletions(fake) == 1


async def test_one_that_ray_wrote_again_is_deleted_again(fake: FakeDashboard, asked: Asked) -> None:
    row = {"status": "FAILED", "entrypoint": "Entrypoint not found.", "start_time": None}
    fake.jobs["a"].row = row | {"end_time": END + 3_600_000}  # just now
    assert (await asked.ask()).outcome is Outcome.ASKED
    assert deletions(fake) >= 1


@pytest.mark.parametrize(
    ("wish", "row", "outcome", "message"),
    [
        ({"session": "session_of_another_head"}, {}, Outcome.LEFT, "it went with the Ray head that held it"),
        ({"start": START + 60_000}, {}, Outcome.LEFT, "its id is that of another run now"),
        ({}, {"type": "DRIVER", "submission_id": None, "job_id": "a"}, Outcome.LEFT, "without the Jobs API"),
        ({"seconds": 3700}, {}, Outcome.PUT_OFF, "not over for 3700 s yet"),
        ({}, {"status": "RUNNING", "end_time": None}, Outcome.PUT_OFF, "RUNNING"),
    ],
)
async def test_what_is_not_that_run_or_not_old_enough_stays(
    fake: FakeDashboard, asked: Asked, wish: dict[str, Any], row: dict[str, Any], outcome: Outcome, message: str
) -> None:
    fake.jobs["a"].row = row
    answer = await asked.ask(**wish)
    assert answer.outcome is outcome
    assert message in answer.message
    assert deletions(fake) == 0


async def test_a_ray_job_that_is_not_over_keeps_it(fake: FakeDashboard, asked: Asked) -> None:
    status = {"jobId": "a", "jobDeploymentStatus": "Running"}
    asked.server.ray_jobs = [{"metadata": {"name": "other"}}, {"metadata": {"name": "train"}, "status": status}]
    assert await asked.ask() == RecordAnswer(Outcome.PUT_OFF, "RayJob train names it and is not over")
    status["jobDeploymentStatus"] = "Complete"
    assert (await asked.ask()).outcome is Outcome.ASKED


@pytest.mark.parametrize(("ray_jobs_in", "outcome"), [(None, Outcome.PUT_OFF), ("ml", Outcome.ASKED)])
async def test_of_a_dashboard_without_a_raycluster_any_namespace_s_ray_job_keeps_it(
    asked: Asked, ray_jobs_in: str | None, outcome: Outcome
) -> None:
    metadata = {"name": "train", "namespace": "other"}
    asked.server.ray_jobs = [{"metadata": metadata, "status": {"jobId": "a", "jobDeploymentStatus": "Running"}}]
    assert (await asked.ask(ray_jobs_in=ray_jobs_in)).outcome is outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (KubeError(404, "NotFound", "the server could not find the requested resource"), Outcome.ASKED),
        (KubeError(403, "Forbidden", "rayjobs.ray.io is forbidden"), Outcome.PUT_OFF),
        (KubeError(0, "TimeoutError", "the API server did not answer"), Outcome.PUT_OFF),
    ],
)
async def test_where_ray_jobs_cannot_be_listed_nothing_is_deleted_unless_there_are_none(
    fake: FakeDashboard, asked: Asked, error: KubeError, outcome: Outcome
) -> None:
    asked.server.error = error
    answer = await asked.ask()
    assert answer.outcome is outcome
    assert fake.jobs["a"].deleted is (outcome is Outcome.ASKED)
    if outcome is Outcome.PUT_OFF:
        assert str(error) in answer.message


async def test_another_watch_that_waits_for_its_end_keeps_it(fake: FakeDashboard, asked: Asked) -> None:
    asked.session.join(("ml", "other"), ["a"])
    assert (await asked.ask()).message == "another RayJobWatch waits for its end"
    asked.session.leave(("ml", "other"))
    assert (await asked.ask()).outcome is Outcome.ASKED


async def test_another_watch_that_waits_for_its_end_by_another_way_keeps_it(fake: FakeDashboard, asked: Asked) -> None:
    other_way = asked.sessions.get(Dashboard(fake.url, access=Access(token="other")))
    other_way.join(("ml", "other"), ["a"])
    async with asyncio.timeout(10):
        await asked.listed.wait()
    assert (await asked.ask()).message == "another RayJobWatch waits for its end"
    asked.sessions.leave(other_way, ("ml", "other"))
    assert (await asked.ask()).outcome is Outcome.ASKED


async def test_a_dashboard_that_is_away_is_asked_once_for_all_records(fake: FakeDashboard, asked: Asked) -> None:
    fake.add_job("b")
    fake.on("GET", "/api/version", faults.answer(503, "later"))
    other = Wish("b", "session_fake", from_milliseconds(START), 3600)
    answer = await asked.ask(others=[other])
    assert answer.outcome is Outcome.PUT_OFF
    assert len([request for request in fake.requests if request.path == "/api/version"]) == 1


async def test_a_dashboard_that_fails_is_told(fake: FakeDashboard, asked: Asked) -> None:
    fake.on("DELETE", "/api/jobs/a", faults.answer(500, "Traceback\nboom"))
    answer = await asked.ask()
    assert answer.outcome is Outcome.PUT_OFF
    assert "delete_job('a')" in answer.message
