"""The lines that are kept of a log to find a failure's cause in: its last ones, however they were batched."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

LINE_CHARS = 8192
_DRIVER_LINES, _DRIVER_CHARS = 600, 48_000
_WORKER_LINES, _WORKER_CHARS = 150, 12_000

Numbered = tuple[int, str]


@dataclass(frozen=True, slots=True)
class LogWindow:
    """The last lines of a log, each with its number. Bounded: about 60,000 characters.

    Lines that Ray forwarded from workers are kept apart: they go on after the driver's traceback, and their number
    must not push it out.
    """

    count: int = 0
    driver: tuple[Numbered, ...] = ()
    workers: tuple[Numbered, ...] = ()

    def fed(self, lines: Sequence[str]) -> "LogWindow":
        """Return the window after `lines` (complete lines, in order)."""
        if not lines:
            return self
        newest = list(zip(range(self.count, self.count + len(lines)), lines, strict=True))
        return LogWindow(
            count=self.count + len(lines),
            driver=_last(self.driver, (one for one in reversed(newest) if not is_forwarded(one[1])), _DRIVER_LINES,
                         _DRIVER_CHARS),
            workers=_last(self.workers, (one for one in reversed(newest) if is_forwarded(one[1])), _WORKER_LINES,
                          _WORKER_CHARS),
        )  # fmt: skip

    @classmethod
    def restored(cls, count: int, tail: Sequence[str]) -> "LogWindow":
        """Return the window of a log of `count` lines of which only `tail`, its last ones, are left."""
        return LogWindow(max(0, count - len(tail))).fed(tail)

    @property
    def lines(self) -> list[Numbered]:
        """All kept lines in the order of the log."""
        return sorted((*self.driver, *self.workers))

    @property
    def has_all(self) -> bool:
        """Whether no line of the log has been dropped."""
        return self.count == len(self.driver) + len(self.workers)


EMPTY_WINDOW = LogWindow()


def is_forwarded(line: str) -> bool:
    """Whether Ray forwarded the line from a worker: `(name pid=1) …`, with or without colour."""
    return line[:1] in ("(", "\x1b") and "pid=" in line[:200]


def _last(kept: tuple[Numbered, ...], newest_first: Iterable[Numbered], lines: int, chars: int) -> tuple[Numbered, ...]:
    chosen: list[Numbered] = []
    for number, line in _both(newest_first, kept):
        cut = _cut(line)
        chars -= len(cut) + 1
        if len(chosen) == lines or chars < 0:
            break
        chosen.append((number, cut))
    return tuple(chosen[::-1])


def _both(newest_first: Iterable[Numbered], kept: tuple[Numbered, ...]) -> Iterator[Numbered]:
    yield from newest_first
    yield from reversed(kept)


def _cut(line: str) -> str:
    """Keep both ends of a long line: a JSON line has its level at one and its exception at the other."""
    half = LINE_CHARS // 2
    return line if len(line) <= LINE_CHARS else line[:half] + line[-half:]
