"""The conditions of a watch, in the form of `metav1.Condition`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from rayjobwatch.model.jobs import JobState
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.summary import NONE_YET, doubts, end_summary, gravest_end, ids_of, listed
from rayjobwatch.model.text import clean_again
from rayjobwatch.model.times import rfc3339

_END_REASONS = {
    JobState.FAILED: Reason.JOB_FAILED,
    JobState.LOST: Reason.JOB_LOST,
    JobState.STOPPED: Reason.JOB_STOPPED,
    JobState.UNKNOWN: Reason.OUTCOME_UNKNOWN,
    JobState.SUCCEEDED: Reason.JOBS_SUCCEEDED,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as decided now. `status` is True, False or Unknown."""

    type: str
    status: str
    reason: Reason
    message: str = ""


def conditions_of(state: WatchState, refused: Mapping[str, str] = MappingProxyType({})) -> list[Condition]:
    """Every condition of the watch but those of rules, `Stalled` only where it is True.

    refused: why patterns of the spec cannot be used, by the name they go under.
    """
    flaw = state.hindrance or _invalid_patterns(refused)
    return [
        _ready(state, flaw),
        _dashboard_reachable(state),
        _finished(state),
        _succeeded(state),
        *_stalled(state, flaw),
    ]


def refusal(message: str) -> list[Condition]:
    """Return the conditions that a spec which cannot be followed decides."""
    return [
        Condition("Ready", "False", Reason.INVALID_SPEC, message),
        Condition("DashboardReachable", "Unknown", Reason.INVALID_SPEC, f"nothing is asked meanwhile: {message}"),
        Condition("Stalled", "True", Reason.INVALID_SPEC, message),
    ]


def merge(
    decided: Iterable[Condition], previous: Iterable[Mapping[str, Any]], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return the conditions for status; `lastTransitionTime` moves only where `status` changed."""
    before = {str(item.get("type")): item for item in previous}
    return [_merged(condition, before.get(condition.type, {}), generation, now) for condition in decided]


def _merged(condition: Condition, before: Mapping[str, Any], generation: int, now: datetime) -> dict[str, Any]:
    same = before.get("status") == condition.status and before.get("lastTransitionTime")
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason.value,
        "message": clean_again(condition.message, 1024),
        "lastTransitionTime": before["lastTransitionTime"] if same else rfc3339(now),
        "observedGeneration": generation,
    }


def _invalid_patterns(refused: Mapping[str, str]) -> Problem | None:
    if not refused:
        return None
    said = "; ".join(f"{name}: {why}" for name, why in list(refused.items())[:3])
    more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
    return Problem(Reason.INVALID_RULE, f"spec.logs has patterns that cannot be used: {said}{more}", stalled=True)


def _ready(state: WatchState, flaw: Problem | None) -> Condition:
    trouble = flaw if state.is_done else state.trouble or flaw
    if trouble:
        return Condition("Ready", "False", trouble.reason, trouble.message)
    if state.is_done:
        return Condition("Ready", "True", Reason.FINISHED, "every watched job is over")
    if state.reachable:
        return Condition("Ready", "True", Reason.WATCHING, f"watching the jobs of {state.cluster.dashboard_url}")
    return Condition("Ready", "Unknown", Reason.STARTING, "the dashboard has not been asked yet")


def _dashboard_reachable(state: WatchState) -> Condition:
    kind = "DashboardReachable"
    if state.is_done and not state.serve.is_pending:
        message = "every watched job is over: nothing is asked any more"
        return Condition(kind, "Unknown", Reason.NO_LONGER_ASKED, message)
    trouble = state.trouble
    if trouble:
        message = trouble.message
        if since := state.stale_since:
            message += f" (job states are those of {rfc3339(since)})"
        return Condition(kind, "False", trouble.reason, message)
    if state.reachable:
        return Condition(kind, "True", Reason.ANSWERING, f"Ray {state.cluster.ray_version} answers")
    return Condition(kind, "Unknown", Reason.NOT_ASKED_YET, "the dashboard has not been asked yet")


def _stalled(state: WatchState, flaw: Problem | None) -> Iterator[Condition]:
    stalled = state.problem if state.problem and state.problem.stalled and not state.is_done else flaw
    if stalled:
        yield Condition("Stalled", "True", stalled.reason, stalled.message)


def _finished(state: WatchState) -> Condition:
    if state.is_finished:
        message = end_summary(state) or "every watched job is over"
        return Condition("Finished", "True", Reason.ALL_JOBS_OVER, message)
    reason, message = _open_jobs(state)
    return Condition("Finished", "False", reason, message)


def _succeeded(state: WatchState) -> Condition:
    end = gravest_end(state)
    if end in (JobState.FAILED, JobState.LOST, JobState.STOPPED):
        return Condition("Succeeded", "False", _END_REASONS[end], end_summary(state))
    if not state.is_finished:
        reason, message = _open_jobs(state)
        return Condition("Succeeded", "Unknown", reason, message)
    if end is JobState.UNKNOWN:
        message = f"Ray kept no trustworthy outcome of {ids_of(state, end)}"
        return Condition("Succeeded", "Unknown", _END_REASONS[end], message)
    return Condition("Succeeded", "True", _END_REASONS[JobState.SUCCEEDED], "every watched job succeeded")


def _open_jobs(state: WatchState) -> tuple[Reason, str]:
    trouble = state.trouble
    if trouble and not any(job.seen for job in state.jobs.values()):
        return trouble.reason, trouble.message
    if state.selected and not state.counts:
        return Reason.JOB_NOT_FOUND, NONE_YET
    waiting = ids_of(state, JobState.WAITING)
    if waiting and state.reachable:
        message = f"waiting for Ray to know {waiting}: not submitted yet, or not to this cluster"
        return Reason.JOB_NOT_FOUND, message
    still_open = [job.id for job in state.jobs.values() if not job.state.is_over]
    message = f"not over yet: {listed(still_open) or 'jobs without a row here'}"
    return Reason.JOBS_ACTIVE, "; ".join(filter(None, (message, doubts(state))))
