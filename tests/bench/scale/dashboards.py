"""`python -m tests.bench.scale.dashboards`: many Ray dashboards and agents in one process, scripted.

Told what to do by JSON lines on stdin, each answered by one on stdout:
{"do": "open", "count": N}      listen; gives the URLs of the dashboards and of an HTTP proxy that knows them by the
                                names of their head Services
{"do": "load", "plan": {...}}   have the jobs of a plan, and no others
{"do": "counters"}              requests by route so far, and CPU seconds of this process
It ends with stdin.
"""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

from tests.bench.scale.jobs import Job
from tests.bench.scale.plans import Plan, jobs_of
from tests.bench.scale.records import HOST, dashboard_of
from tests.bench.scale.routes import Answer, Request, Table

ANSWER_SECONDS = 0.0025
REASONS = {200: "OK", 206: "Partial Content", 404: "Not Found", 416: "Requested Range Not Satisfiable"}

Behave = Callable[[Request, float], Answer]


class Connection(asyncio.Protocol):
    """One keep-alive connection: a request, its answer a little later, the next."""

    def __init__(self, side: str, behave: Behave, counts: Counter[str]) -> None:
        self._side, self._behave, self._counts = side, behave, counts
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            request = parse(self._buffer[:end])
            size = end + 4 + int(request.headers.get("content-length", 0))
            if len(self._buffer) < size:
                return
            self._buffer = self._buffer[size:]
            self._answer(request)

    def _answer(self, request: Request) -> None:
        self._loop.call_later(ANSWER_SECONDS, self._send, encode(request, self._behaved(request)))

    def _behaved(self, request: Request) -> Answer:
        answer = self._behave(request, time.time())
        self._counts[f"{self._side} {answer.route}"] += 1
        return answer

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


def parse(head: bytes) -> Request:
    """Return the request that this head, without its empty line, stands for."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.split(":", 1) for line in lines)
    return Request(method, target, {name.lower(): value.strip() for name, value in pairs})


def encode(request: Request, answer: Answer) -> bytes:
    """Return an answer as aiohttp's server puts it on the wire."""
    head = [
        f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}",
        *(f"{name}: {value}" for name, value in answer.headers),
        f"Content-Type: {answer.kind}",
        f"Content-Length: {len(answer.body)}",
        "Server: Python/3.11 aiohttp/3.14.5",
    ]
    return "\r\n".join([*head, "", ""]).encode() + (b"" if request.method == "HEAD" else answer.body)


class Dashboards:
    """All dashboards of the process."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._tables: list[Table] = []
        self._servers: list[asyncio.Server] = []

    async def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command; return its answer."""
        if command["do"] == "open":
            urls = [await self._open(number) for number in range(command["count"])]
            return {"urls": urls, "proxy": await self._listen("head", self._proxied)}
        if command["do"] == "load":
            return self._load(jobs_of(Plan(**command["plan"])))
        return {"requests": dict(self._counts), "cpu": time.process_time()}

    async def _open(self, number: int) -> str:
        table = Table(number, "")
        table.agent_url = await self._listen("agent", table.agent)
        self._tables.append(table)
        return await self._listen("head", table.head)

    def _proxied(self, request: Request, now: float) -> Answer:
        host = urlsplit(request.target).hostname or ""
        return self._tables[dashboard_of(host)].head(request, now)

    async def _listen(
        self, side: str, behave: Behave, connection: Callable[[str, Behave, Counter[str]], Connection] = Connection
    ) -> str:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: connection(side, behave, self._counts), HOST, 0, backlog=512)
        self._servers.append(server)
        return f"http://{HOST}:{server.sockets[0].getsockname()[1]}"

    def _load(self, jobs: list[Job]) -> dict[str, Any]:
        by_dashboard: dict[int, list[Job]] = defaultdict(list)
        for job in jobs:
            by_dashboard[job.dashboard].append(job)
        for table in self._tables:
            table.load(by_dashboard[table.number])
        return {"jobs": len(jobs)}


async def serve(dashboards: Dashboards) -> None:
    """Follow the commands until stdin ends."""
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(await dashboards.do(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Dashboards()))
