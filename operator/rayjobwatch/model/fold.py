"""Folding observations into what we hold to be true. The only place where a job gets its verdict.

A verdict is final. It comes from Ray's job table alone, never from a log stream, and never from silence:

- Unreachable, unreadable or unlistable: every job keeps its state.
- Gone with its session or RayCluster: Lost. The table of a new session knows nothing of the old one's jobs.
- Its record deleted within the session, or its id used again: over, outcome Unknown, once a later listing confirms it.
- A DRIVER that is over: Unknown, because Ray calls it SUCCEEDED even after a crash.
- RUNNING although its driver's node is DEAD: not believed, and Unknown when Ray says nothing else for a minute.
- A supervisor failure: held back until the table has shown it for half a minute in which the log was still, because
  Ray reports such for jobs that go on.
- An end that Ray has shown, and that only waited for its log when the head went away, is that end.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from rayjobwatch.model.failure import failure_of, wants_tasks
from rayjobwatch.model.jobs import UNCERTAIN_ERRORS, Failure, Job, JobRow, JobState
from rayjobwatch.model.nodes import doubt_of
from rayjobwatch.model.observation import Listing, Observation
from rayjobwatch.model.redaction.patterns import Patterns
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.text import clean_again

MISSING_GRACE = timedelta(seconds=3)
DRAIN_GRACE = timedelta(seconds=0.5)
TASKS_GRACE = timedelta(seconds=2)
UNCERTAIN_GRACE = timedelta(seconds=30)

_STATES = {
    "PENDING": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "SUCCEEDED": JobState.SUCCEEDED,
    "FAILED": JobState.FAILED,
    "STOPPED": JobState.STOPPED,
}


def fold(state: WatchState, ids: Sequence[str], seen: Observation) -> WatchState:
    """Return what is known of the jobs `ids` after `seen`."""
    listing = seen.listing
    jobs = {id_: fold_job(state.jobs.get(id_, Job(id_)), seen, state.last_contact) for id_ in ids}
    return WatchState(
        jobs=jobs,
        cluster=seen.cluster.after(state.cluster) if listing else state.cluster,
        problem=seen.problem,
        hindrance=seen.hindrance,
        unreachable=seen.unreachable,
        reachable=_reachable(state, seen),
        last_contact=_last_contact(state, seen),
        findings={id_: found for id_, found in seen.findings.items() if id_ in jobs and found},
        serve=state.serve,
    )


def _last_contact(state: WatchState, seen: Observation) -> datetime | None:
    if seen.listing:
        return seen.listing.time
    if seen.last_contact:
        return seen.last_contact
    in_trouble = seen.problem or seen.unreachable
    # After a restart nobody knows how old the states are: at least as old as this.
    return state.last_contact or (seen.now if in_trouble and any(job.seen for job in state.jobs.values()) else None)


def _reachable(state: WatchState, seen: Observation) -> bool | None:
    if seen.unreachable or seen.problem:
        return False if seen.unreachable or state.reachable is not None else None
    return True if seen.listing else state.reachable


def fold_job(job: Job, seen: Observation, last_seen: datetime | None = None) -> Job:
    """Return what is known of one job after `seen`; `last_seen`: when it was listed before."""
    if job.state.is_over:
        return job
    if seen.cluster_gone and job.seen:
        return _without_head(job, seen, last_seen)
    if seen.listing is None:
        return job
    return _fold_row(job, seen.listing, seen, last_seen)


def _without_head(job: Job, seen: Observation, last_seen: datetime | None) -> Job:
    """Return a job whose head is gone: Lost, unless Ray had shown its end already."""
    row = job.ending
    state = state_of(row) if row and row.error_type not in UNCERTAIN_ERRORS else None
    if row is None or state is None:
        return replace(_over(job, JobState.LOST), last_seen=last_seen and last_seen.replace(microsecond=0))
    return _verdict(job, row, state, seen)


def _fold_row(job: Job, listing: Listing, seen: Observation, last_seen: datetime | None) -> Job:
    row = listing.rows.get(job.id)
    if row is not None and row.is_ghost:
        row = None
    if job.seen and job.session != listing.session and not is_same_run(job, row):
        return _without_head(job, seen, last_seen)
    if row is None or is_another_run(job, row):
        return _missing(job, listing)
    return _settled(job, row, listing, seen)


def is_same_run(job: Job, row: JobRow | None) -> bool:
    """Whether a row is certainly of the job that is known."""
    return row is not None and row.start_time is not None and row.start_time == job.start_time


def is_another_run(job: Job, row: JobRow) -> bool:
    """Whether a row of a job's id is of a job that started at another time."""
    return job.seen and job.start_time is not None and row.start_time not in (None, job.start_time)


