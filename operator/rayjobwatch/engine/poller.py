"""Polling one dashboard: which jobs it has now, of which Ray session, and whether it answers at all."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rayjobwatch.engine.choices import Choices
from rayjobwatch.engine.circuit import Circuit
from rayjobwatch.engine.nodes import NodeWatch
from rayjobwatch.engine.rows import idle_since, is_refusal, problem_of
from rayjobwatch.model import pace
from rayjobwatch.model.observation import Nodes, Problem
from rayjobwatch.ray import AsyncRayClient, ClientError, JobDetails, NotFoundError, RayVersion

FAILURES_TO_UNREACHABLE = 3
_SPREAD = 0.05


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that somebody waits for: since when (loop time), and whether a verdict on it waits for the next poll."""

    since: float
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """What the dashboard said last: the jobs among `ids` that it has, `asked` for and heard at `time`.

    `jobs` are also those that a watch selects; `lost` are those that Ray calls RUNNING on a node that is DEAD. began:
    when the first question was asked (loop time). nodes: as they were listed last, None where it may be another head
    since (then is_head_in_doubt), or does not say.
    """

    began: float
    version: RayVersion
    ids: frozenset[str]
    jobs: Mapping[str, JobDetails]
    asked: datetime
    time: datetime
    lost: frozenset[str]
    nodes: Nodes | None
    is_head_in_doubt: bool


