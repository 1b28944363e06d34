"""The engine's patience: what cannot be reconciled is tried again at growing intervals, whoever asks for it."""

import asyncio
from typing import Any, cast

import pytest

from rayjobwatch.engine.engine import Engine
from rayjobwatch.kube.client import Body, KubeClient, KubeError
from rayjobwatch.settings import Settings

KEY = ("ml", "train")


class Server:
    """An API server that is away until it is not; it has no objects."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_away = True

    async def get(self, *_: Any) -> Body | None:
        self.asked += 1
        if self.is_away:
            raise KubeError(0, "ClientConnectorError", "the API server did not answer")
        return None


async def _turns(count: int = 50) -> None:
    """Let everything run that is ready to: the engine's workers never wait for more than the loop's next turns here."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_news_of_a_session_does_not_cut_short_the_wait_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 1.0)
    server = Server()
    engine = Engine(cast("KubeClient", server), Settings(), "test")
    engine.start()
    try:
        engine.watch_changed(*KEY)
        await _turns()
        assert server.asked == 1
        for _ in range(20):
            engine._add(KEY, 0)
            await _turns()
        assert server.asked == 1
        server.is_away = False
        engine.watch_changed(*KEY)
        await _turns()
        assert server.asked == 2
        assert not engine._failures
    finally:
        await engine.stop()
