"""The network of Pods, as an API server that proxies sees it: no Pod runs here, so their addresses lead where we say.

kube-apiserver dials what it proxies to through an egress proxy (HTTP CONNECT over a Unix socket), as it does where the
control plane is outside the Pods' network. Addresses on the loopback interface it would refuse.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

Address = tuple[str, int]
_CONNECT = re.compile(rb"CONNECT \[?([0-9a-f:.]+)\]?:(\d+) HTTP/1\.1\r\n")


def configuration(socket: Path) -> str:
    """Return the file for `--egress-selector-config-file`."""
    connection = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": str(socket)}}}
    selection = {"name": "cluster", "connection": connection}
    head = {"apiVersion": "apiserver.k8s.io/v1beta1", "kind": "EgressSelectorConfiguration"}
    return json.dumps(head | {"egressSelections": [selection]})


class PodNetwork:
    """Leads each address in `routes` to another; nobody is at the others. A context manager."""

    def __init__(self, socket: Path) -> None:
        self.routes: dict[Address, Address] = {}
        self._socket = socket
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_unix_server(self._serve, str(self._socket)), self._loop
        ).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._socket.unlink(missing_ok=True)

    async def _stop(self) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._lead(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = _CONNECT.match(await reader.readuntil(b"\r\n\r\n"))
        place = self.routes.get((asked[1].decode(), int(asked[2]))) if asked else None
        if place is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            await writer.drain()
            return
        there, back = await asyncio.open_connection(*place)
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            back.close()


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        to.write(data)
        await to.drain()
    with contextlib.suppress(OSError):
        to.write_eof()
