"""The logs of one dashboard that watches want, each read once for all of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from rayjobwatch.engine import tasks
from rayjobwatch.engine.follower import Follower
from rayjobwatch.engine.logreader import Log, LogsReader
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.spec import Protocol
from rayjobwatch.ray import AsyncRayClient, Cursor, InvalidInputError, JobDetails, LogBatch, NotFoundError, StreamLimits

WatchKey = tuple[str, str]

# A Ray head hangs for everybody at 100 WebSocket tails.
MAX_FOLLOWERS = 20
# A running job's log of more than this is not read whole again and again where a WebSocket is to be had.
WHOLE_BYTES = 1 << 20
# A job may run for days: only single lines are bounded, and back-pressure bounds the rest.
_LIMITS = StreamLimits.unbounded()


@dataclass(frozen=True, slots=True)
class Follow:
    """A log that somebody wants read, and from where the lines come."""

    job_id: str
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class _Following:
    follower: Follower
    task: asyncio.Task[None]

    @property
    def digest(self) -> LogDigest:
        return self.follower.digest


class Logs:
    """Reads in turn what can be read piece by piece, and follows over WebSockets what cannot.

    told: called with a log that has moved, or is complete, and the watches that want it.
    """

    def __init__(
        self,
        client: AsyncRayClient,
        job_of: Callable[[str], JobDetails | None],
        told: Callable[[LogDigest, Iterable[WatchKey]], None],
    ) -> None:
        self._client = client
        self._job_of = job_of
        self._jobs: dict[str, JobDetails] = {}
        self._told = told
        self._wanted: dict[WatchKey, frozenset[Follow]] = {}
        self._sources: dict[Follow, Log | _Following] = {}
        self._follows: dict[Log, Follow] = {}
        self._places = asyncio.Semaphore(MAX_FOLLOWERS)
        self._ended: set[asyncio.Task[None]] = set()
        self._reader = LogsReader(self._job, self._read)
        self._task = tasks.start(f"read logs of {client.base_url}", self._reader.run)

    def want(self, key: WatchKey, wanted: Mapping[Follow, LogDigest]) -> None:
        """Read for `key` the logs in `wanted` whose jobs are known, each from its digest on, and no others."""
        follows = frozenset(follow for follow in wanted if self._job(follow.job_id))
        if self._wanted.get(key, frozenset()) == follows:
            return
        self._wanted[key] = follows
        for follow in follows - self._sources.keys():
            self._start(follow, wanted[follow])
        self._stop_unwanted()

    def leave(self, key: WatchKey) -> None:
        """Read nothing more for `key`."""
        if self._wanted.pop(key, None):
            self._stop_unwanted()

    def digest(self, follow: Follow) -> LogDigest | None:
        """Return what was read of a log, None where nobody wants it."""
        source = self._sources.get(follow)
        return source.digest if source else None

    def knows(self, job_id: str) -> bool:
        """Whether enough is known of a job to read its log, although it may not be listed any more."""
        return job_id in self._jobs

    def changed(self, job_ids: Iterable[str]) -> None:
        """Take note that these jobs have changed: a log ends with its job."""
        for id_ in job_ids:
            self._reader.hurry(id_)

    async def close(self) -> None:
        """End all reading."""
        following = [source.task for source in self._sources.values() if isinstance(source, _Following)]
        await tasks.stop(self._task, *following, *self._ended)

    def _start(self, follow: Follow, seed: LogDigest) -> None:
        if not _is_readable(seed.cursor):
            seed = LogDigest()
        if follow.protocol is Protocol.WEBSOCKET:
            self._follow(follow, seed)
            return
        cursor = Cursor.parse(seed.cursor) if seed.cursor else None
        reader = self._client.log_reader(follow.job_id, cursor=cursor, limits=_LIMITS)
        log = self._reader.add(follow.job_id, seed, reader)
        self._sources[follow] = log
        self._follows[log] = follow

    def _follow(self, follow: Follow, seed: LogDigest) -> None:
        def tail(cursor: str) -> AsyncIterator[LogBatch]:
            return self._client.tail_job_log_batches(
                follow.job_id,
                protocol="websocket" if follow.protocol is Protocol.WEBSOCKET else "auto",
                cursor=Cursor.parse(cursor) if cursor else None,
                limits=_LIMITS,
                lookup=self._lookup,
            )

        follower = Follower(tail, seed, partial(self._followed, follow), self._places)
        task = tasks.start(f"follow {follow.job_id}", follower.run)
        self._sources[follow] = _Following(follower, task)

    async def _lookup(self, job_id: str) -> JobDetails:
        job = self._job(job_id)
        if job is None:
            raise NotFoundError(f"job {job_id} is not known to Ray")
        return job

    def _job(self, job_id: str) -> JobDetails | None:
        """Return a job as it was last seen: one that is over is listed no more, but its log may not be at its end."""
        if (job := self._job_of(job_id)) is not None:
            self._jobs[job_id] = job
        return self._jobs.get(job_id)

    def _read(self, log: Log) -> None:
        follow = self._follows[log]
        if self._wants_socket(follow, log):
            self._drop(follow)
            self._follow(follow, log.digest)
        self._followed(follow)

    def _wants_socket(self, follow: Follow, log: Log) -> bool:
        if follow.protocol is not Protocol.AUTO or log.digest.complete or self._places.locked():
            return False
        return log.reader.whole_bytes > WHOLE_BYTES or not log.reader.is_readable

    def _followed(self, follow: Follow) -> None:
        digest = self.digest(follow)
        if digest:
            self._told(digest, [key for key, follows in self._wanted.items() if follow in follows])

    def _drop(self, follow: Follow) -> None:
        source = self._sources.pop(follow)
        if isinstance(source, Log):
            self._follows.pop(source)
            self._reader.discard(source)
            return
        source.task.cancel()
        self._ended.add(source.task)
        source.task.add_done_callback(self._ended.discard)

    def _stop_unwanted(self) -> None:
        wanted = frozenset[Follow]().union(*self._wanted.values())
        for follow in self._sources.keys() - wanted:
            self._drop(follow)
        ids = {follow.job_id for follow in wanted}
        self._jobs = {id_: job for id_, job in self._jobs.items() if id_ in ids}


def _is_readable(cursor: str) -> bool:
    """Whether a cursor from a status is one of ours; otherwise the log is read from its first line."""
    try:
        return not cursor or bool(Cursor.parse(cursor))
    except InvalidInputError:
        return False
