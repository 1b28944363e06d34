"""Sockets of the async client, on asyncio's own streams: all known, so that they can be dropped at once."""

import asyncio
import contextlib
import select
import weakref
from collections.abc import AsyncGenerator, Iterable
from ssl import SSLContext
from typing import Any, Final

import httpcore
import httpx

from rayjobwatch.ray.settings import Settings, pool_options

_BUFFER: Final = 1 << 18


class AsyncTrackedStream(httpcore.AsyncNetworkStream):
    """A connection as a pair of asyncio streams."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: "AsyncTrackedBackend"
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._backend = backend
        backend.streams.add(self)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Read what is there, or wait for it."""
        try:
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout from None
        except OSError as error:
            raise httpcore.ReadError from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write all of `buffer`."""
        if not buffer:
            return
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(buffer)
                await self._writer.drain()
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
            self._writer.transport.abort()

    async def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Put the connection under TLS."""
        try:
            async with asyncio.timeout(timeout):
                await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except OSError as error:
            raise httpcore.ConnectError from error
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore wants to know about the connection."""
        if info == "is_readable":  # of an idle connection: it was closed by the server
            return self._writer.transport.is_closing() or _is_readable(self._writer.get_extra_info("socket").fileno())
        return self._writer.get_extra_info(info)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return descriptor < 0 or bool(poll.poll(0))


class AsyncTrackedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections and remembers them."""

    def __init__(self) -> None:
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
        local = None if local_address is None else (local_address, 0)
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(host, port, limit=_BUFFER, local_addr=local)
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except OSError as error:
            raise httpcore.ConnectError from error
        for option in socket_options or ():
            writer.get_extra_info("socket").setsockopt(*option)
        return AsyncTrackedStream(reader, writer, self)

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore does so only between retries, which are off."""
        await asyncio.sleep(seconds)


class AsyncPooledTransport(httpx.AsyncHTTPTransport):
    """httpx's transport with our sockets under it."""

    def __init__(self, settings: Settings, backend: AsyncTrackedBackend, connections: int) -> None:
        # Not calling super(): it would build a pool whose sockets nobody else can reach.
        self._pool = httpcore.AsyncConnectionPool(**pool_options(settings, connections), network_backend=backend)


async def guard(streams: "weakref.WeakSet[AsyncTrackedStream]") -> AsyncGenerator[None, None]:
    """Drop all connections when the event loop ends: it closes the asynchronous generators that are still open."""
    try:
        yield
    finally:
        for stream in list(streams):
            stream.abort()
