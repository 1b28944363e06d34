"""What is known of a clean-up of Serve applications; `model.serve` decides about it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

FAILURES_TO_TELL: Final = 3


class CleanUp(StrEnum):
    """State of a clean-up, as `status.serve.state` shows it."""

    NONE = ""
    PENDING = "Pending"
    DONE = "Done"
    FAILED = "Failed"
    REFUSED = "Refused"


@dataclass(frozen=True, slots=True)
class Application:
    """A Serve application. `state` is Ray's word, `deployed` the head's time of its last deployment.

    `asked`: when Ray took the request to delete it.  `message`: why it is left in peace for good.
    """

    name: str
    state: str = ""
    deployed: datetime | None = None
    asked: datetime | None = None
    message: str = ""

    @property
    def is_going(self) -> bool:
        """Whether Ray is deleting it."""
        return self.state == "DELETING"


@dataclass(frozen=True, slots=True)
class ServeState:
    """How far a clean-up has come. `applications` are those that are meant and not gone, `deleted` those that are.

    `requested`: when its time had come.  `completed`: when nothing was left to do.  `session`: the Ray session whose
    applications are meant.  `failures`: attempts that failed in a row.  `due`: when to go on, None for at once.
    `is_empty`: the last look showed no application at all, which a later one is to confirm.
    """

    state: CleanUp = CleanUp.NONE
    requested: datetime | None = None
    completed: datetime | None = None
    session: str = ""
    applications: tuple[Application, ...] = ()
    deleted: tuple[str, ...] = ()
    message: str = ""
    failures: int = 0
    due: datetime | None = None
    is_empty: bool = False

    @property
    def is_pending(self) -> bool:
        """Whether there is something left to do."""
        return self.state is CleanUp.PENDING

    @property
    def is_settled(self) -> bool:
        """Whether it is known which applications are meant."""
        return bool(self.applications or self.deleted)

    @property
    def still_there(self) -> tuple[Application, ...]:
        """Those that are to be deleted and not gone yet."""
        return tuple(one for one in self.applications if not one.message)

    @property
    def is_failing(self) -> bool:
        """Whether it failed so often, or for good, that people should know."""
        return self.state in (CleanUp.FAILED, CleanUp.REFUSED) or self.failures >= FAILURES_TO_TELL


@dataclass(frozen=True, slots=True)
class ServeAnswer:
    """What came of a step: `seen` are all applications of the Ray `session` where they were read.

    `asked`: the names that Ray took the request to delete.  `problem`: why nothing came of it.
    """

    session: str = ""
    seen: tuple[Application, ...] | None = None
    asked: tuple[str, ...] = ()
    problem: str = ""


NO_CLEAN_UP: Final = ServeState()
