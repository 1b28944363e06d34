"""What takes more than one request with jobs: stop, delete, wait, and a whole log."""

from collections.abc import Callable, Collection
from email.utils import parsedate_to_datetime
from typing import Final

from rayjobwatch.ray.endpoints import agent_log, check_raw_files, get_job, job_logs, log_file, may_ask
from rayjobwatch.ray.errors import (
    ClientClosedError,
    InvalidInputError,
    JobStateError,
    NotFoundError,
    RefusedError,
    RequestTimeoutError,
    ServerError,
    StreamLimitError,
    ThrottledError,
    UnavailableError,
)
from rayjobwatch.ray.inputs import check_count, check_id, check_seconds
from rayjobwatch.ray.jobs import JobDetails, JobStatus, JobType, Record, job_of
from rayjobwatch.ray.wire import (
    Close,
    Open,
    Plan,
    Read,
    Request,
    Response,
    Wait,
    error_of,
    fetch_json,
    json_of,
    send,
)  # fmt: skip

TERMINAL: Final = frozenset({JobStatus.SUCCEEDED, JobStatus.STOPPED, JobStatus.FAILED})
_PASSING: Final = (UnavailableError, RequestTimeoutError, ThrottledError, ServerError)
MOST_LOG_BYTES: Final = 50 * 1024 * 1024
_RAY_LOOKS_EVERY: Final = 1.2
_UNREADABLE: Final = (*_PASSING, NotFoundError, RefusedError, InvalidInputError)


def stop_job(job_id: str) -> Plan[Record]:
    """Ask Ray to stop a job; see the client's method."""
    operation = f"stop_job({job_id!r})"
    job = yield from get_job(job_id)
    _check_submitted(job, operation)
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


def _check_submitted(job: JobDetails, operation: str) -> None:
    if job.type is JobType.DRIVER:
        raise JobStateError(f"{operation}: the job was not submitted through the Jobs API")


def _already_over(job: JobDetails, operation: str) -> JobStateError:
    return JobStateError(f"{operation}: the job is already {job.status}")


def delete_job(job_id: str) -> Plan[None]:
    """Delete the record of a job that is over; see the client's method."""
    operation = f"delete_job({job_id!r})"
    path = f"/api/jobs/{check_id(job_id)}"
    response = yield from send(Request(operation=operation, path=path))
    job = job_of(json_of(response, operation), operation)
    _check_submitted(job, operation)
    if not job.status.is_terminal:
        raise JobStateError(f"{operation}: the job is {job.status}; only a job that is over can be deleted")
    delete = Request(operation=operation, method="DELETE", path=path)
    yield from send(delete)
    if _just_ended(job, response):
        yield from _stay_deleted(delete)


def _just_ended(job: JobDetails, response: Response) -> bool:
    """Whether Ray's monitor of the job may still be about to write the record again."""
    try:
        now = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except ValueError:
        return True
    return job.end_time is not None and abs(now - job.end_time / 1000) < 4


def _stay_deleted(delete: Request) -> Plan[None]:
    for _ in range(3):
        yield Wait(_RAY_LOOKS_EVERY)
        response: Response = yield Request(operation=delete.operation, path=delete.path)
        if response.status == 404:
            return
        yield from send(delete, 200, 404)


def wait_for(
    job_id: str,
    statuses: Collection[str],
    timeout: float | None,
    poll: float,
    clock: Callable[[], float],
) -> Plan[JobDetails]:
    """Look at a job until it has one of `statuses` or is over. What passes by itself is borne until the deadline."""
    check_seconds(poll, "poll")
    until = None if timeout is None else clock() + check_seconds(timeout, "timeout_seconds")
    seen = "not seen"
    while True:
        try:
            job = yield from get_job(job_id)
        except ClientClosedError:
            raise
        except _PASSING as error:
            if until is None or clock() >= until:
                raise
            seen = f"unknown ({error.status_code})"
        else:
            if job.status in statuses or job.status.is_terminal:
                return job
            seen = str(job.status)
        left = poll if until is None else until - clock()
        if left <= 0:
            raise RequestTimeoutError(f"waiting for job {job_id!r}: after {timeout:g} s it is {seen}")
        yield Wait(min(poll, left))


def get_job_logs(job_id: str, max_bytes: int | None, agents: Callable[[str], bool] | None, connect: float) -> Plan[str]:
    """Read a job's whole log as it is now: the file, else by the agent, else as Ray's text."""
    if max_bytes is not None:
        check_count(max_bytes, "max_bytes")
    job = yield from get_job(job_id)
    _check_submitted(job, f"get_job_logs({job_id!r})")
    if job.status == JobStatus.PENDING or not (job.driver_node_id or job.driver_agent_http_address):
        return ""
    try:
        yield from check_raw_files()
        return (yield from _read_log(log_file(job), max_bytes, job_id))
    except ClientClosedError:
        raise
    except _UNREADABLE as error:
        failure = error
    yield Close()
    if may_ask(job.driver_agent_http_address, agents):
        try:
            return (yield from _read_log(agent_log(job, 0, connect), max_bytes, job_id))
        except ClientClosedError:
            raise
        except _UNREADABLE:
            yield Close()
    if isinstance(failure, (RequestTimeoutError, UnavailableError, ThrottledError)):
        raise failure
    return (yield from job_logs(job_id, max_bytes))


def _read_log(request: Request, max_bytes: int | None, job_id: str) -> Plan[str]:
    head: Response = yield Open(request)
    if head.status not in {200, 206, 416}:
        raise error_of(head, request.operation)
    log = bytearray()
    while data := (yield Read()):
        log += data
        if max_bytes is not None and len(log) > max_bytes:
            raise StreamLimitError(
                f"get_job_logs({job_id!r}): the log is larger than max_bytes={max_bytes}",
                limit="max_bytes", allowed=max_bytes, counts={"bytes": len(log)},
            )  # fmt: skip
    yield Close()
    return "" if head.status == 416 else log.decode("utf-8", "replace")
