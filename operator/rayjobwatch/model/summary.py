"""A watch told in few words: its one-word state, its summary line, and how a job ended."""

from collections.abc import Sequence

from rayjobwatch.model.jobs import Job, JobState, StopCause
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.times import rfc3339

# The gravest end first.
_ENDS = (JobState.FAILED, JobState.LOST, JobState.STOPPED, JobState.UNKNOWN, JobState.SUCCEEDED)
STOP_CAUSES = {
    StopCause.REQUESTED: "spec.stop.requested is true",
    StopCause.ACTIVE_DEADLINE: "it ran for longer than spec.stop.activeDeadlineSeconds",
    StopCause.PENDING_DEADLINE: "it was pending for longer than spec.stop.pendingDeadlineSeconds",
    StopCause.WATCH_DELETED: "the RayJobWatch is deleted and spec.stop.onDeletion is true",
    StopCause.LOG_RULE: "a rule of spec.logs.rules with the action StopJob fired",
}
NONE_YET = "no selected job was seen yet"


def overall(state: WatchState) -> JobState:
    """All jobs in one word."""
    end = gravest_end(state)
    if end and state.is_finished:
        return end
    started = end or JobState.RUNNING in state.counts
    return JobState.RUNNING if started else JobState.WAITING


def summary_of(state: WatchState) -> str:
    """Return one line for people: how the gravest job ended, or what is being waited for."""
    if state.is_done:
        return end_summary(state)
    trouble = state.trouble
    if trouble:
        return trouble.message
    if state.is_finished:
        return end_summary(state)
    if state.selected and state.reachable and not state.counts:
        return NONE_YET
    waiting = ids_of(state, JobState.WAITING)
    return f"waiting for Ray to know {waiting}" if waiting else doubts(state) or _not_stopped(state)


def _not_stopped(state: WatchState) -> str:
    """Say why jobs are not stopped that are to be, empty where there is nothing to say."""
    why = {job.id: job.stop.message for job in state.jobs.values() if job.stop and not job.state.is_over}
    message = next(filter(None, why.values()), "")
    return f"{listed([id_ for id_ in why if why[id_] == message])} not stopped: {message}" if message else ""


def doubts(state: WatchState) -> str:
    """Name the jobs of which Ray's RUNNING is not believed now, empty where there are none."""
    doubted = listed([job.id for job in state.jobs.values() if job.doubted_since])
    return f"verifying {doubted}: Ray says RUNNING, but has not shown the node of its driver alive" if doubted else ""


def gravest_end(state: WatchState) -> JobState | None:
    """Return the gravest of the ends that jobs came to so far, None while there is none."""
    states = state.counts
    return next((end for end in _ENDS if end in states), None)


def end_summary(state: WatchState) -> str:
    """Say in one line how the gravest job ended; empty while all ends are good."""
    end = gravest_end(state)
    if end is None or end is JobState.SUCCEEDED:
        return ""
    counts = state.counts
    first = next((job for job in state.jobs.values() if job.state is end), None)
    if first is None:
        return f"{counts[end]} of {counts.total()} jobs {end.value}, too long ago for a row here"
    text = end_of(first)
    return text if counts.total() == 1 else f"{first.id}: {text}"


def end_of(job: Job) -> str:
    """Say how a job ended, in one line."""
    if job.failure:
        return job.failure.text
    return {
        JobState.SUCCEEDED: "succeeded",
        JobState.STOPPED: f"stopped: {STOP_CAUSES[job.stop.cause]}" if job.stop else "stopped on request",
        JobState.LOST: "lost: the Ray head that held the job is gone" + _last_seen(job),
        JobState.UNKNOWN: "over, but Ray kept no trustworthy outcome",
    }.get(job.state, job.state.value)


def _last_seen(job: Job) -> str:
    return f"; it was not over when last seen, at {rfc3339(job.last_seen)}" if job.last_seen else ""


def ids_of(state: WatchState, wanted: JobState) -> str:
    """Name the jobs in the state `wanted`, as `listed` does."""
    return listed([job.id for job in state.jobs.values() if job.state is wanted])


def listed(ids: Sequence[str]) -> str:
    """Name the first three of `ids` and how many more there are."""
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return ", ".join(ids[:3]) + more
