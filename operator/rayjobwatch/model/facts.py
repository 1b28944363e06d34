"""What is known of a Ray cluster beside its jobs. It tells nothing about any job, and waits for nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rayjobwatch.model.text import clean_line

MOST_APPLICATIONS: Final = 10
NAME_BYTES: Final = 64
STATE_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class NodeCount:
    """How many nodes are ALIVE, and how many DEAD that Ray remembers."""

    alive: int = 0
    dead: int = 0


@dataclass(frozen=True, slots=True)
class Served:
    """A Serve application and Serve's word for its state."""

    name: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a cluster said of itself last; what it was not asked or does not say is None, or not there.

    failed_tasks: attempts that FAILED, of those that Ray remembers.  idle_since: the end of the job that ended last, on
    the head's clock, where no job is open.
    """

    nodes: NodeCount | None = None
    failed_tasks: int | None = None
    applications: tuple[Served, ...] = ()
    idle_since: datetime | None = None


NO_FACTS = Facts()


def served(applications: Iterable[tuple[str, str]]) -> tuple[Served, ...]:
    """Return applications, of too many those first that do not run."""
    by_need = sorted(applications, key=lambda pair: (pair[1] == "RUNNING", pair[0]))[:MOST_APPLICATIONS]
    return tuple(Served(clean_line(name, NAME_BYTES), clean_line(state, STATE_BYTES)) for name, state in by_need)
