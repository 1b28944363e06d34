"""The scripted world of `make bench-scale`: its dashboards answer its truth, and nothing wrong passes for right."""

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.ray import AsyncRayClient, NotFoundError
from tests.bench.run import ROOT
from tests.bench.scale import audit, image, report
from tests.bench.scale.contenders import Shown
from tests.bench.scale.jobs import FAILED, PENDING, RUNNING, STOPPED, SUCCEEDED, Job
from tests.bench.scale.ours import OURS
from tests.bench.scale.plans import Plan, jobs_of
from tests.bench.scale.routes import Request, Table
from tests.bench.scale.scenarios import Outcome
from tests.bench.scale.scripted import scripted
from tests.bench.scale.seen import Sight
from tests.bench.scale.usage import percentile
from tests.bench.scale.verdicts import Faults, faults, latencies

AGENT = "http://127.0.0.1:1"
PLAN = Plan(seed=7, jobs=40, dashboards=3, base=1000.0, spacing=0.5, shortest=2, longest=9, moving=True)
JOB = Job("raysubmit_0000a1", 0, 100.0, 101.0, 110.0, FAILED, first_lines=10, line_seconds=0.5)
TIMES = st.floats(990, 1040)


def table_of(*jobs: Job) -> Table:
    table = Table(0, AGENT)
    table.load(jobs)
    return table


def ask(table: Table, method: str, target: str, now: float, **headers: str) -> Any:
    return table.head(Request(method, target, headers), now)


@given(st.sampled_from(jobs_of(PLAN)), TIMES, TIMES, st.integers(0, 4000))
def test_a_log_only_grows_and_any_part_of_it_is_what_stands_there(job: Job, one: float, two: float, start: int) -> None:
    now, later = sorted((one, two))
    size, whole = job.log(now)
    assert len(whole) == size
    assert job.log(now, start) == (size, whole[start:])
    assert whole.count(b"\n") == job.lines(now)
    assert job.log(later).data.startswith(whole)


def test_a_plan_gives_the_same_jobs_in_every_process_and_every_end() -> None:
    jobs = jobs_of(PLAN)
    assert jobs == jobs_of(PLAN)
    assert len({job.id for job in jobs}) == PLAN.jobs
    assert {job.end for job in jobs} == {SUCCEEDED, FAILED, STOPPED}
    assert {job.dashboard for job in jobs} == {0, 1, 2}
    assert all(2 <= job.ended - job.submitted <= 9 for job in jobs)


def test_jobs_without_a_longest_life_never_end() -> None:
    [job] = jobs_of(Plan(seed=1, jobs=1, dashboards=1, base=0.0, spacing=0.0))
    assert job.ended == math.inf
    assert job.status(1e9) == RUNNING


@given(TIMES)
def test_the_list_is_the_truth_at_its_time(now: float) -> None:
    jobs = jobs_of(PLAN)
    rows = json.loads(ask(table_of(*jobs), "GET", "/api/jobs/", now).body)
    assert {row["submission_id"]: row["status"] for row in rows} == {
        job.id: status for job in jobs if (status := job.status(now))
    }


@pytest.mark.parametrize(
    ("now", "status", "more"),
    [
        (100.5, PENDING, {"driver_agent_http_address": None, "job_id": None, "end_time": None}),
        (105.0, RUNNING, {"driver_agent_http_address": AGENT, "driver_exit_code": None, "end_time": None}),
        (110.0, FAILED, {"driver_exit_code": 1, "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR", "end_time": 110_000}),
    ],
)
def test_a_record_has_what_ray_shows_in_that_state(now: float, status: str, more: dict[str, Any]) -> None:
    row = json.loads(ask(table_of(JOB), "GET", f"/api/jobs/{JOB.id}", now).body)
    assert row["status"] == status
    assert row["start_time"] == 100_000
    assert {name: row[name] for name in more} == more
    assert ("no such shard: 7" in row["message"]) == (status == FAILED)


