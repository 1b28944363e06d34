"""Posting the Events of watches, in their order; however slow the API server is with them, a status need not wait.

What watches tell of a RayCluster is posted for the first of them: of 200 on a dashboard that goes away one tells it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from rayjobwatch.engine import tasks
from rayjobwatch.engine.logs import WatchKey
from rayjobwatch.engine.turns import Turns
from rayjobwatch.kube.client import Body
from rayjobwatch.kube.recorder import Recorder
from rayjobwatch.model import pace
from rayjobwatch.model.events import EventNote

Note = tuple[Body, EventNote]

# Watches learn of one outage at different times, with tokens of their own from sessions of their own.
ONE_OCCURRENCE = 60.0
KNOWN = 4096


class Teller:
    """Tells what happened to watches, each watch's Events in their order, one at a time.

    Those that take turns are apart from one another: where many watches get a state at once, that comes first.

    However slow the API server is, what waits is at most one Event of each thing that can be told: told anew, the
    newer one takes its place.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._waiting: dict[WatchKey, dict[tuple[str, str], Note]] = {}
        self._telling: dict[WatchKey, asyncio.Task[None]] = {}
        self._later: dict[WatchKey, asyncio.TimerHandle] = {}
        self._turns = Turns(at_once=pace.EVENTS_AT_ONCE)
        self._on_clusters: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def tell(self, key: WatchKey, notes: Sequence[Note], seconds: float) -> None:
        """Begin to post `notes`; returns when they are posted, or after so many seconds."""
        if notes:
            self._waiting.setdefault(key, {}).update({_name(note): note for note in notes})
            self._begin(key)
            await asyncio.wait({self._telling[key]}, timeout=seconds)

    async def tell_in_turn(self, key: WatchKey, notes: Sequence[Note], seconds: float) -> float:
        """Do as `tell` when it is their turn, at once for ends of jobs; return how long until then."""
        now = asyncio.get_running_loop().time()
        is_urgent = key in self._telling or any(note.is_end for _, note in notes)
        if is_urgent or (turn := self._turns.take(now)) <= now:
            await self.tell(key, notes, seconds)
            return 0.0
        self._waiting.setdefault(key, {}).update({_name(note): note for note in notes})
        if key not in self._later:
            self._later[key] = asyncio.get_running_loop().call_at(turn, self._begin, key)
        return turn - now

    def owes(self, watch: Body, key: WatchKey) -> bool:
        """Whether an Event of the watch is still to be posted."""
        return key in self._waiting or self._recorder.owes(watch)

    async def close(self) -> None:
        """Post no more."""
        for timer in self._later.values():
            timer.cancel()
        await tasks.stop(*self._telling.values())

    def _begin(self, key: WatchKey) -> None:
        if timer := self._later.pop(key, None):
            timer.cancel()
        if key not in self._telling:
            self._telling[key] = tasks.start("tell {}/{}".format(*key), lambda: self._tell(key))

    async def _tell(self, key: WatchKey) -> None:
        waiting = self._waiting[key]
        while waiting:
            note = waiting.pop(next(iter(waiting)))
            if note[0].get("kind") != "RayCluster" or self._is_first(*note):
                await self._recorder.record(*note)
        del self._waiting[key], self._telling[key]

    def _is_first(self, cluster: Body, note: EventNote) -> bool:
        """Whether no watch has told `note` of the RayCluster yet; the end of a job is known by its name alone."""
        now = asyncio.get_running_loop().time()
        name, kind = _name((cluster, note)), (str(cluster["metadata"].get("uid", "")), note.reason.value)
        recent = not note.is_end and now - self._on_clusters.get(kind, -ONE_OCCURRENCE) < ONE_OCCURRENCE
        if recent or name in self._on_clusters:
            return False
        for known in (name, kind):
            self._on_clusters[known] = now
            self._on_clusters.move_to_end(known)
        while len(self._on_clusters) > KNOWN:
            self._on_clusters.popitem(last=False)
        return True


def of_cluster(note: EventNote) -> EventNote:
    """Return the Event that tells the same on the RayCluster."""
    return replace(note, identity=note.cluster_identity or note.identity)


def _name(note: Note) -> tuple[str, str]:
    involved, event = note
    return str(involved["metadata"].get("uid", "")), event.identity
