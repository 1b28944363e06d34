"""A TCP relay that can be cut: how a test breaks a real connection without touching either end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from tests.ray.wire import LoopThread


class Relay:
    """Passes every connection on to 127.0.0.1:`port`; a context manager."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._thread = LoopThread()
        self._writers: set[asyncio.StreamWriter] = set()
        self.cuts = 0
        self._server = self._thread.run(self._start())
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._relay, "127.0.0.1", 0)

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
            writer.transport.abort()
        self.cuts += bool(writers)
        return len(writers) // 2

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            self._writers -= {writer, back}
            writer.transport.abort()
            back.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
