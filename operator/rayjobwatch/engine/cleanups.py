"""Asking one Ray dashboard about Serve applications.

Each change puts all of them anew, so that two at once would undo each other: one at a time on each head, whichever way
it is reached. Ray then says of all that they were deployed just now; that is not taken for somebody's deployment.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from rayjobwatch.engine import tasks
from rayjobwatch.engine.crash import reached
from rayjobwatch.engine.logs import WatchKey
from rayjobwatch.engine.rows import session_of
from rayjobwatch.model.serve import Delete, Look, is_anew
from rayjobwatch.model.servestate import Application, ServeAnswer
from rayjobwatch.model.text import clean_line
from rayjobwatch.ray import AsyncRayClient, ClientError, ServeApplication

SECONDS = 90.0
CLOSE_SECONDS = 1.0
MESSAGE_BYTES = 400


@dataclass(eq=False)
class _Head:
    """A Ray session of which somebody asks.

    put_again: of the applications that we have put again, when they were deployed before, and when Ray says now.
    """

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    put_again: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)

    def deployed(self, app: ServeApplication) -> float | None:
        """Return when somebody else than we deployed an application last."""
        before, after = self.put_again.get(app.name, (None, None))
        time = app.last_deployed_time_s
        if app.is_taken_over:
            return None
        return before if after is not None and time == after else time

    def has_put(self, before: Iterable[ServeApplication], after: Iterable[ServeApplication]) -> None:
        """Take note that we have put all applications again between these two answers."""
        known = {app.name: self.deployed(app) for app in before}
        self.put_again = {app.name: (known[app.name], app.last_deployed_time_s) for app in after if app.name in known}


_HEADS: WeakValueDictionary[str, _Head] = WeakValueDictionary()


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
        self._head: _Head | None = None  # kept for what it knows of times

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
        """Take no more steps for `key`. A deletion that has begun is not left half done, but nothing is told of it."""
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
        self._head = None

    async def _ask(self, key: WatchKey, step: Look | Delete, session: str) -> None:
        try:
            answer = await self._answer(key, step, session)
        finally:
            if is_wanted := self._is_wanted(key):
                del self._asking[key]
        if is_wanted:
            self._answers[key] = answer
            self._told(key)

    def _is_wanted(self, key: WatchKey) -> bool:
        """Whether the step of this task was not forgotten meanwhile."""
        return self._asking.get(key) is asyncio.current_task()

    async def _answer(self, key: WatchKey, step: Look | Delete, session: str) -> ServeAnswer:
        try:
            async with asyncio.timeout(SECONDS):
                return await self._taken(key, step, session)
        except ClientError as error:
            return ServeAnswer(problem=clean_line(str(error), MESSAGE_BYTES))
        except TimeoutError:
            return ServeAnswer(problem=f"Ray has not answered within {SECONDS:.0f} s")

    async def _taken(self, key: WatchKey, step: Look | Delete, session: str) -> ServeAnswer:
        now = session_of(await self._client.get_version())
        self._head = head = _HEADS.setdefault(now, _Head())
        if isinstance(step, Look) or now != session:
            return ServeAnswer(now, _applications(await self._read(now), head))
        async with head.turn:
            before = await self._read(now)
            there = _applications(before, head)
            if _has_new(step, there) or not self._is_wanted(key):
                return ServeAnswer(now, there)
            reached("before the applications are deleted")
            try:
                await self._client.delete_serve_applications(step.names, wait=None)
            except ClientError:
                await self._note_times(now, head, before)  # it may have been done all the same
                raise
            reached("after the applications are deleted")
            await self._note_times(now, head, before)
        return ServeAnswer(now, asked=step.names)

    async def _note_times(self, session: str, head: _Head, before: Iterable[ServeApplication]) -> None:
        with contextlib.suppress(ClientError):  # a time that is not noted is taken for somebody's deployment
            head.has_put(before, await self._read(session))

    async def _read(self, session: str) -> list[ServeApplication]:
        applications = await self._client.list_serve_applications()
        self._seen(session, applications)
        return applications


def _has_new(step: Delete, there: Iterable[Application]) -> bool:
    by_name = {one.name: one for one in there}
    return any(is_anew(one, by_name.get(one.name)) for one in step.applications)


def _applications(read: Iterable[ServeApplication], head: _Head) -> tuple[Application, ...]:
    return tuple(Application(app.name, clean_line(app.status, 24), _time(head.deployed(app))) for app in read)


def _time(seconds: float | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(seconds), UTC) if seconds else None
    except (OverflowError, OSError, ValueError):
        return None
