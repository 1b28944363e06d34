"""Jobs, listings and observations for the tests of the pure model, and random ones for hypothesis."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from rayjobwatch.model.fold import fold
from rayjobwatch.model.jobs import Failure, Job, JobRow, JobState
from rayjobwatch.model.observation import Cluster, Listing, Observation, Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.state import WatchState

T0 = datetime(2026, 11, 21, 10, tzinfo=UTC)
START = T0 - timedelta(minutes=1)
DOWN = Problem(Reason.DASHBOARD_UNREACHABLE, "waiting for the Ray dashboard")
NO_HEAD = Problem(Reason.RAY_CLUSTER_NOT_READY, "waiting for the head")


def at(seconds: float) -> datetime:
    """Return the time `seconds` after the tests' beginning."""
    return T0 + timedelta(seconds=seconds)


def row(status: str = "RUNNING", id_: str = "a", **facts: object) -> JobRow:
    """Return a row that started a minute ago."""
    return replace(JobRow(id_, status, entrypoint="python train.py", start_time=START), **facts)  # type: ignore[arg-type]


def heard(seconds: float, *rows: JobRow, session: str = "s1", complete: bool = True, took: float = 0.0) -> Observation:
    """Return what is seen when Ray lists `rows`, which `took` so long; `complete`: all logs were read to the end."""
    by_id: Mapping[str, JobRow] = {one.id: one for one in rows}
    return Observation(
        now=at(seconds),
        cluster=Cluster("http://ray:8265", "u1", session, "2.60.0"),
        listing=Listing(session, at(seconds), by_id, at(seconds - took)),
        complete_logs=frozenset(by_id) if complete else frozenset(),
    )


def silent(seconds: float, **facts: object) -> Observation:
    """Return what is seen when nothing is heard of the jobs."""
    return replace(Observation(now=at(seconds), unreachable=DOWN), **facts)  # type: ignore[arg-type]


def folded(*seen: Observation, state: WatchState | None = None, ids: Sequence[str] = ("a",)) -> WatchState:
    """Return the state after all of `seen`."""
    state = state or WatchState()
    for one in seen:
        state = fold(state, ids, one)
    return state


def in_states(*states: str) -> WatchState:
    """Return a watch on jobs `j0`, `j1`, … in these states, on a dashboard that answers."""
    failure = Failure("exit code 1: boom")
    jobs = [
        Job(f"j{number}", JobState(state), failure=failure if state == "Failed" else None)
        for number, state in enumerate(states)
    ]
    return WatchState({job.id: job for job in jobs}, reachable=True)


_STATUSES = st.sampled_from(["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED", "NEW_WORD", ""])
_ERRORS = st.sampled_from([None, "JOB_SUPERVISOR_ACTOR_DIED", "JOB_ENTRYPOINT_COMMAND_ERROR"])
IDS = ("a", "b")


@st.composite
def rows_of(draw: st.DrawFn, id_: str) -> JobRow:
    """Return any row that Ray might show for `id_`."""
    if draw(st.integers(0, 9)) == 0:
        return JobRow(id_, "PENDING", entrypoint="Entrypoint not found.")
    started = draw(st.sampled_from([None, START, T0]))
    return JobRow(
        id_,
        draw(_STATUSES),
        is_driver=draw(st.booleans()),
        entrypoint="python train.py",
        message=draw(st.sampled_from(["", "boom"])),
        error_type=draw(_ERRORS),
        start_time=started,
        end_time=draw(st.sampled_from([None, T0])),
        exit_code=draw(st.sampled_from([None, 0, 1])),
    )


@st.composite
def observations(draw: st.DrawFn, seconds: float) -> Observation:
    """Return anything that may be seen at `seconds`."""
    gone = draw(st.integers(0, 9)) == 0
    if draw(st.integers(0, 3)) == 0:
        return silent(seconds, cluster_gone=gone, problem=draw(st.sampled_from([None, NO_HEAD])))
    rows = [draw(rows_of(id_)) for id_ in IDS if draw(st.integers(0, 4))]
    session = draw(st.sampled_from(["s1", "s1", "s1", "s2", ""]))
    seen = heard(seconds, *rows, session=session, complete=draw(st.booleans()))
    return replace(seen, cluster_gone=gone)


@st.composite
def histories(draw: st.DrawFn) -> list[Observation]:
    """Return observations in the order of time."""
    seconds, history = 0.0, []
    for step in draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 5.0, 40.0]), max_size=12)):
        seconds += step
        history.append(draw(observations(seconds)))
    return history
