"""One reader for all logs of a dashboard: within its budget, and at once where a verdict waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest

from rayjobwatch.engine.circuit import Circuit
from rayjobwatch.engine.hearing import Hearing
from rayjobwatch.engine.logreader import LANES, Log, LogsReader
from rayjobwatch.engine.turns import Turns
from rayjobwatch.model import pace
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.ray import AsyncLogReader, ByteCursor, JobDetails, JobStatus, LogBatch, UnavailableError
from tests.ray.flavours import until


class Source:
    """Stands in for a client's log reader: one line a reading, unless it fails or is held."""

    whole_bytes = 0

    def __init__(self) -> None:
        self.readings = 0
        self.failing = False
        self.go = asyncio.Event()
        self.go.set()

    async def read(self, _job: JobDetails) -> AsyncIterator[LogBatch]:
        self.readings += 1
        await self.go.wait()
        if self.failing:
            raise UnavailableError("the agent is away")
        yield LogBatch((f"line {self.readings}",), ByteCursor(self.readings))


class Logs:
    """A reader with its jobs, and what it told."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobDetails] = {}
        self.sources: dict[str, Source] = {}
        self.told: list[Log] = []
        self.circuit = Circuit(self._wake)
        self.reader = LogsReader(self.jobs.get, self.told.append, Turns(), self.circuit)

    def _wake(self) -> None:
        self.reader.wake()

    def add(self, job_id: str, status: str | None = "RUNNING") -> Log:
        if status:
            self.jobs[job_id] = JobDetails(job_id=job_id, status=JobStatus(status), type="SUBMISSION", start_time=None)
        self.sources[job_id] = Source()
        reader = cast("AsyncLogReader", self.sources[job_id])
        return self.reader.add(job_id, Hearing(LogDigest()), reader, lambda _: (reader, True))

    def readings(self) -> dict[str, int]:
        return {job_id: source.readings for job_id, source in self.sources.items() if source.readings}


@pytest.fixture
async def logs() -> AsyncIterator[Logs]:
    made = Logs()
    task = asyncio.create_task(made.reader.run())
    yield made
    task.cancel()
    await asyncio.wait([task])


async def test_beyond_the_budget_only_logs_of_jobs_that_are_over_are_read(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "READS_PER_SECOND", 1e-6)
    running = [logs.add(f"running-{number}") for number in range(20)]
    await until(lambda: sum(logs.readings().values()) == 1)
    over = [logs.add(f"over-{number}", "SUCCEEDED") for number in range(20)]
    await until(lambda: all(log.digest.complete for log in over))
    logs.jobs["running-19"]["status"] = JobStatus.FAILED
    logs.reader.hurry("running-19")
    await until(lambda: running[19].digest.complete)
    assert sum(count for job_id, count in logs.readings().items() if job_id.startswith("running")) == 2


async def test_a_few_logs_are_read_at_a_time(logs: Logs) -> None:
    for number in range(3 * LANES):
        logs.add(f"over-{number}", "SUCCEEDED")
        logs.sources[f"over-{number}"].go.clear()
    await until(lambda: len(logs.readings()) == LANES)
    for source in logs.sources.values():
        source.go.set()
    await until(lambda: len(logs.readings()) == 3 * LANES)


async def test_a_job_that_ends_during_a_reading_has_its_log_read_once_more(logs: Logs) -> None:
    log = logs.add("a")
    logs.sources["a"].go.clear()
    await until(lambda: logs.readings() == {"a": 1})
    logs.jobs["a"] = JobDetails(logs.jobs["a"], status=JobStatus.SUCCEEDED)
    logs.reader.hurry("a")
    logs.sources["a"].go.set()
    await until(lambda: log.digest.complete)
    assert (log.digest.lines, logs.sources["a"].readings) == (2, 2)


async def test_what_goes_wrong_is_said_and_tried_again_later(logs: Logs) -> None:
    unknown = logs.add("unknown", None)
    broken = logs.add("broken")
    logs.sources["broken"].failing = True
    await until(lambda: bool(unknown.digest.message and broken.digest.message))
    assert unknown.digest.message == "job unknown is not known to Ray"
    assert broken.digest.message == "the agent is away"
    assert broken.due > asyncio.get_running_loop().time() + 0.5
    logs.sources["broken"].failing = False
    logs.reader.hurry("broken")
    await until(lambda: broken.digest.lines == 1)
    assert broken.digest.message == ""


@pytest.mark.parametrize("again", [Circuit.close, Circuit.let_through])
async def test_a_log_that_failed_waits_while_the_dashboard_is_away_and_others_do_not(
    logs: Logs, again: Callable[[Circuit], None]
) -> None:
    broken, whole = logs.add("broken"), logs.add("over", "SUCCEEDED")
    logs.sources["broken"].failing = True
    await until(lambda: bool(broken.digest.message) and whole.digest.complete)
    logs.circuit.open(Problem(Reason.DASHBOARD_UNREACHABLE, "it is away"))
    logs.sources["broken"].failing = False
    logs.reader.hurry("broken")
    other = logs.add("other")
    await until(lambda: other.digest.lines == 1)
    assert broken.digest.lines == 0
    again(logs.circuit)
    await until(lambda: broken.digest.lines == 1)


async def test_a_log_that_nobody_wants_any_more_is_neither_read_nor_told(logs: Logs) -> None:
    log = logs.add("a")
    logs.sources["a"].go.clear()
    await until(lambda: logs.readings() == {"a": 1})
    logs.reader.discard(log)
    logs.sources["a"].go.set()
    other = logs.add("b")
    await until(lambda: other in logs.told)
    assert log not in logs.told
