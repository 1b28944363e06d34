"""A session with one Ray dashboard, shared by all watches on it: one poll of the jobs, one follower a job."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

from rayjobwatch.engine import tasks
from rayjobwatch.engine.follower import Follower
from rayjobwatch.engine.rows import problem_of, row_of
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.observation import Cluster, Listing, Problem
from rayjobwatch.model.spec import Protocol
from rayjobwatch.model.text import clean_line
from rayjobwatch.ray import (
    AsyncRayClient,
    ClientError,
    Cursor,
    InvalidInputError,
    JobDetails,
    LogBatch,
    NotFoundError,
    RayVersion,
    StreamLimits,
    UnavailableError,
)
from rayjobwatch.ray import Protocol as RayProtocol

WatchKey = tuple[str, str]

POLL_SECONDS = 0.5
SLOWEST_POLL_SECONDS = 15.0
TIMEOUT = {"connect": 3.0, "read": 10.0}
FAILURES_TO_UNREACHABLE = 3
MAX_FOLLOWERS = 200
SESSION_BYTES = 128

# A job may run for days: only single lines are bounded, and back-pressure bounds the rest.
_LIMITS = StreamLimits.unbounded()
_PROTOCOLS: dict[Protocol, RayProtocol] = {
    Protocol.AUTO: "auto",
    Protocol.WEBSOCKET: "websocket",
    Protocol.HTTP: "http",
}


@dataclass(frozen=True, slots=True)
class Follow:
    """A log that somebody wants followed, and from where the lines come."""

    job_id: str
    protocol: Protocol


class ClusterSession:
    """Polls one dashboard and follows logs on it for its subscribers, telling each when something was heard."""

    def __init__(self, dashboard: Dashboard, notify: Callable[[WatchKey], None]) -> None:
        self.dashboard = dashboard
        self.unreachable: Problem | None = None
        self._notify = notify
        self._client = AsyncRayClient(dashboard.url, timeout=TIMEOUT, agents=self._may_ask_agent)
        self._version: RayVersion | None = None
        self._jobs: Mapping[str, JobDetails] = {}
        self._listed = self._connected = datetime.min.replace(tzinfo=UTC)
        self._failures = 0
        self._ids: dict[WatchKey, frozenset[str]] = {}
        self._listed_ids = frozenset[str]()
        self._wanted: dict[WatchKey, frozenset[Follow]] = {}
        self._places = asyncio.Semaphore(MAX_FOLLOWERS)
        self._followers: dict[Follow, tuple[Follower, asyncio.Task[None]]] = {}
        self._ended: set[asyncio.Task[None]] = set()
        self._poller = tasks.start(f"poll {dashboard.url}", self._poll_forever)

    @property
    def has_subscribers(self) -> bool:
        """Whether any watch still needs this session."""
        return bool(self._ids)

    @property
    def cluster(self) -> Cluster:
        """The cluster as it answered last."""
        version = self._version
        return Cluster(
            dashboard_url=self.dashboard.url,
            uid=self.dashboard.cluster_uid,
            session=clean_line(version.session_name or "", SESSION_BYTES) if version else "",
            ray_version=version.ray_version if version else "",
        )

    def listing(self, ids: Collection[str]) -> Listing | None:
        """Return the rows of `ids` as last listed, None while the dashboard does not answer."""
        if self._version is None or self.unreachable or not self._listed_ids.issuperset(ids):
            return None
        rows = {id_: row_of(id_, self._jobs[id_]) for id_ in ids if id_ in self._jobs}
        return Listing(self.cluster.session, self._listed, self._connected, rows)

    def join(self, key: WatchKey, ids: Collection[str]) -> None:
        """Keep the session open for `key`, and list the jobs `ids` for it."""
        self._ids[key] = frozenset(ids)

    def follow(self, key: WatchKey, wanted: Mapping[Follow, LogDigest]) -> None:
        """Follow for `key`, which has joined, the logs in `wanted`, each from its digest on, and no others."""
        follows = frozenset(wanted)
        # Before they were listed here, a follower would take the jobs of an earlier process for unknown ones.
        if self._wanted.get(key) == follows or not self._listed_ids.issuperset(follow.job_id for follow in follows):
            return
        self._wanted[key] = follows
        for follow, seed in wanted.items():
            if follow not in self._followers:
                self._start(follow, seed)
        self._stop_unwanted()

    def leave(self, key: WatchKey) -> None:
        """Do nothing more for `key`."""
        self._ids.pop(key, None)
        self._wanted.pop(key, None)
        self._stop_unwanted()

    def digest(self, follow: Follow) -> LogDigest | None:
        """Return what a follower has read, None where none runs."""
        running = self._followers.get(follow)
        return running[0].digest if running else None

    async def close(self) -> None:
        """End the poll and all followers, and close the connections."""
        running = [task for _, task in self._followers.values()]
        await tasks.stop(self._poller, *running, *self._ended)
        await self._client.aclose()

    def _may_ask_agent(self, address: str) -> bool:
        host = self.dashboard.agent_host
        return bool(host) and urlsplit(address).hostname == host

    def _start(self, follow: Follow, seed: LogDigest) -> None:
        if not _is_readable(seed.cursor):
            seed = LogDigest()
        follower = Follower(partial(self._tail, follow), seed, partial(self._tell, follow), self._places)
        self._followers[follow] = (follower, tasks.start(f"follow {follow.job_id}", follower.run))

    def _stop_unwanted(self) -> None:
        wanted = frozenset[Follow]().union(*self._wanted.values())
        for follow in self._followers.keys() - wanted:
            _, task = self._followers.pop(follow)
            task.cancel()
            self._ended.add(task)
            task.add_done_callback(self._ended.discard)

    def _tail(self, follow: Follow, cursor: str) -> AsyncIterator[LogBatch]:
        return self._client.tail_job_log_batches(
            follow.job_id,
            protocol=_PROTOCOLS[follow.protocol],
            cursor=Cursor.parse(cursor) if cursor else None,
            limits=_LIMITS,
            lookup=self._lookup,
        )

    async def _lookup(self, job_id: str) -> JobDetails:
        if self.unreachable:
            raise UnavailableError(self.unreachable.message)
        job = self._jobs.get(job_id)
        if job is None:
            raise NotFoundError(f"job {job_id} is not known to Ray")
        return job

    def _tell(self, follow: Follow) -> None:
        digest = self.digest(follow)
        if digest and not digest.complete:
            return  # the next poll tells: a log of many lines must not keep the reconciler busy
        for key, follows in self._wanted.items():
            if follow in follows:
                self._notify(key)

    async def _poll_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            await self._poll()
            for key in self._ids:
                self._notify(key)
            await asyncio.sleep(self._pause(loop.time() - started))

    async def _poll(self) -> None:
        ids = frozenset[str]().union(*self._ids.values())
        try:
            # In this order: a head that is replaced between the two makes jobs look missing, which has to be
            # confirmed by a later poll, never Lost or found in a session that is not theirs.
            version = await self._client.get_version()
            jobs = await self._client.list_jobs()
        except ClientError as error:
            self._failed(problem_of(self.dashboard.url, error))
        else:
            self._listed_ids = ids
            self._heard(version, {job.job_id: job for job in jobs if job.job_id in ids})

    def _failed(self, problem: Problem) -> None:
        self._failures += 1
        if self._version is None or self._failures >= FAILURES_TO_UNREACHABLE:
            self.unreachable = problem

    def _heard(self, version: RayVersion, jobs: Mapping[str, JobDetails]) -> None:
        now = datetime.now(UTC)
        known = self._version
        if known is None or self._failures or known.session_name != version.session_name:
            self._connected = now
        self._failures = 0
        self.unreachable = None
        self._version, self._jobs, self._listed = version, jobs, now

    def _pause(self, took: float) -> float:
        # At least as long as the poll took, so that a head with a huge job table is not kept busy by us.
        longest = max(POLL_SECONDS * 2.0 ** min(self._failures, 8), took)
        return min(SLOWEST_POLL_SECONDS, longest) * random.uniform(0.85, 1.0)  # noqa: S311


def _is_readable(cursor: str) -> bool:
    """Whether a cursor from a status is one of ours; otherwise the log is read from its first line."""
    try:
        return not cursor or bool(Cursor.parse(cursor))
    except InvalidInputError:
        return False
