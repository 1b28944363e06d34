"""Following one job's log: lines in, a digest out. What a log says or how it ends never decides a job's state."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Protocol as TypingProtocol

from rayjobwatch.engine.circuit import Circuit
from rayjobwatch.engine.hearing import Hearing
from rayjobwatch.model import pace
from rayjobwatch.ray import ClientError, LogBatch

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 30.0


class Tail(TypingProtocol):
    """Opens a tail that goes on after `cursor` (empty: from the first line)."""

    def __call__(self, cursor: str) -> AsyncIterator[LogBatch]: ...


class Follower:
    """Hears one job's log while it runs, across every failure of the tail, until the log's end.

    circuit: of the dashboard; a tail is not opened while it is away.
    """

    def __init__(
        self, tail: Tail, hearing: Hearing, notify: Callable[[], None], places: asyncio.Semaphore, circuit: Circuit
    ) -> None:
        self._hearing = hearing
        self._tail = tail
        self._notify = notify
        self._places = places
        self._circuit = circuit

    async def run(self) -> None:
        """Follow until the job is over and its log read to the end, as soon as there is a place for it."""
        if self._places.locked():
            self._fail("waiting: too many logs of this cluster are followed already")
        async with self._places:
            await self._follow()

    async def _follow(self) -> None:
        failures = 0
        hearing = self._hearing
        while not hearing.digest.complete:
            await self._circuit.closed()
            before = hearing.digest.cursor
            try:
                await self._read()
            except ClientError as error:
                failures = 0 if hearing.digest.cursor != before else failures + 1
                self._fail(str(error))
                await asyncio.sleep(_delay(failures))

    async def _read(self) -> None:
        async for batch in self._tail(self._hearing.digest.cursor):
            self._hearing.fed(batch.lines, str(batch.cursor), datetime.now(UTC))
            self._notify()
        self._hearing.closed()
        self._notify()

    def _fail(self, message: str) -> None:
        before = self._hearing.digest
        self._hearing.failing(message)
        if self._hearing.digest != before:
            self._notify()


def _delay(failures: int) -> float:
    longest = pace.backed_off(FIRST_RETRY_SECONDS, failures + 1, LAST_RETRY_SECONDS)
    return pace.jittered(longest, random.random())  # noqa: S311
