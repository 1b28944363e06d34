"""Sockets of the sync client: all known, so that `close` can end them from any thread; all under a deadline."""

import contextlib
import socket
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from ssl import SSLContext
from typing import Any, Final

import httpcore
import httpx

from rayjobwatch.ray.io.connection import ConnectionSettings, pool_options

_CHUNK: Final = 1 << 18
SocketOptions = Iterable[httpcore.SOCKET_OPTION]


class Deadline(threading.local):
    """When the present call of this thread must be over, on the monotonic clock."""

    at: float | None = None

    def left(self, seconds: float | None) -> float | None:
        """Return `seconds`, or what is left until the deadline if that is less."""
        if self.at is None:
            return seconds
        left = max(self.at - time.monotonic(), 0.001)
        return left if seconds is None else min(left, seconds)

    @contextlib.contextmanager
    def sooner(self, seconds: float) -> Iterator[None]:
        """Let at most half of what is left pass, and no more than `seconds`."""
        before, left = self.at, self.left(None)
        self.at = time.monotonic() + (seconds if left is None else min(seconds, left / 2))
        try:
            yield
        finally:
            self.at = before

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.at is not None and time.monotonic() >= self.at


class TrackedStream(httpcore.NetworkStream):
    """A connection that keeps to the deadline of the thread that uses it."""

    def __init__(self, stream: httpcore.NetworkStream, backend: "TrackedBackend") -> None:
        self._stream = stream
        self._backend = backend
        self._is_busy = False
        backend.streams.add(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read; a deadline that is over is a timeout even if bytes come drop by drop.

        While much comes, more is read at a time than httpcore asks for (64 KiB): that halves the work with a log file.
        """
        if self._backend.deadline.passed:
            raise httpcore.ReadTimeout
        size = _CHUNK if self._is_busy else max_bytes
        data = self._stream.read(size, self._backend.deadline.left(timeout))
        self._is_busy = len(data) >= max_bytes
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of `buffer`."""
        self._stream.write(buffer, self._backend.deadline.left(timeout))

    def close(self) -> None:
        """Close the socket, without any farewell."""
        self._backend.streams.discard(self)
        self._stream.close()

    def shutdown(self) -> None:
        """Wake whoever waits for this connection."""
        with contextlib.suppress(OSError):
            self._stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Return the same connection under TLS."""
        self._backend.streams.discard(self)
        secure = self._stream.start_tls(ssl_context, server_hostname, self._backend.deadline.left(timeout))
        return TrackedStream(secure, self._backend)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore wants to know about the connection."""
        return self._stream.get_extra_info(info)


class TrackedBackend(httpcore.NetworkBackend):
    """Opens connections and remembers them."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self.deadline = Deadline()
        self.closed = False
        self.streams: weakref.WeakSet[TrackedStream] = weakref.WeakSet()
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.NetworkStream:
        """Open a connection."""
        host, port = self._settings.place(host, port)
        timeout = self.deadline.left(timeout)
        stream = self._plain.connect_tcp(host, port, timeout, local_address, socket_options)
        tracked = TrackedStream(stream, self)
        if self.closed:  # while this was connecting
            tracked.close()
            raise httpcore.ConnectError
        return tracked

    def close(self) -> None:
        """Wake whoever waits for a connection; no new one will stand."""
        self.closed = True
        for stream in list(self.streams):
            stream.shutdown()

    def sleep(self, seconds: float) -> None:
        """Wait; httpcore does so only between retries, which are off."""
        time.sleep(seconds)


class PooledTransport(httpx.HTTPTransport):
    """httpx's transport with our sockets under it."""

    def __init__(self, settings: ConnectionSettings, backend: TrackedBackend, connections: int) -> None:
        # Not calling super(): it would build a pool whose sockets nobody else can reach.
        self._pool = httpcore.ConnectionPool(**pool_options(settings, connections), network_backend=backend)
