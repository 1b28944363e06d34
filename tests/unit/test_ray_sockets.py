"""How the async client reads what is there already: a server's few bytes may be much work, and others wait."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from rayjobwatch.ray.io import async_sockets
from rayjobwatch.ray.io.async_sockets import AsyncTrackedStream, Inbox

DATA = bytes(range(256)) * 1024


class Clock:
    """Time that passes only while data is handled."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(async_sockets, "time", clock)
    return clock


def filled_stream() -> AsyncTrackedStream:
    inbox, backend, transport = Inbox(), SimpleNamespace(streams=set()), SimpleNamespace(resume_reading=lambda: None)
    inbox.data_received(DATA)
    stream: Any = AsyncTrackedStream
    return stream(inbox, transport, backend)  # type: ignore[no-any-return]


async def read_all(stream: AsyncTrackedStream, clock: Clock, work: float) -> list[bytes]:
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < len(DATA):
        pieces.append(await stream.read(65536))
        clock.now += work
    assert b"".join(pieces) == DATA
    return pieces


async def test_others_have_their_turns_while_what_a_server_sent_takes_long(clock: Clock) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    pieces = await read_all(filled_stream(), clock, work=0.1)
    task.cancel()
    assert turns >= len(pieces) - 1
    assert max(map(len, pieces[1:])) == 4096


async def test_what_is_handled_quickly_is_read_in_large_pieces(clock: Clock) -> None:
    pieces = await read_all(filled_stream(), clock, work=0.001)
    assert len(pieces) <= 5
