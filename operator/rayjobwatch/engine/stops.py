"""Asking one Ray dashboard to stop jobs: each of them once for all watches that want it, and a few at a time."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from rayjobwatch.engine import tasks
from rayjobwatch.engine.crash import reached
from rayjobwatch.engine.rows import session_of
from rayjobwatch.model.text import clean_line
from rayjobwatch.model.times import from_milliseconds
from rayjobwatch.ray import AsyncRayClient, ClientError, NotFoundError

AT_A_TIME = 4
SECONDS = 30.0
# Another watch that wants the same within so long has its wish already.
FRESH_SECONDS = 2.0
KNOWN_ANSWERS = 1000
MESSAGE_BYTES = 400


@dataclass(frozen=True, slots=True)
class Ask:
    """A run of a job that is to be stopped: its id may have gone to another run, or another head's, meanwhile."""

    job_id: str
    session: str
    start_time: datetime | None


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    time: float


class Stops:
    """Asks for stops in the background.

    read_on: has the logs of jobs read, for what a job said until now.  told: called with a job after Ray's answer.
    is_wanted: whether anybody still wants a job to be stopped: others may take long, and people change their minds.
    """

    def __init__(
        self,
        client: AsyncRayClient,
        read_on: Callable[[Iterable[str]], None],
        told: Callable[[str], None],
        is_wanted: Callable[[str], bool],
    ) -> None:
        self._client = client
        self._read_on = read_on
        self._told = told
        self._is_wanted = is_wanted
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._places = asyncio.Semaphore(AT_A_TIME)

    def ask(self, ask: Ask) -> None:
        """Ask for a stop, unless that is being done or was done just now."""
        last = self._answers.get(ask.job_id)
        if ask.job_id in self._asking:
            return
        if last and asyncio.get_running_loop().time() - last.time < FRESH_SECONDS:
            self._told(ask.job_id)
            return
        self._asking[ask.job_id] = tasks.start(f"stop {ask.job_id}", lambda: self._ask(ask))

    def answer(self, job_id: str) -> str | None:
        """Return why the last ask failed, empty where it did not; None while it is under way or was never made."""
        last = self._answers.get(job_id)
        return last.text if last and job_id not in self._asking else None

    async def close(self) -> None:
        """Ask no more."""
        await tasks.stop(*self._asking.values())

    async def _ask(self, ask: Ask) -> None:
        try:
            async with self._places:
                text = await self._answered(ask)
            self._answers[ask.job_id] = _Answer(text, asyncio.get_running_loop().time())
            self._answers.move_to_end(ask.job_id)
            if len(self._answers) > KNOWN_ANSWERS:
                self._answers.popitem(last=False)
        finally:
            self._asking.pop(ask.job_id, None)
        self._told(ask.job_id)

    async def _answered(self, ask: Ask) -> str:
        self._read_on((ask.job_id,))
        reached("before the ask")
        try:
            async with asyncio.timeout(SECONDS):
                if await self._is_that_run(ask) and self._is_wanted(ask.job_id):
                    await self._client.stop_job(ask.job_id)
        except NotFoundError:
            pass
        except ClientError as error:
            return clean_line(str(error), MESSAGE_BYTES)
        except TimeoutError:
            return f"Ray has not answered within {SECONDS:.0f} s"
        reached("after the ask")
        return ""

    async def _is_that_run(self, ask: Ask) -> bool:
        """Whether Ray's row is still the one that was decided on: a new head's job may have the same id."""
        session = session_of(await self._client.get_version())
        job = await self._client.get_job(ask.job_id)
        same = session == ask.session and from_milliseconds(job.start_time) == ask.start_time
        return same and not job.status.is_terminal