@pytest.mark.parametrize(
    ("wanted", "status", "where"),
    [
        (None, 200, None),
        ("bytes=0-", 206, "bytes 0-{last}/{size}"),
        ("bytes=10-", 206, "bytes 10-{last}/{size}"),
        ("bytes=10-19", 206, "bytes 10-19/{size}"),
        ("bytes={last}-", 206, "bytes {last}-{last}/{size}"),
        ("bytes={size}-", 416, "bytes */{size}"),
    ],
)
def test_the_agent_answers_a_range_by_the_byte(wanted: str | None, status: int, where: str | None) -> None:
    size, log = JOB.log(105.0)
    known = {"size": size, "last": size - 1}
    headers = {"range": wanted.format(**known)} if wanted else {}
    answer = table_of(JOB).agent(Request("GET", f"/logs/job-driver-{JOB.id}.log", headers), 105.0)
    assert answer.status == status
    assert dict(answer.headers).get("Content-Range") == (where and where.format(**known))
    first, _, last = (headers.get("range") or "bytes=0-").removeprefix("bytes=").partition("-")
    assert answer.body == log[int(first) : int(last) + 1 if last else None]


def test_a_job_that_is_asked_to_stop_stops_and_its_record_can_then_be_deleted() -> None:
    table, path = table_of(JOB), f"/api/jobs/{JOB.id}"
    assert ask(table, "DELETE", path, 105.0).status == 500
    assert ask(table, "POST", f"{path}/stop", 105.0).body == b'{"stopped": true}'
    assert json.loads(ask(table, "GET", path, 106.0).body)["status"] == STOPPED
    assert ask(table, "POST", f"{path}/stop", 106.0).body == b'{"stopped": false}'
    assert ask(table, "DELETE", path, 106.0).status == 200
    assert ask(table, "GET", path, 106.0).status == 404


async def test_our_own_client_reads_the_process_of_dashboards() -> None:
    now = time.time()
    plan = Plan(seed=3, jobs=6, dashboards=2, base=now - 60, spacing=1.0, shortest=2, longest=9, moving=True)
    async with scripted(2) as running:
        await running.load(plan)
        for number, url in enumerate(running.urls):
            jobs = {job.id: job for job in jobs_of(plan) if job.dashboard == number}
            async with AsyncRayClient(url) as client:
                listed = {job.job_id: job.status for job in await client.list_jobs()}
                with pytest.raises(NotFoundError):
                    await client.get_job("raysubmit_nobody")
                logs = {id_: [line async for line in client.tail_job_logs(id_)] for id_ in jobs}
            assert listed == {id_: job.end for id_, job in jobs.items()}
            assert logs == {id_: job.log(now).data.decode().splitlines() for id_, job in jobs.items()}
        counters = await running.ask(do="counters")
        assert counters["requests"]["head list"] == 2
        assert counters["requests"]["agent log"] >= 6


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [([3, 1, 2], 0.5, 2), ([1, 2], 0.5, 1), (list(range(1, 101)), 0.99, 99), ([5], 0.99, 5), ([1, 2], 0.0, 1)],
)
def test_a_percentile_is_a_value_that_was_measured(values: list[float], share: float, found: float) -> None:
    assert percentile(values, share) == found


def test_there_is_no_percentile_of_nothing() -> None:
    assert math.isnan(percentile([], 0.5))


def finished(state: str, at: float, lines: int | None = None) -> Sight:
    log = {} if lines is None else {"log": {"complete": True, "lines": lines}}
    conditions = [{"type": "Finished", "status": "True"}]
    sight = Sight()
    status = {"state": state, "conditions": conditions, "jobs": [{"id": JOB.id, **log}]}
    sight.take(status, OURS.shown(status), at)
    return sight


def end_event(reason: str = "JobFailed", kind: str = "RayJobWatch", count: int = 1) -> dict[str, Any]:
    return {"reason": reason, "count": count, "involvedObject": {"kind": kind, "name": "w"}}


RIGHT = finished("Failed", 110.5, JOB.lines(110.0))


