"""A queue of keys: each waits in it at most once, and no key is worked on by two workers at a time."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """Coalescing queue after the pattern of client-go's: bounded by the number of distinct keys.

    A key that is added while it is worked on is handed out again once that work is `done`. Urgent keys go first.
    """

    def __init__(self) -> None:
        self._urgent: OrderedDict[Key, None] = OrderedDict()
        self._ready: OrderedDict[Key, None] = OrderedDict()
        self._working: set[Key] = set()
        self._again: dict[Key, bool] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._some = asyncio.Event()

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Put `key` in the queue; a delayed `add_after` of the same key is thereby served."""
        timer = self._timers.pop(key, None)
        if timer:
            timer.cancel()
        if key in self._working:
            self._again[key] = urgent or self._again.get(key, False)
            return
        if urgent:
            self._ready.pop(key, None)
            self._urgent[key] = None
        elif key not in self._urgent:
            self._ready[key] = None
        self._some.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Put `key` in the queue in `seconds`, or sooner where that was asked for already."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer and timer.when() <= loop.time() + seconds:
            return
        if timer:
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self.add, key)

    async def get(self, *, urgent_only: bool = False) -> Key:
        """Wait for a key; the caller says `done` when it has worked on it."""
        while not (keys := self._urgent or (not urgent_only and self._ready)):
            self._some.clear()
            await self._some.wait()
        key, _ = keys.popitem(last=False)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """Say that the work on `key` has ended."""
        self._working.discard(key)
        if key in self._again:
            self.add(key, urgent=self._again.pop(key))

    def close(self) -> None:
        """Cancel what is delayed."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
