"""The circuit breaker of one dashboard: while it is away it is asked by one probe at a time, and for nothing else."""

import asyncio

from rayjobwatch.model.observation import Problem


class Circuit:
    """Whether a dashboard is away, as its poller says, whose next question then is the probe."""

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self._closed = asyncio.Event()
        self._closed.set()

    def open(self, problem: Problem) -> None:
        """Take note of why the dashboard is away."""
        self.problem = problem
        self._closed.clear()

    def close(self) -> None:
        """Take note that it answers."""
        self.problem = None
        self._closed.set()

    async def closed(self) -> None:
        """Wait until the dashboard is not away."""
        await self._closed.wait()
