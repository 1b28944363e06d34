"""Stopping jobs: why one is to be stopped, when Ray is asked, and when that is said to have failed.

A `StopOrder` stands in status before Ray is asked, so that after a crash at any line the next process goes on where
this one stopped. `stopped: true` of Ray means asked, no more: Ray is asked again, with back-off, until its table shows
the job to be over. A PENDING job cannot be stopped: Ray says yes, and stops it when it begins to run, whatever anybody
wants by then. So that people may change their minds, Ray is asked when the job runs, and only for a watch that is being
deleted, which nobody takes back, at once.
"""

import math
import zlib
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime, timedelta

from rayjobwatch.model import pace
from rayjobwatch.model.jobs import Job, JobState, StopCause, StopOrder
from rayjobwatch.model.moment import Moment
from rayjobwatch.model.selection import OPEN_ROWS, ROWS
from rayjobwatch.model.spec import RuleAction, StopSpec, WatchSpec
from rayjobwatch.model.state import WatchState

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0
# Ray kills what ignores SIGTERM after 3 s, unless the job's environment says otherwise.
OVERDUE = timedelta(seconds=60)
WAITS_TO_RUN = "Ray cannot stop a PENDING job: it is stopped as soon as it runs"
NOT_STOPPABLE = "NotStoppable: the driver was started without the Jobs API, and Ray stops only what came through it"
STILL_RUNNING = f"still running {OVERDUE.seconds} s after Ray was asked to stop it; it is asked again"


def with_orders(state: WatchState, spec: WatchSpec, moment: Moment) -> WatchState:
    """Return `state` with the stops that `spec` wants of its jobs, each that is due with one attempt more."""
    rules = {rule.name for rule in spec.logs.rules if rule.action is RuleAction.STOP_JOB}
    orders = {
        id_: _order(job, _cause(job, spec.stop, moment, by_rule=_by_rule(job, state, rules)), spec.stop, moment, state)
        for id_, job in state.jobs.items()
    }
    for job in _without_row(state, orders):
        orders[job.id] = None
    if all(orders[id_] == job.stop for id_, job in state.jobs.items()):
        return state
    return replace(state, jobs={id_: replace(job, stop=orders[id_]) for id_, job in state.jobs.items()})


def _by_rule(job: Job, state: WatchState, rules: AbstractSet[str]) -> bool:
    """Whether a rule that stops jobs fires for this one, or has: that it rests meanwhile does not save the job."""
    if job.stop and job.stop.cause is StopCause.LOG_RULE:
        return bool(rules)
    found = state.findings.get(job.id)
    return found is not None and any(found.rules[name].firing for name in rules & found.rules.keys())


def _without_row(state: WatchState, orders: Mapping[str, StopOrder | None]) -> list[Job]:
    """Return the jobs whose stop is put off, as not all that are to be stopped have a row in status to say so."""
    if len(state.jobs) <= ROWS:
        return []
    wanted = [job for job in state.jobs.values() if orders[job.id] and not job.state.is_over]
    # Nothing stops a driver, nor a PENDING job before it runs: those that stopping helps come first.
    wanted.sort(key=lambda job: (job.is_driver, job.state is not JobState.RUNNING, job.stop is None))
    return wanted[OPEN_ROWS:]


def _order(job: Job, cause: StopCause | None, spec: StopSpec, moment: Moment, state: WatchState) -> StopOrder | None:
    order, now, answer = job.stop, moment.now, moment.answers.get(job.id)
    if job.state.is_over:
        return _settled(job, order, now) if order else None
    if cause is None:
        return None
    if order is None:
        order, answer = StopOrder(cause, now.replace(microsecond=0)), None
    elif order.cause is not cause:  # which does not hold any more
        order = replace(order, cause=cause, requested_time=now.replace(microsecond=0))
    if job.is_driver:
        return replace(order, message=NOT_STOPPABLE)
    order = replace(order, message=_message(job, order, now, answer))
    is_due = state.trouble is None and _seconds_to_attempt(job, order, spec, moment) <= 0
    return _asked(job, order, now) if is_due else order


def _settled(job: Job, order: StopOrder, now: datetime) -> StopOrder:
    stopped = order.stopped_time or job.end_time or now
    return replace(order, stopped_time=stopped if job.state is JobState.STOPPED else None, message="")


def _asked(job: Job, order: StopOrder, now: datetime) -> StopOrder:
    time, in_vain = now.replace(microsecond=0), job.state is JobState.PENDING
    first = time if order.in_vain else order.first_attempt or time
    return replace(order, attempts=order.attempts + 1, first_attempt=first, last_attempt=time, in_vain=in_vain)


