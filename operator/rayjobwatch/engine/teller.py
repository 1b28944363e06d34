"""Posting the Events of watches: before the status that says the same, if the API server is quick; never in its way."""

import asyncio
from collections.abc import Sequence

from rayjobwatch.engine import tasks
from rayjobwatch.engine.logs import WatchKey
from rayjobwatch.kube.client import Body
from rayjobwatch.kube.recorder import Recorder
from rayjobwatch.model.events import EventNote

Note = tuple[Body, EventNote]


class Teller:
    """Tells what happened to watches, each watch's Events in their order, one at a time.

    However slow the API server is, what waits is at most one Event of each thing that can be told: told anew, the
    newer one takes its place.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._waiting: dict[WatchKey, dict[tuple[str, str], Note]] = {}
        self._telling: dict[WatchKey, asyncio.Task[None]] = {}

    async def tell(self, key: WatchKey, notes: Sequence[Note], seconds: float) -> None:
        """Begin to post `notes`; returns when they are posted, or after so many seconds."""
        if not notes:
            return
        self._waiting.setdefault(key, {}).update({_name(note): note for note in notes})
        if key not in self._telling:
            self._telling[key] = tasks.start("tell {}/{}".format(*key), lambda: self._tell(key))
        await asyncio.wait({self._telling[key]}, timeout=seconds)

    def owes(self, watch: Body, key: WatchKey) -> bool:
        """Whether an Event of the watch is still to be posted."""
        return key in self._telling or self._recorder.owes(watch)

    async def close(self) -> None:
        """Post no more."""
        await tasks.stop(*self._telling.values())

    async def _tell(self, key: WatchKey) -> None:
        waiting = self._waiting[key]
        while waiting:
            await self._recorder.record(*waiting.pop(next(iter(waiting))))
        del self._waiting[key], self._telling[key]


def _name(note: Note) -> tuple[str, str]:
    involved, event = note
    return str(involved["metadata"].get("uid", "")), event.identity
