"""What a watcher of RayJobWatches, or RayJobs, has seen, and when."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from tests.bench.scale.contenders import Contender, Shown
from tests.bench.scale.kube import Json, Kube

RECONNECT_SECONDS = 0.2
LOOK_SECONDS = 0.1


@dataclass
class Sight:
    """One object as it was seen. Times are seconds since the epoch, None before they happened.

    `states` are those that it showed, each with the time at which it was first seen; `verdicts` those shown together
    with the end; `taken_back` counts how often an end was shown no more.
    """

    status: Json = field(default_factory=dict)
    states: dict[str, float] = field(default_factory=dict)
    state: str = ""
    finished: float | None = None
    verdicts: set[str] = field(default_factory=set)
    taken_back: int = 0

    def take(self, status: Json, shown: Shown, now: float) -> None:
        """Take in a status and what it shows."""
        self.status, self.state = status, shown.state
        if shown.state:
            self.states.setdefault(shown.state, now)
        self.taken_back += bool(self.finished) and not shown.is_finished
        if shown.is_finished:
            self.finished = self.finished or now
            self.verdicts.add(shown.state)


class Watcher:
    """Watches all objects of a contender in a namespace; `sights` by name."""

    def __init__(self, kube: Kube, contender: Contender, namespace: str) -> None:
        self.sights: dict[str, Sight] = {}
        self.gaps = 0
        self._kube = kube
        self._contender = contender
        self._path = contender.path(namespace)

    async def run(self) -> None:
        """Watch until cancelled; after a gap (`gaps`) times are those at which the stream was there again."""
        while True:
            try:
                async for found in self._kube.watch(self._path):
                    sight = self.sights.setdefault(found["metadata"]["name"], Sight())
                    status = found.get("status") or {}
                    sight.take(status, self._contender.shown(status), time.time())
            except aiohttp.ClientError:
                await asyncio.sleep(RECONNECT_SECONDS)
            self.gaps += 1

    async def all(self, names: list[str], holds: Callable[[Sight], bool], until: float) -> bool:
        """Return whether `holds` became true of all these watches before the time `until`."""
        waited = set(names)
        while waited:
            waited = {name for name in waited if not (name in self.sights and holds(self.sights[name]))}
            if time.time() > until:
                break
            await asyncio.sleep(LOOK_SECONDS)
        return not waited
