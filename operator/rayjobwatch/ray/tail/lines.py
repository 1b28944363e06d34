"""Log bytes, cut anywhere, become batches of whole lines. Pure; works on chunks, never line by line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from rayjobwatch.ray.tail.cursor import START, ByteCursor, Cursor, TextCursor
from rayjobwatch.ray.tail.limits import StreamLimits, StreamMeter

_WIDEST: Final = 1 << 18
ANCHOR_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Whole lines of a job's log, in order.

    lines: text without line ends (split on LF only; bytes that are not UTF-8 become U+FFFD).
    cursor: the place after these lines; a tail that is given it goes on exactly there.
    unterminated: True only for the last line of a job that is over, when no line end follows it.
    received_bytes: bytes of the log that these lines stood for, line ends included.
    truncated: how many lines were cut, or left out, because they were longer than `max_message_size`.
    """

    lines: tuple[str, ...]
    cursor: Cursor
    unterminated: bool = False
    received_bytes: int = 0
    truncated: int = 0


class LineAssembler:
    """Collects chunks of one log and gives out its lines, within `limits`.

    A line end is LF and nothing else. What stands after the last one is held back until it is completed or
    `finish` is called; of a line longer than `max_message_size` only that much is held.
    """

    def __init__(self, limits: StreamLimits, cursor: Cursor = START) -> None:
        self.limits = limits
        self.meter = StreamMeter(limits)
        self.cursor = cursor
        self._held: list[bytes] = []
        self._held_size = 0
        self._held_end = b""
        self._stride = 1 << 12

    @property
    def held_size(self) -> int:
        """Bytes that came after the cursor and do not make a line yet."""
        return self._held_size

    def go_on_at(self, cursor: Cursor) -> None:
        """Forget the incomplete line: the next chunk starts at `cursor`."""
        self.meter.counts["bytes"] -= self._held_size
        self._drop()
        self.cursor = cursor

    def feed(self, chunk: bytes) -> Iterator[LogBatch]:
        """Take the next chunk; yield what it completes. Raises `StreamLimitError` after the last line allowed."""
        allowed = self.meter.admit("bytes", len(chunk))
        yield from self._split(chunk if allowed == len(chunk) else chunk[:allowed])
        if allowed < len(chunk):
            raise self.meter.exceeded("bytes")

    def finish(self) -> Iterator[LogBatch]:
        """Yield, as the log is over, what stands after its last line end, if anything does."""
        if self._held_size:
            yield from self._held_line(terminated=False)

    def _split(self, chunk: bytes) -> Iterator[LogBatch]:
        last = chunk.rfind(b"\n") + 1
        if not last:
            self._hold(chunk)
            return
        start = 0
        if self._held_size > self.limits.max_message_size:
            start = chunk.index(b"\n") + 1
            self._hold(chunk[: start - 1])
            yield from self._held_line(terminated=True)
        elif self._held:
            chunk, last = b"".join([*self._held, chunk]), last + self._held_size
        self._drop()
        block = self._short_block if self._all_short(chunk, start, last) else self._any_block
        while start < last:
            stop = min(start + self._stride, last)
            end = chunk.rfind(b"\n", start, stop) + 1 or chunk.index(b"\n", start) + 1
            yield from block(chunk[start:end])
            start = end
        self._hold(chunk[last:])

    def _all_short(self, chunk: bytes, start: int, last: int) -> bool:
        """Whether no line is longer than the limit: there is a line end in every stretch of that size."""
        reach = self.limits.max_message_size + 1
        while last - start > reach:
            start = chunk.rfind(b"\n", start, start + reach) + 1
            if not start:
                return False
        return True

    def _hold(self, piece: bytes) -> None:
        room = self.limits.max_message_size + 1 - self._held_size
        if room > 0 and piece:
            self._held.append(piece[:room])
        self._held_size += len(piece)
        self._held_end = (self._held_end + piece[-ANCHOR_BYTES:])[-ANCHOR_BYTES:]

    def _drop(self) -> None:
        self._held, self._held_size, self._held_end = [], 0, b""

    def _short_block(self, block: bytes) -> Iterator[LogBatch]:
        """Give out whole lines, none of which is too long, in batches of at most `queue_size`."""
        lines = block.decode("utf-8", "replace").split("\n")
        lines.pop()
        most = self.limits.queue_size
        if len(lines) * 2 <= most:
            self._stride = min(self._stride * 2, _WIDEST)
        if len(lines) <= most:
            yield from self._plain(lines, block)
            return
        self._stride = max(self._stride // 2, 256)
        while block:
            rest = block.split(b"\n", most)[-1] if block.count(b"\n") > most else b""
            part = block[: len(block) - len(rest)]
            yield from self._plain(lines[:most], part)
            block, lines = rest, lines[most:]

    def _any_block(self, block: bytes) -> Iterator[LogBatch]:
        plain = start = 0
        while start < len(block):
            end = block.index(b"\n", start)
            if end - start > self.limits.max_message_size:
                if plain < start:
                    yield from self._short_block(block[plain:start])
                yield from self._long(block[start:end], end - start, block[start:end], terminated=True)
                plain = end + 1
            start = end + 1
        if plain < len(block):
            yield from self._short_block(block[plain:])

    def _plain(self, lines: list[str], block: bytes) -> Iterator[LogBatch]:
        allowed = self.meter.admit("lines", len(lines))
        if allowed < len(lines):
            lines = lines[:allowed]
            block = b"".join(raw + b"\n" for raw in block.split(b"\n", allowed)[:allowed])
            if lines:
                yield self._batch(lines, len(block), block, 0)
            raise self.meter.exceeded("lines")
        yield self._batch(lines, len(block), block, 0)

    def _held_line(self, *, terminated: bool) -> Iterator[LogBatch]:
        raw, size, end = b"".join(self._held), self._held_size, self._held_end
        self._drop()
        if size > self.limits.max_message_size:
            yield from self._long(raw, size, end, terminated=terminated)
        elif not self.meter.admit("lines", 1):
            raise self.meter.exceeded("lines")
        else:
            yield self._batch(_texts(raw + b"\n"), size, raw, 0, terminated=terminated)

    def _long(self, raw: bytes, size: int, end: bytes, *, terminated: bool) -> Iterator[LogBatch]:
        if self.limits.long_lines == "error":
            raise self.meter.exceeded("message_size")
        lines = []
        if self.limits.long_lines == "cut":
            if not self.meter.admit("lines", 1):
                raise self.meter.exceeded("lines")
            kept = raw[: self.limits.max_message_size].decode("utf-8", "ignore")
            lines = [f"{kept}… [line of {size} bytes cut]"]
        ending = end + b"\n" if terminated else end
        yield self._batch(lines, size + terminated, ending, 1, terminated=terminated)

    def _batch(self, lines: list[str], size: int, block: bytes, truncated: int, *, terminated: bool = True) -> LogBatch:
        """Build a batch that stood for `size` bytes, of which `block` holds the last ones."""
        if isinstance(self.cursor, TextCursor):
            self.cursor = TextCursor(self.cursor.offset + size, anchor_of(block))
        elif isinstance(self.cursor, ByteCursor):
            pairs = block.count(b"\r\n") if b"\r" in block else 0
            self.cursor = ByteCursor(self.cursor.offset + size, self.cursor.crlf + pairs)
        return LogBatch(tuple(lines), self.cursor, not terminated, size, truncated)


def anchor_of(block: bytes) -> int:
    """Return the checksum by which the last line of `block` is known again."""
    line = block.removesuffix(b"\n")
    return crc32(line[line.rfind(b"\n") + 1 :][-ANCHOR_BYTES:])


def _texts(block: bytes) -> list[str]:
    return block[:-1].decode("utf-8", "replace").split("\n")
