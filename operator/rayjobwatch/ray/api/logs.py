"""What Ray is asked about a job's log: its file by the dashboard or the agent, its text, its WebSocket tail."""

import re
from collections.abc import Callable
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
from rayjobwatch.ray.plan import Close, Open, Plan, Read, Request, Response, error_of, json_of

_OF_THE_SOURCE: Final = (NotFoundError, RefusedError, InvalidInputError, MissingPackageError)
MOST_LOG_BYTES: Final = 50 * 1024 * 1024
_PAGE: Final = re.compile(r"text/html|multipart/.*|application/(?:\w+\+)?xml")
_RANGE: Final = re.compile(r"bytes (?:(?P<first>[0-9]{1,18})-(?P<last>[0-9]{1,18})|\*)/(?P<size>[0-9]{1,18}|\*)")
_TELL_THE_END: Final = frozenset({"content-length", "transfer-encoding"})
_PASSING: Final = (UnavailableError, RequestTimeoutError, ThrottledError)
_PROXIES_SAY: Final = frozenset({502, 503, 504})
_MOST_ESCAPED: Final = 6  # bytes that JSON may take for one of a text
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
        return (yield from _read_log(lambda _: log_file(job), max_bytes, job_id))
    except ClientError as error:
        if not is_of_the_source(error):
            raise
        failure = error
    yield Close()
    if may_ask(job.driver_agent_http_address, agents):
        try:
            return (yield from _read_log(lambda start: agent_log(job, start, connect), max_bytes, job_id))
        except ClientError as error:
            if not is_of_the_source(error):
                raise
            yield Close()
    if is_passing(failure):
        raise failure
    text = yield from job_logs(job_id, max_bytes)
    if text is None:
        raise _too_large(job_id, max_bytes or _LARGEST_LOG, 0)
    return text


def _read_log(request_from: Callable[[int], Request], max_bytes: int | None, job_id: str) -> Plan[str]:
    """Read a log of which `request_from` asks for what stands from a byte on."""
    log = bytearray()
    follows = True
    while follows:
        request = request_from(len(log))
        head: Response = yield Open(request)
        span = span_of(head, request, len(log))
        while span is not None and (data := (yield Read())):
            log += span.took(data)
            if max_bytes is not None and len(log) > max_bytes:
                raise _too_large(job_id, max_bytes, len(log))
        yield Close()
        follows = span is not None and span.ended()
    return log.decode("utf-8", "replace")


def _too_large(job_id: str, max_bytes: int, size: int) -> StreamLimitError:
    return StreamLimitError(
        f"get_job_logs({job_id!r}): the log is larger than max_bytes={max_bytes}",
        limit="max_bytes", allowed=max_bytes, counts={"bytes": size},
    )  # fmt: skip


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


def is_passing(error: ClientError) -> bool:
    """Whether it tells nothing of the source: nobody who could know of it answered."""
    return isinstance(error, _PASSING) or error.status_code in _PROXIES_SAY


class Span:
    """The bytes of a log that an answer brings.

    size: how many, None where only the answer's end tells.  follows: whether the log has more after them.
    """

    def __init__(self, size: int | None, operation: str, *, follows: bool) -> None:
        self._left = size
        self._follows = follows
        self._operation = operation

    def took(self, data: bytes) -> bytes:
        """Count what came; raise if it is more than was named."""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise ServerError(f"{self._operation}: the answer is longer than the range that it names")
        return data

    def ended(self) -> bool:
        """Return whether the log has more, now that the answer is over; raise if it was shorter than was named."""
        if self._left:
            raise ServerError(f"{self._operation}: the answer is shorter than the range that it names")
        return self._follows


def span_of(head: Response, request: Request, start: int) -> Span | None:
    """Check the head of an answer that should be a log from byte `start` on; return which bytes of it follow.

    None: the log ends at `start`. What is no log (a proxy's page, compressed bytes, another range) is a `ServerError`.
    A 200 brings the log from its first byte, whatever was asked for.
    """
    if head.status not in {200, 206, 416}:
        raise error_of(head, request.operation)
    found = _RANGE.fullmatch(head.headers.get("content-range", ""))
    if head.status == 416:
        _check_size(found and found["size"], request, start)
        return None
    kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
    if _PAGE.fullmatch(kind) or (head.status == 200 and kind == "application/json"):
        raise ServerError(f"{request.operation}: the answer is a page or a message, no log")
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        raise ServerError(f"{request.operation}: the answer is compressed, which was not asked for")
    if head.status == 200:
        if not head.headers.keys() & _TELL_THE_END:
            raise ServerError(f"{request.operation}: the answer does not tell where it ends")
        return Span(None, request.operation, follows=False)
    if found is None or found["first"] is None or int(found["first"]) != start or int(found["last"]) < start:
        raise ServerError(f"{request.operation}: the answer is not the range that was asked for")
    end = int(found["last"]) + 1
    return Span(end - start, request.operation, follows=found["size"] == "*" or int(found["size"]) > end)


def _check_size(size: str | None, request: Request, start: int) -> None:
    """Check what a 416 says of the log's size: that it has nothing beyond `start`."""
    if size is None or size == "*" or int(size) > start:
        raise ServerError(f"{request.operation}: the server refuses a range that the log may have")
    if int(size) < start:
        raise ServerError(f"{request.operation}: the log has become shorter than what was already read of it")


def job_logs(job_id: str, max_bytes: int | None) -> Plan[str | None]:
    """Ask for a job's whole log as Ray's own text, None if it is larger; fails where the log is not UTF-8."""
    operation = f"get_job_logs({job_id!r})"
    request = Request(operation=operation, path=f"/api/jobs/{check_id(job_id)}/logs")
    head: Response = yield Open(request)
    if head.status != 200:
        raise error_of(head, operation)
    most = _LARGEST_LOG if max_bytes is None else _MOST_ESCAPED * (max_bytes + 16)
    body = bytearray()
    while len(body) <= most and (data := (yield Read())):
        body += data
    yield Close()
    if len(body) > most:
        return None
    answer = json_of(Response(200, body=bytes(body)), operation)
    if not isinstance(answer, dict) or not isinstance(text := answer.get("logs"), str):
        raise ServerError(f"{operation}: the answer is not Ray's")
    return None if max_bytes is not None and len(text.encode("utf-8", "surrogatepass")) > max_bytes else text


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
    except ClientError as error:
        if is_passing(error):
            raise
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
