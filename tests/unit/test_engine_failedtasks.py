"""Asking which tasks failed: once a job, and never for long."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest

from rayjobwatch.engine import failedtasks
from rayjobwatch.engine.failedtasks import KNOWN_JOBS, FailedTasks
from rayjobwatch.model.cause.tasks import FailedTask
from rayjobwatch.ray import AsyncRayClient
from tests.ray import faults
from tests.ray.fakedashboard import FakeDashboard
from tests.ray.flavours import until
from tests.ray.wire import Behaviour

TASKS = "/api/v0/tasks"
ROWS = [
    {"error_type": "OUT_OF_MEMORY", "name": "load", "end_time_ms": 5, "state": "FAILED"},
    {"error_type": "WORKER_DIED\n", "name": None, "func_or_class_name": "work", "end_time_ms": 9, "state": "FAILED"},
    {"error_type": None, "name": "odd", "end_time_ms": "soon", "state": "FAILED"},
]


def answer(rows: object) -> Behaviour:
    table = {"total": 3, "num_after_truncation": 3, "num_filtered": 3, "result": rows}
    return faults.json_text(json.dumps({"result": True, "msg": "", "data": {"result": table}}))


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    dashboard = FakeDashboard()
    yield dashboard
    dashboard.stop()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
async def asking(fake: FakeDashboard, told: list[str]) -> AsyncIterator[FailedTasks]:
    async with AsyncRayClient(fake.url) as client:
        asking = FailedTasks(client, told.append)
        yield asking
        await asking.close()


async def test_the_failed_tasks_of_a_job_are_asked_for_once(
    fake: FakeDashboard, asking: FailedTasks, told: list[str]
) -> None:
    fake.on("GET", TASKS, answer(ROWS))
    asking.ask("01000000")
    asking.ask("01000000")
    assert asking.answer("01000000") is None
    await until(lambda: told == ["01000000"])
    assert asking.answer("01000000") == (FailedTask("OUT_OF_MEMORY", "load", 5), FailedTask("WORKER_DIED", "work", 9))
    (request,) = [request for request in fake.requests if request.path == TASKS]
    assert request.query["filter_values"] == ["01000000", "FAILED"]


@pytest.mark.parametrize("behaviour", [faults.answer(500), faults.json_text("[]"), faults.silence])
async def test_an_answer_that_does_not_come_holds_nothing_up(
    fake: FakeDashboard,
    asking: FailedTasks,
    told: list[str],
    behaviour: Behaviour,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failedtasks, "SECONDS", 0.2)
    fake.on("GET", TASKS, behaviour)
    asking.ask("01000000")
    await until(lambda: told == ["01000000"])
    assert asking.answer("01000000") == ()


async def test_what_is_remembered_is_bounded(fake: FakeDashboard, asking: FailedTasks, told: list[str]) -> None:
    fake.on("GET", TASKS, answer([]))
    for number in range(KNOWN_JOBS + 5):
        asking.ask(str(number))
    await until(lambda: len(told) == KNOWN_JOBS + 5)
    assert asking.answer("0") is None
    assert asking.answer(str(KNOWN_JOBS + 4)) == ()
