"""The lines that are kept of a log to find a failure's cause in: its last ones, however they were batched."""

from collections.abc import Sequence
from dataclasses import dataclass

LINE_CHARS = 8192
_DRIVER_LINES, _DRIVER_CHARS = 600, 48_000
_WORKER_LINES, _WORKER_CHARS = 150, 12_000

Numbered = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """The newest lines of some, `chars` characters with their line ends; `dropped`: whether older ones had to go."""

    lines: tuple[Numbered, ...] = ()
    chars: int = 0
    dropped: bool = False

    def with_newer(self, newer: Sequence[Numbered], most_lines: int, most_chars: int) -> "Kept":
        """Return the newest lines of these and `newer`, as many as both limits let stay."""
        if not newer:
            return self
        added = [(number, _cut(line)) for number, line in newer[-most_lines:]]
        lines = (*self.lines, *added)
        chars = self.chars + sum(len(line) + 1 for _, line in added)
        dropped = 0
        while len(lines) - dropped > most_lines or chars > most_chars:
            chars -= len(lines[dropped][1]) + 1
            dropped += 1
        return Kept(lines[dropped:], chars, self.dropped or dropped > 0 or len(newer) > len(added))


EMPTY = Kept()


@dataclass(frozen=True, slots=True)
class LogWindow:
    """The last lines of a log, each with its number. Bounded: about 60,000 characters.

    Lines that Ray forwarded from workers are kept apart: they go on after the driver's traceback, and their number
    must not push it out. `since`: how many of its first lines it never saw, as those before a restart.
    """

    count: int = 0
    driver: Kept = EMPTY
    workers: Kept = EMPTY
    since: int = 0

    def fed(self, lines: Sequence[str]) -> "LogWindow":
        """Return the window after `lines` (complete lines, in order)."""
        driver: list[Numbered] = []
        workers: list[Numbered] = []
        for number, line in enumerate(lines, self.count):
            (workers if is_forwarded(line) else driver).append((number, line))
        return LogWindow(
            count=self.count + len(lines),
            driver=self.driver.with_newer(driver, _DRIVER_LINES, _DRIVER_CHARS),
            workers=self.workers.with_newer(workers, _WORKER_LINES, _WORKER_CHARS),
            since=self.since,
        )

    @classmethod
    def restored(cls, count: int, tail: Sequence[str]) -> "LogWindow":
        """Return the window of a log of `count` lines of which only `tail`, its last ones, are left."""
        first = max(0, count - len(tail))
        return LogWindow(first, since=first).fed(tail)

    @property
    def is_short(self) -> bool:
        """Whether it has room for lines of the driver that it never saw."""
        return self.since > 0 and not self.driver.dropped

    def looked_back(self, lines: Sequence[str]) -> "LogWindow":
        """Return the window that `lines` give, the last ones of the same log up to the same place, if it has more."""
        other = LogWindow.restored(self.count, lines)
        return other if len(other.driver.lines) > len(self.driver.lines) else self

    @property
    def lines(self) -> list[Numbered]:
        """All kept lines in the order of the log."""
        return sorted((*self.driver.lines, *self.workers.lines))

    @property
    def has_all(self) -> bool:
        """Whether no line of the log has been dropped."""
        return self.count == len(self.driver.lines) + len(self.workers.lines)


EMPTY_WINDOW = LogWindow()


def is_forwarded(line: str) -> bool:
    """Whether Ray forwarded the line from a worker: `(name pid=1) …`, with or without colour."""
    return line[:1] in ("(", "\x1b") and "pid=" in line[:200]


def _cut(line: str) -> str:
    """Keep both ends of a long line: a JSON line has its level at one and its exception at the other."""
    half = LINE_CHARS // 2
    return line if len(line) <= LINE_CHARS else line[:half] + line[-half:]
