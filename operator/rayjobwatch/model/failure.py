"""Why a failed job failed, in one line, from its row alone."""

from rayjobwatch.model.jobs import Failure, JobRow
from rayjobwatch.model.text import clean_line, last_line

# Ray's message for these quotes the driver's own log or set-up: its last line is the cause. The messages of the other
# types (the memory killer's above all) can list other tenants' command lines, and are not passed on.
_QUOTABLE = {
    "JOB_ENTRYPOINT_COMMAND_ERROR",
    "JOB_ENTRYPOINT_COMMAND_START_ERROR",
    "RUNTIME_ENV_SETUP_FAILURE",
}

_KNOWN = {
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": "the job did not start in time: no room for it, or its set-up hangs",
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": "Ray could not start the job's supervisor",
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": "no node of the cluster fits the job's resources",
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": "Ray lost the job's supervisor, for example to its memory killer",
    "JOB_SUPERVISOR_ACTOR_DIED": "the job's supervisor died, for example with its node",
}


def failure_of(row: JobRow) -> Failure:
    """Name the failure of a FAILED row."""
    cause = _cause(row)
    if row.exit_code is None:
        return Failure(cause or "Ray gives no reason", row.error_type)
    ended = f"exit code {row.exit_code}"
    return Failure(f"{ended}: {cause}" if cause else ended, row.error_type)


def _cause(row: JobRow) -> str:
    if _is_quotable(row):
        return last_line(_log_part(row.message))
    if row.error_type is None:
        return ""
    return _KNOWN.get(row.error_type) or clean_line(f"Ray reports {row.error_type}", 160)


def _is_quotable(row: JobRow) -> bool:
    # Old Ray sends no error_type; these words begin the messages of the types that are not passed on.
    if row.error_type is None:
        return not row.message.startswith("Unexpected error occurred")
    return row.error_type in _QUOTABLE


def _log_part(message: str) -> str:
    """Drop Ray's own first line, so that a job that logged nothing does not quote it as the cause."""
    head, _, rest = message.partition("\n")
    return rest if head.startswith("Job entrypoint command failed") else message
