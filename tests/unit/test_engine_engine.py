"""The engine's patience: what cannot be reconciled is tried again at growing intervals, whoever asks for it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from rayjobwatch.engine.engine import Engine
from rayjobwatch.kube.client import Body, KubeClient, KubeError, Resource
from rayjobwatch.settings import Settings

KEY = ("ml", "train")
WATCH: Body = {
    "metadata": {"name": "train", "namespace": "ml", "uid": "u1", "generation": 1, "resourceVersion": "7"},
    "spec": {"dashboard": {"url": "http://ray.example.com"}, "jobs": {"ids": ["a"]}},
}


class Server:
    """An API server that takes no status until it is not away any more; it has no object any more."""

    def __init__(self) -> None:
        self.written = 0
        self.is_away = True

    async def pages(self, resource: Resource, _namespace: str | None) -> AsyncIterator[list[Body]]:
        yield []

    async def get(self, *_: Any) -> Body | None:
        return None

    async def apply_status(self, *_: Any) -> Body:
        self.written += 1
        if self.is_away:
            raise KubeError(0, "ClientConnectorError", "the API server did not answer")
        return {**WATCH, "metadata": {**WATCH["metadata"], "resourceVersion": str(7 + self.written)}}


async def _turns(count: int = 50) -> None:
    """Let everything run that is ready to: the engine's workers never wait for more than the loop's next turns here."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_news_of_a_session_does_not_cut_short_the_wait_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    server = Server()
    engine = Engine(cast("KubeClient", server), Settings(), "test")
    engine.start()
    try:
        engine.watch_seen(WATCH)
        await _turns()
        assert server.written == 1
        for _ in range(20):
            engine._news(KEY, urgent=True)
            await _turns()
        assert server.written == 1
        server.is_away = False
        engine._queue.add(KEY)
        await _turns()
        assert server.written == 2
        assert not engine._failures
    finally:
        await engine.stop()


async def test_the_event_of_our_own_write_costs_nothing() -> None:
    server = Server()
    server.is_away = False
    engine = Engine(cast("KubeClient", server), Settings(), "test")
    engine.start()
    try:
        engine.watch_seen(WATCH)
        await _turns()
        engine.watch_seen({**WATCH, "metadata": {**WATCH["metadata"], "resourceVersion": "8"}})
        assert not engine._queue._ready
        engine.watch_seen(WATCH, deleted=True)
        await _turns()
        assert server.written == 1
        assert not engine._reconciler.known
    finally:
        await engine.stop()


async def test_a_watch_whose_deletion_no_stream_told_is_forgotten_by_the_sweep() -> None:
    server = Server()
    server.is_away = False
    engine = Engine(cast("KubeClient", server), Settings(), "test")
    engine.start()
    try:
        engine.watch_seen(WATCH)
        await _turns()
        assert engine._reconciler.known == {KEY}
        await engine._compare_watches()
        await _turns()
        assert not engine._reconciler.known
        assert not engine._watches.keys()
    finally:
        await engine.stop()
