"""Which Events tell that a dashboard goes and comes, and that a head was replaced."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rayjobwatch.model.clusterevents import dashboard_notes, head_notes
from rayjobwatch.model.events import EventNote
from rayjobwatch.model.observation import Cluster, Observation
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.status import restored, status_of
from tests.unit.observations import NO_HEAD, at, folded, heard, row, silent

NOT_READY = Observation(at(0), problem=NO_HEAD)
RUNNING = row()


def _status(state: WatchState, previous: dict[str, Any], seconds: float) -> dict[str, Any]:
    return status_of(state, {}, tail_lines=0, previous=previous, generation=1, now=at(seconds))


def _told(*seen: Observation, restarts: bool = False) -> list[EventNote]:
    """Return what is told of the cluster; with `restarts` by a new process each time."""
    state, status, notes = WatchState(), dict[str, Any](), list[EventNote]()
    for one in seen:
        told = restored(status)[0] if restarts else state
        state = folded(one, state=told)
        new = _status(state, status, (one.now - at(0)).total_seconds())
        notes += [*head_notes(told, state), *dashboard_notes(status, new, state)]
        status = new
    return notes


AWAY, BACK, REPLACED = "DashboardUnreachable", "DashboardReachable", "HeadReplaced"


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(
    ("seen", "reasons"),
    [
        ([heard(0, RUNNING)], []),
        ([NOT_READY, heard(1, RUNNING)], []),
        ([NOT_READY, silent(1), heard(2, RUNNING)], []),
        ([silent(0), silent(1), heard(2, RUNNING)], [AWAY]),
        ([heard(0, RUNNING), silent(1), silent(2)], [AWAY]),
        ([heard(0, RUNNING), silent(1), heard(2, RUNNING), heard(3, RUNNING)], [AWAY, BACK]),
        ([heard(0, RUNNING), silent(1), heard(2, RUNNING), silent(3), heard(4, RUNNING)], [AWAY, BACK, AWAY, BACK]),
        ([heard(0, RUNNING), replace(NOT_READY, now=at(1)), heard(2, RUNNING)], [AWAY, BACK]),
        ([heard(0, RUNNING), heard(1, RUNNING, session="s2")], [REPLACED]),
        ([heard(0, RUNNING), heard(1, session="s2"), silent(2)], [REPLACED]),
        ([heard(0, RUNNING), silent(1), heard(2, session="s2")], [AWAY, REPLACED]),
        ([heard(0, row("SUCCEEDED")), heard(1, session="s2")], []),
        ([heard(0, RUNNING, session=""), heard(1, RUNNING, session="s2")], []),
        ([heard(0, RUNNING), replace(heard(1, session="s2"), cluster=Cluster("http://ray:8265", "u2", "s2"))], []),
    ],
    ids=["answers", "begins to answer", "away at first, after it was provisioned", "away at first", "goes away",
         "comes back", "comes and goes", "its head is away", "head replaced", "with all that is watched",
         "away, then replaced", "nothing watched", "no sessions then", "another cluster"],
)  # fmt: skip
def test_each_change_is_told_once(seen: Sequence[Observation], reasons: Sequence[str], restarts: bool) -> None:
    notes = _told(*seen, restarts=restarts)
    assert [note.reason for note in notes] == reasons
    assert len({note.identity for note in notes}) == len(notes)


def test_what_is_told_says_what_helps() -> None:
    away, back = _told(heard(0, RUNNING), silent(9), heard(12, RUNNING))
    assert away.message == "waiting for the Ray dashboard (job states are those of 2026-11-21T10:00:00Z)"
    assert (away.is_warning, away.on_cluster) == (True, True)
    assert (back.message, back.is_warning, back.on_cluster) == ("Ray 2.60.0 answers again", False, False)
    (replaced,) = _told(heard(0, RUNNING), heard(1, session="s2"))
    assert replaced.message == "the Ray head was replaced: session s1 is gone, s2 answers"
    assert (replaced.is_warning, replaced.on_cluster) == (True, True)


def test_a_cluster_that_is_not_there_says_so_itself() -> None:
    (away,) = _told(heard(0, RUNNING), replace(NOT_READY, now=at(1)))
    assert (away.reason, away.on_cluster) == (AWAY, False)


def test_a_process_that_died_before_it_wrote_tells_the_same_event_again() -> None:
    state = folded(heard(0, RUNNING))
    status = _status(state, {}, 0)
    told = [
        next(dashboard_notes(status, _status(away, status, seconds), away)).identity
        for seconds, before in ((1, state), (30, restored(status)[0]))
        for away in [folded(silent(seconds), state=before)]
    ]
    assert told[0] == told[1]


def test_two_watches_tell_one_event_of_the_raycluster() -> None:
    one, other = (_told(heard(0, RUNNING), silent(seconds, last_contact=at(0)))[0] for seconds in (3, 4))
    assert one.cluster_identity == other.cluster_identity
    later = _told(heard(0, RUNNING), heard(60, RUNNING), silent(63, last_contact=at(60)))[0]
    assert later.cluster_identity != one.cluster_identity
