"""Ray's HTTP API for jobs and logs: which request each question is, and how its answer reads."""

import re
from collections.abc import Callable
from typing import Final

from rayjobwatch.ray.errors import ClientClosedError, ClientError, InvalidInputError, ServerError
from rayjobwatch.ray.inputs import check_id, check_origin
from rayjobwatch.ray.jobs import JobDetails, JobList, RayVersion, job_of, jobs_of, version_of
from rayjobwatch.ray.wire import LARGEST_LIST, Plan, Request, fetch_json

_LARGEST_LOG: Final = 1 << 30
_RAW_FILES_SINCE: Final = (2, 40)


def list_jobs() -> Plan[JobList]:
    """Ask for all jobs of the cluster."""
    operation = "list_jobs"
    return jobs_of(
        (yield from fetch_json(Request(operation=operation, path="/api/jobs/", max_body=LARGEST_LIST))), operation
    )


def get_job(job_id: str, timeout: float | None = None) -> Plan[JobDetails]:
    """Ask for one job."""
    operation = f"get_job({job_id!r})"
    request = Request(operation=operation, path=f"/api/jobs/{check_id(job_id)}", connect=timeout, total=timeout)
    return job_of((yield from fetch_json(request)), operation)


def job_logs(job_id: str, max_bytes: int | None) -> Plan[str]:
    """Ask for a job's whole log as Ray's own text; fails where the log is not UTF-8."""
    operation = f"get_job_logs({job_id!r})"
    path = f"/api/jobs/{check_id(job_id)}/logs"
    request = Request(operation=operation, path=path, max_body=max_bytes or _LARGEST_LOG)
    answer = yield from fetch_json(request)
    if isinstance(answer, dict) and isinstance(answer.get("logs"), str):
        return str(answer["logs"])
    raise ServerError(f"{operation}: the answer is not Ray's")


def get_version() -> Plan[RayVersion]:
    """Ask for the versions of Ray and of its API."""
    operation = "get_version"
    return version_of((yield from fetch_json(Request(operation=operation, path="/api/version"))), operation)


def may_ask(agent: str | None, agents: Callable[[str], bool] | None) -> bool:
    """Return whether the caller's filter `agents` (None: no agent) lets this agent be asked."""
    if agent is None or agents is None:
        return False
    try:
        check_origin(agent, "driver_agent_http_address")
    except InvalidInputError:
        return False
    return agents(agent)


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
    except ClientClosedError:
        raise
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
