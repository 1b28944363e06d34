"""What the STATE and SUMMARY columns say of a watch."""

from dataclasses import replace

import pytest

from rayjobwatch.model.jobs import StopCause, StopOrder
from rayjobwatch.model.state import Selected, WatchState
from rayjobwatch.model.summary import overall, summary_of
from tests.unit.observations import DOWN, T0, in_states


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ([], "Waiting"),
        (["Waiting", "Pending"], "Waiting"),
        (["Waiting", "Running"], "Running"),
        (["Waiting", "Failed"], "Running"),
        (["Succeeded", "Pending"], "Running"),
        (["Succeeded", "Succeeded"], "Succeeded"),
        (["Succeeded", "Unknown"], "Unknown"),
        (["Unknown", "Stopped"], "Stopped"),
        (["Stopped", "Lost"], "Lost"),
        (["Lost", "Failed", "Succeeded"], "Failed"),
    ],
)
def test_the_watch_is_told_in_one_word_by_its_gravest_end(states: list[str], word: str) -> None:
    assert overall(in_states(*states)) == word


@pytest.mark.parametrize(
    ("state", "summary"),
    [
        (in_states("Failed"), "exit code 1: boom"),
        (in_states("Succeeded", "Failed"), "j1: exit code 1: boom"),
        (in_states("Succeeded"), ""),
        (in_states("Stopped"), "stopped on request"),
        (in_states("Running"), ""),
        (in_states("Waiting", "Running"), "waiting for Ray to know j0"),
        (in_states(*["Waiting"] * 5), "waiting for Ray to know j0, j1, j2 and 2 more"),
        (replace(in_states("Running"), unreachable=DOWN), "waiting for the Ray dashboard"),
        (WatchState(reachable=True, selected=Selected("k")), "no selected job was seen yet"),
    ],
)
def test_the_summary_column_says_what_matters_most(state: WatchState, summary: str) -> None:
    assert summary_of(state) == summary


@pytest.mark.parametrize(
    ("states", "summary"),
    [
        (["Pending"], "j0 not stopped: it is PENDING"),
        (["Pending"] * 5, "j0, j1, j2 and 2 more not stopped: it is PENDING"),
        (["Stopped", "Pending"], "j1 not stopped: it is PENDING"),
        (["Stopped"], "stopped: spec.stop.requested is true"),
    ],
)
def test_why_jobs_are_not_stopped_yet_is_in_the_summary_column(states: list[str], summary: str) -> None:
    order = StopOrder(StopCause.REQUESTED, T0, message="it is PENDING")
    state = in_states(*states)
    assert (
        summary_of(replace(state, jobs={id_: replace(job, stop=order) for id_, job in state.jobs.items()})) == summary
    )
