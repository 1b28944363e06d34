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
    """Tells what happened to watches, each watch's Events in their order, some watches at a time."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._telling: dict[WatchKey, asyncio.Task[None]] = {}

    async def tell(self, key: WatchKey, notes: Sequence[Note], seconds: float) -> None:
        """Begin to post `notes`; returns when they are posted, or after so many seconds."""
        if not notes:
            return
        task = asyncio.create_task(self._tell(self._telling.get(key), notes), name="tell {}/{}".format(*key))
        self._telling[key] = task
        task.add_done_callback(lambda done: self._ended(key, done))
        await asyncio.wait({task}, timeout=seconds)

    def owes(self, watch: Body, key: WatchKey) -> bool:
        """Whether an Event of the watch is still to be posted."""
        return key in self._telling or self._recorder.owes(watch)

    async def close(self) -> None:
        """Post no more."""
        await tasks.stop(*self._telling.values())

    async def _tell(self, before: asyncio.Task[None] | None, notes: Sequence[Note]) -> None:
        if before:
            await asyncio.wait({before})
        for involved, note in notes:
            await self._recorder.record(involved, note)

    def _ended(self, key: WatchKey, task: asyncio.Task[None]) -> None:
        if self._telling.get(key) is task:
            del self._telling[key]
        if not task.cancelled() and (error := task.exception()):
            asyncio.get_running_loop().call_exception_handler({"message": task.get_name(), "exception": error})
