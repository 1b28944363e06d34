"""Reading a log now and then, each time from where the last reading stopped to the log's present end.

For those who watch many logs at a pace of their own, without a task or a connection for each. A tail goes on by
itself and is quicker; see `follow`.
"""

from collections.abc import Callable
from typing import Final

from rayjobwatch.ray.api.logs import check_raw_files, is_of_the_source, is_passing, may_ask
from rayjobwatch.ray.api.records import JobDetails, JobType
from rayjobwatch.ray.errors import ClientError, JobStateError, RequestTimeoutError, ServerError, UnavailableError
from rayjobwatch.ray.inputs import AgentFilter
from rayjobwatch.ray.plan import Close
from rayjobwatch.ray.tail.byte_source import read_bytes, read_to_end
from rayjobwatch.ray.tail.cursor import Cursor
from rayjobwatch.ray.tail.effects import TailPlan
from rayjobwatch.ray.tail.progress import Progress
from rayjobwatch.ray.tail.spec import Rung, TailSpec

_AGENT_REST: Final = 30.0
_MOST_AGENTS: Final = 1000
_QUICK_CONNECT: Final = 2.0


class Sources:
    """What the readers of one client know of their sources together: agents that do not answer are left alone."""

    def __init__(self, agents: AgentFilter | None, clock: Callable[[], float]) -> None:
        self.files_are_raw = False
        self._agents = agents
        self._clock = clock
        self._resting: dict[str, float] = {}

    def agent_of(self, job: JobDetails) -> str | None:
        """Return the agent that may be asked for a job's log now."""
        agent = job.driver_agent_http_address
        rests = agent is not None and self._resting.get(agent, 0.0) > self._clock()
        return agent if not rests and may_ask(agent, self._agents) else None

    def failed(self, agent: str, error: ClientError) -> None:
        """Note why an agent did not give a log; one that cannot be reached at all rests for half a minute."""
        if isinstance(error, (UnavailableError, RequestTimeoutError)):
            if len(self._resting) >= _MOST_AGENTS:
                self._resting.clear()
            self._resting[agent] = self._clock() + _AGENT_REST


class LogReading:
    """The place in one log, and the plans that move it. One plan at a time.

    whole_bytes: how much the last reading had to be sent anew, 0 where its source gives only what is new.
    is_readable: False where only a WebSocket gives the log: the agent does not, and Ray's files are not unaltered.
    """

    def __init__(self, spec: TailSpec, sources: Sources, clock: Callable[[], float]) -> None:
        self.whole_bytes = 0
        self.is_readable = True
        self._progress = Progress(spec, clock)
        self._sources = sources

    @property
    def cursor(self) -> Cursor:
        """The place after the last line that was given out."""
        return self._progress.log.cursor

    def read(self, job: JobDetails) -> TailPlan[None]:
        """Yield the lines that the log of `job` has now; of a job that is over also what follows its last line end."""
        progress = self._progress
        progress.job = job
        if job.type is JobType.DRIVER:
            raise JobStateError(f"job {job.job_id!r} was not submitted through the Jobs API: it has no log")
        if (job.driver_node_id or job.driver_agent_http_address) and not (yield from self._read_agent(job)):
            yield from self._read_file()
        if progress.over:
            yield from progress.finish()

    def _read_file(self) -> TailPlan[None]:
        if not self._sources.files_are_raw:
            try:
                self._sources.files_are_raw = yield from check_raw_files()
            except ServerError as error:
                self.is_readable = is_passing(error)
                raise
        self._progress.files_are_raw = True
        yield from read_bytes(self._progress, Rung.FILE, self._progress.spec.timeout)
        self.whole_bytes = self._progress.furthest

    def _read_agent(self, job: JobDetails) -> TailPlan[bool]:
        """Read from the agent; return whether that worked."""
        agent = self._sources.agent_of(job)
        if agent is None:
            return False
        try:
            read = read_to_end if self._progress.over else read_bytes
            yield from read(self._progress, Rung.AGENT, min(self._progress.spec.timeout, _QUICK_CONNECT))
        except ClientError as error:
            if not is_of_the_source(error):
                raise
            self._sources.failed(agent, error)
        else:
            self.whole_bytes, self.is_readable = 0, True
            return True
        yield Close()
        return False
