"""HTTP/1.1 and WebSocket by hand, in a thread: what a library's server would not let a test get wrong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


@dataclass(frozen=True)
class Request:
    """One request as it came: `target` is the raw request target, header names are lower case."""

    method: str
    target: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    raw_headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int
    server: str

    def param(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]

    def json(self) -> Any:
        return json.loads(self.body)


class Exchange:
    """One request and the means to answer it, well or badly."""

    def __init__(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self.reader = reader
        self.writer = writer
        self.keep_alive = True

    async def raw(self, data: bytes) -> None:
        """Send these bytes and nothing else."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int, headers: dict[str, str] | None = None) -> None:
        lines = [f"HTTP/1.1 {status} Fake", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        await self.raw("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def send(self, status: int, body: bytes | str = b"", headers: dict[str, str] | None = None) -> None:
        """Send a whole answer with its right length."""
        content = body.encode() if isinstance(body, str) else body
        await self.head(status, {"Content-Type": "text/plain", "Content-Length": str(len(content)), **(headers or {})})
        await self.raw(content)

    async def json(self, value: object, status: int = 200) -> None:
        await self.send(status, json.dumps(value), {"Content-Type": "application/json"})

    async def chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body; an empty one ends the body."""
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def chunked(self, *parts: bytes) -> None:
        await self.head(200, {"Content-Type": "text/plain", "Transfer-Encoding": "chunked"})
        for part in parts:
            await self.chunk(part)
        await self.chunk(b"")

    async def accept(self, headers: dict[str, str] | None = None) -> WebSocket:
        """Answer the upgrade with 101."""
        key = self.request.headers["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest()).decode()
        self.keep_alive = False
        base = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
        await self.head(101, {**base, **(headers or {})})
        return WebSocket(self)

    async def peer_left(self) -> None:
        """Return once the peer has closed its side; whatever it sends is thrown away."""
        with contextlib.suppress(OSError):
            while await self.reader.read(65536):
                pass

    async def hang(self) -> None:
        """Answer nothing more, until the peer has had enough."""
        self.keep_alive = False
        await self.peer_left()

    def abort(self) -> None:
        """Reset the connection."""
        self.keep_alive = False
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        """End the connection without more words."""
        self.keep_alive = False


class WebSocket:
    """The server's side of an accepted upgrade."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    async def frame(self, opcode: int, payload: bytes, *, fin: bool = True) -> None:
        await self.exchange.raw(encode_frame(opcode, payload, fin=fin))

    async def text(self, payload: str | bytes) -> None:
        """Send a text frame; bytes go out as they are, valid UTF-8 or not."""
        await self.frame(TEXT, payload.encode() if isinstance(payload, str) else payload)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame and end the TCP connection as Ray does: the peer's answer is not read."""
        await self.frame(CLOSE, code.to_bytes(2, "big") + reason.encode())
        self.exchange.close()


def encode_frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Return one unmasked frame."""
    first, size = opcode | (0x80 if fin else 0), len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    if size < 1 << 16:
        return bytes([first, 126]) + size.to_bytes(2, "big") + payload
    return bytes([first, 127]) + size.to_bytes(8, "big") + payload


Behaviour = Callable[[Exchange], Awaitable[None]]


async def _read_request(reader: asyncio.StreamReader, connection: int, server: str) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, OSError):
        return None
    start, *lines = head[:-4].split("\r\n")
    method, target, _ = start.split(" ", 2)
    raw_headers = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    headers = {name.lower(): value for name, value in raw_headers}
    url = urlsplit(target)
    body = await _read_body(reader, headers)
    query = parse_qs(url.query, keep_blank_values=True)
    return Request(method, target, unquote(url.path), query, headers, raw_headers, body, connection, server)


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int((await reader.readline()).strip() or b"0", 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


@dataclass
class WireServer:
    """A server on 127.0.0.1 whose every answer is a coroutine of the test's.

    `requests` records each request in the order of arrival; `open` holds the connections that are open now, `opened`
    counts all there ever were.
    """

    behaviour: Behaviour
    name: str = "dashboard"
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    requests: list[Request] = field(default_factory=list)
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    opened: int = 0
    errors: list[BaseException] = field(default_factory=list)
    port: int = 0
    _tasks: set[asyncio.Task[None] | None] = field(default_factory=set)

    async def start(self) -> None:
        limit = 1 << 20
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, ssl=self.tls, limit=limit, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self.open.add(writer)
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await self._serve_requests(reader, writer, self.opened)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the peer left, or the test is over
        except Exception as error:  # noqa: BLE001 - shown by the fixture: a fault of the test, not of the client
            self.errors.append(error)
        finally:
            self.open.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _serve_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        while (request := await _read_request(reader, connection, self.name)) is not None:
            self.requests.append(request)
            exchange = Exchange(request, reader, writer)
            await self.behaviour(exchange)
            if not exchange.keep_alive:
                return

    async def stop(self) -> None:
        """Stop listening and drop every connection; the same port can be served again by `start`."""
        self._server.close()
        for writer in list(self.open):
            writer.transport.abort()
        tasks = [task for task in self._tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class LoopThread:
    """An event loop in a thread, for servers that a synchronous test talks to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="fake-dashboard", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = 10) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def stop(self) -> None:
        self.run(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.loop.shutdown_asyncgens()
