"""The circuit breaker of one dashboard: while it is away it is asked by one probe at a time, and for nothing else."""

import asyncio
from collections.abc import Callable

from rayjobwatch.model.observation import Problem


class Circuit:
    """Whether a dashboard is away, as its poller says, whose next question then is the probe.

    on_closed: called when others may ask again.
    """

    def __init__(self, on_closed: Callable[[], None] = lambda: None) -> None:
        self.problem: Problem | None = None
        self._on_closed = on_closed
        self._closed = asyncio.Event()
        self._closed.set()

    @property
    def is_open(self) -> bool:
        """Whether nobody but the poller may ask."""
        return not self._closed.is_set()

    def open(self, problem: Problem) -> None:
        """Take note of why the dashboard is away."""
        self.problem = problem
        self._closed.clear()

    def close(self) -> None:
        """Take note that it answers."""
        self.problem = None
        self.let_through()

    def let_through(self) -> None:
        """Take note that the poller asks no more: nobody would find out that the dashboard is back."""
        if self.is_open:
            self._closed.set()
            self._on_closed()

    async def closed(self) -> None:
        """Wait until others may ask."""
        await self._closed.wait()
