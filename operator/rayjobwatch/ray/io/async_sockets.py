"""Sockets of the async client: all known, so that they can be dropped at once; bytes are handed on uncopied."""

import asyncio
import contextlib
import select
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from ssl import SSLContext
from typing import Any, Final, cast

import httpcore
import httpx

from rayjobwatch.ray.io.connection import ConnectionSettings, pool_options

_MOST_BUFFERED: Final = 1 << 19
_FIRST_SHARE: Final = 1 << 14
_SMALLEST_SHARE: Final = 1 << 12
_TURN_SECONDS: Final = 0.02


class Inbox(asyncio.Protocol):
    """What came in, chunk by chunk as asyncio read it. Reading stops while half a MiB waits to be taken."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way out (again, once there is TLS)."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        self._chunks.append(data)
        self._size += len(data)
        if self._size > _MOST_BUFFERED and self.transport is not None:
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Note that nothing more will come; asyncio then closes the connection."""
        self._ended = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self._ended, self._error = True, exc
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        """Make writers wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._writable.set()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def filled(self) -> None:
        """Wait until something came, or the end."""
        while not self._chunks and not self._ended:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader

    def take(self, most: int) -> bytes | None:
        """Return what came next, at most so much, b"" at the end, None before anything came."""
        if not self._chunks:
            if self._error is not None:
                raise self._error
            return b"" if self._ended else None
        data = self._chunks.popleft()
        if len(data) > most:
            self._chunks.appendleft(data[most:])
            data = data[:most]
        if self._size > _MOST_BUFFERED >= self._size - len(data) and self.transport is not None:
            self.transport.resume_reading()
        self._size -= len(data)
        return data

    @property
    def writable(self) -> bool:
        """Whether what was written is nearly out."""
        return self._writable.is_set() and self._error is None

    async def drain(self) -> None:
        """Wait until what was written is nearly out."""
        await self._writable.wait()
        if self._error is not None:
            raise self._error


class AsyncTrackedStream(httpcore.AsyncNetworkStream):
    """A connection as httpcore wants it."""

    def __init__(self, inbox: Inbox, transport: asyncio.Transport, backend: "AsyncTrackedBackend") -> None:
        self._inbox = inbox
        self._transport = transport
        self._backend = backend
        self._share = _FIRST_SHARE
        self._handed: float | None = None
        backend.streams.add(self)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        """Read what is there, or wait for it; asyncio's chunks (256 KiB at most) are not cut to `max_bytes`."""
        await self._give_way()
        try:
            if (data := self._inbox.take(self._share)) is None:
                async with asyncio.timeout(timeout):
                    await self._inbox.filled()
                data = self._inbox.take(self._share)
        except TimeoutError:
            raise httpcore.ReadTimeout from None
        except OSError as error:
            raise httpcore.ReadError from error
        self._handed = time.monotonic()
        return data or b""

    async def _give_way(self) -> None:
        """Let others run where what was read last took long, and read less at a time then.

        A few bytes that a server sends may be much work (10,000 chunks, pings or heads of answers in 64 KiB), and what
        is there already is read without a pause.
        """
        if self._handed is None:
            return
        if time.monotonic() - self._handed > _TURN_SECONDS:
            self._share = max(self._share // 4, _SMALLEST_SHARE)
            await asyncio.sleep(0)
        else:
            self._share = min(self._share * 2, _MOST_BUFFERED)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write all of `buffer`."""
        self._handed = None
        try:
            self._transport.write(buffer)
            if not self._inbox.writable:
                async with asyncio.timeout(timeout):
                    await self._inbox.drain()
        except TimeoutError:
            raise httpcore.WriteTimeout from None
        except OSError as error:
            raise httpcore.WriteError from error

    async def aclose(self) -> None:
        """Close the socket, without any farewell."""
        self.abort()

    def abort(self) -> None:
        """Drop the connection now."""
        self._backend.streams.discard(self)
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self._transport.abort()

    async def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Put the connection under TLS."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                secure = await loop.start_tls(
                    self._transport, self._inbox, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except OSError as error:
            raise httpcore.ConnectError from error
        except asyncio.CancelledError:
            self.abort()
            raise
        if secure is None:
            raise httpcore.ConnectError
        self._inbox.transport = self._transport = secure
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore wants to know about the connection."""
        if info == "is_readable":  # of an idle connection: it was closed by the server
            return self._transport.is_closing() or _is_readable(self._transport.get_extra_info("socket").fileno())
        return self._transport.get_extra_info(info)


def _is_readable(descriptor: int) -> bool:
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class AsyncTrackedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections and remembers them."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self.streams: weakref.WeakSet[AsyncTrackedStream] = weakref.WeakSet()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Open a connection."""
        loop = asyncio.get_running_loop()
        host, port = self._settings.place(host, port)
        local = None if local_address is None else (local_address, 0)
        try:
            async with asyncio.timeout(timeout):
                transport, inbox = await loop.create_connection(Inbox, host, port, local_addr=local)
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except OSError as error:
            raise httpcore.ConnectError from error
        for option in socket_options or ():
            transport.get_extra_info("socket").setsockopt(*option)
        return AsyncTrackedStream(inbox, transport, self)

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore does so only between retries, which are off."""
        await asyncio.sleep(seconds)


class _Pool(httpcore.AsyncConnectionPool):
    """httpcore's pool, without connections that are lost for good.

    One that was opened for a request which was cancelled before it was sent is neither idle nor closed: nobody would
    use or close it again.
    """

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        """Return a new connection that is closed where a request leaves it in no usable state."""
        connection = super().create_connection(origin)
        send = connection.handle_async_request

        async def handle(request: httpcore.Request) -> httpcore.Response:
            try:
                return await send(request)
            except BaseException as error:
                is_anothers = isinstance(error, httpcore.ConnectionNotAvailable)
                if not (is_anothers or connection.is_idle() or connection.is_closed()):
                    await connection.aclose()
                raise

        connection.handle_async_request = handle  # type: ignore[method-assign]
        return connection


class AsyncPooledTransport(httpx.AsyncHTTPTransport):
    """httpx's transport with our sockets under it."""

    def __init__(self, settings: ConnectionSettings, backend: AsyncTrackedBackend, connections: int) -> None:
        # Not calling super(): it would build a pool whose sockets nobody else can reach.
        self._pool = _Pool(**pool_options(settings, connections), network_backend=backend)


async def guard(streams: "weakref.WeakSet[AsyncTrackedStream]") -> AsyncGenerator[None, None]:
    """Drop all connections when the event loop ends: it closes the asynchronous generators that are still open."""
    try:
        yield
    finally:
        for stream in list(streams):
            stream.abort()
