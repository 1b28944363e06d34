"""Deleting jobs' records from Ray, for all dashboards: a few at a time, and none that KubeRay still needs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rayjobwatch.engine import tasks
from rayjobwatch.engine.crash import reached
from rayjobwatch.engine.logs import WatchKey
from rayjobwatch.engine.rows import row_of, session_of
from rayjobwatch.engine.session import ClusterSession
from rayjobwatch.kube.client import RAY_JOBS, KubeClient, KubeError
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.model.records import Outcome, RecordAnswer
from rayjobwatch.model.retention import DRIVERS, GONE, protected_by
from rayjobwatch.model.text import clean_line
from rayjobwatch.ray import AsyncRayClient, ClientError, NotFoundError

AT_A_TIME = 4
SECONDS = 30.0
MESSAGE_BYTES = 200

_AWAY = (408, 429, 503)
_ANOTHER_RUN = "its id is that of another run now"


@dataclass(frozen=True, slots=True)
class Wish:
    """A run of a job whose record is to be deleted once it is over for `age` seconds."""

    job_id: str
    session: str
    start_time: datetime | None
    age: float


class RecordKeeper:
    """Deletes records in the background.

    told: called with a watch when its wishes were tried; `take_answers` then says what came of them, once.
    awaits: whether any watch waits for news of a job, by its dashboard, Ray session and id.
    """

    def __init__(
        self,
        client: KubeClient,
        told: Callable[[WatchKey], None],
        awaits: Callable[[Dashboard, str, str], bool],
    ) -> None:
        self._client = client
        self._told = told
        self._awaits = awaits
        self._asking: dict[WatchKey, asyncio.Task[None]] = {}
        self._answers: dict[WatchKey, Mapping[str, RecordAnswer]] = {}
        self._places = asyncio.Semaphore(AT_A_TIME)

    def is_asking(self, key: WatchKey) -> bool:
        """Whether wishes of `key` are being tried."""
        return key in self._asking

    def ask(self, key: WatchKey, session: ClusterSession, wishes: Sequence[Wish], *, ray_jobs_in: str | None) -> None:
        """Try these, unless others of `key` are being tried.

        ray_jobs_in: the namespace whose RayJobs may name them; None: any, as nobody knows whose a dashboard is.
        """
        if key not in self._asking and wishes:
            work = tasks.start(f"records of {'/'.join(key)}", lambda: self._ask(key, session, wishes, ray_jobs_in))
            self._asking[key] = work

    def take_answers(self, key: WatchKey) -> Mapping[str, RecordAnswer]:
        """Return what came of the last wishes, by job id, and nothing the next time."""
        return self._answers.pop(key, {})

    def forget(self, key: WatchKey) -> None:
        """Do nothing more for `key`."""
        self._answers.pop(key, None)
        if key in self._asking:
            self._asking[key].cancel()

    async def close(self) -> None:
        """Ask no more."""
        await tasks.stop(*self._asking.values())

    async def _ask(self, key: WatchKey, session: ClusterSession, wishes: Sequence[Wish], namespace: str | None) -> None:
        try:
            async with self._places:
                self._answers[key] = await self._tried(namespace, session, wishes)
        finally:
            self._asking.pop(key, None)
        self._told(key)

    async def _tried(
        self, namespace: str | None, session: ClusterSession, wishes: Sequence[Wish]
    ) -> Mapping[str, RecordAnswer]:
        try:
            protected = await self._protected(namespace)
        except KubeError as error:
            put_off = _put_off(f"which RayJobs still need it is not known: {error}")
            return {wish.job_id: put_off for wish in wishes}
        answers = {}
        away: RecordAnswer | None = None  # why a dashboard that does not answer is asked no more now
        for wish in wishes:
            if ray_job := protected.get(wish.job_id):
                answers[wish.job_id] = _put_off(f"RayJob {ray_job} names it and is not over")
            elif self._awaits(session.dashboard, wish.session, wish.job_id):
                answers[wish.job_id] = _put_off("another RayJobWatch waits for its end")
            else:
                answer, is_away = (away, True) if away else await _deleted(session.client, wish)
                answers[wish.job_id] = answer
                away = answer if is_away else None
        return answers

    async def _protected(self, namespace: str | None) -> Mapping[str, str]:
        protected: dict[str, str] = {}
        try:
            async for page in self._client.pages(RAY_JOBS, namespace):
                protected |= protected_by(page)
        except KubeError as error:
            if error.status != 404:  # else the API server knows no such kind, or its namespace is gone
                raise
        return protected


async def _deleted(client: AsyncRayClient, wish: Wish) -> tuple[RecordAnswer, bool]:
    """Return what came of a wish, and whether the dashboard seems to be away."""
    try:
        async with asyncio.timeout(SECONDS):
            return await _looked_up_and_deleted(client, wish), False
    except NotFoundError:
        return RecordAnswer(Outcome.GONE), False
    except ClientError as error:
        return _put_off(str(error)), error.status_code in _AWAY
    except TimeoutError:
        return _put_off(f"Ray has not answered within {SECONDS:.0f} s"), True


async def _looked_up_and_deleted(client: AsyncRayClient, wish: Wish) -> RecordAnswer:
    if session_of(await client.get_version()) != wish.session:
        return RecordAnswer(Outcome.LEFT, GONE)
    row = row_of(wish.job_id, await client.get_job(wish.job_id))
    if row.is_driver:
        return RecordAnswer(Outcome.LEFT, DRIVERS)
    if not row.is_ghost and row.start_time != wish.start_time:
        return RecordAnswer(Outcome.LEFT, _ANOTHER_RUN)
    reached("before the record is deleted")
    # What Ray's monitor wrote again has no age of its own.
    await client.delete_job(wish.job_id, min_age=None if row.is_ghost else wish.age)
    reached("after the record is deleted")
    return RecordAnswer(Outcome.ASKED)


def _put_off(why: str) -> RecordAnswer:
    return RecordAnswer(Outcome.PUT_OFF, clean_line(why, MESSAGE_BYTES))
