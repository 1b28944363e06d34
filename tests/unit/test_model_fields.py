"""Every field that a process writes into status is known to the next one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, get_type_hints

from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.model.cause.window import EMPTY_WINDOW, LogWindow
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.facts import Facts, NodeCount, Served
from rayjobwatch.model.jobs import Failure, Job, JobRow, JobState, StopCause, StopOrder
from rayjobwatch.model.lens import Findings
from rayjobwatch.model.observation import Cluster, Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.records import Deletion, RecordState
from rayjobwatch.model.rules import RuleState
from rayjobwatch.model.servestate import Application, CleanUp, ServeState
from rayjobwatch.model.state import Selected, WatchState
from rayjobwatch.model.status import restored, status_of
from rayjobwatch.model.values import Value
from tests.unit.observations import T0
from tests.unit.schema import faults, status_schema

T = TypeVar("T")
SCHEMA = status_schema()

# What the first poll of the new process sees anew, and waits that then begin again.
SEEN_ANEW = {
    WatchState: ("problem", "unreachable", "hindrance", "reachable"),
    Job: ("missing_since", "ending_since", "ending", "doubted_since"),
    RecordState: ("failures", "due"),
    ServeState: ("failures", "due", "is_empty"),
    Selected: ("since",),
}

# Short and clean already: status cuts and cleans texts, and what was cut does not come back. Three such jobs leave
# room for their tails. An absent text is None or empty, never both for one field.
_TEXT = st.text('aZ0é😀"\\-', max_size=6)
# Status has whole seconds.
_TIME = st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))

# By type and not by name, so that a field added to a dataclass is generated here without being thought of.
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXT,
    str | None: st.none() | _TEXT.filter(bool),
    int: st.integers(0, 2**53),
    int | None: st.none() | st.integers(-(2**31), 2**31 - 1),
    bool: st.booleans(),
    bool | None: st.none() | st.booleans(),
    datetime: _TIME,
    datetime | None: st.none() | _TIME,
    tuple[str, ...]: st.lists(_TEXT, max_size=4).map(tuple),
    JobState: st.sampled_from(JobState),
    StopCause: st.sampled_from(StopCause),
    Deletion: st.sampled_from(Deletion),
    CleanUp: st.sampled_from(CleanUp),
    Reason: st.sampled_from(Reason),
    LogWindow: st.just(EMPTY_WINDOW),  # filled again with the tail
}


def anything(kind: type[T]) -> st.SearchStrategy[T]:
    """Return the dataclass `kind` with any value in every field."""
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: VALUES[hints[field.name]] for field in fields(kind)})  # type: ignore[arg-type]


def _by_id(jobs: Sequence[Job]) -> Mapping[str, Job]:
    return {job.id: job for job in jobs}


VALUES[Failure | None] = st.none() | anything(Failure)
VALUES[StopOrder | None] = st.none() | anything(StopOrder)
VALUES[JobRow | None] = st.none() | anything(JobRow)
VALUES[Problem | None] = st.none() | anything(Problem)
VALUES[Mapping[JobState, int]] = st.dictionaries(st.sampled_from(JobState), st.integers(1, 10**6))
VALUES[Selected | None] = st.none() | anything(Selected)
VALUES[NodeCount | None] = st.none() | anything(NodeCount)
VALUES[tuple[Served, ...]] = st.lists(anything(Served), max_size=3).map(tuple)
VALUES[Facts] = anything(Facts)
VALUES[Cluster] = anything(Cluster)
VALUES[tuple[tuple[datetime, int], ...]] = st.lists(
    st.tuples(_TIME.filter(bool), st.integers(0, 2**53)), max_size=3
).map(tuple)
_NAMES = st.text("ab-", min_size=1, max_size=3)
VALUES[Mapping[str, RuleState]] = st.dictionaries(_NAMES, anything(RuleState), max_size=2)
VALUES[Mapping[str, Value]] = st.dictionaries(_NAMES, anything(Value), max_size=2)
VALUES[Mapping[str, Findings]] = st.just({})  # those of the jobs, see below
VALUES[RecordState] = anything(RecordState)
VALUES[tuple[Application, ...]] = st.lists(anything(Application), max_size=3, unique_by=lambda one: one.name).map(tuple)
VALUES[ServeState] = anything(ServeState)
VALUES[Mapping[str, Job]] = st.lists(anything(Job), max_size=3, unique_by=lambda job: job.id).map(_by_id)


def _kept(value: Any) -> Any:
    """Return `value` without what is seen anew."""
    anew = {field.name: field.default for field in fields(value) if field.name in SEEN_ANEW[type(value)]}
    return replace(value, **anew)


@given(
    anything(WatchState),
    st.lists(anything(LogDigest), max_size=3),
    st.lists(anything(Findings), min_size=3, max_size=3),
)
def test_every_field_that_is_not_seen_anew_comes_back(
    bare: WatchState, logs: Sequence[LogDigest], findings: Sequence[Findings]
) -> None:
    state = replace(bare, findings={id_: found for id_, found in zip(bare.jobs, findings, strict=False) if found})
    digests = dict(zip(state.jobs, logs, strict=False))
    status = status_of(state, digests, tail_lines=100, previous={}, generation=1, now=T0)
    assert not list(faults(status, SCHEMA))
    jobs = {id_: replace(_kept(job), record=_kept(job.record)) for id_, job in state.jobs.items()}
    selected = state.selected and _kept(state.selected)
    seen = replace(_kept(state), jobs=jobs, selected=selected, serve=_kept(state.serve))
    known = replace(seen, last_contact=state.stale_since)
    assert restored(json.loads(json.dumps(status))) == (known, digests)
