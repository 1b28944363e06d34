"""A Ray job: what Ray says of it (`JobRow`) and what we hold to be true of it (`Job`)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rayjobwatch.model.records import UNTOUCHED, RecordState


class JobState(StrEnum):
    """State of one watched job, as `status.jobs[].state` shows it."""

    WAITING = "Waiting"
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"
    LOST = "Lost"
    UNKNOWN = "Unknown"

    @property
    def is_over(self) -> bool:
        """Whether the job is over, for good or bad; such a state is final."""
        return self not in (JobState.WAITING, JobState.PENDING, JobState.RUNNING)


# Ray shows these also of jobs that go on, when a head or a node was away for a while.
UNCERTAIN_ERRORS = frozenset({"JOB_SUPERVISOR_ACTOR_DIED", "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE"})


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row of Ray's job table. Times are UTC; `status` is Ray's own word.

    `ray_job_id` is Ray's id of the driver, empty as long as the job has not called `ray.init`; `node_id` is the node of
    its entrypoint, empty as long as that has not started, and for a driver.
    """

    id: str
    status: str
    is_driver: bool = False
    entrypoint: str = ""
    message: str = ""
    error_type: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    exit_code: int | None = None
    ray_job_id: str = ""
    node_id: str = ""

    @property
    def is_ghost(self) -> bool:
        """Whether Ray's monitor wrote a deleted record back: the row says nothing about the job."""
        return self.start_time is None and self.entrypoint == "Entrypoint not found."


@dataclass(frozen=True, slots=True)
class Failure:
    """How a job failed, in clean single lines.

    `type` is the exception or signal, `location` the user's frame (`train.py:88`); empty where unknown. `error_type`
    is Ray's.
    """

    message: str
    error_type: str | None = None
    type: str = ""
    location: str = ""

    @property
    def text(self) -> str:
        """All in one line: `train.py:88 ValueError: loss is not a number`."""
        what = ": ".join(part for part in (self.type, self.message) if part)
        return f"{self.location} {what}".strip()


class StopCause(StrEnum):
    """Why a job is to be stopped, as `status.jobs[].stop.reason` shows it."""

    REQUESTED = "Requested"
    ACTIVE_DEADLINE = "ActiveDeadlineExceeded"
    PENDING_DEADLINE = "PendingDeadlineExceeded"
    WATCH_DELETED = "WatchDeleted"
    LOG_RULE = "LogRuleFired"


@dataclass(frozen=True, slots=True)
class StopOrder:
    """That a job is to be stopped since `requested_time`, and how far that has come.

    attempts: how often Ray was asked, or is to be asked as soon as this is written down, `last_attempt` when;
    first_attempt: since when, while the job runs.
    in_vain: the last attempt met a PENDING job.  message: why it is not stopped yet, where there is something to say.
    stopped_time: when it was seen to have been stopped.
    """

    cause: StopCause
    requested_time: datetime
    attempts: int = 0
    first_attempt: datetime | None = None
    last_attempt: datetime | None = None
    in_vain: bool = False
    message: str = ""
    stopped_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """What is known of one watched job.

    `session` names the Ray session whose table held the job; `missing_since` and `ending_since` remember when its
    row was first not there, or first terminal, until that is settled, `ending` that row. `doubted_since` is since when
    Ray says RUNNING of a job whose node is not known to be alive. `last_seen` is when a Lost job
    was last listed. `running_since` is when a job that was seen to wait began to run, by the head's clock; Ray's
    `start_time` is when it was submitted. `record` tells whether we deleted its record from Ray.
    """

    id: str
    state: JobState = JobState.WAITING
    session: str = ""
    entrypoint: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    is_driver: bool = False
    running_since: datetime | None = None
    stop: StopOrder | None = None
    last_seen: datetime | None = None
    record: RecordState = UNTOUCHED
    missing_since: datetime | None = None
    ending_since: datetime | None = None
    ending: JobRow | None = None
    doubted_since: datetime | None = None

    @property
    def seen(self) -> bool:
        """Whether Ray has ever shown the job."""
        return self.state is not JobState.WAITING
