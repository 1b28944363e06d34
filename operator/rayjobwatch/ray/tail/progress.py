"""What a running tail knows, and the steps that every source shares."""

from collections import Counter
from collections.abc import Callable

from rayjobwatch.ray.api.logs import is_of_the_source
from rayjobwatch.ray.api.records import JobDetails
from rayjobwatch.ray.errors import ClientError, NotFoundError, RequestTimeoutError, TailEndedError
from rayjobwatch.ray.plan import Wait
from rayjobwatch.ray.tail.effects import Connected, TailPlan, look_up
from rayjobwatch.ray.tail.lines import LineAssembler
from rayjobwatch.ray.tail.spec import Rung, TailSpec


class IdleError(RequestTimeoutError):
    """The log was silent for longer than the caller wants to wait."""

    transient = False


class ReplacedError(TailEndedError):
    """The job's id now belongs to another job, and its log, perhaps, too."""

    transient = False


class Patience:
    """Bears failures of one kind for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None
        self.failures = 0

    def bear(self, error: ClientError, now: float) -> None:
        """Note a failure; raise it if the first of the row is too long ago."""
        self._since = now if self._since is None else self._since
        self.failures += 1
        if now - self._since > self._seconds:
            raise error

    def reset(self) -> None:
        """Note that it works again."""
        self._since, self.failures = None, 0


class Progress:
    """The memory of one tail: the job, the lines, what was heard when and what went wrong.

    worked: sources that answered once.  strikes: each source's failures since something new came.
    furthest: the place in the text up to which the log was ever read.
    """

    job: JobDetails

    def __init__(self, spec: TailSpec, clock: Callable[[], float]) -> None:
        self.spec = spec
        self.clock = clock
        self.log = LineAssembler(spec.limits, spec.cursor)
        self.gone = False
        self.files_are_raw = False
        self.furthest = spec.cursor.text_offset
        self._announced = False
        self.looked = self.heard = clock()
        self.worked: set[Rung] = set()
        self.strikes: Counter[Rung] = Counter()
        self.dashboard = Patience(spec.reconnect)
        self.sources = Patience(spec.reconnect)

    @property
    def over(self) -> bool:
        """Whether the job is known to be over (or its record to be gone)."""
        return self.gone or self.job.status.is_terminal

    def is_empty(self) -> bool:
        """Whether nothing of the log was read yet."""
        return not self.log.cursor.text_offset and not self.log.held_size

    def begin(self) -> TailPlan[None]:
        """Look at the job for the first time: what is wrong now is the caller's to know."""
        self.job = yield from look_up(self.spec.job_id)
        self.looked = self.clock()

    def finish(self) -> TailPlan[None]:
        """Give out the rest: the log is over."""
        yield from self.log.finish()
        if self.gone and not self.job.status.is_terminal:
            raise NotFoundError(f"job {self.spec.job_id!r} vanished while its log was followed")

    def feed(self, data: bytes) -> TailPlan[None]:
        """Give out the lines that `data` completes."""
        yield from self.log.feed(data)
        position = self.log.cursor.text_offset + self.log.held_size
        if position > self.furthest:  # and not what was heard before a connection broke in the middle of a line
            self.furthest = position
            self.heard = self.clock()
            self.progressed()

    def opened(self, rung: Rung) -> TailPlan[None]:
        """Note that a source answers."""
        self.worked.add(rung)
        yield from self.announce()

    def announce(self) -> TailPlan[None]:
        """Say, once, that all is well so far."""
        if not self._announced:
            self._announced = True
            yield Connected()

    def progressed(self) -> None:
        """Note that something new came, or all that there is."""
        self.sources.reset()
        self.strikes.clear()

    def rest(self, seconds: float) -> TailPlan[None]:
        """Wait, and look at the job now and then; return at once when it is over."""
        until = self.clock() + seconds
        while not self.over and (left := until - self.clock()) > 0:
            yield Wait(min(left, self.spec.look_every))
            yield from self.look_if_due()

    def look_if_due(self) -> TailPlan[None]:
        """Refresh the job's state if that is due; raise if the log is silent for too long."""
        if self.clock() - self.looked >= self.spec.look_every:
            yield from self.look()
        limit = self.spec.idle_timeout
        if limit is not None and self.clock() - self.heard > limit:
            raise IdleError(f"job {self.spec.job_id!r} logged nothing for {limit:g} s")

    def look(self) -> TailPlan[None]:
        """Refresh the job's state. A dashboard that does not answer is borne for `reconnect` seconds."""
        try:
            job = yield from look_up(self.spec.job_id)
        except NotFoundError:
            self.gone = True
        except ClientError as error:
            if not is_of_the_source(error):
                raise
            self.dashboard.bear(error, self.clock())
        else:
            self._check_same(job)
            self.job = job
            self.dashboard.reset()
        self.looked = self.clock()

    def _check_same(self, job: JobDetails) -> None:
        """Raise where the id was used again; a job's start never changes, and a record that came back has none."""
        before, now = self.job.start_time, job.start_time
        if before is not None and now is not None and before != now:
            raise ReplacedError(f"job {self.spec.job_id!r} was replaced by another of the same id")
