"""Times as Ray and as Kubernetes write them."""

from datetime import UTC, datetime


def rfc3339(time: datetime) -> str:
    """Write a time as Kubernetes does: UTC, whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: object) -> datetime | None:
    """Read a time from status; None for what is not a time."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo else None


def from_milliseconds(value: object) -> datetime | None:
    """Read Ray's milliseconds since the epoch; None for null, 0 and nonsense."""
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        return None
    try:
        return datetime.fromtimestamp(value / 1000, UTC).replace(microsecond=0)
    except (OverflowError, OSError, ValueError):
        return None
