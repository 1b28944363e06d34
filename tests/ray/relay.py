"""A TCP relay that can be cut: how a test breaks a real connection without touching either end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Self

from tests.ray.wire import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable


class Relay:
    """Passes every connection on to a port of `host`, an address of this machine where it listens, too.

    A context manager.

    in_place_of: of what comes back, this is read where that was sent; both are of one length.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", in_place_of: tuple[str, str] = ("", "")) -> None:
        self._target = host, port
        self._shown, self._sent = (text.encode() for text in in_place_of)
        assert len(self._shown) == len(self._sent)
        self._thread = LoopThread()
        self._writers: set[asyncio.StreamWriter] = set()
        self.cuts = 0
        self._server = self._thread.run(self._start())
        self.address = f"{host}:{self._server.sockets[0].getsockname()[1]}"
        self.url = f"http://{self.address}"

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._relay, self._target[0], 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._thread.loop.call_soon_threadsafe(self._server.close)
        self._thread.stop()

    def cut(self) -> int:
        """Reset every connection that stands; return how many there were."""
        return self._thread.run(self._cut())

    async def _cut(self) -> int:
        writers = list(self._writers)
        for writer in writers:
            _reset(writer)
        self.cuts += bool(writers)
        return len(writers) // 2

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._pass_on(b"", reader, writer)

    async def _pass_on(self, begun: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass a connection on, of which `begun` was read already."""
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        back.write(begun)
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer, self._as_shown))
        finally:
            self._writers -= {writer, back}
            writer.transport.abort()
            back.transport.abort()

    def _as_shown(self, data: bytes) -> bytes:
        return data.replace(self._sent, self._shown) if self._sent else data


class Gate(Relay):
    """A relay as proxies are: it may want a token, and it may answer in place of what is behind it."""

    def __init__(self, port: int, token: str = "", in_place_of: tuple[str, str] = ("", "")) -> None:
        self._answer = b""
        self._token = token
        super().__init__(port, in_place_of=in_place_of)

    def change(self, *, answer: bytes = b"", token: str = "") -> None:
        """Answer so from now on (empty: pass on), and want that token (empty: the same); every connection is cut."""
        self._answer, self._token = answer, token or self._token
        self.cut()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Of a connection only the first request is looked at: all of it go with the same token.
        try:
            begun = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            writer.close()
            return
        if not (answer := self._answer or self._refusal(begun)):
            await self._pass_on(begun, reader, writer)
            return
        writer.write(answer)
        writer.close()

    def _refusal(self, request: bytes) -> bytes:
        sent = f"x-ray-authorization: bearer {self._token}\r\n".lower().encode()
        return (
            b"" if not self._token or sent in request.lower() else http_answer("401 Unauthorized", "text/plain", b"no")
        )


def http_answer(status: str, content_type: str, body: bytes) -> bytes:
    """Return a whole HTTP answer, after which the connection ends."""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.is_closing():
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shown: Callable[[bytes], bytes] = bytes
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(shown(data))
            await writer.drain()
    writer.transport.abort()
