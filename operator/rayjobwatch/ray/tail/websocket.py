"""The text of a WebSocket, by websocket-client's parser over our own buffer: no socket, so it serves both flavours.

A frame is kept until it is whole, so its length is checked before more of it is read than came with its header. The
frames of a message are given out one by one: a message may be of any size.
"""

from typing import Final

from websocket import ABNF, WebSocketException, WebSocketProtocolException, continuous_frame, frame_buffer

from rayjobwatch.ray.errors import ClientError, ServerError, UnavailableError

_DATA: Final = frozenset({ABNF.OPCODE_CONT, ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY})
_WHOLE_TEXT: Final = (1, 0, 0, 0, ABNF.OPCODE_TEXT, 0)  # as frame_buffer.header has it: fin, three rsv, opcode, mask
_LARGEST_CONTROL: Final = 125


class _StarvedError(Exception):
    """The rest of a frame did not come yet."""


class _OversizedError(Exception):
    """A frame of so many bytes begins, which is more than is taken."""


class _Frames(frame_buffer):
    """The library's parser, fed from a buffer instead of a socket. What starves goes on when more was added."""

    def __init__(self) -> None:
        super().__init__(self.recv_strict, skip_utf8_validation=True)  # who decodes the text replaces what is no UTF-8
        self.largest = 0
        self._data = b""
        self._at = 0
        self._parts: list[bytes] = []
        self._wanted = 0

    def add(self, data: bytes) -> None:
        """Take what came."""
        self._parts.append(data)
        self._wanted -= len(data)

    def recv_whole_text(self) -> bytes | None:
        """Return the next frame's text if it is a whole message, None if it is anything else: then `recv_frame`.

        Of such a frame, which Ray's nearly all are, there is nothing more to check; it takes half the time so.
        """
        if self.header is None:
            self.recv_header()
        if self.length is None:
            self.recv_length()
        if self.header is None or self.length is None or self.header[:6] != _WHOLE_TEXT:
            return None
        text = self.recv_strict(self.length)
        self.clear()
        return text

    def recv_strict(self, bufsize: int) -> bytes:
        """Return exactly so many bytes; `_StarvedError` before there are that many."""
        end = self._at + bufsize
        if end > len(self._data):
            end = self._refilled(bufsize)
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def _refilled(self, bufsize: int) -> int:
        """Put what came into one piece, once it is enough; return where `bufsize` bytes of it end."""
        if bufsize > self.largest:
            raise _OversizedError(bufsize)
        if self._wanted <= 0:
            self._data, self._at = b"".join((self._data[self._at :], *self._parts)), 0
            self._parts.clear()
            self._wanted = bufsize - len(self._data)
        if self._wanted > 0:
            raise _StarvedError
        return bufsize


class TextReader:
    """Takes what a server sends, cut anywhere.

    closed: a close frame came.  failure: what the server did wrong.  oversized: bytes of a frame that is too large.
    After any of these nothing more is read.  reply: a frame to be sent back, the answer to the last ping.
    """

    def __init__(self) -> None:
        self.closed = False
        self.failure: ClientError | None = None
        self.oversized = 0
        self.reply: bytes | None = None
        self._frames = _Frames()
        self._order = continuous_frame(fire_cont_frame=True, skip_utf8_validation=True)
        self._within_message = False

    def feed(self, data: bytes, largest: int) -> list[bytes]:
        """Return the text of the frames that `data` completes; of one over `largest` bytes only the head is read."""
        pieces: list[bytes] = []
        self._frames.add(data)
        self._frames.largest = max(largest, _LARGEST_CONTROL)
        try:
            while not self.closed:
                text = None if self._within_message else self._frames.recv_whole_text()
                pieces.append(text) if text is not None else self._take(self._frames.recv_frame(), pieces)
        except _StarvedError:
            pass
        except _OversizedError as error:
            (self.oversized,) = error.args
        except ClientError as error:
            self.failure = error
        except WebSocketException:
            self.failure = UnavailableError("the server broke the WebSocket protocol")
        return pieces

    def _take(self, frame: ABNF, pieces: list[bytes]) -> None:
        if frame.opcode in _DATA:
            pieces.append(self._part(frame))
        else:
            self._control(frame)

    def _part(self, frame: ABNF) -> bytes:
        """Return what is in a frame of a message of several."""
        self._order.validate(frame)
        self._order.add(frame)
        opcode, frame = self._order.extract(frame)
        if opcode == ABNF.OPCODE_BINARY:
            raise ServerError("the server sent a binary WebSocket frame, which is no text of a log")
        self._within_message = not frame.fin
        return frame.data  # type: ignore[return-value]

    def _control(self, frame: ABNF) -> None:
        if len(frame.data) > _LARGEST_CONTROL:
            raise WebSocketProtocolException
        if frame.opcode == ABNF.OPCODE_CLOSE:
            self.closed = True
        elif frame.opcode == ABNF.OPCODE_PING:
            self.reply = ABNF.create_frame(frame.data, ABNF.OPCODE_PONG).format()
