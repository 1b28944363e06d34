"""What is known of the deletion of a job's record from Ray; `model.retention` decides about it."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum, auto
from typing import Final


class Deletion(StrEnum):
    """How far it is, as `status.jobs[].record.state` shows it."""

    NONE = ""
    PENDING = "Pending"
    DELETED = "Deleted"
    LEFT = "Left"


@dataclass(frozen=True, slots=True)
class RecordState:
    """The deletion of one record. `time` is of its state; what is `Left` stays so for good, `message` says why.

    `failures`: attempts in a row that did not help.  `due`: when to go on, None for at once.
    """

    state: Deletion = Deletion.NONE
    time: datetime | None = None
    message: str = ""
    failures: int = 0
    due: datetime | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be done."""
        return self.state in (Deletion.DELETED, Deletion.LEFT)


class Outcome(Enum):
    """What came of asking Ray about a record."""

    GONE = auto()
    ASKED = auto()
    PUT_OFF = auto()
    LEFT = auto()


@dataclass(frozen=True, slots=True)
class RecordAnswer:
    """What came of it, and why where Ray did not delete the record."""

    outcome: Outcome
    message: str = ""


UNTOUCHED: Final = RecordState()
