"""Following a job's log to its end: the loop over its sources, and when the end is the end.

A tail is never believed about the job's fate: the log is over when the job was known to be over *before* the last
bytes were read.
"""

from collections.abc import Callable
from typing import Final

from rayjobwatch.ray.api.logs import is_of_the_source
from rayjobwatch.ray.api.records import JobType
from rayjobwatch.ray.errors import ClientError, JobStateError, TailEndedError
from rayjobwatch.ray.plan import Close, Wait, backoff
from rayjobwatch.ray.tail.byte_source import read_bytes, read_to_end
from rayjobwatch.ray.tail.completeness import check_complete
from rayjobwatch.ray.tail.effects import TailPlan
from rayjobwatch.ray.tail.ladder import Ladder, Then
from rayjobwatch.ray.tail.progress import Progress
from rayjobwatch.ray.tail.socket_source import read_socket
from rayjobwatch.ray.tail.spec import Rung, TailSpec

_QUICK_CONNECT: Final = {Rung.AGENT: 2.0, Rung.SOCKET: 5.0}
_FILE_REST: Final = 0.5
_FILE_BYTES_A_SECOND: Final = 20e6
_LONGEST_REST: Final = 30.0


class Tail:
    """One run of following a log. `run` is the plan.

    clock: seconds that only go forward.  chance: random numbers from 0 to 1.
    """

    def __init__(self, spec: TailSpec, clock: Callable[[], float], chance: Callable[[], float]) -> None:
        self.spec = spec
        self.progress = Progress(spec, clock)
        self.ladder = Ladder(self.progress)
        self.chance = chance

    def run(self) -> TailPlan[None]:
        """Yield the log's batches until its end; raise what cannot be got over."""
        yield from self.progress.begin()
        if self.progress.job.type is JobType.DRIVER:
            raise JobStateError(f"job {self.spec.job_id!r} was not submitted through the Jobs API: it has no log")
        while not (yield from self._attempt()):
            pass
        yield from self.progress.finish()

    def _attempt(self) -> TailPlan[bool]:
        """Follow the best source; return whether the log's end was reached."""
        if self._never_started():
            return True
        rung = self.ladder.best()
        if rung is None:
            yield from self.progress.announce()
            yield from self.progress.rest(self._pause(None))
            return False
        try:
            return (yield from self._follow(rung))
        except ClientError as error:
            if not is_of_the_source(error):
                raise
            failure = error
        yield Close()
        return (yield from self._recover(rung, failure))

    def _never_started(self) -> bool:
        job = self.progress.job
        return self.progress.over and not (job.driver_node_id or job.driver_agent_http_address)

    def _follow(self, rung: Rung) -> TailPlan[bool]:
        connect = self.spec.timeout
        if self.spec.protocol == "auto" or rung is Rung.AGENT:
            connect = min(connect, _QUICK_CONNECT.get(rung, connect))
        if rung is Rung.SOCKET:
            return (yield from self._follow_socket(connect))
        while True:
            over = self.progress.over
            if over:
                yield from read_to_end(self.progress, rung, connect)
                return True
            yield from read_bytes(self.progress, rung, connect)
            yield from self.progress.look_if_due()
            yield from self.progress.rest(self._pause(rung))

    def _follow_socket(self, connect: float) -> TailPlan[bool]:
        """Follow the text tail. It may end too early without a word, so its end is checked against the bytes."""
        progress, auto = self.progress, self.spec.protocol == "auto"
        known = progress.over
        yield from read_socket(progress, connect, until_over=auto and not known, may_wait=not auto)
        if not progress.over:
            yield from progress.look()
        if not progress.over:
            raise TailEndedError(f"the server ended the log tail of {self.spec.job_id!r} while the job runs")
        if auto and not known:
            return False  # the bytes are asked now, to the end
        yield from check_complete(progress, self.spec.timeout)
        return True

    def _pause(self, rung: Rung | None) -> float:
        pause = self.spec.pace.after(self.progress.clock() - self.progress.heard)
        if rung is Rung.FILE:  # every read costs the server the whole file
            pause = max(pause, _FILE_REST, self.progress.furthest / _FILE_BYTES_A_SECOND)
        return min(pause, _LONGEST_REST)

    def _recover(self, rung: Rung, error: ClientError) -> TailPlan[bool]:
        """Do what the ladder says after a failure of `rung`; return whether the log's end is reached."""
        then = self.ladder.failed(rung, error)
        if then is Then.RETRY:
            sources = self.progress.sources
            sources.bear(error, self.progress.clock())
            yield Wait(backoff(sources.failures, self.chance()))
            yield from self.progress.look()
        return then is Then.END
