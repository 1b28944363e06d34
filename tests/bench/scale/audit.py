"""What a user asked of the API server, from its audit log."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

READS = frozenset({"get", "list"})


def requests(events: Iterable[dict[str, Any]], user: str, begin: float, end: float) -> Counter[str]:
    """Count a user's requests in a span of seconds since the epoch, such as `patch rayjobwatches status`."""
    counts: Counter[str] = Counter()
    for event in events:
        if event["user"]["username"] == user and event["stage"] == "ResponseComplete" and begin <= _time(event) < end:
            where = event["objectRef"]
            counts[" ".join(filter(None, [event["verb"], where["resource"], where.get("subresource")]))] += 1
    return counts


def reads(counts: Counter[str]) -> int:
    """Return how many were reads; watches apart, which bring what is asked for once."""
    return sum(count for name, count in counts.items() if name.split()[0] in READS)


def writes(counts: Counter[str], resource: str) -> int:
    """Return how many were writes to the objects of that resource, or to their status."""
    return sum(
        count
        for name, count in counts.items()
        if name.split()[0] not in READS | {"watch"} and name.split()[1] == resource
    )


def _time(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
