"""Runs plans in the caller's own thread: one httpx client, no thread of its own."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, TypeVar

import httpcore
import httpx

from rayjobwatch.ray.api.records import JobDetails
from rayjobwatch.ray.errors import ClientClosedError, ClientError, ServerError, UnavailableError
from rayjobwatch.ray.io.clock import ServerClock
from rayjobwatch.ray.io.connection import (
    CONNECTIONS_OF_A_TAIL,
    LARGEST_REFUSAL,
    READING_CONNECTIONS,
    REFUSAL_SECONDS,
    SHARED_CONNECTIONS,
    ConnectionSettings,
    builder,
)
from rayjobwatch.ray.io.failures import STALE, TRANSPORT_FAILURES, failure_of, no_slot
from rayjobwatch.ray.io.sync_sockets import PooledTransport, TrackedBackend
from rayjobwatch.ray.plan import Blocking, Open, Plan, Read, Request, Response, Wait, Write, advance
from rayjobwatch.ray.tail.cursor import START
from rayjobwatch.ray.tail.effects import Connected, Lookup, TailEffect, TailPlan
from rayjobwatch.ray.tail.lines import LogBatch

T = TypeVar("T")
SyncLookup = Callable[[str], JobDetails]

_CHUNK: Final = 1 << 18
_NOTHING: Final = LogBatch((), START)


class SyncRunner:
    """Sends requests for one client and knows everything that is open."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self.clock = ServerClock()
        self._build = builder(settings)
        self._closing = threading.Event()
        self._slots = threading.BoundedSemaphore(settings.max_websocket_tails)
        self._sockets = TrackedBackend(settings)
        self._turns = threading.Semaphore(SHARED_CONNECTIONS)
        self._shared = self.new_pool(SHARED_CONNECTIONS)
        self._reading = self.new_pool(READING_CONNECTIONS)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing.is_set()

    @property
    def open_connections(self) -> int:
        """How many sockets are open."""
        return len(self._sockets.streams)

    def run(self, plan: Plan[T]) -> T:
        """Run a plan of whole requests to its result."""
        channel = SyncChannel(self)
        try:
            effect = next(plan)
            while True:
                effect = advance(plan, channel.carry_out(effect))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            plan.close()
            channel.end()

    def stream(
        self, plan: TailPlan[None], lookup: SyncLookup, *, connect_now: bool = False
    ) -> Generator[LogBatch, None, None]:
        """Run a tail; yield its batches. `connect_now`: find its source before this returns."""
        batches = self._batches(plan, SyncChannel(self, lookup), connect_now=connect_now)
        if connect_now:
            next(batches, None)
        return batches

    def readings(self, plan: TailPlan[None]) -> Generator[LogBatch, None, None]:
        """Run one reading of a log, over connections that are kept for the next ones; yield its batches."""
        return self._batches(plan, SyncChannel(self, pool=self._reading), connect_now=False)

    def _batches(
        self, plan: TailPlan[None], channel: "SyncChannel", *, connect_now: bool
    ) -> Generator[LogBatch, None, None]:
        try:
            effect = next(plan)
            while True:
                if isinstance(effect, LogBatch):
                    yield effect
                    effect = next(plan)
                    continue
                if connect_now and isinstance(effect, Connected):
                    yield _NOTHING
                effect = advance(plan, channel.carry_out(effect))
        except StopIteration:
            return
        finally:
            plan.close()
            channel.end()

    def within(self, seconds: float, operation: str, work: Callable[[], T]) -> T:
        """Do `work` in at most `seconds`; turn what goes wrong into a `ClientError`."""
        deadline = self._sockets.deadline
        deadline.at = time.monotonic() + seconds
        try:
            return work()
        except TRANSPORT_FAILURES as error:
            failure = failure_of(error, operation)
        except RuntimeError as error:  # a pool that is closed under a request
            if not self.closed:
                raise
            failure = failure_of(error, operation)
        finally:
            deadline.at = None
        raise ClientClosedError(f"{operation}: the client was closed") if self.closed else failure

    def wait(self, seconds: float) -> None:
        """Sleep; ends with 503 as soon as the client is closed."""
        if self._closing.wait(seconds):
            raise ClientClosedError("the client was closed")

    def new_pool(self, connections: int) -> PooledTransport:
        """Return an empty pool whose sockets this client knows."""
        return PooledTransport(self.settings, self._sockets, connections)

    def exchange(self, request: Request) -> Response:
        """Send a request over the shared connections and read the whole answer."""
        if not self._turns.acquire(timeout=self._sockets.deadline.left(None)):
            raise UnavailableError(f"{request.operation}: this client has too many calls under way")
        try:
            response = self.send(request, self._shared)
            try:
                body = self.refusal_of(response) if response.status_code >= 400 else _whole(response, request)
            finally:
                response.close()
        finally:
            self._turns.release()
        if request.origin is None:
            self.clock.heard(response.headers)
        return Response(response.status_code, response.headers, body)

    def refusal_of(self, response: httpx.Response) -> bytes:
        """Read the beginning of a refusal's body, as far as it comes soon: its status says the most."""
        body = bytearray()
        with self._sockets.deadline.sooner(REFUSAL_SECONDS):
            try:
                for piece in response.iter_raw():
                    body += piece
                    if len(body) > LARGEST_REFUSAL:
                        break
            except TRANSPORT_FAILURES:
                pass
        return self.settings.scrubbed(bytes(body))

    def send(self, request: Request, pool: PooledTransport) -> httpx.Response:
        """Send a request; its body is still to be read."""
        if self.closed:
            raise ClientClosedError(f"{request.operation}: the client is closed")
        try:
            return pool.handle_request(self._build(request))
        except STALE:
            if request.method != "GET" or self.closed:
                raise
        return pool.handle_request(self._build(request))

    def take_slot(self, operation: str, seconds: float) -> Callable[[], None]:
        """Take one of the client's WebSocket slots; return what gives it back."""
        until = time.monotonic() + seconds
        while not self._slots.acquire(timeout=0.1 if seconds else 0):
            if self.closed:
                raise ClientClosedError(f"{operation}: the client was closed")
            if time.monotonic() >= until:
                raise no_slot(operation, self.settings.max_websocket_tails)
        return self._slots.release

    def close(self) -> None:
        """End everything that waits, in whatever thread, with 503, and close every connection."""
        self._closing.set()
        self._sockets.close()
        self._shared.close()
        self._reading.close()


