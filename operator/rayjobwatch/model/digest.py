"""What is kept of a job's log: how many lines were read, where reading goes on, and the last lines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from rayjobwatch.model.cause.window import EMPTY_WINDOW, LogWindow
from rayjobwatch.model.levels import levels_of
from rayjobwatch.model.redaction.keys import without_keys
from rayjobwatch.model.redaction.patterns import NO_PATTERNS, Patterns
from rayjobwatch.model.text import clean_line

KEPT_LINES = 100
JOB_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class LogDigest:
    """Digest of one job's log. `cursor` and the numbers always speak of the same place in the log.

    `bytes` are those of the lines as UTF-8, with an end each; `errors` and `warnings` numbers of lines;
    `last_line_time` when the last line was read.

    `in_key`: whether the last line stands inside of a private key. `window` is what the cause of a failure is looked
    for in; status does not show it.
    """

    lines: int = 0
    cursor: str = ""
    complete: bool = False
    tail: tuple[str, ...] = ()
    message: str = ""
    bytes: int = 0
    errors: int = 0
    warnings: int = 0
    last_line_time: datetime | None = None
    window: LogWindow = field(default=EMPTY_WINDOW, compare=False, repr=False)
    in_key: bool = False

    @classmethod
    def restored(cls, *, lines: int, tail: tuple[str, ...], **rest: Any) -> "LogDigest":
        """Go on from what a status shows: all that is left of the log so far is its kept tail."""
        return cls(lines=lines, tail=tail, window=LogWindow.restored(lines, tail), **rest)

    def fed(self, lines: Sequence[str], cursor: str, now: datetime | None = None) -> "LogDigest":
        """Return the digest after `lines` (complete lines, in order), read up to `cursor` at the time `now`."""
        shown, in_key = without_keys(lines, self.in_key)
        errors, warnings = levels_of(lines)
        return LogDigest(
            lines=self.lines + len(lines),
            bytes=self.bytes + sum(map(_bytes, lines)),
            errors=self.errors + errors,
            warnings=self.warnings + warnings,
            last_line_time=(now if lines else None) or self.last_line_time,
            cursor=cursor,
            tail=joined(self.tail, shown),
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

    def looked_back(self, lines: Sequence[str]) -> "LogDigest":
        """Return this digest with more to find a cause in: `lines` are the last ones up to its place, read again."""
        # They may begin inside of a private key.
        shown, _ = without_keys(lines, True)
        return replace(self, window=self.window.looked_back(shown))

    def closed(self) -> "LogDigest":
        """Return the digest of a log that was read to its end."""
        return replace(self, complete=True, message="")

    def failing(self, message: str) -> "LogDigest":
        """Return the digest with the reason why reading does not go on."""
        return replace(self, message=clean_line(message))


def _bytes(line: str) -> int:
    """Return how long a line is as UTF-8, with its end."""
    return 1 + (len(line) if line.isascii() else len(line.encode(errors="replace")))


def joined(tail: tuple[str, ...], lines: Sequence[str], patterns: Patterns = NO_PATTERNS) -> tuple[str, ...]:
    """Return the last lines of `tail` and the newer `lines`, which are cleaned.

    No more of them than status can hold: a batch of long ones would hold up all other watches.
    """
    newest: list[str] = []
    left = JOB_TAIL_BYTES
    for line in reversed(lines[-KEPT_LINES:]):
        newest.append(clean_line(line, patterns=patterns))
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