class Poller:
    """Polls while anything is open or may come, at the pace of `model.pace`, and calls `told(ids, everyone)` then.

    `ids` are the jobs whose row changed; `everyone` says that the dashboard, its session or how it answers changed.
    """

    def __init__(
        self,
        client: AsyncRayClient,
        open_jobs: Callable[[], Mapping[str, OpenJob]],
        choices: Choices,
        told: Callable[[frozenset[str], bool], None],
        nodes: NodeWatch,
        circuit: Circuit,
    ) -> None:
        self.heard: Heard | None = None
        self.refused = False  # its last answer was that we may not ask: a new token may be had before it counts as away
        self.idle_since: datetime | None = None  # as the whole table said last
        self._client = client
        self._open_jobs = open_jobs
        self._choices = choices
        self._told = told
        self._nodes = nodes
        self._circuit = circuit
        self._failures = 0
        self._rows = 0  # of the whole table, when it was listed last
        self._asked_version = self._listed = self._began = float("-inf")
        self._asked_jobs = datetime.now(UTC)
        self._job_seconds = 0.0
        # How long the last two polls and listings took: a single slow one is no huge table, but perhaps a busy moment.
        self._poll_seconds = deque((0.0, 0.0), maxlen=2)
        self._table_seconds = deque((0.0, 0.0), maxlen=2)
        self._awaited = frozenset[str]()
        self._wake = asyncio.Event()
        self._pause: float | None = 0.0

    def wake(self) -> None:
        """Take note that there is more to ask for, or something sooner."""
        self._wake.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._rest()
            before, self._began = self._began, loop.time()
            wanted = self._open_jobs()
            self._awaited = frozenset(id_ for id_, job in wanted.items() if job.since > before)
            if wanted or self._choices:
                await self._poll(frozenset(wanted))
            self._poll_seconds.append(loop.time() - self._began)
            self._pause = self._next()
            if self._pause is None:
                self._circuit.let_through()

    async def _rest(self) -> None:
        """Wait for the next poll; one that came to be needed sooner meanwhile comes sooner."""
        loop = asyncio.get_running_loop()
        ended = loop.time()
        while self._pause is None or (left := self._due(ended, self._pause) - loop.time()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(None if self._pause is None else left):
                    await self._wake.wait()
            except TimeoutError:
                return
            if self._pause is None or not self._failures:
                self._pause = self._next()

    @staticmethod
    def _due(ended: float, pause: float) -> float:
        return ended + pause if pause <= pace.FASTEST_POLL * (1 + _SPREAD) else pace.together(ended + pause)

    def _next(self) -> float | None:
        ages = [self._age(id_, job) for id_, job in self._open_jobs().items()]
        if self._choices.since > self._began:
            ages.append(0.0)
        pause = pace.poll_pause(ages, min(self._poll_seconds), self._failures, looks_for_jobs=bool(self._choices))
        return None if pause is None else pause * random.uniform(1.0, 1.0 + _SPREAD)  # noqa: S311

    def _age(self, id_: str, job: OpenJob) -> float:
        row = self.heard.jobs.get(id_) if self.heard else None
        if job.urgent or job.since > self._began or (row is not None and row.status.is_terminal):
            return 0.0
        if row is None or row.start_time is None:
            return asyncio.get_running_loop().time() - job.since
        # Of two clocks that differ, the head's may only make a job look younger or older, never worse.
        return max(0.0, datetime.now(UTC).timestamp() - row.start_time / 1000)

    async def _poll(self, ids: frozenset[str]) -> None:
        before, was_refused = (self.heard, self._circuit.problem), self.refused
        try:
            self.heard = await self._ask(ids)
        except ClientError as error:
            self._failed(problem_of(self._client.base_url, error), refused=is_refusal(error))
        else:
            self._failures = 0
            self.refused = False
            self._circuit.close()
        ids, everyone = self._news(*before)
        self._told(ids, everyone or (self.refused and not was_refused))

    async def _ask(self, ids: frozenset[str]) -> Heard:
        known = self.heard
        if known is None or self._failures or self._is_version_in_doubt(known):
            version = await self._ask_version()
        else:
            version = known.version
        # That a job is gone is believed of the table alone: anything in between can say 404 to a single question.
        whole = bool(self._choices) or any(job.urgent for job in self._open_jobs().values())
        rows = self._rows
        jobs = await self._ask_jobs(ids, whole=whole)
        if known is not None and (self._rows < rows or _is_odd(known, jobs, ids)):
            # A head may have been replaced. In this order: one that is replaced between the two makes jobs look
            # missing, which a later poll must confirm, never Lost or found in a session that is not theirs.
            version = await self._ask_version()
            jobs = await self._ask_jobs(ids, whole=True)
            if version != known.version and _is_odd(known, jobs, ids):
                # Of what a new head does not list all is Lost, for good: not before it was asked twice.
                await asyncio.sleep(pace.NEW_HEAD_AGAIN)
                jobs = await self._ask_jobs(ids, whole=True)
        if known is not None:
            jobs = _with_known_rows(jobs, known.jobs)
        if known is None or self._failures or version != known.version:
            self._nodes.doubt()
        listed = datetime.now(UTC)
        # A job that is over for all who watch it may be RUNNING in the table for ever.
        is_new = jobs.keys() - (known.jobs.keys() if known else ())
        lost = await self._nodes.check(job for id_, job in jobs.items() if id_ in ids or id_ in is_new)
        nodes, in_doubt = self._nodes.nodes, self._nodes.is_in_doubt
        return Heard(self._began, version, ids | jobs.keys(), jobs, self._asked_jobs, listed, lost, nodes, in_doubt)

    def _is_version_in_doubt(self, known: Heard) -> bool:
        lost = any(job.urgent and id_ not in known.jobs for id_, job in self._open_jobs().items())
        return lost or self._since(self._asked_version) >= pace.VERSION_AGAIN

    async def _ask_version(self) -> RayVersion:
        version = await self._client.get_version()
        self._asked_version = asyncio.get_running_loop().time()
        return version

    async def _ask_jobs(self, ids: frozenset[str], *, whole: bool) -> dict[str, JobDetails]:
        loop = asyncio.get_running_loop()
        self._asked_jobs = datetime.now(UTC)
        table = min(self._table_seconds) if self._since(self._listed) < pace.LIST_AGAIN else 0.0
        by_job = not whole and pace.asks_by_job(len(ids), table, self._job_seconds)
        began = loop.time()
        try:
            if by_job:
                jobs = await self._ask_each(ids)
                if not all(job.status.is_terminal for job in jobs.values()):
                    self.idle_since = None
                return jobs
            self._listed = began
            listed = await self._client.list_jobs()
            self._rows, self.idle_since = len(listed), idle_since(listed)
            return self._choices.rows(listed, ids)
        finally:
            if by_job:
                self._job_seconds = (loop.time() - began) / len(ids)
            else:
                self._table_seconds.append(loop.time() - began)

    async def _ask_each(self, ids: frozenset[str]) -> dict[str, JobDetails]:
        answers = await asyncio.gather(*(self._ask_job(id_) for id_ in ids), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return {id_: job for id_, job in zip(ids, answers, strict=True) if isinstance(job, JobDetails)}

    async def _ask_job(self, id_: str) -> JobDetails | None:
        try:
            return await self._client.get_job(id_)
        except NotFoundError:
            return None

    def _failed(self, problem: Problem, *, refused: bool) -> None:
        self._failures += 1
        self.refused = refused
        if self.heard is None or self._failures >= FAILURES_TO_UNREACHABLE:
            self._circuit.open(problem)

    def _news(self, heard: Heard | None, unreachable: Problem | None) -> tuple[frozenset[str], bool]:
        now = self.heard
        everything = frozenset(self._open_jobs())
        if now is None or heard is None or unreachable != self._circuit.problem:
            return everything, True
        if now.version != heard.version:
            return everything | now.ids, True
        urgent = {id_ for id_, job in self._open_jobs().items() if job.urgent}
        changed = {id_ for id_ in now.ids if now.jobs.get(id_) != heard.jobs.get(id_)}
        return frozenset(changed | urgent | now.lost | self._awaited | (now.ids - heard.ids)), False

    def _since(self, moment: float) -> float:
        return asyncio.get_running_loop().time() - moment


def _with_known_rows(jobs: Mapping[str, JobDetails], known: Mapping[str, JobDetails]) -> dict[str, JobDetails]:
    """Return `jobs` with a row that has not changed as the one known before: whoever keeps it need not keep two."""
    return {id_: known[id_] if known.get(id_) == job else job for id_, job in jobs.items()}


def _is_odd(known: Heard, jobs: Mapping[str, JobDetails], ids: frozenset[str]) -> bool:
    """Whether a job that was there is missing, or is another run."""
    return any(_is_another(row, jobs.get(id_)) for id_, row in known.jobs.items() if id_ in ids)


def _is_another(before: JobDetails, now: JobDetails | None) -> bool:
    return now is None or (before.start_time is not None and now.start_time != before.start_time)
