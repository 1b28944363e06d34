"""What a watcher of RayJobWatches has seen, and when."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.bench.scale.kube import WATCHES, Json, Kube

RECONNECT_SECONDS = 0.2
LOOK_SECONDS = 0.1


@dataclass
class Sight:
    """One RayJobWatch as it was seen. Times are seconds since the epoch, None before they happened.

    `states` are those that `status.state` had, each with the time at which it was first seen; `verdicts` those shown
    together with `Finished=True`.
    """

    status: Json = field(default_factory=dict)
    states: dict[str, float] = field(default_factory=dict)
    finished: float | None = None
    verdicts: set[str] = field(default_factory=set)

    def take(self, status: Json, now: float) -> None:
        """Take in a status."""
        self.status = status
        if state := status.get("state"):
            self.states.setdefault(state, now)
        if is_finished(status):
            self.finished = self.finished or now
            self.verdicts.add(status.get("state", ""))


def is_finished(status: Json) -> bool:
    """Whether a status says `Finished=True`."""
    conditions: list[dict[str, Any]] = status.get("conditions") or []
    return any(one["type"] == "Finished" and one["status"] == "True" for one in conditions)


class Watcher:
    """Watches all RayJobWatches of a namespace; `sights` by name."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.sights: dict[str, Sight] = {}
        self.gaps = 0
        self._kube = kube
        self._path = WATCHES.format(namespace)

    async def run(self) -> None:
        """Watch until cancelled; after a gap (`gaps`) times are those at which the stream was there again."""
        while True:
            try:
                async for found in self._kube.watch(self._path):
                    sight = self.sights.setdefault(found["metadata"]["name"], Sight())
                    sight.take(found.get("status") or {}, time.time())
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
