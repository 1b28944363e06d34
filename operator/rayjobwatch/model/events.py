"""Which Events a change of state is worth. Every Event has a name that the same change always gets again."""

from collections.abc import Iterator
from dataclasses import dataclass

from rayjobwatch.model.jobs import Job, JobState
from rayjobwatch.model.reasons import EventReason
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.summary import end_of

_REASONS = {
    JobState.RUNNING: EventReason.JOB_RUNNING,
    JobState.SUCCEEDED: EventReason.JOB_SUCCEEDED,
    JobState.FAILED: EventReason.JOB_FAILED,
    JobState.STOPPED: EventReason.JOB_STOPPED,
    JobState.LOST: EventReason.JOB_LOST,
    JobState.UNKNOWN: EventReason.JOB_OUTCOME_UNKNOWN,
}
_WARNINGS = {JobState.FAILED, JobState.LOST, JobState.UNKNOWN}


@dataclass(frozen=True, slots=True)
class EventNote:
    """An Event to post. `identity` is the same whenever the same thing is told again, also after a restart.

    `on_cluster`: it belongs on the RayCluster too. `is_end`: a job's verdict, which must not be dropped.
    """

    reason: EventReason
    message: str
    identity: str
    is_warning: bool = False
    is_end: bool = False
    on_cluster: bool = False


def events_of(old: WatchState, new: WatchState) -> Iterator[EventNote]:
    """Yield an Event for each job whose state became worth one between `old` and `new`."""
    for job in new.jobs.values():
        before = old.jobs.get(job.id, Job(job.id)).state
        if job.state is not before and job.state in _REASONS:
            yield _note(job)


def _note(job: Job) -> EventNote:
    reason = _REASONS[job.state]
    detail = "running" if job.state is JobState.RUNNING else end_of(job)
    return EventNote(
        reason=reason,
        message=f"job {job.id} {detail}" if job.failure is None else f"job {job.id} failed: {detail}",
        identity="\n".join((job.session, job.id, str(job.start_time), reason)),
        is_warning=job.state in _WARNINGS,
        is_end=job.state.is_over,
        on_cluster=job.state is JobState.FAILED,
    )
