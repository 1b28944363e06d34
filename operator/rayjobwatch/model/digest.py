"""What is kept of a job's log: how many lines were read, where reading goes on, and the last lines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rayjobwatch.model.cause.window import EMPTY_WINDOW, LogWindow
from rayjobwatch.model.redaction.keys import without_keys
from rayjobwatch.model.text import clean_line

KEPT_LINES = 100
JOB_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class LogDigest:
    """Digest of one job's log. `cursor` and `lines` always speak of the same place in the log.

    `window` is what the cause of a failure is looked for in, `in_key` whether the last line stands inside of a private
    key; status does not show them.
    """

    lines: int = 0
    cursor: str = ""
    complete: bool = False
    tail: tuple[str, ...] = ()
    message: str = ""
    window: LogWindow = field(default=EMPTY_WINDOW, compare=False, repr=False)
    in_key: bool = field(default=False, compare=False, repr=False)

    @classmethod
    def restored(cls, lines: int, cursor: str, tail: Sequence[str], *, complete: bool, message: str) -> "LogDigest":
        """Go on from what a status shows: all that is left of the log so far is its kept tail."""
        return cls(lines, cursor, complete, tuple(tail), message, LogWindow.restored(lines, tail))

    def fed(self, lines: Sequence[str], cursor: str) -> "LogDigest":
        """Return the digest after `lines` (complete lines, in order), read up to `cursor`."""
        shown, in_key = without_keys(lines, self.in_key)
        return LogDigest(
            lines=self.lines + len(lines),
            cursor=cursor,
            tail=_joined(self.tail, shown[-KEPT_LINES:]),
            window=self.window.fed(shown),
            in_key=in_key,
        )

    def after(self, known: "LogDigest") -> "LogDigest":
        """Return this digest with the older lines that `known`, the digest of an earlier or the same place, still has.

        One follower serves all watches on a log, and goes on from the lines that the first of them had kept.
        """
        new = self.lines - known.lines
        if not 0 <= new <= len(self.tail):
            return self
        tail = (known.tail + self.tail[len(self.tail) - new :])[-KEPT_LINES:]
        return replace(self, tail=tail) if len(tail) > len(self.tail) else self

    def closed(self) -> "LogDigest":
        """Return the digest of a log that was read to its end."""
        return replace(self, complete=True, message="")

    def failing(self, message: str) -> "LogDigest":
        """Return the digest with the reason why reading does not go on."""
        return replace(self, message=clean_line(message))


def _joined(tail: tuple[str, ...], lines: Sequence[str]) -> tuple[str, ...]:
    """Clean no more of the newest lines than status can hold: a batch of long ones would hold up all other watches."""
    newest: list[str] = []
    left = JOB_TAIL_BYTES
    for line in reversed(lines):
        newest.append(clean_line(line))
        left -= len(newest[-1]) + len('"",')
        if left <= 0:
            return tuple(newest[::-1])
    return (*tail, *newest[::-1])[-KEPT_LINES:]


def kept_tail(tail: Sequence[str], count: int, limit: int) -> list[str]:
    """Return the newest lines of `tail`, at most `count` of them and `limit` bytes of JSON in all."""
    kept: list[str] = []
    for line in reversed(tail[-count:] if count else ()):
        limit -= len(json.dumps(line, ensure_ascii=False).encode()) + 1
        if limit < 0:
            break
        kept.append(line)
    return kept[::-1]
