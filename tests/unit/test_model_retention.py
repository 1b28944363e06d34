"""How long records and watches are kept, and which records must stay."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.model.events import events_of
from rayjobwatch.model.jobs import Job, JobState
from rayjobwatch.model.moment import Moment
from rayjobwatch.model.observation import Cluster, Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.records import Deletion, Outcome, RecordAnswer, RecordState
from rayjobwatch.model.retention import (
    LONGEST_RETRY,
    LONGEST_STAY,
    MOST_AT_ONCE,
    due_jobs,
    expires_in,
    pending_jobs,
    protected_by,
    seconds_to_next,
    with_records,
)
from rayjobwatch.model.servestate import CleanUp, ServeState
from rayjobwatch.model.spec import RetentionSpec
from rayjobwatch.model.state import Selected, WatchState
from tests.unit.observations import T0, at

HOUR = RetentionSpec.model_validate({"deleteRecordAfterSeconds": 3600})
OVER = Job("a", JobState.SUCCEEDED, session="s1", start_time=at(-60), end_time=T0)


def watching(*jobs: Job) -> WatchState:
    return WatchState({job.id: job for job in jobs}, Cluster(session="s1"), reachable=True)


def answered(state: WatchState, seconds: float, outcome: Outcome, message: str = "") -> WatchState:
    moment = Moment(at(seconds), records={"a": RecordAnswer(outcome, message)})
    return with_records(state, HOUR, moment)


def record_of(state: WatchState) -> RecordState:
    return state.jobs["a"].record


def test_a_record_is_deleted_at_its_age_and_that_is_believed_after_a_later_look() -> None:
    state = watching(OVER)
    assert with_records(state, HOUR, Moment(at(3600))) == state
    assert seconds_to_next(state, HOUR, Moment(at(3600))) == 1
    state = with_records(state, HOUR, Moment(at(3601)))
    assert (record_of(state).state, due_jobs(state, at(3601))) == (Deletion.PENDING, [state.jobs["a"]])
    assert seconds_to_next(state, HOUR, Moment(at(3601))) == math.inf
    assert seconds_to_next(state, HOUR, Moment(at(3601), records_asked=True)) == math.inf
    state = answered(state, 3602, Outcome.ASKED)
    assert (record_of(state).state, due_jobs(state, at(3603))) == (Deletion.PENDING, [])
    assert seconds_to_next(state, HOUR, Moment(at(3603))) == 2
    assert len(due_jobs(state, at(3605))) == 1
    state = answered(state, 3606, Outcome.GONE)
    assert (record_of(state).state, record_of(state).time) == (Deletion.DELETED, at(3606))
    assert seconds_to_next(state, HOUR, Moment(at(3606))) == math.inf
    assert with_records(state, HOUR, Moment(at(9999))) == state
    assert state.jobs["a"].state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("job", "moment"),
    [
        pytest.param(replace(OVER, session="s0"), {}, id="went with another head"),
        pytest.param(replace(OVER, state=JobState.RUNNING), {}, id="running"),
        pytest.param(replace(OVER, state=JobState.PENDING), {}, id="pending"),
        pytest.param(replace(OVER, state=JobState.WAITING), {}, id="never seen"),
        pytest.param(replace(OVER, state=JobState.LOST, end_time=None), {}, id="lost"),
        pytest.param(replace(OVER, state=JobState.UNKNOWN, end_time=None), {}, id="deleted by somebody"),
        pytest.param(OVER, {"unread": {"a"}}, id="its log is not read yet"),
        pytest.param(OVER, {"head_ahead": timedelta(seconds=-20)}, id="the head's clock is behind"),
    ],
)
def test_what_must_not_be_deleted(job: Job, moment: dict[str, Any]) -> None:
    state = watching(job)
    assert with_records(state, HOUR, Moment(at(3610), **moment)) == state


def test_the_head_s_clock_counts() -> None:
    state = with_records(watching(OVER), HOUR, Moment(at(10), head_ahead=timedelta(hours=1)))
    assert record_of(state).state is Deletion.PENDING


def test_without_a_time_nothing_is_deleted_and_a_change_of_mind_counts() -> None:
    state = watching(OVER)
    assert with_records(state, RetentionSpec(), Moment(at(10**7))) == state
    begun = with_records(state, HOUR, Moment(at(3601)))
    assert with_records(begun, RetentionSpec(), Moment(at(3601))) == state


def test_a_driver_s_record_is_left_and_that_is_said() -> None:
    state = with_records(watching(replace(OVER, is_driver=True)), HOUR, Moment(at(3601), unread={"a"}))
    assert record_of(state).state is Deletion.LEFT
    assert "without the Jobs API" in record_of(state).message
    assert not due_jobs(state, at(9999))


def test_what_cannot_be_done_now_is_tried_again_with_a_growing_pause_and_says_why() -> None:
    state, now, pauses = with_records(watching(OVER), HOUR, Moment(at(3601))), at(3600), []
    for _ in range(12):
        state = answered(state, (now - T0).total_seconds(), Outcome.PUT_OFF, "RayJob train\nnames it")
        due = record_of(state).due
        assert due
        pauses.append((due - now).total_seconds())
        now = due
    assert all(longest / 2 <= pause <= longest for pause, longest in zip(pauses, [2, 4, 8], strict=False))
    assert LONGEST_RETRY / 2 <= pauses[-1] <= LONGEST_RETRY
    assert record_of(state).message == "RayJob trainnames it"
    state = answered(state, 9999, Outcome.LEFT, "its id is that of another run now")
    assert (record_of(state).state, record_of(state).message) == (Deletion.LEFT, "its id is that of another run now")


def test_of_many_records_a_few_are_under_way() -> None:
    state = watching(*(replace(OVER, id=f"j{number}") for number in range(70)))
    rounds = 0
    while not all(job.record.is_over for job in state.jobs.values()):
        state = with_records(state, HOUR, Moment(at(3601 + rounds)))
        under_way = pending_jobs(state)
        assert len(under_way) <= MOST_AT_ONCE
        assert seconds_to_next(state, HOUR, Moment(at(3601 + rounds), records_asked=True)) == math.inf
        gone = {job.id: RecordAnswer(Outcome.GONE) for job in under_way}
        state = with_records(state, HOUR, Moment(at(3601 + rounds), records=gone))
        rounds += 1
    assert rounds == 3


def test_while_there_is_no_dashboard_nothing_is_due() -> None:
    state = with_records(watching(OVER), HOUR, Moment(at(3601)))
    away = replace(state, problem=Problem(Reason.RAY_CLUSTER_NOT_READY, "waiting"))
    assert seconds_to_next(away, HOUR, Moment(at(3601))) == math.inf
    assert with_records(away, HOUR, Moment(at(3602))) == away
    gone = replace(state, problem=Problem(Reason.RAY_CLUSTER_NOT_FOUND, "waiting"))
    record = record_of(with_records(gone, HOUR, Moment(at(3602))))
    assert (record.state, record.message) == (Deletion.LEFT, "it went with the Ray head that held it")


def ray_job(job_id: str, deployment: str | None, *, in_spec: bool = False) -> dict[str, Any]:
    status = {"jobId": "" if in_spec else job_id} | ({"jobDeploymentStatus": deployment} if deployment else {})
    return {"metadata": {"name": "train"}, "spec": {"jobId": job_id} if in_spec else {}, "status": status}


@pytest.mark.parametrize("deployment", ["Initializing", "Running", "Retrying", "Suspended", "Waiting", "", None])
@pytest.mark.parametrize("in_spec", [False, True])
def test_the_job_of_a_ray_job_that_is_not_over_keeps_its_record(deployment: str | None, in_spec: bool) -> None:
    assert protected_by([ray_job("a", deployment, in_spec=in_spec)]) == {"a": "train"}


@pytest.mark.parametrize("deployment", ["Complete", "Failed"])
def test_one_that_is_over_keeps_nothing(deployment: str) -> None:
    new: list[dict[str, Any]] = [{"metadata": {"name": "new"}}, {"metadata": {}, "spec": None, "status": None}]
    assert protected_by([ray_job("a", deployment), *new]) == {}


def test_a_deleted_record_is_told_once_and_another_run_under_another_name() -> None:
    deleted = RecordState(Deletion.DELETED, T0)
    before, after = watching(OVER), watching(replace(OVER, record=deleted))
    (note,) = events_of(before, after)
    assert (note.reason, note.is_warning) == ("JobRecordDeleted", False)
    assert not list(events_of(after, after))
    run = replace(OVER, start_time=T0)
    (again,) = events_of(watching(run), watching(replace(run, record=deleted)))
    assert again.identity != note.identity


TTL = RetentionSpec.model_validate({"ttlSecondsAfterFinished": 600})
BOTH = RetentionSpec.model_validate({"ttlSecondsAfterFinished": 600, "deleteRecordAfterSeconds": 600})


@pytest.mark.parametrize(
    ("state", "now", "left"),
    [
        (watching(OVER), T0, 600),
        (watching(OVER), at(600), 0),
        (watching(OVER), at(700), -100),
        (replace(watching(OVER), serve=ServeState(CleanUp.PENDING, T0)), at(600), LONGEST_STAY.total_seconds()),
        (replace(watching(OVER), serve=ServeState(CleanUp.DONE, T0)), at(600), 0),
        (watching(replace(OVER, state=JobState.RUNNING)), at(600), math.inf),
    ],
)
def test_a_watch_is_deleted_when_its_time_is_over_and_nothing_is_left_to_do(
    state: WatchState, now: datetime, left: float
) -> None:
    assert expires_in(state, T0, TTL, Moment(now)) == left
    assert expires_in(state, T0, RetentionSpec(), Moment(now)) == math.inf


@pytest.mark.parametrize(
    ("record", "left"),
    [(RecordState(), 3600), (RecordState(Deletion.PENDING), 3600), (RecordState(Deletion.DELETED), 0)],
)
def test_a_watch_outlives_the_records_that_it_is_to_delete(record: RecordState, left: float) -> None:
    assert expires_in(watching(replace(OVER, record=record)), T0, BOTH, Moment(at(600))) == left
    assert expires_in(watching(replace(OVER, session="s0", record=record)), T0, BOTH, Moment(at(600))) == 0


def test_a_selection_is_kept_for_its_time_after_the_last_end_by_the_head_s_clock() -> None:
    state = replace(watching(OVER), selected=Selected(newest=at(100)))
    assert expires_in(state, T0, TTL, Moment(at(600))) == 100
    assert expires_in(state, T0, TTL, Moment(at(600), head_ahead=timedelta(seconds=90))) == 10
    assert expires_in(state, T0, TTL, Moment(at(600), head_ahead=timedelta(seconds=900))) == 0


@pytest.mark.parametrize(("reason", "left"), [(Reason.DASHBOARD_UNREACHABLE, 3600), (Reason.RAY_CLUSTER_NOT_FOUND, 0)])
def test_a_selection_outlives_the_time_in_which_its_jobs_cannot_be_seen(reason: Reason, left: float) -> None:
    away = replace(watching(OVER), problem=Problem(reason, "away"))
    assert expires_in(replace(away, selected=Selected()), T0, TTL, Moment(at(600))) == left
    assert expires_in(away, T0, TTL, Moment(at(600))) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 2000), st.sampled_from([*Outcome, None]), st.booleans()),
        max_size=20,
    )
)
def test_whatever_comes_ray_is_asked_of_old_records_alone_and_what_is_over_stays(
    steps: list[tuple[int, Outcome | None, bool]],
) -> None:
    state, now = watching(OVER, replace(OVER, id="running", state=JobState.RUNNING, end_time=None)), T0
    for seconds, outcome, wanted in steps:
        now += timedelta(seconds=seconds)
        before = record_of(state)
        asked = due_jobs(state, now)
        records = {job.id: RecordAnswer(outcome) for job in asked} if outcome else {}
        state = with_records(state, HOUR if wanted else RetentionSpec(), Moment(now, records=records))
        if before.is_over:
            assert record_of(state) == before
        if due_jobs(state, now):
            assert (now - T0).total_seconds() >= 3600
        assert {job.id for job in pending_jobs(state)} <= {"a"}
