"""Finding, in a log that is sent again from its start, the place where reading stopped. Pure."""

from collections import deque
from typing import Final, TypeAlias

from rayjobwatch.ray.errors import ServerError
from rayjobwatch.ray.tail.cursor import ByteCursor, TextCursor
from rayjobwatch.ray.tail.lines import ANCHOR_BYTES, anchor_of

_WINDOW: Final = 1 << 16


class ByteSeeker:
    """Drops the first `skip` bytes."""

    def __init__(self, skip: int) -> None:
        self._skip = skip

    def feed(self, chunk: bytes) -> bytes | None:
        """Return what follows the place, None before it is reached."""
        if self._skip >= len(chunk):
            self._skip -= len(chunk)
            return None
        rest, self._skip = chunk[self._skip :], 0
        return rest

    def finish(self) -> bytes | None:
        """Check, at the end of what was sent, that the place was reached."""
        if self._skip:
            raise _shorter()
        return None


class TextSeeker:
    """Finds a place of the text tail in the log's bytes (or in the text itself, sent again).

    The agent reads the file as text: CR LF and CR become LF. So the text's length up to a place is the bytes'
    length less one for every CR LF. With an `anchor`, the line before the place must have that checksum; when a
    live tail brought a line end more than there are in the bytes, the place is looked for further back.
    """

    def __init__(self, text_offset: int, anchor: int | None = None) -> None:
        self._wanted = text_offset
        self._anchor = anchor if text_offset else None
        self._chunks: deque[bytes] = deque()
        self._kept = 0
        self._text = 0
        self._last = b""
        self._window = b""
        self._before = self.cursor = ByteCursor()
        self.text_cursor = TextCursor()

    def feed(self, chunk: bytes) -> bytes | None:
        """Return what follows the place, None before it is reached."""
        self._text += text_size(chunk) - (self._last == b"\r" and chunk[:1] == b"\n")
        self._last = chunk[-1:] or self._last
        self._chunks.append(chunk)
        self._kept += len(chunk)
        # One byte more than wanted must be there: an LF that belongs to the CR before it.
        if self._text <= self._wanted:
            self._forget()
            return None
        return self._found()

    def finish(self) -> bytes:
        """At the end of the log: return what follows the place, or raise because it was not reached."""
        if self._text < self._wanted and self._anchor is None:
            raise _shorter()
        return self._found()

    def _forget(self) -> None:
        """Keep only what the anchor may be looked for in."""
        while self._kept - len(self._chunks[0]) > _WINDOW:
            gone = self._chunks.popleft()
            if gone.endswith(b"\r"):
                gone, self._chunks[0] = gone[:-1], b"\r" + self._chunks[0]
            self._kept -= len(gone)
            self._before = ByteCursor(self._before.offset + len(gone), self._before.crlf + _pairs(gone))

    def _place(self) -> int:
        """Return where the wanted text length is reached in the window."""
        wanted = self._wanted - self._before.text_offset
        low, high = wanted, len(self._window)
        end = wanted
        while end < high and text_size(self._window[:end]) < wanted:
            end += wanted - text_size(self._window[:end])
        end = min(end, high)
        if self._window[end - 1 : end + 1] == b"\r\n" and low > 0:
            end += 1
        return end if self._anchor is None else self._anchored(end)

    def _anchored(self, end: int) -> int:
        if self._known(end):  # perhaps after a last line without line end
            return end
        while end > 0 and not (self._window[end - 1] in b"\r\n" and self._known(end)):
            end = max(self._window.rfind(b"\n", 0, end - 1), self._window.rfind(b"\r", 0, end - 1)) + 1
        if end <= 0:
            raise ServerError("the log is not the one that was read before: the last line read is not in it")
        return end

    def _known(self, end: int) -> bool:
        return _anchor(self._window[max(0, end - ANCHOR_BYTES - 4) : end]) == self._anchor

    def _found(self) -> bytes:
        self._window = b"".join(self._chunks)
        self._chunks.clear()
        end = self._place()
        done = self._window[:end]
        self.cursor = ByteCursor(self._before.offset + end, self._before.crlf + _pairs(done))
        last = done[-ANCHOR_BYTES - 4 :]
        self.text_cursor = TextCursor(self.cursor.text_offset, _anchor(last) if done else 0)
        rest, self._window = self._window[end:], b""
        return rest


Seeker: TypeAlias = ByteSeeker | TextSeeker


def _anchor(block: bytes) -> int:
    return anchor_of(block.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))


def text_size(block: bytes) -> int:
    """Return how long the text is that the agent makes of `block`, in UTF-8 bytes."""
    return len(block) - _pairs(block)


def _pairs(block: bytes) -> int:
    return block.count(b"\r\n") if b"\r" in block else 0


def _shorter() -> ServerError:
    return ServerError("the log has become shorter than what was already read of it")