@pytest.mark.parametrize(
    ("sight", "events", "found"),
    [
        (RIGHT, [end_event(), end_event(kind="RayCluster"), end_event("JobRunning")], {}),
        (finished("Failed", 110.5), [end_event()], {}),
        (finished("Failed", 110.5, 3), [end_event()], {"lines": 1}),
        (finished("Succeeded", 110.5), [end_event()], {"wrong": 1}),
        (finished("Failed", 109.9), [end_event()], {"wrong": 1}),
        (Sight(), [], {"missing": 1}),
        (Sight(), [end_event()], {"missing": 1}),
        (None, [], {"missing": 1}),
        (RIGHT, [], {"missing_events": 1}),
        (RIGHT, [end_event(), end_event()], {"doubled_events": 1}),
        (RIGHT, [end_event(count=2)], {"doubled_events": 1}),
        (RIGHT, [end_event(), end_event("JobLost")], {"wrong": 1}),
    ],
)
def test_what_is_told_wrong_is_counted(sight: Sight | None, events: list[Any], found: dict[str, int]) -> None:
    told = faults({"w": JOB}, {"w": sight} if sight else {}, events, now=120.0)
    assert told == Faults(**found, examples=told.examples)
    assert told.any == bool(found)
    assert bool(told.examples) == ("wrong" in found)


def test_a_verdict_that_was_taken_back_is_wrong() -> None:
    sight = finished("Succeeded", 110.5)
    sight.take({}, Shown("Failed", is_finished=True), 111.0)
    assert faults({"w": JOB}, {"w": sight}, [end_event()], now=120.0).wrong == 1


@pytest.mark.parametrize(
    ("state", "now", "wrong"), [("Running", 900.0, 0), ("Waiting", 900.0, 1), ("Waiting", 130.0, 0)]
)
def test_a_job_that_has_run_for_long_must_be_shown_as_running(state: str, now: float, wrong: int) -> None:
    job = Job("raysubmit_0000b1", 0, 100.0, 101.0, math.inf, SUCCEEDED)
    assert faults({"w": job}, {"w": Sight(state=state)}, [], now).wrong == wrong


def test_the_latency_counts_from_the_end_or_from_a_later_creation() -> None:
    sights = {"early": RIGHT, "late": RIGHT}
    jobs = dict.fromkeys(["early", "late", "never"], JOB)
    assert latencies(jobs, sights, {"early": 100.0, "late": 110.25, "never": 100.0}, now=130.0) == [0.5, 0.25, 20.0]


def test_requests_of_the_api_server_are_counted_by_verb_and_resource_in_their_time() -> None:
    def event(
        verb: str, second: int, user: str = "us", stage: str = "ResponseComplete", **where: str
    ) -> dict[str, Any]:
        time_ = f"2026-11-20T12:00:{second:02}.500000Z"
        reference = {"resource": "rayjobwatches", **where}
        about = {"verb": verb, "user": {"username": user}, "stage": stage}
        return {**about, "objectRef": reference, "requestReceivedTimestamp": time_}

    events = [
        *(event("get", 1), event("get", 2), event("get", 9), event("get", 1, user="others")),
        *(event("patch", 1, subresource="status"), event("watch", 1), event("watch", 1, stage="ResponseStarted")),
    ]
    begin = 1795176001.0
    counts = audit.requests(events, "us", begin, begin + 5)
    assert counts == {"get rayjobwatches": 2, "patch rayjobwatches status": 1, "watch rayjobwatches": 1}
    assert (audit.reads(counts), audit.writes(counts, "rayjobwatches")) == (2, 1)


def test_the_table_has_the_median_of_the_runs_and_its_ratio() -> None:
    figures = {row.figure: 0.5 for row in report.ROWS}
    runs = [Outcome({**figures, "ready": seconds}, Faults()) for seconds in (1.0, 2.0, 9.0)]
    lines = list(report.table({"idle": runs}, {}))
    [ready] = [line.split() for line in lines if "ready (" in line]
    assert ready[-6:] == ["2", "s", "<=", "2", "s", "1.00"]
    assert len(lines) == 1 + sum(row.scenario == "idle" for row in report.ROWS)


def test_the_controller_is_run_with_the_settings_of_the_image() -> None:
    settings = image.settings((ROOT / "Dockerfile").read_text())
    assert {"PYTHONDONTWRITEBYTECODE", "MALLOC_TRIM_THRESHOLD_"} <= settings.keys()
    assert not {"PATH", "PIP_NO_CACHE_DIR"} & settings.keys()
