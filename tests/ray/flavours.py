"""One test body for both clients: the sync client's calls run in threads and look like the async client's.

async def test_x(client):                      # parametrised: sync, async
    job = await client.get_job("j")
    async for line in await client.tail_job_logs("j"): ...
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from rayjobwatch.ray import AsyncRayClient, ClientError, RayClient

T = TypeVar("T")
THREADS = ThreadPoolExecutor(256, thread_name_prefix="test-caller")
FLAVOURS = ("sync", "async")
_END = object()


async def in_thread(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run a blocking call in a thread of the tests' own pool."""
    return await asyncio.get_running_loop().run_in_executor(THREADS, lambda: call(*args, **kwargs))


class SteppedTail(AsyncIterator[Any]):
    """A sync generator of lines, stepped in a thread."""

    def __init__(self, generator: Any) -> None:
        self.raw = generator

    async def __anext__(self) -> Any:
        item = await in_thread(next, self.raw, _END)
        if item is _END:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        await in_thread(self.raw.close)

    async def drain(self) -> list[Any]:
        return await in_thread(list, self.raw)


class FlavouredTail(AsyncIterator[Any]):
    """An async generator of lines, with `drain` beside it."""

    def __init__(self, generator: Any) -> None:
        self.raw = generator

    async def __anext__(self) -> Any:
        return await anext(self.raw)

    async def aclose(self) -> None:
        await self.raw.aclose()

    async def drain(self) -> list[Any]:
        return [line async for line in self.raw]


Tail = SteppedTail | FlavouredTail


class Caller:
    """A client of one flavour; every method is awaited, whatever the flavour."""

    def __init__(self, flavour: str, raw: Any) -> None:
        self.flavour = flavour
        self.raw = raw

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.raw, name)
        return self._awaited(attribute) if callable(attribute) else attribute

    def _awaited(self, method: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.flavour == "sync":
                result = await in_thread(method, *args, **kwargs)
                return SteppedTail(result) if isinstance(result, Iterator) else result
            result = method(*args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
            return FlavouredTail(result) if isinstance(result, AsyncIterator) else result

        return call

    async def lines(self, *args: Any, **kwargs: Any) -> list[str]:
        """Return all lines of `tail_job_logs(...)`."""
        tail: Tail = await self.tail_job_logs(*args, **kwargs)
        return await tail.drain()

    async def shut(self) -> None:
        """Close the client, whatever closing is called in this flavour."""
        if self.flavour == "sync":
            await in_thread(self.raw.close)
        else:
            await self.raw.aclose()


def make_client(flavour: str, base_url: str, *args: Any, **options: Any) -> Caller:
    """Return a client of this flavour; the caller closes it."""
    kind: Callable[..., Any] = RayClient if flavour == "sync" else AsyncRayClient
    return Caller(flavour, kind(base_url, *args, **options))


async def error_of(awaitable: Awaitable[Any]) -> ClientError:
    """Return the ClientError that the call ends with; a tail is read to its end."""
    with pytest.raises(ClientError) as caught:
        await _finish(awaitable)
    error = caught.value
    assert error.status == error.status_code
    assert isinstance(error.status_code, int)
    assert "\n" not in str(error)
    assert 0 < len(str(error)) <= 500
    return error


async def _finish(awaitable: Awaitable[Any]) -> None:
    result = await awaitable
    if isinstance(result, (SteppedTail, FlavouredTail)):
        await result.drain()


async def take(tail: Tail, count: int) -> list[str]:
    """Return the next `count` lines."""
    return [await anext(tail) for _ in range(count)]


async def read_until_error(tail: Tail) -> tuple[list[Any], ClientError]:
    """Return the lines that came and the error that ended them."""
    lines: list[Any] = []
    with pytest.raises(ClientError) as caught:
        await _collect(tail, lines)
    return lines, caught.value


async def _collect(tail: Tail, lines: list[Any]) -> None:
    async for line in tail:
        lines.append(line)  # noqa: PERF401 - they are kept when it raises


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for a condition of another thread's making; fail when it does not come."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - it comes true in another thread
            await asyncio.sleep(0.005)