def _message(job: Job, order: StopOrder, now: datetime, answer: str | None) -> str:
    if answer:
        return answer
    if job.state is JobState.PENDING:
        return WAITS_TO_RUN
    if answer is None:
        return "" if order.message == WAITS_TO_RUN else order.message
    is_overdue = order.first_attempt and now - order.first_attempt >= OVERDUE and not order.in_vain
    return STILL_RUNNING if is_overdue else ""


def _cause(job: Job, spec: StopSpec, moment: Moment, *, by_rule: bool) -> StopCause | None:
    """Return why a job is to be stopped; what once began it stays the reason while it holds."""
    causes = [*([StopCause.LOG_RULE] if by_rule else []), *_causes(job, spec, moment)] if job.seen else []
    return job.stop.cause if job.stop and job.stop.cause in causes else next(iter(causes), None)


def _causes(job: Job, spec: StopSpec, moment: Moment) -> Iterator[StopCause]:
    if spec.requested:
        yield StopCause.REQUESTED
    if moment.deleted and spec.on_deletion:
        yield StopCause.WATCH_DELETED
    if job.stop and job.stop.cause is StopCause.PENDING_DEADLINE and _has_waited_too_long(job, spec):
        yield StopCause.PENDING_DEADLINE
    deadline = _deadline(job, spec)
    if deadline and _seconds_left(*deadline, job, moment) <= 0:
        yield deadline[0]


def _has_waited_too_long(job: Job, spec: StopSpec) -> bool:
    """Whether a job that runs now was PENDING beyond its deadline: Ray could not stop it then, and nothing saves it."""
    limit = spec.pending_deadline_seconds
    if limit is None or job.state is not JobState.RUNNING:
        return False
    if job.running_since is None or job.start_time is None:
        return True
    return job.running_since - job.start_time >= timedelta(seconds=limit)


def _deadline(job: Job, spec: StopSpec) -> tuple[StopCause, datetime] | None:
    """Return which deadline an open job is under, and when it passes by the head's clock."""
    seconds = {
        JobState.PENDING: (StopCause.PENDING_DEADLINE, spec.pending_deadline_seconds),
        JobState.RUNNING: (StopCause.ACTIVE_DEADLINE, spec.active_deadline_seconds),
    }
    cause, limit = seconds.get(job.state, (None, None))
    since = job.running_since or job.start_time
    return (cause, since + timedelta(seconds=limit)) if cause and limit is not None and since else None


def _seconds_left(cause: StopCause, deadline: datetime, job: Job, moment: Moment) -> float:
    """Return how long until a deadline passes; while the head's clock is not known, only what was found stands."""
    if moment.head_ahead is None:
        return 0.0 if job.stop and job.stop.cause is cause else math.inf
    return (deadline - moment.head_now).total_seconds()


def _seconds_to_attempt(job: Job, order: StopOrder, spec: StopSpec, moment: Moment) -> float:
    """Return how long until Ray is to be asked again; 0 or less: now."""
    waits = job.state is JobState.PENDING and not (moment.deleted and spec.on_deletion)
    if job.is_driver or job.state.is_over or waits:
        return math.inf
    if order.last_attempt is None or (order.in_vain and job.state is JobState.RUNNING):
        return 0.0
    chance = zlib.crc32(f"{job.id} {order.attempts}".encode()) / 2**32
    pause = pace.jittered(pace.backed_off(FIRST_PAUSE, order.attempts, LONGEST_PAUSE), chance)
    since = (moment.now - order.last_attempt).total_seconds()
    return pause - since if since >= 0 else 0.0  # a clock that was set back


def seconds_to_next(state: WatchState, spec: StopSpec, moment: Moment) -> float:
    """Return how long until an attempt is due or a deadline passes, of which nothing else tells; `math.inf`: never."""
    may_ask = state.trouble is None
    return min((_seconds(job, spec, moment, may_ask=may_ask) for job in state.jobs.values()), default=math.inf)


def _seconds(job: Job, spec: StopSpec, moment: Moment, *, may_ask: bool) -> float:
    if job.stop:
        return max(0.0, _seconds_to_attempt(job, job.stop, spec, moment)) if may_ask else math.inf
    deadline = _deadline(job, spec)
    left = _seconds_left(*deadline, job, moment) if deadline else 0.0
    return left if left > 0 else math.inf  # one that has passed is put off until others are stopped
