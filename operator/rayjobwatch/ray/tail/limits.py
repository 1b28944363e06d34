"""How much a log stream may bring before it is stopped with 429."""

from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from rayjobwatch.ray.errors import InvalidInputError, StreamLimitError
from rayjobwatch.ray.inputs import check_count

LongLines = Literal["cut", "skip", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """Limits of one log stream; None means no limit.

    max_messages: WebSocket messages. Ray packs up to 10 lines (about 20,000 characters) in one.
    max_lines: lines, in every protocol.
    max_bytes: bytes of log, counted as they arrive, before a line is complete. Text that is only replayed
        to find the place after a reconnect does not count.
    max_message_size: bytes of one line, without its line end.
    queue_size: lines held between the reader and the consumer; a slow consumer slows the sender down.
    long_lines: what happens to a line over max_message_size: `cut` (kept up to the limit, with a marker that
        tells its size), `skip` (left out and counted in `LogBatch.truncated`), or `error` (429).
    """

    max_messages: int | None = 10_000
    max_lines: int | None = 50_000
    max_bytes: int | None = 50 * 1024 * 1024
    max_message_size: int = 10_240
    queue_size: int = 1_000
    long_lines: LongLines = "cut"

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check(field.name)

    def _check(self, name: str) -> None:
        value = getattr(self, name)
        if name == "long_lines":
            if value not in get_args(LongLines):
                raise InvalidInputError("StreamLimits.long_lines must be 'cut', 'skip' or 'error'")
            return
        if value is None and name in {"max_messages", "max_lines", "max_bytes"}:
            return
        check_count(value, f"StreamLimits.{name}")

    @classmethod
    def unbounded(cls) -> "StreamLimits":
        """No limit on the whole stream; one line and the queue stay bounded. For streams that last for days."""
        return cls(max_messages=None, max_lines=None, max_bytes=None)

    def but(self, **changes: int | LongLines | None) -> "StreamLimits":
        """Return these limits with some of them changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


class StreamMeter:
    """Counts what one stream brought and says how much more its limits allow."""

    def __init__(self, limits: StreamLimits) -> None:
        self.limits = limits
        self.counts = {"messages": 0, "lines": 0, "bytes": 0}

    def admit(self, what: str, amount: int) -> int:
        """Count up to `amount` of `what`; return how much of it is within the limit."""
        room = self.room(what)
        allowed = amount if room is None else min(amount, room)
        self.counts[what] += allowed
        return allowed

    def room(self, what: str) -> int | None:
        """Return how much more of `what` is within the limit; None for any amount."""
        limit: int | None = getattr(self.limits, f"max_{what}")
        return None if limit is None else limit - self.counts[what]

    def exceeded(self, what: str) -> StreamLimitError:
        """Return the error that ends the stream."""
        name = "max_message_size" if what == "message_size" else f"max_{what}"
        allowed = getattr(self.limits, name)
        seen = ", ".join(f"{count} {kind}" for kind, count in self.counts.items() if count)
        return StreamLimitError(
            f"log stream limit {name}={allowed} exceeded after {seen or 'nothing'}",
            limit=name, allowed=allowed, counts=self.counts,
        )  # fmt: skip
