"""When a watch that is being deleted, and that was to do something first, is let go."""

from datetime import datetime, timedelta

from rayjobwatch.model.jobs import Job
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.spec import WatchSpec
from rayjobwatch.model.state import WatchState

# Then it is let go whatever is left to do: nobody's `kubectl delete` hangs because of us.
LONGEST = timedelta(seconds=60)
# The API server's clock may not be ours, so that the time counts from when a process first hears of the deletion; but
# processes that die again and again must not hold a watch back for ever.
LONGEST_OF_ALL = timedelta(minutes=10)
# With the RayCluster its jobs are gone, and where we may not ask, waiting does not help.
_HOPELESS = {
    Reason.RAY_CLUSTER_NOT_FOUND,
    Reason.RAY_CLUSTER_MANAGED_ELSEWHERE,
    Reason.RAY_CLUSTER_SUSPENDING,
    Reason.RAY_CLUSTER_SUSPENDED,
    Reason.RAY_CLUSTER_DELETING,
    Reason.DASHBOARD_URL_NOT_ALLOWED,
    Reason.KUBERAY_NOT_INSTALLED,
    Reason.FORBIDDEN,
}


def not_held(why: str) -> Problem:
    """Say that our finalizer may not be put on a watch."""
    lacking = f"nothing would be done on deletion, for the controller lacks the permission of its finalizer: {why}"
    return Problem(Reason.FORBIDDEN, lacking, stalled=True)


def jobs_left(state: WatchState, spec: WatchSpec) -> list[Job]:
    """Return the jobs that are still to be stopped."""
    jobs = state.jobs.values() if spec.stop.on_deletion else ()
    return [job for job in jobs if job.seen and not job.state.is_over and not job.is_driver]


def may_go(state: WatchState, spec: WatchSpec, deleted: datetime, now: datetime, *, is_listed: bool = True) -> bool:
    """Whether a watch that was `deleted` then is let go now. is_listed: the state is that of a look since then."""
    if state.problem and state.problem.reason in _HOPELESS:
        return True
    is_known = is_listed if state.reachable else state.is_finished
    stopped = not spec.stop.on_deletion or (is_known and not jobs_left(state, spec))
    return (stopped and not state.serve.is_pending) or seconds_left(deleted, now) <= 0


def why_let_go(state: WatchState) -> str:
    """Say why a watch is let go although something is left to do."""
    if state.problem and state.problem.reason in _HOPELESS:
        return f"the RayJobWatch is let go: {state.problem.message}"
    return f"the RayJobWatch is let go after {LONGEST.seconds} s"


def counted_from(told: datetime, heard: datetime, now: datetime) -> datetime:
    """Return from when the time counts: `told` is the API server's deletionTimestamp, `heard` is by our own clock."""
    return told if now - told >= LONGEST_OF_ALL else heard


def seconds_left(deleted: datetime, now: datetime) -> float:
    """Return after how long it is let go anyway."""
    return (deleted + LONGEST - now).total_seconds()
