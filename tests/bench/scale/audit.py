"""What a user asked of the API server, from its audit log."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

READS = frozenset({"get", "list"})


def requests(events: Iterable[dict[str, Any]], user: str, begin: float, end: float) -> Counter[str]:
    """Count a user's requests by verb and resource, such as `get rayclusters`, in a span of seconds since the epoch."""
    counts: Counter[str] = Counter()
    for event in events:
        if event["user"]["username"] == user and event["stage"] == "ResponseComplete" and begin <= _time(event) < end:
            where = event["objectRef"]
            names = [event["verb"], where["resource"], *([where["subresource"]] if "subresource" in where else [])]
            counts["/".join(names).replace("/", " ", 1)] += 1
    return counts


def reads(counts: Counter[str]) -> int:
    """Return how many were reads; watches apart, which bring what is asked for once."""
    return sum(count for name, count in counts.items() if name.split()[0] in READS)


def _time(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
