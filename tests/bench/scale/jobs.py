"""A scripted job: its state and its log at any time, computed and not stored."""

import math
from dataclasses import dataclass
from typing import NamedTuple

PENDING, RUNNING = "PENDING", "RUNNING"
SUCCEEDED, FAILED, STOPPED = "SUCCEEDED", "FAILED", "STOPPED"
TRACEBACK = (
    b"Traceback (most recent call last):\n",
    b'  File "train.py", line 88, in <module>\n',
    b"ValueError: no such shard: 7\n",
)


class Part(NamedTuple):
    """The bytes of a log from somewhere to its end, and the `size` of the whole log."""

    size: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Job:
    """A job submitted through the Jobs API. Times are seconds since the epoch, `math.inf` for never.

    `first_lines` are written at its start, one more every `line_seconds` after that, until its end.
    """

    id: str
    dashboard: int
    submitted: float
    started: float
    ended: float
    end: str
    first_lines: int = 10
    line_seconds: float = math.inf

    def status(self, now: float) -> str | None:
        """Return what Ray's table shows at `now`; None: Ray does not know it yet."""
        if now < self.submitted:
            return None
        if now >= self.ended:
            return self.end
        return RUNNING if now >= self.started else PENDING

    def log(self, now: float, start: int = 0) -> Part:
        """Return the driver log from byte `start` on, as it is at `now`."""
        before, after = (b"".join(lines) for lines in self._fixed_lines(now))
        count, width = self._body_lines(now), len(self._body_line(0))
        size = len(before) + count * width + len(after)
        if start >= size:
            return Part(size, b"")
        skipped = max(0, min(count, (start - len(before)) // width))
        body = b"".join(self._body_line(number) for number in range(skipped, count))
        begin = len(before) + skipped * width if skipped else 0
        return Part(size, ((b"" if skipped else before) + body + after)[start - begin :])

    def lines(self, now: float) -> int:
        """Return how many lines the log has at `now`."""
        before, after = self._fixed_lines(now)
        return len(before) + self._body_lines(now) + len(after)

    def _fixed_lines(self, now: float) -> tuple[list[bytes], list[bytes]]:
        before = [b"2026-11-20 12:00:00,001\tINFO job_manager.py:568 -- Runtime env is setting up.\n"]
        if now >= self.started:
            before.append(b"Running entrypoint for job %s: python train.py\n" % self.id.encode())
        return before, list(TRACEBACK) if now >= self.ended and self.end == FAILED else []

    def _body_lines(self, now: float) -> int:
        ran = min(now, self.ended) - self.started
        return self.first_lines + int(ran / self.line_seconds) if ran >= 0 else 0

    def _body_line(self, number: int) -> bytes:
        return b"%s step %08d loss=%.6f lr=0.000300\n" % (self.id.encode(), number, 1 / (1 + number))
