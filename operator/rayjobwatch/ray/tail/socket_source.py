"""Log text over Ray's WebSocket tail, which replays from the start, and the check that it brought everything."""

import math
from typing import TYPE_CHECKING, Final

from rayjobwatch.ray.api.logs import log_socket
from rayjobwatch.ray.errors import MissingPackageError, ServerError, TailEndedError, UnavailableError
from rayjobwatch.ray.plan import Close, Open, Read, Response, Write, error_of
from rayjobwatch.ray.tail.completeness import CAUSES
from rayjobwatch.ray.tail.cursor import TextCursor
from rayjobwatch.ray.tail.effects import TailPlan
from rayjobwatch.ray.tail.handshake import check_handshake, new_key
from rayjobwatch.ray.tail.progress import Progress
from rayjobwatch.ray.tail.seek import TextSeeker
from rayjobwatch.ray.tail.spec import Rung

if TYPE_CHECKING:
    from rayjobwatch.ray.tail.websocket import TextReader

_CLOSES_WITHIN: Final = 15.0
LARGEST_FRAME: Final = 4 << 20  # Ray sends none: at this size its own head gives up
_SMALL_FRAME: Final = 1 << 16


def read_socket(progress: Progress, connect: float, *, until_over: bool, may_wait: bool) -> TailPlan[None]:
    """Read the text tail until the server closes it, or with `until_over` until the job is over and no text comes.

    A server whose job is over closes its tails some seconds later; one that does not is left after 15 s without text.
    The job is looked up by the clock: a server that pings is not silent.
    """
    reader = text_reader()
    key = new_key()
    request = log_socket(progress.spec.job_id, key, connect, queue=connect if may_wait else 0.0)
    head: Response = yield Open(request)
    if head.status != 101:
        raise error_of(head, request.operation)
    check_handshake(head.headers, key, request.operation)
    yield from progress.opened(Rung.SOCKET)
    text = _Text(progress, reader)
    patience = progress.spec.look_every / 2 if until_over else _CLOSES_WITHIN
    over_since = math.inf
    while not text.closed:
        data: bytes | None = yield Read(progress.spec.look_every)
        if data:
            yield from text.take(data)
        elif data is not None:
            raise UnavailableError(f"{request.operation}: the connection was lost")
        yield from progress.look_if_due()
        if progress.over:
            over_since = min(over_since, progress.clock())
            if progress.clock() - (text.heard if until_over else max(text.heard, over_since)) > patience:
                break
    yield Close()
    text.check_reached()


def text_reader() -> "TextReader":
    """Return what reads a WebSocket's text; its library is loaded by the first: most clients never open one."""
    try:
        import websocket  # noqa: F401, PLC0415 - asked each time: it may be gone since ours was loaded

        from rayjobwatch.ray.tail.websocket import TextReader  # noqa: PLC0415
    except ImportError:
        pass
    else:
        return TextReader()
    raise MissingPackageError("protocol 'websocket' needs the package websocket-client, which is not installed")


class _Text:
    """The text of one connection: skips what an earlier one brought, hands on the rest.

    heard: when text came last, or the connection was made.
    """

    def __init__(self, progress: Progress, reader: "TextReader") -> None:
        cursor = progress.log.cursor
        progress.log.go_on_at(cursor)
        self._progress = progress
        self._reader = reader
        self.heard = progress.clock()
        anchor = cursor.anchor if isinstance(cursor, TextCursor) else None
        self._seeker: TextSeeker | None = TextSeeker(cursor.text_offset, anchor)
        if not cursor.text_offset:
            self._found(self._seeker)

    @property
    def closed(self) -> bool:
        """Whether the server said that it closes."""
        return self._reader.closed

    def take(self, data: bytes) -> TailPlan[None]:
        """Give out the lines in `data`."""
        pieces = self._reader.feed(data, self._largest_frame())
        if self._reader.reply is not None:
            yield Write(self._reader.reply)
            self._reader.reply = None
        if any(pieces):
            self.heard = self._progress.clock()
        if self._seeker is None:
            yield from self._feed(pieces)
        elif (rest := self._seeker.feed(b"".join(pieces))) is not None:
            self._found(self._seeker)
            yield from self._feed([rest])
        self._check_reader()

    def _largest_frame(self) -> int:
        """Return the bytes that a frame may have before it is known to go beyond `max_bytes`."""
        room = self._progress.log.meter.room("bytes") if self._seeker is None else None
        return LARGEST_FRAME if room is None else min(max(room, _SMALL_FRAME), LARGEST_FRAME)

    def _check_reader(self) -> None:
        size = self._reader.oversized
        if 0 < size <= LARGEST_FRAME:
            raise self._progress.log.meter.exceeded("bytes")
        if size:
            raise TailEndedError(f"the server's log tail has a WebSocket frame of {size} bytes {CAUSES}")
        if self._reader.failure is not None:
            raise self._reader.failure

    def check_reached(self) -> None:
        """Raise if the server did not even bring what was read before."""
        if self._seeker is not None and not self._is_reached(self._seeker):
            raise TailEndedError(
                f"the server's log tail of {self._progress.spec.job_id!r} does not reach any more what it had brought "
                f"before {CAUSES}"
            )

    def _is_reached(self, seeker: TextSeeker) -> bool:
        try:
            seeker.finish()
        except ServerError:
            return False
        return True

    def _found(self, seeker: TextSeeker) -> None:
        self._progress.log.go_on_at(seeker.text_cursor)
        self._seeker = None

    def _feed(self, pieces: list[bytes]) -> TailPlan[None]:
        log = self._progress.log
        allowed = log.meter.admit("messages", len(pieces))
        if any(pieces):
            yield from self._progress.feed(b"".join(pieces[:allowed]))
        if allowed < len(pieces):
            raise log.meter.exceeded("messages")
