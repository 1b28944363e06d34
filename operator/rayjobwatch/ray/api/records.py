"""What the dashboard says about jobs and about itself: mappings that also answer as attributes."""

import json
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias

from rayjobwatch.ray.errors import ServerError


class JobStatus(StrEnum):
    """State of a job; equal to Ray's plain string. A state unknown to this version is kept and not terminal."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    STOPPED = "STOPPED"
    FAILED = "FAILED"

    @classmethod
    def _missing_(cls, value: object) -> "JobStatus | None":
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member

    @property
    def is_terminal(self) -> bool:
        """Whether the job is over."""
        return self.value in {"SUCCEEDED", "STOPPED", "FAILED"}


# A table may have 10,000 rows: this is twice as quick as asking the enum.
_STATUSES: Final = {str(each): each for each in JobStatus}


class JobType(StrEnum):
    """SUBMISSION: started through the Jobs API. DRIVER: a script that joined the cluster; it has no logs."""

    SUBMISSION = "SUBMISSION"
    DRIVER = "DRIVER"


_LARGEST: Final = sys.float_info.max
_TYPES: Final = ("SUBMISSION", "DRIVER")  # no set: a server may send what has no hash


class Record(dict[str, Any]):
    """An object of the server's JSON: a dict whose known keys are attributes as well."""

    @property
    def json(self) -> str:
        """The record as JSON text."""
        return json.dumps(self)

    def _text(self, key: str) -> str | None:
        value = self.get(key)
        return value if isinstance(value, str) else None

    def _number(self, key: str) -> int | None:
        value = self.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def is_finite(value: Any) -> bool:
    """Whether it is a number that a float can hold: JSON has others, too."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


class JobDetails(Record):
    """A job as `GET /api/jobs/{id}` tells it.

    `job_id` is always the id that every call accepts: the submission id, or a driver's own id. Ray's own id of
    the driver, which a submission has only once it called `ray.init`, is `ray_job_id`. Times are milliseconds
    since the epoch, None before they happened.
    """

    @property
    def job_id(self) -> str:
        """The id that every call accepts."""
        return str(self["job_id"])

    @property
    def ray_job_id(self) -> str | None:
        """Ray's id of the (last) driver, 8 hex digits."""
        return self._text("ray_job_id")

    @property
    def submission_id(self) -> str | None:
        """The id of the submission; None for a driver that was not submitted."""
        return self._text("submission_id")

    @property
    def type(self) -> JobType:
        """Submitted or driver."""
        return JobType(self["type"])

    @property
    def status(self) -> JobStatus:
        """The state at the time of the answer."""
        return JobStatus(self["status"])

    @property
    def entrypoint(self) -> str:
        """The shell command."""
        return self._text("entrypoint") or ""

    @property
    def message(self) -> str | None:
        """Ray's text about the state; for a failure it may hold log lines or a traceback."""
        return self._text("message")

    @property
    def error_type(self) -> str | None:
        """Ray's name for the kind of failure."""
        return self._text("error_type")

    @property
    def start_time(self) -> int | None:
        """Milliseconds since the epoch."""
        return self._number("start_time")

    @property
    def end_time(self) -> int | None:
        """Milliseconds since the epoch."""
        return self._number("end_time")

    @property
    def driver_exit_code(self) -> int | None:
        """Exit code of the entrypoint's shell; 128+n for a signal."""
        return self._number("driver_exit_code")

    @property
    def driver_agent_http_address(self) -> str | None:
        """Address of the agent on the driver's node, as the dashboard names it."""
        return self._text("driver_agent_http_address")

    @property
    def driver_node_id(self) -> str | None:
        """Node of the driver; None before the start, and for ever if it never started."""
        return self._text("driver_node_id")

    @property
    def driver_info(self) -> Mapping[str, Any]:
        """The driver's `id`, `node_ip_address` and `pid`; empty without a driver."""
        value = self.get("driver_info")
        return value if isinstance(value, dict) else {}

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the submitter attached."""
        value = self.get("metadata")
        return value if isinstance(value, dict) else {}

    @property
    def runtime_env(self) -> Mapping[str, Any]:
        """The runtime environment, its variables in clear."""
        value = self.get("runtime_env")
        return value if isinstance(value, dict) else {}


JobInfo: TypeAlias = JobDetails
JobList: TypeAlias = list[JobDetails]


class RayVersion(Record):
    """Answer of `GET /api/version`."""

    @property
    def version(self) -> str:
        """Version of the jobs API."""
        return str(self["version"])

    @property
    def ray_version(self) -> str:
        """Version of Ray."""
        return str(self["ray_version"])

    @property
    def ray_commit(self) -> str:
        """Commit of Ray."""
        return self._text("ray_commit") or ""

    @property
    def session_name(self) -> str | None:
        """Name of the head's session; None before Ray 2.9."""
        return self._text("session_name")


def job_of(row: Any, operation: str) -> JobDetails:
    """Check one job of the server and make it a `JobDetails`."""
    if isinstance(row, dict) and isinstance(status := row.get("status"), str) and row.get("type") in _TYPES:
        ray_job_id = row.get("job_id")
        own_id = row.get("submission_id") or ray_job_id
        if own_id and isinstance(own_id, str):
            job = JobDetails(row)
            job["ray_job_id"], job["job_id"] = ray_job_id, own_id
            job["status"] = _STATUSES.get(status) or JobStatus(status)
            job["start_time"] = row.get("start_time") or None
            job["end_time"] = row.get("end_time") or None
            return job
    raise ServerError(f"{operation}: the answer is not a job of Ray")


def jobs_of(rows: Any, operation: str) -> JobList:
    """Check the list of jobs."""
    if not isinstance(rows, list):
        raise ServerError(f"{operation}: the answer is not a list of jobs")
    return [job_of(row, operation) for row in rows]


def version_of(row: Any, operation: str) -> RayVersion:
    """Check the version answer."""
    if isinstance(row, dict) and isinstance(row.get("ray_version"), str) and "version" in row:
        return RayVersion(row)
    raise ServerError(f"{operation}: this is not a Ray dashboard")
