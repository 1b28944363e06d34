"""The logs of one dashboard that watches want, each read once for all of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial

from rayjobwatch.engine import tasks
from rayjobwatch.engine.circuit import Circuit
from rayjobwatch.engine.follower import Follower
from rayjobwatch.engine.hearing import Heard, Hearing
from rayjobwatch.engine.logreader import Log, LogsReader
from rayjobwatch.engine.turns import Turns
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.lens import NO_LENS, Lens
from rayjobwatch.model.spec import Protocol
from rayjobwatch.ray import (
    AsyncLogReader,
    AsyncRayClient,
    ByteCursor,
    Cursor,
    InvalidInputError,
    JobDetails,
    LogBatch,
    NotFoundError,
    StreamLimits,
)

WatchKey = tuple[str, str]

# A Ray head hangs for everybody at 100 WebSocket tails.
MAX_FOLLOWERS = 20
# So long a tail is opened again by itself: by then it is known whether the dashboard is away.
RECONNECT_SECONDS = 5.0
# A running job's log of more than this is not read whole again and again where a WebSocket is to be had.
WHOLE_BYTES = 1 << 20
# As much is read again after a restart to find the cause of a failure in: twice what is kept for that.
BACK_BYTES = 120_000
# A job may run for days: only single lines are bounded, and back-pressure bounds the rest.
_LIMITS = StreamLimits.unbounded()


@dataclass(frozen=True, slots=True)
class Follow:
    """A log that somebody wants read, and from where the lines come. Another run of a job's id has another log."""

    job_id: str
    protocol: Protocol
    start_time: datetime | None = None


class LogNews(Enum):
    """What is new of a log: it moved, a rule began to fire or rests, or it was read to its end."""

    MOVED = 1
    RULES = 2
    ENDED = 3


@dataclass(eq=False, slots=True)
class _Source:
    """One reading of a log: in turn with others (`log`), or over a WebSocket (`task`)."""

    follow: Follow
    hearing: Hearing
    log: Log | None = None
    task: asyncio.Task[None] | None = None


