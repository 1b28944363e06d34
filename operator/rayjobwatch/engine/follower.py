"""Following one job's log: lines in, a digest out. What a log says or how it ends never decides a job's state."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Protocol as TypingProtocol

from rayjobwatch.model import pace
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.ray import ClientError, LogBatch

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 30.0


class Tail(TypingProtocol):
    """Opens a tail that goes on after `cursor` (empty: from the first line)."""

    def __call__(self, cursor: str) -> AsyncIterator[LogBatch]: ...


class Follower:
    """Keeps the digest of one job's log while it runs, across every failure of the tail, until the log's end."""

    def __init__(self, tail: Tail, seed: LogDigest, notify: Callable[[], None], places: asyncio.Semaphore) -> None:
        self.digest = seed
        self._tail = tail
        self._notify = notify
        self._places = places

    async def run(self) -> None:
        """Follow until the job is over and its log read to the end, as soon as there is a place for it."""
        if self._places.locked():
            self._update(self.digest.failing("waiting: too many logs of this cluster are followed already"))
        async with self._places:
            await self._follow()

    async def _follow(self) -> None:
        failures = 0
        while not self.digest.complete:
            before = self.digest.cursor
            try:
                await self._read()
            except ClientError as error:
                failures = 0 if self.digest.cursor != before else failures + 1
                self._update(self.digest.failing(str(error)))
                await asyncio.sleep(_delay(failures))

    async def _read(self) -> None:
        async for batch in self._tail(self.digest.cursor):
            self._update(self.digest.fed(batch.lines, str(batch.cursor), datetime.now(UTC)))
        self._update(self.digest.closed())

    def _update(self, digest: LogDigest) -> None:
        if digest != self.digest:
            self.digest = digest
            self._notify()


def _delay(failures: int) -> float:
    longest = pace.backed_off(FIRST_RETRY_SECONDS, failures + 1, LAST_RETRY_SECONDS)
    return pace.jittered(longest, random.random())  # noqa: S311
