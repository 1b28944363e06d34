"""What Ray is asked about jobs: all, one, stop, delete, and waiting for a state."""

import math
from collections.abc import Callable, Collection
from email.utils import parsedate_to_datetime
from typing import Any, Final

from rayjobwatch.ray.api.records import JobDetails, JobList, JobStatus, JobType, Record, is_finite, job_of, jobs_of
from rayjobwatch.ray.errors import ClientError, JobStateError, RequestTimeoutError, ServerError
from rayjobwatch.ray.inputs import check_id, check_seconds
from rayjobwatch.ray.plan import (
    LARGEST_LIST,
    Plan,
    Request,
    Response,
    Wait,
    error_of,
    fetch_json,
    is_missing,
    json_of,
    send,
)

TERMINAL: Final = frozenset({JobStatus.SUCCEEDED, JobStatus.STOPPED, JobStatus.FAILED})
_RAY_LOOKS_EVERY: Final = 1.2
_MONITOR_WRITES_FOR: Final = 4.0  # until then Ray's monitor of the job may write the record again
_BORNE: Final = 30.0
LAST_LOOK: Final = 1.0


def list_jobs() -> Plan[JobList]:
    """Ask for all jobs of the cluster."""
    operation = "list_jobs"
    return jobs_of(
        (yield from fetch_json(Request(operation=operation, path="/api/jobs/", max_body=LARGEST_LIST))), operation
    )


def get_job(job_id: str, timeout: float | None = None, *, at_most: float | None = None) -> Plan[JobDetails]:
    """Ask for one job."""
    operation = f"get_job({job_id!r})"
    path = f"/api/jobs/{check_id(job_id)}"
    request = Request(operation=operation, path=path, connect=timeout, total=timeout, at_most=at_most)
    return _the_job(job_id, (yield from fetch_json(request)), operation)


def _the_job(job_id: str, row: Any, operation: str) -> JobDetails:
    """Check that an answer is the job that was asked for, by either of its ids."""
    job = job_of(row, operation)
    if job_id not in (job.job_id, job.ray_job_id):
        raise ServerError(f"{operation}: the answer is about another job")
    return job


def stop_job(job_id: str) -> Plan[Record]:
    """Ask Ray to stop a job; see the client's method."""
    operation = f"stop_job({job_id!r})"
    job = yield from get_job(job_id)
    check_submitted(job, operation)
    if job.status.is_terminal:
        raise _already_over(job, operation)
    request = Request(operation=operation, method="POST", path=f"/api/jobs/{check_id(job_id)}/stop")
    answer = yield from fetch_json(request)
    if not isinstance(answer, dict) or not isinstance(answer.get("stopped"), bool):
        raise ServerError(f"{operation}: the answer is not Ray's")
    now = yield from get_job(job_id)
    if answer["stopped"]:
        return Record(job_id=now.job_id, status=now.status, stopped=True)
    if now.status.is_terminal:
        raise _already_over(now, operation)
    raise ServerError(f"{operation}: Ray did not stop the job, which is {now.status}")


def check_submitted(job: JobDetails, operation: str) -> None:
    """Raise for a job that somebody started without the Jobs API: Ray neither stops it nor has its log."""
    if job.type is JobType.DRIVER:
        raise JobStateError(f"{operation}: the job was not submitted through the Jobs API")


def _already_over(job: JobDetails, operation: str) -> JobStateError:
    return JobStateError(f"{operation}: the job is already {job.status}")


def delete_job(job_id: str, min_age: float | None = None) -> Plan[None]:
    """Delete the record of a job that is over; see the client's method."""
    operation = f"delete_job({job_id!r})"
    if min_age is not None:
        check_seconds(min_age, "min_age")
    path = f"/api/jobs/{check_id(job_id)}"
    response = yield from send(Request(operation=operation, path=path))
    job = _the_job(job_id, json_of(response, operation), operation)
    check_submitted(job, operation)
    if not job.status.is_terminal:
        raise JobStateError(f"{operation}: the job is {job.status}; only a job that is over can be deleted")
    age = _age(job, response)
    if min_age is not None and (age is None or age < min_age):
        raise JobStateError(f"{operation}: the job is not over for {min_age:g} s yet")
    delete = Request(operation=operation, method="DELETE", path=path)
    answer = yield from fetch_json(delete)
    if not isinstance(answer, dict) or answer.get("deleted") is not True:
        raise ServerError(f"{operation}: the answer is not Ray's")
    if age is None or abs(age) < _MONITOR_WRITES_FOR:
        yield from _stay_deleted(delete)


def _age(job: JobDetails, response: Response) -> float | None:
    """Return for how many seconds the job is over, by the server's clock alone; None where it does not say."""
    try:
        now = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return None
    return now - job.end_time / 1000 if job.end_time is not None and is_finite(job.end_time) else None


def _stay_deleted(delete: Request) -> Plan[None]:
    for _ in range(3):
        yield Wait(_RAY_LOOKS_EVERY)
        response: Response = yield Request(operation=delete.operation, path=delete.path)
        if is_missing(response):
            return
        response = yield delete
        if response.status != 200 and not is_missing(response):
            raise error_of(response, delete.operation)


def wait_for(
    job_id: str,
    statuses: Collection[str],
    timeout: float | None,
    poll: float,
    clock: Callable[[], float],
) -> Plan[JobDetails]:
    """Look at a job until it has one of `statuses` or is over.

    What passes by itself is borne until the deadline; without one, for 30 s in a row after the job was seen. The last
    look may take a second beyond it.
    """
    check_seconds(poll, "poll")
    until = None if timeout is None else clock() + check_seconds(timeout, "timeout_seconds")
    seen, borne_until = "not seen", -math.inf
    while True:
        try:
            left = None if until is None else until - clock()
            job = yield from get_job(job_id, at_most=left if left is None else max(left, LAST_LOOK))
        except ClientError as error:
            if not error.transient or clock() >= (borne_until if until is None else until):
                raise
            seen = f"unknown ({error.status_code})"
        else:
            borne_until = clock() + _BORNE
            if job.status in statuses or job.status.is_terminal:
                return job
            seen = str(job.status)
        left = poll if until is None else until - clock()
        if left <= 0:
            raise RequestTimeoutError(f"waiting for job {job_id!r}: after {timeout:g} s it is {seen}")
        yield Wait(min(poll, left))