def _whole(response: httpx.Response, request: Request) -> bytes:
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) > request.max_body:
            raise ServerError(f"{request.operation}: the answer is larger than {request.max_body} bytes")
    return bytes(body)


class SyncChannel:
    """Carries out the effects of one plan; holds the one answer that it may have open.

    pool: whose connections are used and left open at the end; None for some of its own.
    """

    def __init__(
        self, runner: SyncRunner, lookup: SyncLookup | None = None, pool: PooledTransport | None = None
    ) -> None:
        self._runner = runner
        self._lookup = lookup
        self._open: httpx.Response | None = None
        self._body: Iterator[bytes] | None = None
        self._request: Request | None = None
        self._give_back: Callable[[], None] | None = None
        self._pool = pool
        self._has_own_pool = pool is None

    def carry_out(self, effect: TailEffect) -> Any:
        """Carry out an effect; return its result, or the `ClientError` that it ended in."""
        try:
            return self._do(effect)
        except ClientError as error:
            return error

    def _do(self, effect: TailEffect) -> Any:
        match effect:
            case Read(quiet):
                return self._read(quiet)
            case Wait(seconds):
                return self._runner.wait(seconds)
            case Blocking(work):
                return work()
            case Lookup(job_id):
                assert self._lookup is not None  # noqa: S101
                return self._lookup(job_id)
            case Request():
                total = self._runner.settings.total_of(effect)
                return self._runner.within(total, effect.operation, lambda: self._runner.exchange(effect))
            case Open(request):
                return self._start(request)
            case Write(data):
                return self._write(data)
            case Connected():
                return None
            case _:
                return self.close()

    def _start(self, request: Request) -> Response:
        self.close()
        self._request = request
        if request.queue is not None:
            self._give_back = self._runner.take_slot(request.operation, request.queue)
        seconds = self._runner.settings.head_within(request)
        if self._pool is None:
            self._pool = self._runner.new_pool(CONNECTIONS_OF_A_TAIL)
        pool = self._pool
        answer = self._runner.within(seconds, request.operation, lambda: self._runner.send(request, pool))
        self._open = answer
        self._body = None if answer.status_code == 101 else answer.iter_raw()
        body = b""
        if answer.status_code >= 400:
            body = self._runner.within(seconds, request.operation, lambda: self._runner.refusal_of(answer))
        return Response(answer.status_code, answer.headers, body)

    def _read(self, quiet: float | None) -> bytes | None:
        assert self._request is not None  # noqa: S101
        operation, body = self._request.operation, self._body
        if body is not None:
            read = self._runner.settings.limits_of(self._request)["read"]
            return self._runner.within(read, operation, lambda: next(body, b""))
        seconds = quiet or self._runner.settings.timeout.read
        return self._runner.within(seconds + 1, operation, lambda: self._receive(seconds))

    def _receive(self, seconds: float) -> bytes | None:
        assert self._open is not None  # noqa: S101
        try:
            data: bytes = self._open.extensions["network_stream"].read(_CHUNK, timeout=seconds)
        except httpcore.ReadTimeout:
            return None
        return data

    def _write(self, data: bytes) -> None:
        assert self._open is not None  # noqa: S101
        assert self._request is not None  # noqa: S101
        stream, seconds = self._open.extensions["network_stream"], self._runner.settings.timeout.read
        self._runner.within(seconds, self._request.operation, lambda: stream.write(data, timeout=seconds))

    def close(self) -> None:
        """Drop what is open."""
        answer, self._open, self._body = self._open, None, None
        give_back, self._give_back = self._give_back, None
        try:
            if answer is not None:
                answer.close()
        finally:
            if give_back is not None:
                give_back()

    def end(self) -> None:
        """Drop everything."""
        pool, self._pool = self._pool if self._has_own_pool else None, None
        try:
            self.close()
        finally:
            if pool is not None:
                pool.close()
