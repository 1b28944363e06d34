"""When a decision is made, and what is known then that no state holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by our clock and by the head's, which wrote the times of Ray's rows.

    deleted: the watch is being deleted.  answers: what asking Ray for a stop came to last, by job id: empty where it
    said yes.
    """

    now: datetime
    head_ahead: timedelta = timedelta(0)
    deleted: bool = False
    answers: Mapping[str, str] = field(default_factory=dict)

    @property
    def head_now(self) -> datetime:
        """This moment by the head's clock."""
        return self.now + self.head_ahead
