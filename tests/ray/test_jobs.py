"""The life of a job against the fake dashboard: list, look up, submit, stop, wait, delete, logs."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from rayjobwatch.ray import JobStatus, JobType, StreamLimitError
from tests.ray import faults
from tests.ray.flavours import Caller, error_of, until

if TYPE_CHECKING:
    from tests.ray.fakedashboard import FakeDashboard
    from tests.ray.wire import Exchange

DRIVER = {
    "type": "DRIVER",
    "job_id": "02000000",
    "submission_id": None,
    "driver_info": {"id": "02000000", "node_ip_address": "192.0.2.2", "pid": "7"},
    "status": "RUNNING",
    "entrypoint": "python notebook.py",
    "message": None,
    "error_type": None,
    "start_time": 1795165602232,
    "end_time": 0,
    "metadata": {},
    "runtime_env": {},
    "driver_agent_http_address": None,
    "driver_node_id": None,
    "driver_exit_code": None,
}


@pytest.mark.requirement("J-01", "D-07", "D-08")
async def test_jobs_are_a_plain_list_and_each_has_an_id_that_works(fake: FakeDashboard, client: Caller) -> None:
    assert await client.list_jobs() == []
    fake.add_job("a")
    fake.add_job("b", status="PENDING")
    fake.state.driver_jobs.append(DRIVER)
    jobs = await client.list_jobs()
    assert isinstance(jobs, list)
    assert {job["job_id"]: job["status"] for job in jobs} == {"a": "SUCCEEDED", "b": "PENDING", "02000000": "RUNNING"}
    assert all({"status", "job_id", "submission_id", "entrypoint"} <= job.keys() for job in jobs)
    assert json.loads(json.dumps(jobs))[0]["job_id"] == "a"


@pytest.mark.requirement("J-01")
async def test_5000_jobs_in_two_seconds_and_40_mb(fake: FakeDashboard, client: Caller) -> None:
    for number in range(5_000):
        fake.add_job(f"raysubmit_{number:016d}")
    await client.list_jobs()
    tracemalloc.start()
    started = time.monotonic()
    jobs = await client.list_jobs()
    took, peak = time.monotonic() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len({job["job_id"] for job in jobs}) == 5_000
    assert took < 6  # 2 s and more only under tracemalloc
    assert peak < 120_000_000  # the fake's own 4 MB of JSON text included


@pytest.mark.requirement("J-03", "J-02")
async def test_start_time_is_in_ms_and_none_before_the_start(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("a")
    fake.add_job("b", status="PENDING")
    assert (await client.get_job("a"))["start_time"] == 1795165602232
    assert (await client.get_job("b"))["start_time"] is None


@pytest.mark.requirement("J-17", "J-20", "J-15")
async def test_a_job_answers_items_attributes_and_json(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("a").row = {"job_id": "03000000", "metadata": {"team": "x"}}
    job = await client.get_job("a")
    assert job["submission_id"] == job.submission_id == "a"
    assert (job.job_id, job.ray_job_id) == ("a", "03000000")
    assert job.type is JobType.SUBMISSION
    assert job.status is JobStatus.SUCCEEDED
    assert json.loads(job.json) == json.loads(json.dumps(job))
    assert job.metadata == {"team": "x"}


@pytest.mark.requirement("J-15")
async def test_a_state_of_a_later_ray_is_kept(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("a", status="HIBERNATING")
    status = await client.get_job_status("a")
    assert status == "HIBERNATING"
    assert not status.is_terminal


@pytest.mark.requirement("J-04", "D-06", "J-05")
@pytest.mark.parametrize("text", ["", "42\n", "null", '{"logs": "x"}\n', "a\r\nb\u2028c\x00\n", "no end"])
async def test_a_jobs_log_is_text_whatever_it_says(fake: FakeDashboard, client: Caller, text: str) -> None:
    fake.add_job("j", text.encode())
    logs = await client.get_job_logs("j")
    assert type(logs) is str
    assert logs == text


@pytest.mark.requirement("J-04")
async def test_a_log_that_is_not_utf_8_is_text_with_replacements(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", b"good\n\xff\xfe\nmore\n")
    assert await client.get_job_logs("j") == "good\n\ufffd\ufffd\nmore\n"


@pytest.mark.requirement("J-04")
async def test_a_log_of_a_job_that_did_not_start_is_empty(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", status="PENDING")
    assert await client.get_job_logs("j") == ""


@pytest.mark.requirement("J-04", "L-03")
async def test_a_large_log_is_bounded(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", b"x" * 99 + b"\n")
    fake.on("GET", "/api/jobs/j/logs", faults.endless(b"x" * 65536))
    fake.on("GET", "/api/v0/logs/file", faults.endless(b"x" * 65536))
    error = await error_of(client.get_job_logs("j", max_bytes=1_000_000))
    assert isinstance(error, StreamLimitError)
    assert error.limit == "max_bytes"


@pytest.mark.requirement("J-06", "J-07", "D-11", "J-09")
@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "STOPPED"])
async def test_stopping_a_job_that_is_over_is_400_and_says_its_state(
    fake: FakeDashboard, client: Caller, status: str
) -> None:
    fake.add_job("j", status=status)
    error = await error_of(client.stop_job("j"))
    assert error.status_code == 400
    assert status in str(error)


@pytest.mark.requirement("J-06")
async def test_stopping_a_running_job_tells_status_and_flag(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", status="RUNNING")
    result = await client.stop_job("j")
    assert result["stopped"] is True
    assert isinstance(result["status"], str)
    assert json.dumps(result)


@pytest.mark.requirement("J-07")
async def test_a_job_that_ends_between_look_up_and_stop_is_no_false_success(
    fake: FakeDashboard, client: Caller
) -> None:
    job = fake.add_job("j", status="RUNNING")

    async def ends_first(exchange: Exchange) -> None:
        job.status = "SUCCEEDED"
        await exchange.json({"stopped": False})

    fake.on("POST", "/api/jobs/j/stop", ends_first)
    error = await error_of(client.stop_job("j"))
    assert error.status_code == 400
    assert "SUCCEEDED" in str(error)


@pytest.mark.requirement("J-09", "E-08")
async def test_stop_on_a_dead_dashboard_is_503(fake: FakeDashboard, client: Caller) -> None:
    fake.go_down()
    error = await error_of(client.stop_job("j"))
    fake.come_up()
    assert error.status_code == 503


@pytest.mark.requirement("J-18")
async def test_deleting_a_running_job_is_400_with_a_clean_text(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", status="RUNNING")
    error = await error_of(client.delete_job("j"))
    assert error.status_code == 400
    assert "RUNNING" in str(error)
    assert "Traceback" not in str(error)
    assert (await client.get_job("j"))["status"] == "RUNNING"


@pytest.mark.requirement("J-18")
async def test_a_deleted_job_is_gone(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j")
    await client.delete_job("j")
    assert (await error_of(client.get_job("j"))).status_code == 404
    assert await client.list_jobs() == []


@pytest.mark.requirement("J-18")
@pytest.mark.parametrize(
    ("date", "deleted"),
    [
        ("Sat, 21 Nov 2026 11:00:00 GMT", True),
        ("Sat, 21 Nov 2026 10:49:59 GMT", False),
        ("Sat, 21 Nov 2026 09:00:00 GMT", False),  # a clock that was set back
        ("", False),
        ("yesterday", False),
    ],
)
async def test_a_record_is_deleted_at_an_age_by_the_heads_clock_alone(
    fake: FakeDashboard, client: Caller, date: str, deleted: bool
) -> None:
    job = fake.add_job("j")
    job.row["end_time"] = int(datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp() * 1000)

    async def dated(exchange: Exchange) -> None:
        await exchange.send(200, json.dumps(job.json()), {"Date": date})

    fake.on("GET", "/api/jobs/j", dated)
    if deleted:
        await client.delete_job("j", min_age=3000)
    else:
        error = await error_of(client.delete_job("j", min_age=3000))
        assert (error.status_code, type(error).__name__) == (400, "JobStateError")
    assert job.deleted is deleted
    assert (await error_of(client.delete_job("j", min_age=-1))).status_code == 400


@pytest.mark.requirement("J-14")
async def test_waiting_ends_with_the_state_reached(fake: FakeDashboard, client: Caller) -> None:
    job = fake.add_job("j", status="PENDING")
    waiting = asyncio.ensure_future(client.wait_until_status("j", timeout_seconds=10))
    await until(lambda: len(fake.requests) >= 1)
    job.status = "FAILED"
    assert await waiting == "FAILED"
    assert await client.wait_until_status("j", {"FAILED"}, timeout_seconds=1) == "FAILED"


@pytest.mark.requirement("J-14", "D-12")
async def test_waiting_too_long_is_408(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", status="RUNNING")
    started = time.monotonic()
    error = await error_of(client.wait_until_status("j", timeout_seconds=0.5))
    assert error.status_code == 408
    assert "RUNNING" in str(error)
    assert 0.4 < time.monotonic() - started < 1.5


@pytest.mark.requirement("J-14")
async def test_waiting_bears_a_dashboard_that_is_away_for_a_while(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j")
    fake.on("GET", "/api/jobs/j", faults.answer(503), times=2)
    assert await client.wait_until_status("j", timeout_seconds=10) == "SUCCEEDED"


@pytest.mark.requirement("J-14", "E-03")
async def test_waiting_for_an_unknown_job_is_404_at_once(fake: FakeDashboard, client: Caller) -> None:
    assert (await error_of(client.wait_until_status("nope", timeout_seconds=10))).status_code == 404


@pytest.mark.requirement("J-10", "J-11")
async def test_a_job_is_submitted_with_its_own_id_and_all_its_fields(fake: FakeDashboard, client: Caller) -> None:
    job_id = uuid.uuid4().hex
    given = await client.submit_job(
        "python x.py",
        submission_id=job_id,
        runtime_env={"env_vars": {"A": "1"}},
        metadata={"team": "x"},
        entrypoint_num_cpus=1,
        entrypoint_num_gpus=0.5,
        entrypoint_memory=1_000_000,
        entrypoint_resources={"special": 1},
    )
    assert given == job_id
    assert fake.requests[-1].json() == {
        "entrypoint": "python x.py",
        "submission_id": job_id,
        "runtime_env": {"env_vars": {"A": "1"}},
        "metadata": {"team": "x"},
        "entrypoint_num_cpus": 1,
        "entrypoint_num_gpus": 0.5,
        "entrypoint_memory": 1_000_000,
        "entrypoint_resources": {"special": 1},
    }


@pytest.mark.requirement("J-10")
async def test_fields_that_were_not_given_are_not_sent(fake: FakeDashboard, client: Caller) -> None:
    """An older Ray answers 400 to a field that it does not know."""
    await client.submit_job("true", submission_id="j")
    posted = next(request for request in fake.requests if request.method == "POST")
    assert posted.json().keys() <= {"entrypoint", "submission_id", "runtime_env", "metadata"}


@pytest.mark.requirement("J-10")
async def test_a_second_submit_with_the_same_id_is_a_clear_error(fake: FakeDashboard, client: Caller) -> None:
    await client.submit_job("true", submission_id="twice")
    error = await error_of(client.submit_job("true", submission_id="twice"))
    assert error.status_code == 400
    assert "twice" in str(error)
    assert "already exists" in str(error)


@pytest.mark.requirement("J-10")
async def test_a_submit_whose_answer_is_lost_is_not_sent_blindly_again(fake: FakeDashboard, client: Caller) -> None:
    """After an unclear failure the job is looked up by its id: one record, and its id is returned."""

    async def take_it_and_die(exchange: Exchange) -> None:
        body = exchange.request.json()
        fake.add_job(body["submission_id"], status="PENDING").row = {"entrypoint": body["entrypoint"]}
        exchange.abort()

    fake.once("POST", "/api/jobs/", take_it_and_die)
    assert await client.submit_job("true", submission_id="j") == "j"
    assert list(fake.jobs) == ["j"]


@pytest.mark.requirement("E-02", "J-10")
@pytest.mark.parametrize(
    "options",
    [
        {"entrypoint": ""},
        {"entrypoint": None},
        {"metadata": {"a": 1}},
        {"metadata": "x"},
        {"runtime_env": "x"},
        {"runtime_env": {"env_vars": {"A": 1}}},
        {"entrypoint_num_cpus": -1},
        {"entrypoint_num_cpus": float("nan")},
    ],
)
async def test_what_cannot_be_submitted_is_400_and_not_sent(
    fake: FakeDashboard, client: Caller, options: dict[str, object]
) -> None:
    call = client.submit_job(**{"entrypoint": "true", **options})
    assert (await error_of(call)).status_code == 400
    assert fake.requests == []


@pytest.mark.requirement("J-19")
@pytest.mark.parametrize("name", ["html", "404", "json of another"])
async def test_the_version_of_another_server_is_a_clear_error(fake: FakeDashboard, client: Caller, name: str) -> None:
    answers = {
        "html": faults.html(),
        "404": faults.html(404),
        "json of another": faults.json_text('{"name": "elasticsearch"}'),
    }
    fake.on("GET", ".*", answers[name])
    error = await error_of(client.get_version())
    assert 400 <= error.status_code < 600
    assert "version" in str(error)


@pytest.mark.requirement("J-19")
async def test_the_version_is_told(client: Caller) -> None:
    version = await client.get_version()
    assert (version["ray_version"], version["version"]) == ("2.60.0", "4")


@pytest.mark.requirement("R-05")
async def test_calls_may_run_side_by_side(fake: FakeDashboard, client: Caller) -> None:
    for number in range(30):
        fake.add_job(f"j{number}")
    jobs = await asyncio.gather(*(client.get_job(f"j{number}") for number in range(30)))
    assert [job["job_id"] for job in jobs] == [f"j{number}" for number in range(30)]


@pytest.mark.requirement("J-13")
@pytest.mark.parametrize("argument", ["a b", "k:1", "$HOME", "`id`", "'\"", "a;b", "é", "*", "\n", "", "-n", "\\"])
def test_an_entrypoints_arguments_are_quoted(argument: str) -> None:
    import shlex
    import subprocess

    from rayjobwatch.ray import entrypoint_of

    command = entrypoint_of("printf", "%s", argument)
    assert shlex.split(command) == ["printf", "%s", argument]
    shown = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True, timeout=10)
    assert shown.stdout == argument
