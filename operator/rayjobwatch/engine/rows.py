"""From what the Ray client and the watch's spec say to the model's own words."""

from rayjobwatch.model.jobs import UNCERTAIN_ERRORS, JobRow
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.text import clean_line
from rayjobwatch.model.times import from_milliseconds
from rayjobwatch.ray import ClientError, JobDetails, RayVersion

_REASONS = {
    401: Reason.UNAUTHORIZED,
    403: Reason.UNAUTHORIZED,
    404: Reason.NOT_A_RAY_DASHBOARD,
    408: Reason.DASHBOARD_TIMEOUT,
    503: Reason.DASHBOARD_UNREACHABLE,
}


SESSION_BYTES = 128


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
    )


def is_surely_over(job: JobDetails | None) -> bool:
    """Whether a row says that its job is over in a way that Ray does not take back: its log then is at its end."""
    return job is not None and job.status.is_terminal and job.error_type not in UNCERTAIN_ERRORS


def _int32(code: int | None) -> int | None:
    """Leave out what no process can return and no status can hold."""
    return code if code is not None and -(2**31) <= code < 2**31 else None


def problem_of(url: str, error: ClientError) -> Problem:
    """Say why a dashboard cannot be used, from the error of asking it."""
    reason = _REASONS.get(error.status_code, Reason.DASHBOARD_ERROR)
    return Problem(reason, clean_line(f"waiting for the Ray dashboard at {url}: {error}"))
