"""What Ray is asked about a job's log: its file by the dashboard or the agent, its text, its WebSocket tail."""

import re
from typing import Final

from rayjobwatch.ray.api.cluster import get_version
from rayjobwatch.ray.api.jobs import check_submitted, get_job
from rayjobwatch.ray.api.records import JobDetails, JobStatus
from rayjobwatch.ray.errors import (
    ClientError,
    InvalidInputError,
    MissingPackageError,
    NotFoundError,
    RefusedError,
    RequestTimeoutError,
    ServerError,
    StreamLimitError,
    ThrottledError,
    UnavailableError,
)
from rayjobwatch.ray.inputs import AgentFilter, check_count, check_id, check_origin
from rayjobwatch.ray.plan import Close, Open, Plan, Read, Request, Response, error_of, fetch_json

_OF_THE_SOURCE: Final = (NotFoundError, RefusedError, InvalidInputError, MissingPackageError)
MOST_LOG_BYTES: Final = 50 * 1024 * 1024
_PAGE: Final = re.compile(r"text/html|multipart/.*|application/(?:\w+\+)?xml")
_RANGE: Final = re.compile(r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/([0-9]{1,18}|\*)")
_LARGEST_LOG: Final = 1 << 30
_RAW_FILES_SINCE: Final = (2, 40)


def get_job_logs(job_id: str, max_bytes: int | None, agents: AgentFilter | None, connect: float) -> Plan[str]:
    """Read a job's whole log as it is now: the file, else by the agent, else as Ray's text."""
    if max_bytes is not None:
        check_count(max_bytes, "max_bytes")
    job = yield from get_job(job_id)
    check_submitted(job, f"get_job_logs({job_id!r})")
    if job.status == JobStatus.PENDING or not (job.driver_node_id or job.driver_agent_http_address):
        return ""
    try:
        yield from check_raw_files()
        return (yield from _read_log(log_file(job), max_bytes, job_id))
    except ClientError as error:
        if not is_of_the_source(error):
            raise
        failure = error
    yield Close()
    if may_ask(job.driver_agent_http_address, agents):
        try:
            return (yield from _read_log(agent_log(job, 0, connect), max_bytes, job_id))
        except ClientError as error:
            if not is_of_the_source(error):
                raise
            yield Close()
    if isinstance(failure, (RequestTimeoutError, UnavailableError, ThrottledError)):
        raise failure
    return (yield from job_logs(job_id, max_bytes))


def _read_log(request: Request, max_bytes: int | None, job_id: str) -> Plan[str]:
    head: Response = yield Open(request)
    if not begins_log(head, request, 0):
        return ""
    log = bytearray()
    while data := (yield Read()):
        log += data
        if max_bytes is not None and len(log) > max_bytes:
            raise StreamLimitError(
                f"get_job_logs({job_id!r}): the log is larger than max_bytes={max_bytes}",
                limit="max_bytes", allowed=max_bytes, counts={"bytes": len(log)},
            )  # fmt: skip
    yield Close()
    return log.decode("utf-8", "replace")


def may_ask(agent: str | None, agents: AgentFilter | None) -> bool:
    """Whether there is an agent that `agents` lets us ask for logs."""
    if agent is None or agents is None:
        return False
    try:
        check_origin(agent, "driver_agent_http_address")
    except InvalidInputError:
        return False
    return agents(agent)


def is_of_the_source(error: ClientError) -> bool:
    """Whether another source of the log, or the same one later, may still bring it."""
    return error.transient or isinstance(error, _OF_THE_SOURCE)


def begins_log(head: Response, request: Request, start: int) -> bool:
    """Check the head of an answer that should be a log from byte `start` on; return whether bytes of the log follow.

    False: the log ends at `start`. What is no log (a proxy's page, compressed bytes, another range) is a `ServerError`.
    A 200 brings the log from its first byte, whatever was asked for.
    """
    if head.status not in {200, 206, 416}:
        raise error_of(head, request.operation)
    found = _RANGE.fullmatch(head.headers.get("content-range", ""))
    if head.status == 416:
        _check_size(found and found[2], request, start)
        return False
    kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
    if _PAGE.fullmatch(kind) or (head.status == 200 and kind == "application/json"):
        raise ServerError(f"{request.operation}: the answer is no log but {kind}")
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        raise ServerError(f"{request.operation}: the answer is compressed, which was not asked for")
    if head.status == 206 and not (found and found[1] and int(found[1]) == start):
        raise ServerError(f"{request.operation}: the answer is not the range that was asked for")
    return True


def _check_size(size: str | None, request: Request, start: int) -> None:
    """Check what a 416 says of the log's size: that it has nothing beyond `start`."""
    if size is None or size == "*" or int(size) > start:
        raise ServerError(f"{request.operation}: the server refuses a range that the log may have")
    if int(size) < start:
        raise ServerError(f"{request.operation}: the log has become shorter than what was already read of it")


def job_logs(job_id: str, max_bytes: int | None) -> Plan[str]:
    """Ask for a job's whole log as Ray's own text; fails where the log is not UTF-8."""
    operation = f"get_job_logs({job_id!r})"
    path = f"/api/jobs/{check_id(job_id)}/logs"
    request = Request(operation=operation, path=path, max_body=max_bytes or _LARGEST_LOG)
    answer = yield from fetch_json(request)
    if isinstance(answer, dict) and isinstance(answer.get("logs"), str):
        return str(answer["logs"])
    raise ServerError(f"{operation}: the answer is not Ray's")


def agent_log(job: JobDetails, offset: int, connect: float) -> Request:
    """Ask the agent of the driver's node for its log from byte `offset` on."""
    agent = check_origin(job.driver_agent_http_address, "driver_agent_http_address")
    return Request(
        operation=f"tail_job_logs({job.job_id!r}) of the agent",
        origin=agent, path=f"/logs/job-driver-{check_id(job.submission_id)}.log",
        headers=(("Range", f"bytes={offset}-"),), connect=connect, total=connect,
    )  # fmt: skip


def log_file(job: JobDetails, connect: float | None = None) -> Request:
    """Ask for the driver's whole log file as bytes.

    Without `format=text` Ray before 2.45 puts a byte of its own before each chunk.
    """
    query = (
        ("submission_id", check_id(job.submission_id)), ("node_id", job.driver_node_id or "any"),
        ("lines", "-1"), ("timeout", "300"), ("format", "text"),
    )  # fmt: skip
    return Request(
        operation=f"reading the log of job {job.job_id!r}",
        path="/api/v0/logs/file",
        query=query,
        connect=connect,
        total=connect,
    )


def check_raw_files() -> Plan[bool]:
    """Raise if this Ray is so old that its log file route puts bytes of its own between the log's.

    Return whether it is known that it does not.
    """
    try:
        version = (yield from get_version()).ray_version
    except ClientError:
        return False  # whatever is wrong will show when the file is asked for
    found = re.match(r"(\d{1,4})\.(\d{1,4})", version)
    if found is not None and (int(found[1]), int(found[2])) < _RAW_FILES_SINCE:
        raise ServerError(f"Ray {found[0]} gives no log files unaltered; its logs need the agent or a WebSocket")
    return True


def log_socket(job_id: str, key: str, timeout: float, *, queue: float) -> Request:
    """Ask for the WebSocket tail of a job's log. No extension is offered: compression kills Ray's tail."""
    headers = (
        ("Connection", "Upgrade"), ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", "13"),
    )  # fmt: skip
    return Request(
        operation=f"tail_job_logs({job_id!r}) by WebSocket", path=f"/api/jobs/{check_id(job_id)}/logs/tail",
        headers=headers, connect=timeout, read=timeout, total=timeout, queue=queue,
    )  # fmt: skip
