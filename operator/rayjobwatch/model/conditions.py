"""Conditions in the form of `metav1.Condition`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rayjobwatch.model.text import clean_line
from rayjobwatch.model.times import rfc3339


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as decided now. `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str = ""


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
        "reason": condition.reason,
        "message": clean_line(condition.message, 1024),
        "lastTransitionTime": before["lastTransitionTime"] if same else rfc3339(now),
        "observedGeneration": generation,
    }
