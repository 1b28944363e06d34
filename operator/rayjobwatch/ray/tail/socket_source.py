"""Log text over Ray's WebSocket tail, which replays from the start, and the check that it brought everything."""

from typing import Final

from rayjobwatch.ray.api.logs import log_socket
from rayjobwatch.ray.errors import ServerError, TailEndedError, UnavailableError
from rayjobwatch.ray.plan import Close, Open, Read, Response, Write, error_of
from rayjobwatch.ray.tail.byte_source import file_request
from rayjobwatch.ray.tail.cursor import TextCursor
from rayjobwatch.ray.tail.effects import TailPlan
from rayjobwatch.ray.tail.progress import Progress
from rayjobwatch.ray.tail.seek import TextSeeker, text_size
from rayjobwatch.ray.tail.spec import Rung
from rayjobwatch.ray.tail.websocket import FrameReader, check_handshake, new_key

_CLOSES_WITHIN: Final = 15.0
CAUSES: Final = "(a byte that is not UTF-8, or a line of more than 4 MiB): use protocol 'auto' or 'http'"


def read_socket(progress: Progress, connect: float, *, until_over: bool, may_wait: bool) -> TailPlan[None]:
    """Read the text tail until the server closes it, or with `until_over` until the job is over and all is quiet.

    A server whose job is over closes its tails some seconds later; one that does not is left after 15 s.
    """
    key = new_key()
    request = log_socket(progress.spec.job_id, key, connect, queue=connect if may_wait else 0.0)
    head: Response = yield Open(request)
    if head.status != 101:
        yield Close()
        raise error_of(head, request.operation)
    check_handshake(head.headers, key, request.operation)
    yield from progress.opened(Rung.SOCKET)
    over_since: float | None = None
    text = _Text(progress)
    while not text.closed:
        data: bytes | None = yield Read(progress.spec.look_every)
        if data:
            yield from text.take(data)
        elif data is not None:
            raise UnavailableError(f"{request.operation}: the connection was lost")
        else:
            yield from progress.look_if_due()
            over_since = progress.clock() if progress.over and over_since is None else over_since
            if over_since is not None and (until_over or progress.clock() - over_since > _CLOSES_WITHIN):
                break
    yield Close()
    text.check_reached()


class _Text:
    """The text of one connection: skips what an earlier one brought, hands on the rest."""

    def __init__(self, progress: Progress) -> None:
        cursor = progress.log.cursor
        progress.log.go_on_at(cursor)
        self._progress = progress
        self._reader = FrameReader()
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
        pieces, frames = self._reader.feed(data)
        while self._reader.replies:
            yield Write(self._reader.replies.pop())
        if self._seeker is None:
            yield from self._feed(pieces, frames)
        elif (rest := self._seeker.feed(b"".join(pieces))) is not None:
            self._found(self._seeker)
            yield from self._feed([rest], 1)

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

    def _feed(self, pieces: list[bytes], frames: int) -> TailPlan[None]:
        log = self._progress.log
        allowed = log.meter.admit("messages", frames)
        if allowed < frames:
            pieces = pieces[: len(pieces) - frames + allowed]
        if any(pieces):
            yield from self._progress.feed(b"".join(pieces))
        if allowed < frames:
            raise log.meter.exceeded("messages")


def unread_text(progress: Progress, connect: float) -> TailPlan[int]:
    """Return how much text the log file holds beyond what the text tail brought."""
    cursor = progress.log.cursor
    request = yield from file_request(progress, connect)
    head: Response = yield Open(request)
    if head.status != 200:
        yield Close()
        raise error_of(head, request.operation)
    seeker = TextSeeker(cursor.text_offset, cursor.anchor if isinstance(cursor, TextCursor) else None)
    rest: bytes | None = None
    size = 0
    while data := (yield Read()):
        if rest is None:
            data = rest = seeker.feed(data)
        size += text_size(data or b"")
    yield Close()
    if rest is None:
        size = text_size(seeker.finish())
    return max(size - progress.log.held_size, 0)
