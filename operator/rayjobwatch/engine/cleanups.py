"""Asking one Ray dashboard about Serve applications.

Each change puts all of them anew, so that two at once would undo each other: one at a time on each head, whichever way
it is reached.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from rayjobwatch.engine import tasks
from rayjobwatch.engine.crash import reached
from rayjobwatch.engine.logs import WatchKey
from rayjobwatch.engine.rows import session_of
from rayjobwatch.model.serve import Delete, Look
from rayjobwatch.model.servestate import Application, ServeAnswer
from rayjobwatch.model.text import clean_line
from rayjobwatch.ray import AsyncRayClient, ClientError, ServeApplication

# The turns of the Ray sessions of which somebody asks now.
_TURNS: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

SECONDS = 90.0
CLOSE_SECONDS = 1.0
MESSAGE_BYTES = 400


class CleanUps:
    """Takes steps of clean-ups in the background, each watch's one after the other.

    told: called with a watch when its step is done; `take_answer` then says what came of it, once.
    seen: called with a Ray session and all of its applications whenever they were read.
    """

    def __init__(
        self,
        client: AsyncRayClient,
        told: Callable[[WatchKey], None],
        seen: Callable[[str, list[ServeApplication]], None],
    ) -> None:
        self._client = client
        self._told = told
        self._seen = seen
        self._asking: dict[WatchKey, asyncio.Task[None]] = {}
        self._answers: dict[WatchKey, ServeAnswer] = {}
        self._forgotten: set[asyncio.Task[None]] = set()

    def is_asking(self, key: WatchKey) -> bool:
        """Whether a step for `key` is under way."""
        return key in self._asking

    def ask(self, key: WatchKey, step: Look | Delete, session: str) -> None:
        """Take a step, unless one is under way; applications of another Ray session than this are not deleted."""
        if key not in self._asking:
            work = tasks.start(f"Serve applications of {'/'.join(key)}", lambda: self._ask(key, step, session))
            self._asking[key] = work

    def take_answer(self, key: WatchKey) -> ServeAnswer | None:
        """Return what came of the last step, None where nothing came since it was asked for."""
        return self._answers.pop(key, None)

    def forget(self, key: WatchKey) -> None:
        """Take no more steps for `key`. One that is under way is not left half done, but nothing is told of it."""
        self._answers.pop(key, None)
        if task := self._asking.pop(key, None):
            self._forgotten.add(task)
            task.add_done_callback(self._forgotten.discard)

    async def close(self) -> None:
        """Ask no more; what is under way may end within a second."""
        under_way = [*self._asking.values(), *self._forgotten]
        if under_way:
            await asyncio.wait(under_way, timeout=CLOSE_SECONDS)
        await tasks.stop(*under_way)

    async def _ask(self, key: WatchKey, step: Look | Delete, session: str) -> None:
        try:
            answer = await self._answer(step, session)
        finally:
            is_wanted = self._asking.get(key) is asyncio.current_task()
            if is_wanted:
                del self._asking[key]
        if is_wanted:
            self._answers[key] = answer
            self._told(key)

    async def _answer(self, step: Look | Delete, session: str) -> ServeAnswer:
        try:
            async with asyncio.timeout(SECONDS):
                return await self._taken(step, session)
        except ClientError as error:
            return ServeAnswer(problem=clean_line(str(error), MESSAGE_BYTES))
        except TimeoutError:
            return ServeAnswer(problem=f"Ray has not answered within {SECONDS:.0f} s")

    async def _taken(self, step: Look | Delete, session: str) -> ServeAnswer:
        now = session_of(await self._client.get_version())
        if isinstance(step, Look) or now != session:
            applications = await self._client.list_serve_applications()
            self._seen(now, applications)
            return ServeAnswer(now, tuple(map(_application, applications)))
        async with _TURNS.setdefault(now, asyncio.Lock()):
            reached("before the applications are deleted")
            await self._client.delete_serve_applications(step.names, wait=None)
            reached("after the applications are deleted")
        return ServeAnswer(now, asked=step.names)


def _application(app: ServeApplication) -> Application:
    seconds = app.last_deployed_time_s
    try:
        deployed = datetime.fromtimestamp(int(seconds), UTC) if seconds else None
    except (OverflowError, OSError, ValueError):
        deployed = None
    return Application(app.name, clean_line(app.status, 24), deployed)
