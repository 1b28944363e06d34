"""Which jobs are to be stopped, when Ray is asked, and what is said of it."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from rayjobwatch.model import deletion
from rayjobwatch.model.decide import decide, seconds_to_next
from rayjobwatch.model.events import events_of
from rayjobwatch.model.jobs import Job, JobState, StopCause, StopOrder
from rayjobwatch.model.lens import Findings
from rayjobwatch.model.moment import Moment
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import EventReason, Reason
from rayjobwatch.model.rules import RuleState
from rayjobwatch.model.selection import shown
from rayjobwatch.model.servestate import CleanUp, ServeState
from rayjobwatch.model.spec import StopSpec, WatchSpec
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.stop import LONGEST_PAUSE, NOT_STOPPABLE, STILL_RUNNING, WAITS_TO_RUN
from tests.unit.observations import DOWN, START, T0, at, folded, heard, row


def stopping(**facts: object) -> StopSpec:
    return StopSpec.model_validate({to_camel(name): value for name, value in facts.items()})


REQUESTED = stopping(requested=True)
NOTHING = stopping()


def spec(stop: StopSpec) -> WatchSpec:
    return WatchSpec.model_validate(
        {"rayCluster": {"name": "shared"}, "jobs": {"ids": ["a"]}, "stop": stop.model_dump(by_alias=True)}
    )


def state_of(job: Job, **facts: object) -> WatchState:
    return replace(WatchState({job.id: job}, reachable=True), **facts)  # type: ignore[arg-type]


def running(**facts: object) -> Job:
    return replace(Job("a", JobState.RUNNING, "s1", start_time=START), **facts)  # type: ignore[arg-type]


def after(job: Job, stop: StopSpec, seconds: float = 0.0, **more: object) -> Job:
    """Return a job after a decision so many seconds after T0."""
    moment = replace(Moment(at(seconds)), **more)  # type: ignore[arg-type]
    return decide(state_of(job), spec(stop), moment).jobs["a"]


def order_of(job: Job) -> StopOrder:
    assert job.stop is not None
    return job.stop


@pytest.mark.parametrize(
    ("job", "stop", "cause"),
    [
        (running(), NOTHING, None),
        (running(), REQUESTED, StopCause.REQUESTED),
        (running(state=JobState.PENDING), REQUESTED, StopCause.REQUESTED),
        (Job("a"), REQUESTED, None),
        (running(state=JobState.SUCCEEDED), REQUESTED, None),
        (running(), stopping(active_deadline_seconds=60), StopCause.ACTIVE_DEADLINE),
        (running(), stopping(active_deadline_seconds=61), None),
        (running(running_since=at(-30)), stopping(active_deadline_seconds=60), None),
        (running(running_since=at(-30)), stopping(active_deadline_seconds=30), StopCause.ACTIVE_DEADLINE),
        (running(start_time=None), stopping(active_deadline_seconds=1), None),
        (running(state=JobState.PENDING), stopping(active_deadline_seconds=1), None),
        (running(state=JobState.PENDING), stopping(pending_deadline_seconds=60), StopCause.PENDING_DEADLINE),
        (running(state=JobState.PENDING), stopping(pending_deadline_seconds=61), None),
        (running(), stopping(pending_deadline_seconds=1), None),
        (running(), stopping(on_deletion=True), None),
    ],
)
def test_why_a_job_is_stopped(job: Job, stop: StopSpec, cause: StopCause | None) -> None:
    order = after(job, stop).stop
    assert (order.cause if order else None) == cause


def test_deadlines_go_by_the_clock_of_the_head() -> None:
    stop = stopping(active_deadline_seconds=100)
    assert after(running(), stop).stop is None
    assert after(running(), stop, head_ahead=timedelta(seconds=40)).stop is not None
    assert after(running(), stop, 3600, head_ahead=timedelta(seconds=-3561)).stop is None


def test_while_the_clock_of_the_head_is_not_known_a_deadline_stands_as_it_was_found() -> None:
    stop = stopping(active_deadline_seconds=60)
    assert after(running(), stop, head_ahead=None).stop is None
    found = after(running(), stop)
    assert order_of(after(found, stop, -3600, head_ahead=None)).requested_time == T0
    assert after(found, NOTHING, head_ahead=None).stop is None


def test_running_time_is_that_of_the_head_and_only_where_the_job_was_seen_to_wait() -> None:
    waiting = folded(heard(0, row("PENDING")))
    seen = replace(heard(5, row("RUNNING")), head_ahead=timedelta(seconds=100))
    assert folded(seen, state=waiting).jobs["a"].running_since == at(105)
    assert folded(seen).jobs["a"].running_since is None


def test_a_stop_is_asked_at_once_and_again_with_growing_pauses() -> None:
    job, asked = running(), []
    for second in range(400):
        job = after(job, REQUESTED, second)
        if order_of(job).last_attempt == at(second):
            asked.append(second)
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert asked[0] == 0
    assert 2 <= pauses[0] <= 6
    assert max(pauses) <= LONGEST_PAUSE + 1
    assert 6 <= len(asked) <= 16
    assert order_of(job).attempts == len(asked)


DELETION = stopping(on_deletion=True)


def test_a_pending_job_is_asked_for_as_soon_as_it_runs_and_not_before_so_that_people_may_change_their_minds() -> None:
    pending = after(running(state=JobState.PENDING), REQUESTED)
    assert (order_of(pending).attempts, order_of(pending).message) == (0, WAITS_TO_RUN)
    assert seconds_to_next(state_of(pending), spec(REQUESTED), Moment(at(1))) == math.inf
    assert after(pending, NOTHING, 1).stop is None
    runs = after(replace(pending, state=JobState.RUNNING), REQUESTED, 1)
    assert (order_of(runs).attempts, order_of(runs).message) == (1, "")


def test_a_pending_job_of_a_watch_that_is_deleted_is_asked_for_at_once_and_again_as_soon_as_it_runs() -> None:
    pending = after(running(state=JobState.PENDING), DELETION, deleted=True)
    assert (order_of(pending).attempts, order_of(pending).in_vain) == (1, True)
    assert order_of(after(pending, DELETION, 1, deleted=True)).attempts == 1
    runs = after(replace(pending, state=JobState.RUNNING), DELETION, 1, deleted=True)
    assert (order_of(runs).attempts, order_of(runs).in_vain) == (2, False)


def test_a_pending_job_that_is_to_be_stopped_for_another_reason_is_asked_for_when_its_watch_is_deleted() -> None:
    both = stopping(on_deletion=True, requested=True)
    pending = after(running(state=JobState.PENDING), both)
    assert order_of(pending).attempts == 0
    assert order_of(after(pending, both, 1, deleted=True)).attempts == 1


@pytest.mark.parametrize(("stop", "deleted"), [(REQUESTED, False), (DELETION, True)])
def test_a_job_is_said_to_run_on_by_the_time_since_ray_was_asked_for_it_while_it_ran(
    stop: StopSpec, deleted: bool
) -> None:
    job = after(running(state=JobState.PENDING), stop, deleted=deleted)
    job = replace(job, state=JobState.RUNNING)
    for second, message in ((100, ""), (159, ""), (160, STILL_RUNNING)):
        job = after(job, stop, second, deleted=deleted, answers={"a": ""} if second > 100 else {})
        assert order_of(job).message == message


def test_a_job_that_was_pending_for_too_long_is_stopped_although_it_runs_meanwhile() -> None:
    stop = stopping(pending_deadline_seconds=60)
    pending = after(running(state=JobState.PENDING), stop)
    assert order_of(after(replace(pending, state=JobState.RUNNING), stop, 1)).attempts == 1


@pytest.mark.parametrize(
    ("seconds", "began", "is_stopped"), [(60, None, True), (61, None, False), (70, 10, True), (71, 10, False)]
)
def test_a_pending_deadline_that_is_raised_above_what_the_job_has_waited_saves_it(
    seconds: int, began: int | None, is_stopped: bool
) -> None:
    job = after(running(state=JobState.PENDING), stopping(pending_deadline_seconds=60))
    if began is not None:
        job = replace(job, state=JobState.RUNNING, running_since=at(began))
    raised = after(job, stopping(pending_deadline_seconds=seconds), began or 0)
    assert bool(raised.stop) is is_stopped


def test_a_change_of_mind_ends_the_asking_and_a_second_one_begins_anew() -> None:
    job = after(running(), REQUESTED)
    job = after(job, NOTHING, 1)
    assert job.stop is None
    again = order_of(after(job, REQUESTED, 2))
    assert (again.requested_time, again.attempts) == (at(2), 1)


def test_a_cause_that_holds_stays_the_cause() -> None:
    stop = stopping(active_deadline_seconds=60)
    job = after(running(), stop)
    assert order_of(after(job, stop.model_copy(update={"requested": True}), 1)).cause is StopCause.ACTIVE_DEADLINE


def test_a_cause_that_holds_no_more_gives_way_to_one_that_does_and_that_is_told() -> None:
    both = stopping(requested=True, active_deadline_seconds=60)
    asked = after(running(), both)
    later = after(asked, stopping(active_deadline_seconds=60), 1)
    assert (order_of(asked).cause, order_of(later).cause) == (StopCause.REQUESTED, StopCause.ACTIVE_DEADLINE)
    assert (order_of(later).requested_time, order_of(later).attempts) == (at(1), 1)
    assert [reason for reason, _ in _reasons(asked, later)] == [EventReason.DEADLINE_EXCEEDED]


def test_nothing_is_asked_while_the_dashboard_is_away() -> None:
    state = decide(state_of(running(), unreachable=DOWN), spec(REQUESTED), Moment(T0))
    assert order_of(state.jobs["a"]).attempts == 0
    assert seconds_to_next(state, spec(REQUESTED), Moment(T0)) == math.inf


@pytest.mark.parametrize(
    ("state", "stopped"), [(JobState.STOPPED, at(9)), (JobState.SUCCEEDED, None), (JobState.LOST, None)]
)
def test_only_a_job_that_ended_as_stopped_has_been_stopped(state: JobState, stopped: datetime | None) -> None:
    job = after(running(state=JobState.PENDING), REQUESTED)
    over = after(replace(job, state=state, end_time=at(9)), NOTHING, 60)
    assert (over.state, order_of(over).stopped_time, order_of(over).message) == (state, stopped, "")


def test_a_clock_that_is_set_back_does_not_silence_a_stop() -> None:
    job = after(running(), REQUESTED, 3600)
    assert order_of(after(job, REQUESTED, 0)).attempts == 2


@pytest.mark.parametrize(
    ("job", "answers", "seconds", "message"),
    [
        (running(), {}, 1, ""),
        (running(), {"a": ""}, 1, ""),
        (running(), {"a": "stop_job('a'): boom (500)"}, 1, "stop_job('a'): boom (500)"),
        (running(), {"a": ""}, 61, STILL_RUNNING),
        (running(is_driver=True), {}, 1, NOT_STOPPABLE),
        (running(state=JobState.PENDING), {}, 61, WAITS_TO_RUN),
    ],
)
def test_what_is_said_of_a_stop_that_has_not_come_yet(
    job: Job, answers: Mapping[str, str], seconds: float, message: str
) -> None:
    job = after(job, REQUESTED)
    for second in (seconds / 2, seconds):
        job = after(job, REQUESTED, second, answers=answers)
    assert order_of(job).message.startswith(message)
    assert bool(order_of(job).message) is bool(message)


def test_an_earlier_order_s_answer_says_nothing_of_a_new_one() -> None:
    assert order_of(after(running(), REQUESTED, answers={"a": "boom"})).message == ""


def _reasons(*jobs: Job) -> list[tuple[EventReason, str]]:
    states = [state_of(job) for job in jobs]
    pairs = itertools.pairwise(states)
    return [(note.reason, note.identity) for old, new in pairs for note in events_of(old, new)]


def test_events_tell_of_the_order_of_a_refusal_once_and_of_the_end() -> None:
    asked = after(running(), REQUESTED)
    refused = after(asked, REQUESTED, 1, answers={"a": "boom"})
    refused_again = after(refused, REQUESTED, 2, answers={"a": "bang"})
    over = replace(refused_again, state=JobState.STOPPED)
    told = [reason for reason, _ in _reasons(running(), asked, refused, refused_again, over)]
    assert told == [EventReason.STOP_REQUESTED, EventReason.STOP_FAILED, EventReason.JOB_STOPPED]


def test_a_second_order_is_told_under_another_name_and_the_same_one_under_the_same() -> None:
    first, later = after(running(), REQUESTED), after(running(), REQUESTED, 9)
    assert _reasons(running(), first) == _reasons(running(), after(first, REQUESTED, 9))
    assert _reasons(running(), first) != _reasons(running(), later)


def test_a_job_that_is_seen_for_the_first_time_is_said_to_run_before_it_is_said_to_be_asked() -> None:
    notes = events_of(WatchState(), state_of(after(running(), REQUESTED)))
    assert [note.reason for note in notes] == [EventReason.JOB_RUNNING, EventReason.STOP_REQUESTED]
    over = replace(after(running(), REQUESTED), state=JobState.STOPPED)
    notes = events_of(WatchState(), state_of(over))
    assert [note.reason for note in notes] == [EventReason.STOP_REQUESTED, EventReason.JOB_STOPPED]


def test_a_pending_job_is_not_said_to_be_asked_but_a_refusal_later_is_told() -> None:
    pending = after(running(state=JobState.PENDING), REQUESTED)
    (note,) = events_of(state_of(running(state=JobState.PENDING)), state_of(pending))
    assert note.message == "job a is to be stopped as soon as it runs: spec.stop.requested is true"
    runs = after(replace(pending, state=JobState.RUNNING), REQUESTED, 1)
    refused = after(runs, REQUESTED, 2, answers={"a": "boom"})
    assert [reason for reason, _ in _reasons(pending, runs, refused)] == [
        EventReason.JOB_RUNNING,
        EventReason.STOP_FAILED,
    ]


def test_a_driver_is_told_to_be_not_stoppable_and_never_asked() -> None:
    job = after(running(is_driver=True), REQUESTED)
    assert [reason for reason, _ in _reasons(running(is_driver=True), job)] == [EventReason.STOP_FAILED]
    assert order_of(after(job, REQUESTED, 1000)).attempts == 0


_SPECS = st.builds(
    stopping,
    requested=st.booleans(),
    active_deadline_seconds=st.none() | st.integers(1, 200),
    pending_deadline_seconds=st.none() | st.integers(1, 200),
    on_deletion=st.booleans(),
)
_JOBS = st.builds(
    running, state=st.sampled_from(JobState), is_driver=st.booleans(), running_since=st.none() | st.just(at(-10))
)


@given(_JOBS, _SPECS, st.booleans(), st.integers(0, 300))
def test_a_decision_is_made_once_and_tells_when_the_next_one_is_due(
    job: Job, stop: StopSpec, deleted: bool, seconds: int
) -> None:
    moment = Moment(at(seconds), deleted=deleted)
    once = decide(state_of(job), spec(stop), moment)
    assert decide(once, spec(stop), moment) == once
    left = seconds_to_next(once, spec(stop), moment)
    assert left > 0
    if left < math.inf:
        later = replace(moment, now=moment.now + timedelta(seconds=left + 0.001))
        assert decide(once, spec(stop), later) != once
    if left == math.inf or left > 2:
        assert decide(once, spec(stop), replace(moment, now=moment.now + timedelta(seconds=1))) == once


@given(_JOBS, st.booleans(), st.integers(0, 300))
def test_without_a_wish_nothing_is_stopped(job: Job, deleted: bool, seconds: int) -> None:
    assert after(job, NOTHING, seconds, deleted=deleted).stop is None


@pytest.mark.parametrize(
    ("state", "seconds", "goes"),
    [
        (state_of(running()), 0, False),
        (state_of(running()), 59, False),
        (state_of(running()), 60, True),
        (state_of(running(), reachable=None), 59, False),
        (state_of(running(), unreachable=DOWN, reachable=False), 59, False),
        (state_of(running(), unreachable=DOWN, reachable=False), 61, True),
        (state_of(running(state=JobState.STOPPED), reachable=None), 0, True),
        (state_of(running(state=JobState.PENDING)), 0, False),
        (state_of(running(is_driver=True)), 0, True),
        (state_of(Job("a")), 0, True),
        (state_of(Job("a"), reachable=None), 0, False),
        (state_of(running(), problem=Problem(Reason.RAY_CLUSTER_NOT_FOUND, "")), 0, True),
        (state_of(running(), problem=Problem(Reason.RAY_CLUSTER_NOT_READY, "")), 0, False),
    ],
)
def test_when_a_deleted_watch_is_let_go(state: WatchState, seconds: float, goes: bool) -> None:
    assert deletion.may_go(state, spec(stopping(onDeletion=True)), T0, at(seconds)) is goes


def test_a_deleted_watch_is_not_let_go_before_a_look_for_jobs_that_came_meanwhile() -> None:
    state, wanted = state_of(Job("a")), spec(stopping(onDeletion=True))
    assert not deletion.may_go(state, wanted, T0, at(59), is_listed=False)
    assert deletion.may_go(state, wanted, T0, at(60), is_listed=False)


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        (None, "the RayJobWatch is let go after 60 s"),
        (Problem(Reason.RAY_CLUSTER_SUSPENDED, "it is suspended"), "the RayJobWatch is let go: it is suspended"),
        (Problem(Reason.RAY_CLUSTER_NOT_READY, "no head"), "the RayJobWatch is let go after 60 s"),
    ],
)
def test_why_a_deleted_watch_is_let_go_is_told(problem: Problem | None, why: str) -> None:
    assert deletion.why_let_go(state_of(running(), problem=problem)) == why


@pytest.mark.parametrize(
    ("clean_up", "seconds", "goes"),
    [(CleanUp.NONE, 0, True), (CleanUp.DONE, 0, True), (CleanUp.PENDING, 59, False), (CleanUp.PENDING, 60, True)],
)
def test_a_deleted_watch_waits_for_its_clean_up_and_for_no_job_that_is_not_to_be_stopped(
    clean_up: CleanUp, seconds: float, goes: bool
) -> None:
    state = state_of(running(), serve=ServeState(clean_up, T0))
    assert deletion.may_go(state, spec(NOTHING), T0, at(seconds)) is goes


def _fired(*, firing: bool) -> dict[str, Findings]:
    return {"a": Findings({"oom": RuleState(1, 1, firing)})}


def _after_rule(job: Job, firing: bool, **rule: object) -> StopOrder | None:
    logs = {"rules": [{"name": "oom", "pattern": "oom", **rule}]}
    body = {"rayCluster": {"name": "shared"}, "jobs": {"ids": ["a"]}, "logs": logs}
    state = state_of(job, findings=_fired(firing=firing))
    return decide(state, WatchSpec.model_validate(body), Moment(T0)).jobs["a"].stop


def test_a_rule_stops_its_job_only_if_that_is_its_action_and_although_it_rests_later() -> None:
    assert _after_rule(running(), True) is None
    assert _after_rule(running(), False, action="StopJob") is None
    order = _after_rule(running(), True, action="StopJob")
    assert order
    assert (order.cause, order.attempts) == (StopCause.LOG_RULE, 1)
    assert _after_rule(running(stop=order), False, action="StopJob") == order
    assert _after_rule(running(stop=order), False) is None


@pytest.mark.parametrize(("told", "since"), [(-30, 0), (30, 0), (-599, 0), (-600, -600)])
def test_the_time_of_a_deletion_is_ours_unless_it_was_long_ago(told: float, since: float) -> None:
    assert deletion.counted_from(at(told), T0, T0) == at(since)


def test_of_more_jobs_than_status_has_rows_only_those_are_stopped_that_have_one_the_running_ones_first() -> None:
    states = [*["PENDING"] * 60, *["RUNNING"] * 60]
    rows = [row(state, f"{n:03}", start_time=at(n), is_driver=n == 119) for n, state in enumerate(states)]
    ids = [one.id for one in rows]
    state = decide(folded(heard(200, *rows), ids=ids), spec(REQUESTED), Moment(at(200)))
    assert [id_ for id_, job in state.jobs.items() if job.stop] == ids[60:90]
    assert {job.id for job in shown(state)} >= set(ids[60:90])
    assert seconds_to_next(state, spec(REQUESTED), Moment(at(200))) > 1
    ended = [replace(one, status="STOPPED", end_time=at(203)) if one.id in ids[60:90] else one for one in rows]
    state = decide(folded(heard(204, *ended), state=state, ids=ids), spec(REQUESTED), Moment(at(204)))
    ordered = [id_ for id_, job in state.jobs.items() if job.stop and not job.state.is_over]
    assert ordered == [ids[0], *ids[90:119]]


def test_a_deadline_that_has_passed_for_more_jobs_than_have_a_row_keeps_nobody_busy() -> None:
    rows = [row("RUNNING", f"{n:03}", start_time=START) for n in range(100)]
    limit = stopping(active_deadline_seconds=1)
    state = folded(heard(200, *rows), ids=[one.id for one in rows])
    state = decide(state, spec(limit), Moment(at(200)))
    assert sum(job.stop is not None for job in state.jobs.values()) == 30
    assert seconds_to_next(state, spec(limit), Moment(at(200))) > 1
