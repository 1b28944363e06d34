"""The conditions and the one-word state of a watch."""

from collections.abc import Iterator
from datetime import datetime

from rayjobwatch.model.conditions import Condition
from rayjobwatch.model.jobs import Job, JobState
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.times import rfc3339

# The gravest end first.
_ENDS = (JobState.FAILED, JobState.LOST, JobState.STOPPED, JobState.UNKNOWN, JobState.SUCCEEDED)
_REASONS = {
    JobState.FAILED: "JobFailed",
    JobState.LOST: "JobLost",
    JobState.STOPPED: "JobStopped",
    JobState.UNKNOWN: "OutcomeUnknown",
    JobState.SUCCEEDED: "JobsSucceeded",
}


def overall(state: WatchState) -> JobState:
    """All jobs in one word."""
    states = {job.state for job in state.jobs.values()}
    if all(one.is_over for one in states) and states:
        return next(end for end in _ENDS if end in states)
    started = any(one is JobState.RUNNING or one.is_over for one in states)
    return JobState.RUNNING if started else JobState.WAITING


def conditions_of(state: WatchState) -> list[Condition]:
    """Every condition of the watch, `Stalled` only where it is True."""
    return [_ready(state), _dashboard_reachable(state), _finished(state), _succeeded(state), *_stalled(state)]


def summary_of(state: WatchState) -> str:
    """Return one line for people: how the gravest job ended, or what is being waited for."""
    if state.is_finished:
        return _end_summary(state)
    trouble = state.trouble
    if trouble:
        return trouble.message
    waiting = _ids(state, JobState.WAITING)
    return f"waiting for Ray to know {waiting}" if waiting else ""


def stale_since(state: WatchState) -> datetime | None:
    """Return since when the job states are only the last ones seen; None while they are fresh or final."""
    fresh = state.reachable and not state.problem
    return None if fresh or state.is_finished else state.last_contact


def _ready(state: WatchState) -> Condition:
    if state.is_finished:
        return Condition("Ready", "True", "Finished", "every watched job is over")
    trouble = state.trouble
    if trouble:
        return Condition("Ready", "False", trouble.reason, trouble.message)
    if state.reachable:
        return Condition("Ready", "True", "Watching", f"watching the jobs of {state.cluster.dashboard_url}")
    return Condition("Ready", "Unknown", "Starting", "the dashboard has not been asked yet")


def _dashboard_reachable(state: WatchState) -> Condition:
    kind = "DashboardReachable"
    if state.is_finished:
        return Condition(kind, "Unknown", "NoLongerAsked", "every watched job is over: nothing is asked any more")
    trouble = state.trouble
    if trouble:
        message = trouble.message
        if since := stale_since(state):
            message += f" (job states are those of {rfc3339(since)})"
        return Condition(kind, "False", trouble.reason, message)
    if state.reachable:
        return Condition(kind, "True", "Answering", f"Ray {state.cluster.ray_version} answers")
    return Condition(kind, "Unknown", "NotAskedYet", "the dashboard has not been asked yet")


def _stalled(state: WatchState) -> Iterator[Condition]:
    if state.problem and state.problem.stalled and not state.is_finished:
        yield Condition("Stalled", "True", state.problem.reason, state.problem.message)


def _finished(state: WatchState) -> Condition:
    if state.is_finished:
        return Condition("Finished", "True", "AllJobsOver", _end_summary(state) or "every watched job is over")
    reason, message = _open_jobs(state)
    return Condition("Finished", "False", reason, message)


def _succeeded(state: WatchState) -> Condition:
    end = _worst_end(state)
    if end in (JobState.FAILED, JobState.LOST, JobState.STOPPED):
        return Condition("Succeeded", "False", _REASONS[end], _end_summary(state))
    if not state.is_finished:
        reason, message = _open_jobs(state)
        return Condition("Succeeded", "Unknown", reason, message)
    if end is JobState.UNKNOWN:
        message = f"Ray kept no trustworthy outcome of {_ids(state, end)}"
        return Condition("Succeeded", "Unknown", _REASONS[end], message)
    return Condition("Succeeded", "True", _REASONS[JobState.SUCCEEDED], "every watched job succeeded")


def _open_jobs(state: WatchState) -> tuple[str, str]:
    trouble = state.trouble
    if trouble and not any(job.seen for job in state.jobs.values()):
        return trouble.reason, trouble.message
    waiting = _ids(state, JobState.WAITING)
    if waiting and state.reachable:
        return "JobNotFound", f"waiting for Ray to know {waiting}: not submitted yet, or not to this cluster"
    still_open = [job.id for job in state.jobs.values() if not job.state.is_over]
    return "JobsActive", f"not over yet: {_listed(still_open)}"


def _worst_end(state: WatchState) -> JobState | None:
    states = {job.state for job in state.jobs.values()}
    return next((end for end in _ENDS if end in states), None)


def _end_summary(state: WatchState) -> str:
    end = _worst_end(state)
    if end is None or end is JobState.SUCCEEDED:
        return ""
    first = next(job for job in state.jobs.values() if job.state is end)
    text = end_of(first)
    return text if len(state.jobs) == 1 else f"{first.id}: {text}"


def end_of(job: Job) -> str:
    """Say how a job ended, in one line."""
    if job.failure:
        return job.failure.message
    return {
        JobState.SUCCEEDED: "succeeded",
        JobState.STOPPED: "stopped on request",
        JobState.LOST: "lost: the Ray head that held the job is gone",
        JobState.UNKNOWN: "over, but Ray kept no trustworthy outcome",
    }.get(job.state, job.state.value)


def _ids(state: WatchState, wanted: JobState) -> str:
    return _listed([job.id for job in state.jobs.values() if job.state is wanted])


def _listed(ids: list[str]) -> str:
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return ", ".join(ids[:3]) + more
