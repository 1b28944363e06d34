"""What a status says of a selection beside its rows, and how a new process reads it back."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rayjobwatch.model.jobs import Job, JobState
from rayjobwatch.model.state import Counts, Selected
from rayjobwatch.model.times import parse_rfc3339, rfc3339

_STATES = {state.value.lower(): state for state in JobState}


def write_selection(selected: Selected) -> dict[str, Any]:
    """Return `status.selection`."""
    status: dict[str, Any] = {"key": selected.key}
    if selected.settled:
        status["settled"] = {state.value.lower(): count for state, count in selected.settled.items()}
    if selected.until:
        status["settledUntil"] = rfc3339(selected.until)
    if selected.newest:
        status["newestEnd"] = rfc3339(selected.newest)
    return status


def read_selection(status: Mapping[str, Any], rows: Iterable[Job]) -> Selected | None:
    """Return what a status says of its selection, whose `jobs` are `rows`; None where it has none."""
    selection = status.get("selection")
    if not selection:
        return None
    settled = _counts(selection.get("settled"))
    unlisted = Counter(_counts(status.get("counts")))
    unlisted.subtract(job.state for job in rows)
    unlisted.subtract(settled)
    return Selected(
        key=str(selection.get("key") or ""),
        settled=settled,
        until=parse_rfc3339(selection.get("settledUntil")),
        newest=parse_rfc3339(selection.get("newestEnd")),
        unlisted=+unlisted,
    )


def _counts(counts: Mapping[str, Any] | None) -> Counts:
    known = ((_STATES.get(name), count) for name, count in (counts or {}).items())
    return Counter({state: int(count) for state, count in known if state and count})
