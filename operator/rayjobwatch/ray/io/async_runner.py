"""Runs plans with asyncio: one httpx client, every wait under a scope that `aclose` can end."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar, cast

import httpcore
import httpx

from rayjobwatch.ray.api.records import JobDetails
from rayjobwatch.ray.errors import ClientClosedError, ClientError, RequestTimeoutError, ServerError
from rayjobwatch.ray.io.async_sockets import AsyncPooledTransport, AsyncTrackedBackend, guard
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
from rayjobwatch.ray.plan import Blocking, Open, Plan, Read, Request, Response, Wait, Write, advance
from rayjobwatch.ray.tail.effects import Connected, Lookup, TailEffect, TailPlan
from rayjobwatch.ray.tail.lines import LogBatch

T = TypeVar("T")
AsyncLookup = Callable[[str], Awaitable[JobDetails]]

_CHUNK: Final = 1 << 18


class AsyncRunner:
    """Sends requests for one client and knows everything that is open."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self.clock = ServerClock()
        self._build = builder(settings)
        self.closed = False
        self._scopes: set[asyncio.Timeout] = set()
        self._slots = asyncio.BoundedSemaphore(settings.max_websocket_tails)
        self._sockets = AsyncTrackedBackend(settings)
        self._turns = asyncio.Semaphore(SHARED_CONNECTIONS)
        self._shared = self.new_pool(SHARED_CONNECTIONS)
        self._reading: AsyncPooledTransport | None = None
        self._guard: AsyncGenerator[None, None] | None = None

    async def run(self, plan: Plan[T]) -> T:
        """Run a plan of whole requests to its result."""
        channel = AsyncChannel(self)
        try:
            effect = next(plan)
            while True:
                effect = advance(plan, await channel.carry_out(effect))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            plan.close()
            await channel.end()

    def batches(self, plan: TailPlan[None], lookup: AsyncLookup) -> AsyncGenerator[LogBatch, None]:
        """Run a tail; yield its batches."""
        return self._batches(plan, AsyncChannel(self, lookup))

    def readings(self, plan: TailPlan[None]) -> AsyncGenerator[LogBatch, None]:
        """Run one reading of a log, over connections that are kept for the next ones; yield its batches."""
        if self._reading is None:
            self._reading = self.new_pool(READING_CONNECTIONS)
        return self._batches(plan, AsyncChannel(self, pool=self._reading))

    async def _batches(self, plan: TailPlan[None], channel: "AsyncChannel") -> AsyncGenerator[LogBatch, None]:
        tail = AsyncTail(plan, channel)
        try:
            while (batch := await tail.next()) is not None:
                yield batch
        finally:
            await tail.close()

    async def lines(self, plan: TailPlan[None], lookup: AsyncLookup) -> AsyncGenerator[str, None]:
        """Run a tail; yield its lines: one generator, for a loop that ends closes all of them at once."""
        tail = AsyncTail(plan, AsyncChannel(self, lookup))
        try:
            while (batch := await tail.next()) is not None:
                for line in batch.lines:
                    yield line
        finally:
            await tail.close()

    async def within(self, seconds: float, operation: str, work: Awaitable[T]) -> T:
        """Await `work` for at most `seconds`; turn what goes wrong into a `ClientError`."""
        try:
            async with asyncio.timeout(seconds) as scope:
                self._scopes.add(scope)
                try:
                    return await work
                finally:
                    self._scopes.discard(scope)
        except TRANSPORT_FAILURES as error:
            failure = failure_of(error, operation)
        except RuntimeError as error:  # a pool that is closed under a request
            if not self.closed:
                raise
            failure = failure_of(error, operation)
        raise ClientClosedError(f"{operation}: the client was closed") if self.closed else failure

    async def wait(self, seconds: float) -> None:
        """Sleep; ends with 503 as soon as the client is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None) as scope:
                self._scopes.add(scope)
                try:
                    await asyncio.sleep(seconds)
                finally:
                    self._scopes.discard(scope)
        if self.closed:
            raise ClientClosedError("the client was closed")

    def new_pool(self, connections: int) -> AsyncPooledTransport:
        """Return an empty pool whose sockets this client knows."""
        return AsyncPooledTransport(self.settings, self._sockets, connections)

    async def exchange(self, request: Request) -> Response:
        """Send a request over the shared connections and read the whole answer."""
        async with self._turns:
            response = await self.send(request, self._shared)
            try:
                if response.status_code >= 400:
                    body = await self.refusal_of(response, self.settings.total_of(request))
                else:
                    body = await _whole(response, request)
            finally:
                await hand_back(response)
        if request.origin is None:
            self.clock.heard(response.headers)
        return Response(response.status_code, response.headers, body)

    async def refusal_of(self, response: httpx.Response, within: float) -> bytes:
        """Read the beginning of a refusal's body, as far as it comes soon: its status says the most."""
        body = bytearray()
        try:
            async with asyncio.timeout(min(REFUSAL_SECONDS, within / 4)):
                async for piece in pieces_of(response):
                    body += piece
                    if len(body) > LARGEST_REFUSAL:
                        break
        except TRANSPORT_FAILURES:
            pass
        return self.settings.scrubbed(bytes(body))

    async def send(self, request: Request, pool: AsyncPooledTransport) -> httpx.Response:
        """Send a request; its body is still to be read."""
        if self.closed:
            raise ClientClosedError(f"{request.operation}: the client is closed")
        if self._guard is None:
            self._guard = guard(self._sockets.streams)
            await anext(self._guard)
        try:
            return await pool.handle_async_request(self._build(request))
        except STALE:
            if request.method != "GET":
                raise
        return await pool.handle_async_request(self._build(request))

    async def take_slot(self, operation: str, seconds: float) -> Callable[[], None]:
        """Take one of the client's WebSocket slots; return what gives it back."""
        if self._slots.locked():
            try:
                await self.within(seconds, operation, self._slots.acquire())
            except RequestTimeoutError:
                raise no_slot(operation, self.settings.max_websocket_tails) from None
        else:
            await self._slots.acquire()
        return self._slots.release

    @property
    def open_connections(self) -> int:
        """How many sockets are open."""
        return len(self._sockets.streams)

    def abandon(self) -> None:
        """Drop every connection without waiting for anything: the client was forgotten."""
        self.closed = True
        for stream in list(self._sockets.streams):
            stream.abort()

    async def aclose(self) -> None:
        """End everything that waits, with 503, and close every connection."""
        self.closed = True
        for scope in list(self._scopes):
            scope.reschedule(0)
        await self._shared.aclose()
        if self._reading is not None:
            await self._reading.aclose()
        if self._guard is not None:
            await self._guard.aclose()


