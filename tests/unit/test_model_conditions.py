"""The conditions that scripts wait for, and when their times move."""

from dataclasses import replace
from typing import Any

import pytest

from rayjobwatch.model.conditions import Condition, conditions_of, merge
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.servestate import CleanUp, ServeState
from rayjobwatch.model.state import WatchState
from tests.unit.observations import DOWN, NO_HEAD, T0, at, in_states

CLEANING = ServeState(CleanUp.PENDING)


def test_a_transition_time_moves_with_the_status_and_with_nothing_else() -> None:
    def shown(status: str, reason: Reason, generation: int, seconds: float, previous: list[dict[str, Any]]) -> Any:
        return merge([Condition("Ready", status, reason, reason)], previous, generation, at(seconds))

    first = shown("False", Reason.FORBIDDEN, 1, 0, [])
    second = shown("False", Reason.UNAUTHORIZED, 2, 5, first)
    third = shown("True", Reason.UNAUTHORIZED, 2, 9, second)
    assert [item[0]["lastTransitionTime"][-3:-1] for item in (first, second, third)] == ["00", "00", "09"]
    assert [item[0]["observedGeneration"] for item in (first, second, third)] == [1, 2, 2]
    assert second[0]["reason"] == "Unauthorized"


def test_a_condition_says_what_it_says_in_one_line_within_its_limit() -> None:
    (shown,) = merge([Condition("Ready", "False", Reason.FORBIDDEN, "a\nb\x1b[0m" + "😀" * 999)], [], 1, T0)
    assert shown["message"].startswith("ab😀")
    assert len(shown["message"].encode()) <= 1024


@pytest.mark.parametrize(
    ("state", "finished", "succeeded"),
    [
        (in_states("Running"), "False JobsActive", "Unknown JobsActive"),
        (in_states("Waiting"), "False JobNotFound", "Unknown JobNotFound"),
        (in_states("Succeeded", "Running"), "False JobsActive", "Unknown JobsActive"),
        (in_states("Failed", "Running"), "False JobsActive", "False JobFailed"),
        (in_states("Unknown", "Running"), "False JobsActive", "Unknown JobsActive"),
        (in_states("Succeeded"), "True AllJobsOver", "True JobsSucceeded"),
        (in_states("Succeeded", "Unknown"), "True AllJobsOver", "Unknown OutcomeUnknown"),
        (in_states("Lost"), "True AllJobsOver", "False JobLost"),
        (in_states("Stopped"), "True AllJobsOver", "False JobStopped"),
        (replace(in_states("Waiting"), problem=NO_HEAD), "False RayClusterNotReady", "Unknown RayClusterNotReady"),
        (replace(in_states("Running"), unreachable=DOWN), "False JobsActive", "Unknown JobsActive"),
        (WatchState(), "False JobsActive", "Unknown JobsActive"),
    ],
)
def test_scripts_can_wait_for_finished_and_then_ask_for_succeeded(
    state: WatchState, finished: str, succeeded: str
) -> None:
    shown = {one.type: f"{one.status} {one.reason}" for one in conditions_of(state)}
    assert (shown["Finished"], shown["Succeeded"]) == (finished, succeeded)


@pytest.mark.parametrize(
    ("state", "ready", "reachable"),
    [
        (WatchState(), "Unknown Starting", "Unknown NotAskedYet"),
        (in_states("Running"), "True Watching", "True Answering"),
        (replace(in_states("Running"), unreachable=DOWN), "False DashboardUnreachable", "False DashboardUnreachable"),
        (replace(in_states("Running"), problem=NO_HEAD), "False RayClusterNotReady", "False RayClusterNotReady"),
        (replace(in_states("Failed"), unreachable=DOWN), "True Finished", "Unknown NoLongerAsked"),
        (replace(in_states("Failed"), serve=CLEANING), "True Finished", "True Answering"),
        (replace(in_states("Failed"), serve=CLEANING, unreachable=DOWN), "True Finished", "False DashboardUnreachable"),
    ],
)
def test_ready_and_dashboard_reachable_say_how_the_watch_itself_does(
    state: WatchState, ready: str, reachable: str
) -> None:
    shown = {one.type: f"{one.status} {one.reason}" for one in conditions_of(state)}
    assert (shown["Ready"], shown["DashboardReachable"]) == (ready, reachable)
    assert "Stalled" not in shown


def test_a_watch_is_stalled_only_by_what_a_user_must_mend() -> None:
    refusal = Problem(Reason.DASHBOARD_URL_NOT_ALLOWED, "not allowed", stalled=True)
    kinds = [one.type for one in conditions_of(replace(in_states("Running"), problem=refusal))]
    assert kinds[-1] == "Stalled"
    assert "Stalled" not in [one.type for one in conditions_of(replace(in_states("Failed"), problem=refusal))]
