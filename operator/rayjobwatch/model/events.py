"""Which Events a change of state is worth. Every Event has a name that the same change always gets again."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rayjobwatch.model.jobs import Job, JobState, StopCause, StopOrder
from rayjobwatch.model.lens import Findings
from rayjobwatch.model.reasons import EventReason
from rayjobwatch.model.records import Deletion
from rayjobwatch.model.selection import is_news
from rayjobwatch.model.servestate import NO_CLEAN_UP, ServeState
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.summary import STOP_CAUSES, end_of, listed
from rayjobwatch.model.text import clean_line

_REASONS = {
    JobState.RUNNING: EventReason.JOB_RUNNING,
    JobState.SUCCEEDED: EventReason.JOB_SUCCEEDED,
    JobState.FAILED: EventReason.JOB_FAILED,
    JobState.STOPPED: EventReason.JOB_STOPPED,
    JobState.LOST: EventReason.JOB_LOST,
    JobState.UNKNOWN: EventReason.JOB_OUTCOME_UNKNOWN,
}
_WARNINGS = {JobState.FAILED, JobState.LOST, JobState.UNKNOWN}
# The API server forgets Events after an hour: what is older than this would be told twice.
TOLD_AGAIN = timedelta(minutes=50)


@dataclass(frozen=True, slots=True)
class EventNote:
    """An Event to post. `identity` is the same whenever the same thing is told again, also after a restart.

    `on_cluster`: it belongs on the RayCluster too, once however many watches tell it, under `cluster_identity` where
    that is another. `is_end`: a job's verdict, which must not be dropped. `count`: how often a thing has happened that
    happens again and again: one Event tells of all of them; 0: it happens once.
    """

    reason: EventReason
    message: str
    identity: str
    is_warning: bool = False
    is_end: bool = False
    on_cluster: bool = False
    count: int = 0
    cluster_identity: str = ""


_DEADLINES = {StopCause.ACTIVE_DEADLINE, StopCause.PENDING_DEADLINE}


def events_of(old: WatchState, new: WatchState) -> Iterator[EventNote]:
    """Yield an Event for each thing that became worth one between `old` and `new`."""
    for job in new.jobs.values():
        before = old.jobs.get(job.id, Job(job.id))
        if before.start_time not in (None, job.start_time):
            before = Job(job.id)  # another run under the same id
        news = [_note(job)] if job.state in _REASONS and is_news(old, new, job) else []
        stops = _stop_notes(job, before.stop)
        yield from (*stops, *news) if job.state.is_over else (*news, *stops)
        if job.record.state is Deletion.DELETED and before.record.state is not Deletion.DELETED:
            yield _record_note(job)
    yield from _serve_notes(old.serve, new.serve)


def _record_note(job: Job) -> EventNote:
    reason = EventReason.JOB_RECORD_DELETED
    return EventNote(
        reason=reason,
        message=f"job {job.id} is over for as long as was wanted: its record was deleted from Ray",
        identity=_identity(job, reason),
    )


def _serve_notes(old: ServeState, new: ServeState) -> Iterator[EventNote]:
    # By its time and not its words: what was begun in the same second is the same clean-up.
    began = f"{new.session}\n{new.requested}"
    told = old.deleted if old.requested == new.requested else ()
    for name in new.deleted:
        if name not in told:
            reason = EventReason.SERVE_APPLICATION_DELETED
            message = f"Serve application {name} is deleted"
            yield EventNote(reason, message, identity=f"{began}\n{name}\n{reason}")
    if new.is_failing and not (old.is_failing and old.requested == new.requested):
        reason = EventReason.SERVE_APPLICATION_DELETE_FAILED
        message = _not_deleted(new, new.message)
        yield EventNote(reason, message, identity=f"{new.requested}\n{reason}", is_warning=True)


def _not_deleted(serve: ServeState, why: str) -> str:
    names = listed([one.name for one in serve.still_there])
    return f"Serve applications are not deleted{f' ({names})' if names else ''}: {why}"


def clean_up_not_waited_for(serve: ServeState, why: str) -> EventNote:
    """Return the Event that a deleted watch is let go although its clean-up is not done."""
    reason = EventReason.SERVE_APPLICATION_DELETE_FAILED
    message = _not_deleted(serve, why)
    return EventNote(reason, message, identity=f"{serve.requested}\nlet go\n{reason}", is_warning=True)


def status_refused(why: str, generation: int) -> EventNote:
    """Return the Event that a status cannot be written: it can only be told beside it."""
    reason = EventReason.STATUS_REFUSED
    message = f"the API server refuses the status, which stays as it was: {clean_line(why, 500)}"
    return EventNote(reason, message, identity=f"{generation}\n{reason}", is_warning=True)


def surely_told(state: WatchState, now: datetime) -> WatchState:
    """Return what a process has told of that state which was killed while it still owed Events.

    What it owed is told again under the same names, unless it is too old for that.
    """
    jobs = state.jobs.items()
    told = {id_: job for id_, job in jobs if job.state.is_over and job.end_time and now - job.end_time > TOLD_AGAIN}
    selected = state.selected
    if selected and selected.newest:  # of jobs without a row only the time says whether they were told
        selected = replace(selected, newest=min(selected.newest, now - TOLD_AGAIN))
    requested = state.serve.requested
    serve = state.serve if requested and now - requested > TOLD_AGAIN else NO_CLEAN_UP
    findings = {id_: _surely_told(found, now) for id_, found in state.findings.items()}
    return replace(state, jobs=told, selected=selected, serve=serve, findings=findings)


def _surely_told(found: Findings, now: datetime) -> Findings:
    rules = found.rules.items()
    told = {name: rule for name, rule in rules if rule.last_match and now - rule.last_match > TOLD_AGAIN}
    return replace(found, rules=told)


def _stop_notes(job: Job, before: StopOrder | None) -> Iterator[EventNote]:
    order = job.stop
    if order is None:
        return
    which = order.cause, str(order.requested_time)  # after a change of mind it is another order, told once more
    if (before is None or before.cause is not order.cause) and not job.is_driver:
        is_deadline = order.cause in _DEADLINES
        reason = EventReason.DEADLINE_EXCEEDED if is_deadline else EventReason.STOP_REQUESTED
        what = "is to be stopped as soon as it runs" if job.state is JobState.PENDING else "is asked to stop"
        message = f"job {job.id} {what}: {STOP_CAUSES[order.cause]}"
        yield EventNote(reason, message, _identity(job, reason, *which), is_warning=is_deadline)
    if order.message and job.state is JobState.RUNNING and not (before and before.message):
        reason = EventReason.STOP_FAILED
        message = f"job {job.id} is not stopped: {order.message}"
        yield EventNote(reason, message, _identity(job, reason, *which), is_warning=True)


def not_waited_for(job: Job, why: str) -> EventNote:
    """Return the Event that a deleted watch is let go although `job` may still run."""
    message = f"job {job.id} may still run: {why}"
    return EventNote(EventReason.STOP_FAILED, message, _identity(job, "let go"), is_warning=True)


def _identity(job: Job, *more: str) -> str:
    # A run that outlives its head is the same run: the session tells runs apart only where nothing else does.
    run = str(job.start_time or job.session)
    return "\n".join((job.id, run, *more))


def _note(job: Job) -> EventNote:
    reason = _REASONS[job.state]
    detail = "running" if job.state is JobState.RUNNING else end_of(job)
    return EventNote(
        reason=reason,
        message=f"job {job.id} {detail}" if job.failure is None else f"job {job.id} failed: {detail}",
        identity=_identity(job, reason),
        is_warning=job.state in _WARNINGS,
        is_end=job.state.is_over,
        on_cluster=job.state is JobState.FAILED,
    )