class Logs:
    """Reads in turn what can be read piece by piece, and follows over WebSockets what cannot.

    A log is read once for all watches that want it. One whose lens has not seen yet what was read before has it read
    from its own place, until that place is that of the others. told: called with each watch for which a log has news.
    """

    def __init__(
        self,
        client: AsyncRayClient,
        job_of: Callable[[str], JobDetails | None],
        told: Callable[[WatchKey, LogNews], None],
        circuit: Circuit,
        first_readings: Turns | None = None,
    ) -> None:
        self._client = client
        self._job_of = job_of
        self._jobs: dict[str, JobDetails] = {}
        self._told = told
        self._circuit = circuit
        self._wanted: dict[WatchKey, tuple[frozenset[Follow], Lens]] = {}
        self._sources: dict[Follow, list[_Source]] = {}
        self._by_log: dict[Log, _Source] = {}
        self._places = asyncio.Semaphore(MAX_FOLLOWERS)
        self._ended: set[asyncio.Task[None]] = set()
        self._reader = LogsReader(self._job, self._read, first_readings or Turns(), circuit)
        self._task = tasks.start(f"read logs of {client.base_url}", self._reader.run)

    def want(self, key: WatchKey, wanted: Mapping[Follow, Heard], lens: Lens = NO_LENS) -> None:
        """Read for `key` the logs in `wanted` whose jobs are known, each from what is known of it on, and no others."""
        follows = frozenset(follow for follow in wanted if self._job(follow.job_id))
        before, last_lens = self._wanted.get(key, (frozenset[Follow](), lens))
        if before == follows and last_lens is lens:
            return
        self._wanted[key] = follows, lens
        for follow in before - follows:
            self._leave(key, follow)
        for follow in follows - before:
            self._join(key, follow, wanted[follow], lens)
        if last_lens is not lens:
            for follow in before & follows:
                known = self.heard(key, follow) or wanted[follow]
                self._leave(key, follow)
                self._join(key, follow, known, lens)
        self._stop_unwanted()

    def leave(self, key: WatchKey) -> None:
        """Read nothing more for `key`."""
        follows, _ = self._wanted.pop(key, (frozenset[Follow](), NO_LENS))
        for follow in follows:
            self._leave(key, follow)
        if follows:
            self._stop_unwanted()

    def heard(self, key: WatchKey, follow: Follow) -> Heard | None:
        """Return what was read of a log for `key`, None where it does not want it, or was further already."""
        source = self._source(key, follow)
        return source.hearing.heard(key) if source else None

    def knows(self, job_id: str) -> bool:
        """Whether enough is known of a job to read its log, although it may not be listed any more."""
        return job_id in self._jobs

    def changed(self, job_ids: Iterable[str]) -> None:
        """Take note that these jobs have changed: a log ends with its job."""
        for id_ in job_ids:
            self._reader.hurry(id_)

    def wake(self) -> None:
        """Take note that the dashboard may be asked again."""
        self._reader.wake()

    async def close(self) -> None:
        """End all reading."""
        following = [source.task for sources in self._sources.values() for source in sources if source.task]
        await tasks.stop(self._task, *following, *self._ended)

    def _source(self, key: WatchKey, follow: Follow) -> _Source | None:
        return next((source for source in self._sources.get(follow, ()) if key in source.hearing), None)

    def _join(self, key: WatchKey, follow: Follow, known: Heard, lens: Lens) -> None:
        """Let `key` hear a log from the source that is furthest of those from which its lens misses nothing."""
        lines = known.digest.lines
        fit = [one for one in self._sources.get(follow, ()) if not lens.looks or one.hearing.digest.lines <= lines]
        source = max(fit, key=_lines, default=None) or self._start(follow, known.digest)
        source.hearing.join(key, lens, known)

    def _leave(self, key: WatchKey, follow: Follow) -> None:
        if source := self._source(key, follow):
            source.hearing.leave(key)

    def _start(self, follow: Follow, seed: LogDigest) -> _Source:
        source = _Source(follow, Hearing(seed if _is_readable(seed.cursor) else LogDigest()))
        self._sources.setdefault(follow, []).append(source)
        if follow.protocol is Protocol.WEBSOCKET:
            self._follow(source)
        else:
            self._read_in_turn(source)
        return source

    def _read_in_turn(self, source: _Source) -> None:
        job_id, cursor = source.follow.job_id, source.hearing.digest.cursor
        reader = self._client.log_reader(job_id, cursor=Cursor.parse(cursor) if cursor else None, limits=_LIMITS)
        source.log = self._reader.add(job_id, source.hearing, reader, partial(self._before, job_id))
        self._by_log[source.log] = source

    def _before(self, job_id: str, cursor: str) -> tuple[AsyncLogReader, bool]:
        place = Cursor.parse(cursor)
        offset = place.offset if isinstance(place, ByteCursor) else 0
        start = max(0, offset - BACK_BYTES)
        limits = _LIMITS.but(max_bytes=max(1, offset - start))
        return self._client.log_reader(job_id, cursor=ByteCursor(start), limits=limits), start == 0

    def _follow(self, source: _Source) -> None:
        follow = source.follow

        def tail(cursor: str) -> AsyncIterator[LogBatch]:
            return self._client.tail_job_log_batches(
                follow.job_id,
                protocol="websocket" if follow.protocol is Protocol.WEBSOCKET else "auto",
                cursor=Cursor.parse(cursor) if cursor else None,
                limits=_LIMITS,
                reconnect=RECONNECT_SECONDS,
                lookup=self._lookup,
            )

        follower = Follower(tail, source.hearing, partial(self._heard, source), self._places, self._circuit)
        source.task = tasks.start(f"follow {follow.job_id}", follower.run)

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
        source = self._by_log[log]
        if self._wants_socket(source.follow, log):
            self._halt(source)
            self._follow(source)
        self._heard(source)

    def _wants_socket(self, follow: Follow, log: Log) -> bool:
        if follow.protocol is not Protocol.AUTO or log.digest.complete or self._places.locked():
            return False
        return log.reader.whole_bytes > WHOLE_BYTES or not log.reader.is_readable

    def _heard(self, source: _Source) -> None:
        if self._united(source):
            return
        ended, news = source.hearing.digest.complete, source.hearing.with_news()
        for key in source.hearing.keys:
            self._told(key, LogNews.ENDED if ended else LogNews.RULES if key in news else LogNews.MOVED)

    def _united(self, source: _Source) -> bool:
        """Whether another source goes on for the watches of this one, which has caught up with it."""
        digest = source.hearing.digest
        others = [one for one in self._sources.get(source.follow, ()) if one is not source]
        behind = [one for one in others if _lines(one) <= digest.lines and not one.hearing.digest.message]
        if not behind or digest.complete or digest.message:
            return False
        source.hearing.move_to(max(behind, key=_lines).hearing)
        self._stop_unwanted()
        return True

    def _halt(self, source: _Source) -> None:
        if source.log:
            del self._by_log[source.log]
            self._reader.discard(source.log)
            source.log = None
        if source.task:
            source.task.cancel()
            self._ended.add(source.task)
            source.task.add_done_callback(self._ended.discard)
            source.task = None

    def _stop_unwanted(self) -> None:
        for follow, sources in list(self._sources.items()):
            for source in [one for one in sources if not one.hearing.keys]:
                self._halt(source)
                sources.remove(source)
            if not sources:
                del self._sources[follow]
        ids = {follow.job_id for follow in self._sources}
        self._jobs = {id_: job for id_, job in self._jobs.items() if id_ in ids}


def _lines(source: _Source) -> int:
    return source.hearing.digest.lines


def _is_readable(cursor: str) -> bool:
    """Whether a cursor from a status is one of ours; otherwise the log is read from its first line."""
    try:
        return not cursor or bool(Cursor.parse(cursor))
    except InvalidInputError:
        return False
