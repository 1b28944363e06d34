"""The reader's side of a WebSocket (RFC 6455), without I/O: many frames of text at a time.

Written out here because the libraries spend 3 to 8 times the CPU of this on Ray's small frames, and hold a whole
frame, of any size, in memory; here a frame's text is given out as it comes.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Final

from rayjobwatch.ray.errors import ServerError, UnavailableError

_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FIN: Final = 0x80
_DATA: Final = {0x0, 0x1}
_CLOSE, _PING, _PONG = 0x8, 0x9, 0xA
_TEXT_FRAME: Final = _FIN | 0x1


def new_key() -> str:
    """Return a nonce for a handshake."""
    return base64.b64encode(secrets.token_bytes(16)).decode()


def check_handshake(headers: Mapping[str, str], key: str, operation: str) -> None:
    """Check the head of a 101 answer."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()).decode()
    if headers.get("sec-websocket-accept") != accept or headers.get("upgrade", "").lower() != "websocket":
        raise ServerError(f"{operation}: the server's handshake is not a WebSocket's")
    if headers.get("sec-websocket-extensions") or headers.get("sec-websocket-protocol"):
        raise ServerError(f"{operation}: the server chose an extension that was not offered")


class FrameReader:
    """Takes what a server sends, cut anywhere.

    closed: a close frame came; nothing after it is read.  replies: frames to be sent back (pongs).
    """

    def __init__(self) -> None:
        self.closed = False
        self.replies: list[bytes] = []
        self._rest = b""
        self._left = 0

    def feed(self, data: bytes) -> tuple[list[bytes], int]:
        """Return the pieces of text in `data` and how many of them begin a frame (all, or all but the first)."""
        continued = bool(self._left)
        pieces: list[bytes] = []
        if self._rest:
            data, self._rest = self._rest + data, b""
        position = 0
        if continued:
            position = self._take(data, 0, self._left, pieces)
        while not self._left and not self.closed:
            position = _whole_text_frames(data, position, pieces)
            header = _header(data, position)
            if header is None:
                break
            start, length = header
            if data[position] & 0xF in _DATA:
                position = self._take(data, start, length, pieces)
            elif len(data) - start < length:
                break
            else:
                self._control(data[position] & 0xF, data[start : start + length])
                position = start + length
        self._rest = data[position:]
        return pieces, len(pieces) - continued

    def _take(self, data: bytes, start: int, length: int, pieces: list[bytes]) -> int:
        piece = data[start : start + length]
        pieces.append(piece)
        self._left = length - len(piece)
        return start + len(piece)

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _CLOSE:
            self.closed = True
        elif opcode == _PING:
            mask = secrets.token_bytes(4)
            masked = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
            self.replies.append(bytes((_FIN | _PONG, 0x80 | len(payload))) + mask + masked)


def _whole_text_frames(data: bytes, at: int, pieces: list[bytes]) -> int:
    """Take the frames that are all alike, whole and of less than 64 KiB, in as few steps as can be."""
    size = len(data)
    while size - at >= 4 and data[at] == _TEXT_FRAME:
        start, length = at + 2, data[at + 1]
        if length == 126:
            start, length = at + 4, data[at + 2] << 8 | data[at + 3]
        elif length > 126:
            return at
        if start + length > size:
            return at
        at = start + length
        pieces.append(data[start:at])
    return at


def _header(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at `at` starts and how long it is; None if that is not there yet."""
    have = len(data) - at
    if have < 2:
        return None
    first, length = data[at], data[at + 1]
    if first != _TEXT_FRAME or length > 127:
        _check(first, length)
    if length < 126:
        return at + 2, length
    if length == 126:
        return None if have < 4 else (at + 4, data[at + 2] << 8 | data[at + 3])
    return None if have < 10 else (at + 10, int.from_bytes(data[at + 2 : at + 10], "big"))


def _check(first: int, length: int) -> None:
    opcode = first & 0xF
    known = opcode in _DATA or opcode in {_CLOSE, _PING, _PONG}
    whole = opcode in _DATA or (first & _FIN and length < 126)
    if first & 0x70 or length & 0x80 or not (known and whole):
        raise UnavailableError("the server broke the WebSocket protocol")
