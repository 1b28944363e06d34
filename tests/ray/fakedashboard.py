r"""A Ray dashboard and its agent that behave as Ray 2.60 was seen to, until a test tells them otherwise.

fake.add_job("j", b"line\\n")          a finished job
job = fake.add_job("j", status="RUNNING"); job.append(b"more\\n"); job.finish()
fake.on("GET", "/api/jobs/j", faults.html())     an answer of the test's own, here for ever
fake.once("GET", ...), fake.on(..., times=2)     ... or for a number of requests
fake.requests, fake.tails, fake.open_connections what was asked, and who is connected
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.ray import fakestate
from tests.ray.wire import Behaviour, Exchange, LoopThread, Request, WebSocket, WireServer

TERMINAL = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
FRAME_LIMIT = 4 << 20
NODE_ID = "a" * 56


@dataclass
class FakeJob:
    """A submitted job and the bytes of its log; `append` and `finish` may be called from any thread."""

    submission_id: str
    log: bytes
    status: str
    agent_url: str | None
    wake: Callable[[], None]
    row: dict[str, Any] = field(default_factory=dict)
    deleted: bool = False

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    def append(self, data: bytes) -> None:
        self.log += data
        self.wake()

    def finish(self, status: str = "SUCCEEDED") -> None:
        self.status = status
        self.wake()

    def json(self) -> dict[str, Any]:
        started = self.status != "PENDING"
        return {
            "type": "SUBMISSION",
            "job_id": None,
            "submission_id": self.submission_id,
            "driver_info": None,
            "status": self.status,
            "entrypoint": "python job.py",
            "message": f"Job is {self.status}.",
            "error_type": None,
            "start_time": 1795165602232 if started else None,
            "end_time": 1795165612232 if self.terminal else None,
            "metadata": {},
            "runtime_env": {},
            "driver_agent_http_address": self.agent_url if started else None,
            "driver_node_id": NODE_ID if started else None,
            "driver_exit_code": 0 if self.status == "SUCCEEDED" else None,
            **self.row,
        }


@dataclass
class Rule:
    """An answer that stands in for the usual one."""

    method: str
    path: re.Pattern[str]
    behaviour: Behaviour
    times: float

    def matches(self, request: Request) -> bool:
        return self.times > 0 and request.method == self.method and self.path.fullmatch(request.path) is not None


Route = tuple[str, re.Pattern[str], Callable[..., Any]]


class FakeDashboard:
    """The dashboard and, on a port of its own, the agent of its only node."""

    def __init__(self, *, tls: Any = None, host: str = "127.0.0.1", prefix: str = "") -> None:
        self.jobs: dict[str, FakeJob] = {}
        self.state = fakestate.ClusterState()
        self.token: str | None = None
        self.prefix = prefix
        self.packages: dict[str, bytes] = {}
        self.rules: list[Rule] = []
        self._thread = LoopThread()
        self._changed = asyncio.Event()
        self.dashboard = WireServer(self._behave, "dashboard", tls, host)
        self.agent = WireServer(self._behave, "agent")
        self._routes = self._make_routes()
        self._thread.run(self.dashboard.start())
        self._thread.run(self.agent.start())

    # What a test does with it.

    @property
    def url(self) -> str:
        return self.dashboard.url + self.prefix

    @property
    def requests(self) -> list[Request]:
        return [*self.dashboard.requests, *self.agent.requests]

    @property
    def tails(self) -> list[Request]:
        return [request for request in self.dashboard.requests if request.path.endswith("/logs/tail")]

    @property
    def open_connections(self) -> int:
        return len(self.dashboard.open) + len(self.agent.open)

    def add_job(self, job_id: str, log: bytes = b"", status: str = "SUCCEEDED", *, agent: bool = False) -> FakeJob:
        """Add a job; with `agent` its driver's agent serves the log file by range, otherwise none is named."""
        job = FakeJob(job_id, log, status, self.agent.url if agent else None, self.wake)
        self.jobs[job_id] = job
        return job

    def on(self, method: str, path: str, behaviour: Behaviour, *, times: float = float("inf")) -> None:
        """Answer requests whose whole path matches this pattern so; a later rule goes before an earlier one."""
        self.rules.insert(0, Rule(method, re.compile(path), behaviour, times))

    def once(self, method: str, path: str, behaviour: Behaviour) -> None:
        self.on(method, path, behaviour, times=1)

    def wake(self) -> None:
        self._thread.loop.call_soon_threadsafe(self._wake)

    def drop_connections(self) -> None:
        """Cut every connection that is open now, without a word."""
        self._thread.loop.call_soon_threadsafe(self._drop)

    def go_down(self) -> None:
        """End the dashboard process: connections end, new ones are refused. The agent lives on."""
        self._thread.run(self.dashboard.stop())

    def come_up(self) -> None:
        self._thread.run(self.dashboard.start())

    def stop(self) -> None:
        self._thread.run(self.dashboard.stop())
        self._thread.run(self.agent.stop())
        self._thread.stop()
        errors = [*self.dashboard.errors, *self.agent.errors]
        if errors:
            raise AssertionError(f"the fake dashboard itself failed: {errors!r}") from errors[0]

    # How it answers.

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _drop(self) -> None:
        for writer in [*self.dashboard.open, *self.agent.open]:
            writer.transport.abort()

    async def _behave(self, exchange: Exchange) -> None:
        for rule in self.rules:
            if rule.matches(exchange.request):
                rule.times -= 1
                await rule.behaviour(exchange)
                return
        await self.route(exchange)

    async def route(self, exchange: Exchange) -> None:
        """Answer as if there were no rules."""
        request = exchange.request
        if not await self._authorized(exchange):
            return
        path = request.path.removeprefix(self.prefix) if request.server == "dashboard" else request.path
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(path)
            if match is not None and method == request.method:
                await handler(exchange, *match.groups())
                return
        await exchange.send(404, "404: Not Found")

    async def _authorized(self, exchange: Exchange) -> bool:
        if self.token is None or exchange.request.path.endswith("/api/gcs_healthz"):
            return True
        headers = exchange.request.headers
        given = headers.get("authorization", headers.get("x-ray-authorization"))
        if given is None:
            await exchange.send(401, "Unauthorized: Missing authentication token")
        elif given != f"Bearer {self.token}":
            await exchange.send(403, "Forbidden: Invalid authentication token")
        return given == f"Bearer {self.token}"

    def _make_routes(self) -> list[Route]:
        job = r"/api/jobs/([^/]+)"
        table: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", r"/api/(?:ray/)?version", self._version),
            ("GET", r"/api/gcs_healthz", self._healthz),
            ("GET", r"/api/jobs/", self._list_jobs),
            ("POST", r"/api/jobs/", self._submit),
            ("GET", job, self._get_job),
            ("DELETE", job, self._delete_job),
            ("POST", job + "/stop", self._stop_job),
            ("GET", job + "/logs", self._logs),
            ("GET", job + "/logs/tail", self._tail),
            ("GET", r"/api/v0/logs/file", self._log_file),
            ("GET", r"/logs/job-driver-(.+)\.log", self._agent_file),
            ("GET", r"/api/packages/gcs/(.+)", self._get_package),
            ("PUT", r"/api/packages/gcs/(.+)", self._put_package),
            *self.state.routes(),
        ]
        return [(method, re.compile(pattern), handler) for method, pattern, handler in table]

    async def _version(self, exchange: Exchange) -> None:
        await exchange.json(
            {"version": "4", "ray_version": "2.60.0", "ray_commit": "fake", "session_name": "session_fake"}
        )

    async def _healthz(self, exchange: Exchange) -> None:
        await exchange.send(200, "success")

    async def _list_jobs(self, exchange: Exchange) -> None:
        rows = [job.json() for job in self.jobs.values() if not job.deleted]
        await exchange.json([*rows, *self.state.driver_jobs])

    async def _submit(self, exchange: Exchange) -> None:
        body = exchange.request.json()
        job_id = body.get("submission_id") or f"raysubmit_{len(self.jobs):016d}"
        if job_id in self.jobs:
            said = f"ValueError: Job with submission_id {job_id} already exists. Please use a different submission_id."
            text = f"Traceback (most recent call last):\n  File x\nRuntimeError: status code 400: {said}\n.\n"
            await exchange.send(500, text)
            return
        job = self.add_job(job_id, status="PENDING")
        job.row = {key: body[key] for key in ("entrypoint", "metadata", "runtime_env") if key in body}
        await exchange.json({"job_id": job_id, "submission_id": job_id})

    async def _find(self, exchange: Exchange, job_id: str) -> FakeJob | None:
        job = self.jobs.get(job_id)
        if job is None or job.deleted:
            await exchange.send(404, f"Job {job_id} does not exist")
            return None
        return job

    async def _get_job(self, exchange: Exchange, job_id: str) -> None:
        if job := await self._find(exchange, job_id):
            await exchange.json(job.json())

    async def _delete_job(self, exchange: Exchange, job_id: str) -> None:
        job = await self._find(exchange, job_id)
        if job is None:
            return
        if not job.terminal:
            text = f"Attempted to delete job '{job_id}', but it is in a non-terminal state {job.status}."
            await exchange.send(500, f"Traceback (most recent call last):\n  File x\nRuntimeError: {text}")
            return
        job.deleted = True
        await exchange.json({"deleted": True})

    async def _stop_job(self, exchange: Exchange, job_id: str) -> None:
        job = await self._find(exchange, job_id)
        if job is None:
            return
        stopped = not job.terminal
        if job.status == "RUNNING":
            job.status = "STOPPED"
            self._wake()
        await exchange.json({"stopped": stopped})

    async def _logs(self, exchange: Exchange, job_id: str) -> None:
        if job := await self._find(exchange, job_id):
            try:
                await exchange.json({"logs": job.log.decode()})
            except UnicodeDecodeError as error:
                await exchange.send(500, f"Traceback (most recent call last):\nUnicodeDecodeError: {error}")

    async def _log_file(self, exchange: Exchange) -> None:
        job_id = exchange.request.param("submission_id")
        job = self.jobs.get(job_id)
        if job is None or job.status == "PENDING" or not exchange.request.param("node_id"):
            await exchange.send(500, f"Job {job_id} has no driver node id info. ")
            return
        count = int(exchange.request.param("lines", "1000")) or 1000
        log = job.log if count == -1 else b"".join(job.log.splitlines(keepends=True)[-count:])
        await exchange.chunked(*(log[at : at + 65536] for at in range(0, len(log), 65536)))

    async def _agent_file(self, exchange: Exchange, job_id: str) -> None:
        job = self.jobs.get(job_id)
        if job is None or exchange.request.server != "agent":
            await exchange.send(404, "404: Not Found")
            return
        log = job.log
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", exchange.request.headers.get("range", ""))
        if match is None:
            await exchange.send(200, log, {"Accept-Ranges": "bytes"})
        elif int(match[1]) >= len(log):
            await exchange.head(416, {"Content-Range": f"bytes */{len(log)}", "Transfer-Encoding": "chunked"})
            await exchange.chunk(b"416: Range Not Satisfiable")
            await exchange.chunk(b"")
        else:
            first, last = int(match[1]), min(int(match[2] or len(log)), len(log) - 1)
            span = {"Content-Range": f"bytes {first}-{last}/{len(log)}"}
            await exchange.send(206, log[first : last + 1], span)

    async def _get_package(self, exchange: Exchange, name: str) -> None:
        if name in self.packages:
            await exchange.send(200)
        else:
            await exchange.send(404, f"Package gcs://{name} does not exist")

    async def _put_package(self, exchange: Exchange, name: str) -> None:
        self.packages[name] = exchange.request.body
        await exchange.send(200)

    async def _tail(self, exchange: Exchange, job_id: str) -> None:
        if job := await self._find(exchange, job_id):
            socket = await exchange.accept()
            sender = asyncio.ensure_future(self._send_log(socket, job))
            left = asyncio.ensure_future(exchange.peer_left())
            await asyncio.wait({sender, left}, return_when=asyncio.FIRST_COMPLETED)
            for task in (sender, left):
                task.cancel()
            await asyncio.gather(sender, left, return_exceptions=True)

    async def _send_log(self, socket: WebSocket, job: FakeJob) -> None:
        sent = 0
        while True:
            changed, terminal = self._changed, job.terminal
            fresh = job.log[sent:]
            sent += len(fresh)
            for frame in ray_frames(fresh):
                if not _readable(frame):
                    await socket.close()
                    return
                await socket.text(frame)
            if terminal:
                await socket.close()
                return
            await changed.wait()


def ray_frames(log: bytes) -> list[bytes]:
    """Cut a log into frames as Ray's agent does: up to 10 lines each, CR and CRLF turned into LF."""
    lines = log.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    whole = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    return [b"".join(whole[at : at + 10]) for at in range(0, len(whole), 10)]


def _readable(frame: bytes) -> bool:
    try:
        frame.decode()
    except UnicodeDecodeError:
        return False
    return len(frame) < FRAME_LIMIT
