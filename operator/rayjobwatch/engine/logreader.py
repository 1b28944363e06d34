"""Reading the logs of one dashboard's jobs in turn: one reader for all, within a budget (`model.pace`).

What a log says or how a reading ends never decides a job's state.
"""

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from rayjobwatch.engine.circuit import Circuit
from rayjobwatch.engine.hearing import Hearing
from rayjobwatch.engine.rows import is_surely_over
from rayjobwatch.engine.tasks import STOP_SECONDS
from rayjobwatch.engine.turns import Turns
from rayjobwatch.model import pace
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.ray import AsyncLogReader, ClientError, JobDetails, JobStatus, StreamLimitError

LANES = 4
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 30.0


# From a cursor to a reader of what stands before it, and of no more, and whether that is all or begins in a line.
LookBack = Callable[[str], tuple[AsyncLogReader, bool]]


@dataclass(eq=False)
class Log:
    """A log that is read: what is known of it, when it moved last and when it is due again (loop time)."""

    job_id: str
    hearing: Hearing
    reader: AsyncLogReader
    back: LookBack
    moved: float
    due: float
    readings: int = 0
    failures: int = 0
    reading: bool = False
    hurried: bool = False

    @property
    def digest(self) -> LogDigest:
        """What is kept of the log so far."""
        return self.hearing.digest


class LogsReader:
    """Reads each log of `add` when it is due, and at once when its job is over, until its end.

    job_of: a job as last listed, None while it is not known.  told: called with a log that changed.
    first_readings: turns for those of the logs of jobs that are not over, shared with other dashboards.
    circuit: of the dashboard; while it is away only what agents serve is read.
    """

    def __init__(
        self,
        job_of: Callable[[str], JobDetails | None],
        told: Callable[[Log], None],
        first_readings: Turns,
        circuit: Circuit,
    ) -> None:
        self._job_of = job_of
        self._told = told
        self._first_readings = first_readings
        self._circuit = circuit
        self._logs: set[Log] = set()
        self._readings: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._next_start = 0.0

    def add(self, job_id: str, hearing: Hearing, reader: AsyncLogReader, back: LookBack) -> Log:
        """Begin to read a log; `reader` stands where `hearing` ends, `back` makes one of what stands before that."""
        now = asyncio.get_running_loop().time()
        moved = now - pace.first_silence(self._age(job_id))
        is_over = self._is_over(job_id)
        due = now if is_over else self._first_readings.take(now)
        log = Log(job_id, hearing, reader, back, moved, due, hurried=is_over)
        self._logs.add(log)
        self._wake.set()
        return log

    def discard(self, log: Log) -> None:
        """Read a log no more; a reading that is under way may still end."""
        self._logs.discard(log)

    def wake(self) -> None:
        """Take note that there may be more to read."""
        self._wake.set()

    def hurry(self, job_id: str) -> None:
        """Read a job's logs soon, for the job has changed; at once if it is over."""
        now = asyncio.get_running_loop().time()
        for log in self._logs:
            if log.job_id == job_id:
                log.due = log.moved = now
                log.hurried = self._is_over(job_id)
        self._wake.set()

    def _age(self, job_id: str) -> float:
        job = self._job_of(job_id)
        return 0.0 if job is None or job.start_time is None else datetime.now(UTC).timestamp() - job.start_time / 1000

    def _is_over(self, job_id: str) -> bool:
        return is_surely_over(self._job_of(job_id))

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            while True:
                await self._turn(asyncio.get_running_loop().time())
        finally:
            for task in self._readings:
                task.cancel()
            if self._readings:
                await asyncio.wait(self._readings, timeout=STOP_SECONDS)

    async def _turn(self, now: float) -> None:
        log = self._soonest() if len(self._readings) < LANES else None
        start = math.inf if log is None else self._start_of(log)
        if log is None or start > now:
            self._wake.clear()
            await self._sleep(start - now)
            return
        if not log.hurried:
            self._next_start = now + 1 / pace.READS_PER_SECOND
        log.reading, log.hurried = True, False
        task = asyncio.create_task(self._read(log), name=f"read the log of {log.job_id}")
        self._readings.add(task)
        task.add_done_callback(self._ended)

    def _soonest(self) -> Log | None:
        waiting = (log for log in self._logs if not log.reading and not log.digest.complete and self._may_answer(log))
        return min(waiting, key=self._start_of, default=None)

    def _may_answer(self, log: Log) -> bool:
        """Whether a log's source is not that of the dashboard which is away; one that failed may be."""
        return not (self._circuit.is_open and (log.failures or log.reader.whole_bytes))

    def _start_of(self, log: Log) -> float:
        return 0.0 if log.hurried else max(log.due, self._next_start)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._readings.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()):
            asyncio.get_running_loop().call_exception_handler({"message": task.get_name(), "exception": error})

    async def _read(self, log: Log) -> None:
        before = log.digest
        try:
            await self._read_on(log)
        except ClientError as error:
            log.failures += 1
            log.hearing.failing(str(error))
        else:
            log.failures = 0
        finally:
            self._schedule(log, moved=log.digest.cursor != before.cursor)
        if log.digest != before and log in self._logs:
            self._told(log)

    async def _read_on(self, log: Log) -> None:
        job = self._job_of(log.job_id)
        if job is None:
            log.hearing.failing(f"job {log.job_id} is not known to Ray")
            return
        loop = asyncio.get_running_loop()
        told = loop.time()
        async for batch in log.reader.read(job):
            log.hearing.fed(batch.lines, str(batch.cursor), datetime.now(UTC))
            if log not in self._logs:
                return
            if loop.time() - told > pace.FASTEST_READ:
                told = loop.time()
                self._told(log)
            await asyncio.sleep(0)  # bytes that are there already are given out without a pause for others
        if is_surely_over(job):
            if job.status is JobStatus.FAILED and log.digest.window.is_short:
                await self._look_back(log, job)
            log.hearing.closed()
        elif log.digest.message:
            log.hearing.failing("")

    async def _look_back(self, log: Log, job: JobDetails) -> None:
        """Read the last lines again that an earlier process has read: the cause of the failure may stand there."""
        lines: list[str] = []
        is_whole = False
        try:
            reader, is_whole = log.back(log.digest.cursor)
            async for batch in reader.read(job):
                lines += batch.lines
        except StreamLimitError:
            pass  # at the place that was read to
        except ClientError:
            return  # the cause is then looked for in what there is
        # A line that is cut at its head might show what redaction knows by it.
        log.hearing.looked_back(lines if is_whole else lines[1:])

    def _schedule(self, log: Log, *, moved: bool) -> None:
        now = asyncio.get_running_loop().time()
        log.reading = False
        log.readings += 1
        if moved and log.readings > 1:
            log.moved = now
        pause = pace.backed_off(FIRST_RETRY_SECONDS, log.failures, LAST_RETRY_SECONDS)
        pause = pause or pace.read_pause(now - log.moved, log.reader.whole_bytes)
        log.due = pace.together(now + pace.jittered(pause, random.random(), 0.1))  # noqa: S311
