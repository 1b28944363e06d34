"""What the newest failed tasks of a job tell where its log tells nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

_MOST_TYPES = 3


@dataclass(frozen=True, slots=True)
class FailedTask:
    """A task that failed: Ray's error type (`OUT_OF_MEMORY`), the task's name, and when it ended (0: not known)."""

    error_type: str
    name: str = ""
    end: int = 0


def said_by_tasks(tasks: Sequence[FailedTask]) -> str:
    """Name the error types of the newest tasks, each with its newest task; empty where there are none."""
    newest: dict[str, str] = {}
    for task in sorted(tasks, key=lambda one: -one.end):
        newest.setdefault(task.error_type, task.name)
    told = [f"{kind} ({name})" if name else kind for kind, name in list(newest.items())[:_MOST_TYPES]]
    return f"failed tasks: {', '.join(told)}" if told else ""
