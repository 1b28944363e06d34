"""From what the Ray client and the watch's spec say to the model's own words."""

import re
from collections.abc import Iterable
from datetime import datetime

from rayjobwatch.model.jobs import UNCERTAIN_ERRORS, JobRow
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.text import clean_line
from rayjobwatch.model.times import from_milliseconds
from rayjobwatch.ray import AuthenticationError, ClientError, JobDetails, ProxyError, RayVersion

_REASONS = {
    401: Reason.UNAUTHORIZED,
    403: Reason.UNAUTHORIZED,
    404: Reason.NOT_A_RAY_DASHBOARD,
    408: Reason.DASHBOARD_TIMEOUT,
    503: Reason.DASHBOARD_UNREACHABLE,
}
SESSION_BYTES = 128
_OUR_PROXY = re.compile(r"/api/v1/namespaces/[^/]+/services/[^/]+/proxy\Z")


def session_of(version: RayVersion) -> str:
    """Return the name of the Ray session that answered, empty where this Ray tells none."""
    return clean_line(version.session_name or "", SESSION_BYTES)


def row_of(id_: str, job: JobDetails) -> JobRow:
    """Return Ray's row as the model's."""
    return JobRow(
        id=id_,
        status=str(job.status),
        is_driver=str(job.type) == "DRIVER",
        entrypoint=job.entrypoint or "",
        message=job.message or "",
        error_type=job.error_type,
        start_time=from_milliseconds(job.start_time),
        end_time=from_milliseconds(job.end_time),
        exit_code=_int32(job.driver_exit_code),
        ray_job_id=job.ray_job_id or "",
        node_id=job.driver_node_id or "",
    )


def is_surely_over(job: JobDetails | None) -> bool:
    """Whether a row says that its job is over in a way that Ray does not take back: its log then is at its end."""
    return job is not None and job.status.is_terminal and job.error_type not in UNCERTAIN_ERRORS


def idle_since(table: Iterable[JobDetails]) -> datetime | None:
    """Return when the last job of a whole table ended, None while one is open, and where there was none."""
    newest = 0
    for job in table:
        if not job.status.is_terminal:
            return None
        newest = max(newest, job.end_time or 0)
    return from_milliseconds(newest) if newest else None


def _int32(code: int | None) -> int | None:
    """Leave out what no process can return and no status can hold."""
    return code if code is not None and -(2**31) <= code < 2**31 else None


def problem_of(url: str, error: ClientError) -> Problem:
    """Say why a dashboard cannot be used, from the error of asking it."""
    message = f"waiting for the Ray dashboard at {url}: {error}"
    # Of another URL whoever answers there may say what he likes, but is not to tell an administrator what to grant.
    if isinstance(error, ProxyError) and _OUR_PROXY.search(url):
        reason = Reason.FORBIDDEN if error.status_code in (401, 403) else Reason.DASHBOARD_UNREACHABLE
        remedy = "; grant the controller services/proxy there (manifests/proxy)" if error.status_code == 403 else ""
        return Problem(reason, clean_line(message + remedy))
    return Problem(_REASONS.get(error.status_code, Reason.DASHBOARD_ERROR), clean_line(message))


def is_refusal(error: ClientError) -> bool:
    """Whether other credentials may help: Ray does not take the token, or the API server not what it is asked with."""
    return isinstance(error, AuthenticationError) or error.status_code == 401