def pieces_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """Iterate over a body as it comes; at its end the response is still to be given back."""
    return aiter(cast("httpx.AsyncByteStream", response.stream))


async def _whole(response: httpx.Response, request: Request) -> bytes:
    body = bytearray()
    async for piece in pieces_of(response):
        body += piece
        if len(body) > request.max_body:
            raise ServerError(f"{request.operation}: the answer is larger than {request.max_body} bytes")
    return bytes(body)


async def hand_back(response: httpx.Response) -> None:
    """Give a response's connection back to its pool: to the end, even when this task is cancelled meanwhile.

    httpcore would lose the connection for good. It takes no I/O, only a turn or two of the event loop.
    """
    closing = asyncio.ensure_future(response.aclose())
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait({closing})
        closing.exception()  # nobody else asks for it
        raise


class AsyncChannel:
    """Carries out the effects of one plan; holds the one answer that it may have open.

    pool: whose connections are used and left open at the end; None for some of its own.
    """

    def __init__(
        self, runner: AsyncRunner, lookup: AsyncLookup | None = None, pool: AsyncPooledTransport | None = None
    ) -> None:
        self._runner = runner
        self._lookup = lookup
        self._open: httpx.Response | None = None
        self._body: AsyncIterator[bytes] | None = None
        self._request: Request | None = None
        self._give_back: Callable[[], None] | None = None
        self._pool = pool
        self._has_own_pool = pool is None

    async def carry_out(self, effect: TailEffect) -> Any:
        """Carry out an effect; return its result, or the `ClientError` that it ended in."""
        try:
            return await self._do(effect)
        except ClientError as error:
            return error

    async def _do(self, effect: TailEffect) -> Any:
        match effect:
            case Read(quiet):
                return await self._read(quiet)
            case Wait(seconds):
                return await self._runner.wait(seconds)
            case Blocking(work):
                return await asyncio.to_thread(work)
            case Lookup(job_id):
                assert self._lookup is not None  # noqa: S101
                return await self._lookup(job_id)
            case Request():
                total = self._runner.settings.total_of(effect)
                return await self._runner.within(total, effect.operation, self._runner.exchange(effect))
            case Open(request):
                return await self._start(request)
            case Write(data):
                return await self._write(data)
            case Connected():
                return None
            case _:
                return await self.close()

    async def _start(self, request: Request) -> Response:
        await self.close()
        self._request = request
        if request.queue is not None:
            self._give_back = await self._runner.take_slot(request.operation, request.queue)
        seconds = self._runner.settings.head_within(request)
        if self._pool is None:
            self._pool = self._runner.new_pool(CONNECTIONS_OF_A_TAIL)
        sending = self._runner.send(request, self._pool)
        self._open = await self._runner.within(seconds, request.operation, sending)
        self._body = None if self._open.status_code == 101 else pieces_of(self._open)
        body = b""
        if self._open.status_code >= 400:
            reading = self._runner.refusal_of(self._open, seconds)
            body = await self._runner.within(seconds, request.operation, reading)
        return Response(self._open.status_code, self._open.headers, body)

    async def _read(self, quiet: float | None) -> bytes | None:
        assert self._request is not None  # noqa: S101
        operation = self._request.operation
        if self._body is not None:
            read = self._runner.settings.limits_of(self._request)["read"]
            return await self._runner.within(read, operation, anext(self._body, b""))
        return await self._read_socket(quiet, operation)

    async def _read_socket(self, quiet: float | None, operation: str) -> bytes | None:
        seconds = quiet or self._runner.settings.timeout.read
        return await self._runner.within(seconds + 1, operation, self._receive(seconds))

    async def _receive(self, seconds: float) -> bytes | None:
        assert self._open is not None  # noqa: S101
        try:
            data: bytes = await self._open.extensions["network_stream"].read(_CHUNK, timeout=seconds)
        except httpcore.ReadTimeout:
            return None
        return data

    async def _write(self, data: bytes) -> None:
        assert self._open is not None  # noqa: S101
        assert self._request is not None  # noqa: S101
        seconds = self._runner.settings.timeout.read
        work = self._open.extensions["network_stream"].write(data, timeout=seconds)
        await self._runner.within(seconds, self._request.operation, work)

    async def close(self) -> None:
        """Drop what is open."""
        answer, self._open, self._body = self._open, None, None
        give_back, self._give_back = self._give_back, None
        try:
            if answer is not None:
                await hand_back(answer)
        finally:
            if give_back is not None:
                give_back()

    async def end(self) -> None:
        """Drop everything."""
        pool, self._pool = self._pool if self._has_own_pool else None, None
        try:
            await self.close()
        finally:
            if pool is not None:
                await pool.aclose()


class AsyncTail:
    """A tail that runs: its batches one at a time."""

    def __init__(self, plan: TailPlan[None], channel: AsyncChannel) -> None:
        self._plan = plan
        self._channel = channel

    async def next(self) -> LogBatch | None:
        """Return the next batch, None at the end."""
        try:
            effect = next(self._plan)
            while not isinstance(effect, LogBatch):
                effect = advance(self._plan, await self._channel.carry_out(effect))
        except StopIteration:
            return None
        return effect

    async def close(self) -> None:
        """End it, wherever it is."""
        self._plan.close()
        await self._channel.end()