def _missing(job: Job, listing: Listing) -> Job:
    if not job.seen:
        return job
    if job.missing_since is None or listing.time < job.missing_since:  # a clock that was set back
        return replace(job, missing_since=listing.time)
    return _over(job, JobState.UNKNOWN) if listing.asked - job.missing_since >= MISSING_GRACE else job


def _settled(job: Job, row: JobRow, listing: Listing, seen: Observation) -> Job:
    state = state_of(row)
    if state is None:
        return replace(job, missing_since=None)
    facts = _with_facts(job, row, listing.session, seen.patterns)
    if not state.is_over:
        return _going_on(job, replace(facts, ending_since=None, ending=None), row, state, seen)
    since = job.ending_since or seen.now
    if row.error_type in UNCERTAIN_ERRORS:
        since = min(since, seen.now)  # after a clock was set back it is waited for anew
    ending = replace(facts, ending_since=since, ending=row)
    if _is_held_back(since, row, listing, seen):
        return replace(ending, state=job.state if job.seen else JobState.PENDING)
    return _verdict(ending, row, state, seen)


def _going_on(job: Job, facts: Job, row: JobRow, state: JobState, seen: Observation) -> Job:
    doubt = doubt_of(job, row, seen) if state is JobState.RUNNING else None
    if doubt and doubt.is_lost:
        return _over(facts, JobState.UNKNOWN)
    if doubt:
        return replace(facts, state=job.state if job.seen else JobState.PENDING, doubted_since=doubt.since)
    return replace(facts, state=state, running_since=_running_since(job, state, seen))


def state_of(row: JobRow) -> JobState | None:
    """Return the state that a row speaks of, None for a word of Ray's that is not known."""
    state = _STATES.get(row.status)
    if row.is_driver and state is not None and state.is_over:
        return JobState.UNKNOWN
    return state


def _with_facts(job: Job, row: JobRow, session: str, patterns: Patterns) -> Job:
    return replace(
        job,
        session=session,
        entrypoint=clean_again(row.entrypoint, 200, patterns),
        start_time=row.start_time,
        is_driver=row.is_driver,
        missing_since=None,
        doubted_since=None,
    )


def _running_since(job: Job, state: JobState, seen: Observation) -> datetime | None:
    has_begun = job.state is JobState.PENDING and state is JobState.RUNNING
    return (seen.now + seen.head_ahead).replace(microsecond=0) if has_begun else job.running_since


def _is_held_back(since: datetime, row: JobRow, listing: Listing, seen: Observation) -> bool:
    """Whether a row that is terminal `since` is not believed yet, or its log's last lines are still awaited."""
    if row.error_type in UNCERTAIN_ERRORS:
        # Only a listing of later on confirms it: not that of before the dashboard hung, while the log goes on.
        last = seen.last_lines.get(row.id, since)
        alive = last if since < last <= seen.now else since
        return listing.asked - alive < UNCERTAIN_GRACE
    if row.id not in seen.complete_logs and _is_within(since, seen.now, DRAIN_GRACE):
        return True
    return _is_within(since, seen.now, TASKS_GRACE) and awaits_tasks(row, seen)


def awaits_tasks(row: JobRow, seen: Observation) -> bool:
    """Whether the failed tasks of a terminal row's job may tell why it failed, and are not known yet."""
    failed = state_of(row) is JobState.FAILED and row.ray_job_id not in seen.tasks
    return failed and wants_tasks(row, seen.windows.get(row.id))


def _is_within(since: datetime, now: datetime, grace: timedelta) -> bool:
    return timedelta(0) <= now - since < grace  # and not for an hour after a clock was set back by one


def _verdict(job: Job, row: JobRow, state: JobState, seen: Observation) -> Job:
    over = _over(job, state)
    return replace(
        over,
        end_time=row.end_time,
        exit_code=row.exit_code,
        failure=_failure(row, seen) if state is JobState.FAILED else None,
    )


def _failure(row: JobRow, seen: Observation) -> Failure:
    return failure_of(row, seen.windows.get(row.id), seen.patterns, seen.tasks.get(row.ray_job_id, ()))


def _over(job: Job, state: JobState) -> Job:
    return replace(job, state=state, missing_since=None, ending_since=None, ending=None, doubted_since=None)
