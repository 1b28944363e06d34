"""How long what is over is kept: when a job's record is deleted from Ray, and when the watch itself.

A record's age is counted from Ray's end time by the head's clock, which has the last word when Ray is asked. That a
record is to be deleted stands in status before Ray is asked, and that it is deleted only after a later look.
"""

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from rayjobwatch.model import pace
from rayjobwatch.model.jobs import Job
from rayjobwatch.model.moment import Moment
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.records import UNTOUCHED, Deletion, Outcome, RecordAnswer, RecordState
from rayjobwatch.model.spec import RetentionSpec
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.text import clean_line

# A watch has so many records under way at most, which are asked for one after the other; each takes 3 s to be verified.
MOST_AT_ONCE: Final = 30
FIRST_RETRY: Final = 2.0
LONGEST_RETRY: Final = 300.0
# Ray's monitor of a job may write a deleted record again within 3 s of the job's end.
VERIFY_AFTER: Final = 3.0
# How much longer than wanted a watch is kept while something is left to do for it.
LONGEST_STAY: Final = timedelta(hours=1)
# The head tells its time in whole seconds: asked at the very moment, it would say that it is too early.
DATE_SECONDS: Final = 1.0
GONE: Final = "it went with the Ray head that held it"
DRIVERS: Final = "the driver was started without the Jobs API, and Ray deletes only what came through it"

_OVER_FOR_KUBERAY: Final = ("Complete", "Failed")


def with_records(state: WatchState, spec: RetentionSpec, moment: Moment) -> WatchState:
    """Return `state` with what is to become of the jobs' records."""
    under_way = len(pending_jobs(state))
    if spec.delete_record_after_seconds is None and not under_way:
        return state
    room = MOST_AT_ONCE - under_way
    jobs = {}
    for id_, job in state.jobs.items():
        record = _record(job, state, spec, moment, may_begin=room > 0)
        room -= record.state is Deletion.PENDING and job.record.state is not Deletion.PENDING
        jobs[id_] = job if record == job.record else replace(job, record=record)
    return state if jobs == state.jobs else replace(state, jobs=jobs)


def pending_jobs(state: WatchState) -> list[Job]:
    """Return the jobs whose records are being deleted."""
    return [job for job in state.jobs.values() if job.record.state is Deletion.PENDING]


def due_jobs(state: WatchState, now: datetime) -> list[Job]:
    """Return those of which Ray is to be asked now."""
    return [job for job in pending_jobs(state) if pace.seconds_until(job.record.due, now, LONGEST_RETRY) == 0]


def seconds_to_next(state: WatchState, spec: RetentionSpec, moment: Moment) -> float:
    """Return how long until something is due of which nothing else tells; `math.inf`: never, or now."""
    waits = []
    if len(pending_jobs(state)) < MOST_AT_ONCE:
        waits += [_until_old(job, state, spec, moment) for job in state.jobs.values()]
    if not moment.records_asked and not state.problem:
        waits += [pace.seconds_until(job.record.due, moment.now, LONGEST_RETRY) for job in pending_jobs(state)]
    return min((seconds for seconds in waits if seconds > 0), default=math.inf)


def protected_by(ray_jobs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the ids of the jobs whose records must stay, each with the name of the RayJob for which.

    KubeRay takes a missing record of a RayJob that is not over for a job that was never submitted, and submits it.
    """
    protected: dict[str, str] = {}
    for one in ray_jobs:
        spec, status = one.get("spec") or {}, one.get("status") or {}
        if status.get("jobDeploymentStatus") not in _OVER_FOR_KUBERAY:
            protected |= {id_: str(one["metadata"]["name"]) for id_ in (spec.get("jobId"), status.get("jobId")) if id_}
    return protected


def expires_in(state: WatchState, finished: datetime, spec: RetentionSpec, moment: Moment) -> float:
    """Return how long until a watch is deleted that is finished since then, in seconds; `math.inf`: never."""
    if spec.ttl_seconds_after_finished is None or not state.is_finished:
        return math.inf
    longer = LONGEST_STAY if _is_busy(state, spec) else timedelta(0)
    stay = timedelta(seconds=spec.ttl_seconds_after_finished) + longer
    left = (finished + stay - moment.now).total_seconds()
    if state.selected and state.selected.newest:  # of a job that began and ended between two looks
        left = max(left, (state.selected.newest + stay - moment.head_now).total_seconds())
    return left


def _is_busy(state: WatchState, spec: RetentionSpec) -> bool:
    """Whether something is left to do for a watch, or to find out: while its jobs cannot be seen others may come."""
    records = any(_is_wanted(job, state, spec) and not job.record.is_over for job in state.jobs.values())
    unseen = state.selected and state.trouble and state.trouble.reason is not Reason.RAY_CLUSTER_NOT_FOUND
    return bool(state.serve.is_pending or records or unseen)


def _record(job: Job, state: WatchState, spec: RetentionSpec, moment: Moment, *, may_begin: bool) -> RecordState:
    record = job.record
    if record.is_over or not job.state.is_over:
        return record
    if answer := moment.records.get(job.id):
        record = _answered(job, answer, moment.now)
    if record.state is Deletion.PENDING and state.problem and state.problem.reason is Reason.RAY_CLUSTER_NOT_FOUND:
        return RecordState(Deletion.LEFT, _whole(moment.now), GONE)
    if record.is_over or (record.state is Deletion.PENDING and _is_wanted(job, state, spec)):
        return record
    if not (may_begin and _until_old(job, state, spec, moment) == 0):
        return UNTOUCHED
    state_ = Deletion.LEFT if job.is_driver else Deletion.PENDING
    return RecordState(state_, _whole(moment.now), DRIVERS if job.is_driver else "")


def _is_wanted(job: Job, state: WatchState, spec: RetentionSpec) -> bool:
    """Whether `spec` wants the record deleted at some time, and Ray may hold one: it went with any other session."""
    recorded = job.state.is_over and job.seen and job.session == state.cluster.session and job.end_time is not None
    return recorded and spec.delete_record_after_seconds is not None


def _until_old(job: Job, state: WatchState, spec: RetentionSpec, moment: Moment) -> float:
    """Return how long until a record that nobody has begun to delete is old enough; `math.inf`: never."""
    if job.record.state is not Deletion.NONE or not _is_wanted(job, state, spec):
        return math.inf
    if job.end_time is None or spec.delete_record_after_seconds is None:
        return math.inf
    if job.id in moment.unread and not job.is_driver:  # of which Ray has no log
        return math.inf
    age = (moment.head_now - job.end_time).total_seconds()
    return max(0.0, spec.delete_record_after_seconds + DATE_SECONDS - age)


def _answered(job: Job, answer: RecordAnswer, now: datetime) -> RecordState:
    match answer.outcome:
        case Outcome.GONE:
            return RecordState(Deletion.DELETED, _whole(now))
        case Outcome.LEFT:
            return RecordState(Deletion.LEFT, _whole(now), clean_line(answer.message))
        case Outcome.ASKED:
            return replace(job.record, message="", due=now + timedelta(seconds=VERIFY_AFTER))
        case Outcome.PUT_OFF:
            failures = job.record.failures + 1
            chance = zlib.crc32(f"{job.id} {failures}".encode()) / 2**32
            pause = pace.jittered(pace.backed_off(FIRST_RETRY, failures, LONGEST_RETRY), chance)
            due = now + timedelta(seconds=pause)
            return replace(job.record, message=clean_line(answer.message), failures=failures, due=due)


def _whole(time: datetime) -> datetime:
    return time.replace(microsecond=0)
