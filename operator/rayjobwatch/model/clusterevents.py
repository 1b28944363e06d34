"""Events of a watch's cluster: its dashboard goes away and comes back, its head is replaced."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rayjobwatch.model.events import EventNote
from rayjobwatch.model.reasons import EventReason
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.times import rfc3339

_NO_CONDITION: Final[Mapping[str, Any]] = {}


def head_notes(old: WatchState, new: WatchState) -> Iterator[EventNote]:
    """Yield the Event that another Ray session answers where `old`, which was still watched, had its jobs."""
    before, now = old.cluster, new.cluster
    same_cluster = before.uid == now.uid if before.uid or now.uid else before.dashboard_url == now.dashboard_url
    if old.is_done or not same_cluster or not before.session or now.session in ("", before.session):
        return
    reason = EventReason.HEAD_REPLACED
    message = f"the Ray head was replaced: session {before.session} is gone, {now.session} answers"
    yield EventNote(reason, message, f"{before.session}\n{now.session}\n{reason}", is_warning=True, on_cluster=True)


def dashboard_notes(old: Mapping[str, Any], new: Mapping[str, Any], state: WatchState) -> Iterator[EventNote]:
    """Yield the Event for a change of the condition DashboardReachable between the statuses `old` and `new`.

    The first time that a dashboard answers is none, nor is a cluster that is not there yet. `state` is that of `new`.
    On the RayCluster an outage goes by the time of its last answer, which all watches on a dashboard share.
    """
    before, now = _condition(old), _condition(new)
    # By what ends and not by what begins: a later process that tells it again knows no other time.
    since = f"{before.get('status')}\n{before.get('lastTransitionTime')}"
    message = str(now.get("message") or "")
    was_away = before.get("status") == "False"
    if now.get("status") == "False" and not was_away and (state.unreachable or before.get("status") == "True"):
        reason = EventReason.DASHBOARD_UNREACHABLE
        last = rfc3339(state.last_contact) if state.last_contact else since
        yield EventNote(
            reason,
            message,
            f"{since}\n{reason}",
            is_warning=True,
            on_cluster=state.unreachable is not None,
            cluster_identity=f"{state.cluster.session}\n{last}\n{reason}",
        )
    if now.get("status") == "True" and was_away and (old.get("cluster") or {}).get("session"):
        reason = EventReason.DASHBOARD_REACHABLE
        yield EventNote(reason, f"{message} again", f"{since}\n{reason}")


def _condition(status: Mapping[str, Any]) -> Mapping[str, Any]:
    conditions = status.get("conditions") or []
    return next((item for item in conditions if item.get("type") == "DashboardReachable"), _NO_CONDITION)
