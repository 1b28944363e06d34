"""What was found in a log, before it is decided which of it is the cause."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """How a finding came to stand in the log."""

    UNCAUGHT = "uncaught"  # it went through the program's outermost frame
    CAUGHT = "caught"  # somebody caught and printed it; that may still have been the last thing done
    SIDE = "side"  # of a thread or child process
    IGNORED = "ignored"  # Python says itself that it had no consequence
    CRASH = "crash"  # the process died of it
    REPORT = "report"  # a program's last words, of a shell or compiler say


@dataclass(frozen=True, slots=True)
class Finding:
    """A possible cause: lines `first` to `last` of the log, both included.

    `lead` is the line before it, by which it was logged. A `wrapper` only passes on that something else failed.
    `stream` is the prefix of its lines: empty for the driver's own. `exit_code`: the one that it ends a process with,
    where only one is usual.
    """

    role: Role
    type: str
    message: str
    location: str
    first: int
    last: int
    lead: str = ""
    stream: str = ""
    wrapper: bool = False
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """What a program that is not Python said as it ended. An empty `type`: the exit code or signal is the type."""

    role: Role
    type: str
    message: str
    location: str
    end: int
