"""What a running tail knows, and the steps that every source shares. No I/O: see `wire`."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from rayjobwatch.ray.cursor import START, Cursor
from rayjobwatch.ray.errors import (
    ClientClosedError,
    ClientError,
    NotFoundError,
    RefusedError,
    RequestTimeoutError,
    ServerError,
    ThrottledError,
    UnavailableError,
)
from rayjobwatch.ray.inputs import Pace, Protocol
from rayjobwatch.ray.jobs import JobDetails
from rayjobwatch.ray.limits import StreamLimits
from rayjobwatch.ray.lines import LineAssembler
from rayjobwatch.ray.wire import Connected, Plan, Wait, look_up

TRANSIENT: Final = (
    UnavailableError, RequestTimeoutError, ThrottledError, ServerError, NotFoundError, RefusedError,
)  # fmt: skip


class VanishedError(NotFoundError):
    """The job's record is gone, and it was not seen to be over."""


class IdleError(RequestTimeoutError):
    """The log was silent for longer than the caller wants to wait."""


class Rung(StrEnum):
    """A source of log lines."""

    AGENT = "agent"
    SOCKET = "socket"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class TailSpec:
    """What a tail was asked to do. Seconds throughout.

    timeout: for each connection.  idle_timeout: silence that ends the tail with 408, None for never.
    reconnect: how long to go on trying after a connection that had worked was lost.
    look_every: how often the job's state is asked for.  agents: which agents may be asked, None for none.
    """

    job_id: str
    protocol: Protocol = "auto"
    timeout: float = 30.0
    limits: StreamLimits = field(default_factory=StreamLimits)
    cursor: Cursor = START
    idle_timeout: float | None = None
    reconnect: float = 30.0
    pace: Pace = field(default_factory=Pace)
    look_every: float = 1.0
    agents: Callable[[str], bool] | None = None


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


class TailState:
    """The memory of one tail: the job, the lines, what was heard when and what went wrong."""

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

    @property
    def connect(self) -> float:
        """How long one connection may take."""
        return self.spec.timeout

    def finish(self) -> Plan[None]:
        """Give out the rest: the log is over."""
        yield from self.log.finish()
        if self.gone and not self.job.status.is_terminal:
            raise VanishedError(f"job {self.spec.job_id!r} vanished while its log was followed")

    def feed(self, data: bytes) -> Plan[None]:
        """Give out the lines that `data` completes."""
        yield from self.log.feed(data)
        position = self.log.cursor.text_offset + self.log.held_size
        if position > self.furthest:  # and not what was heard before a connection broke in the middle of a line
            self.furthest = position
            self.heard = self.clock()
            self.progressed()

    def opened(self, rung: Rung) -> Plan[None]:
        """Note that a source answers."""
        self.worked.add(rung)
        yield from self.announce()

    def announce(self) -> Plan[None]:
        """Say, once, that all is well so far."""
        if not self._announced:
            self._announced = True
            yield Connected()

    def progressed(self) -> None:
        """Note that something new came, or all that there is."""
        self.sources.reset()
        self.strikes.clear()

    def rest(self, seconds: float) -> Plan[None]:
        """Wait, and look at the job now and then; return at once when it is over."""
        until = self.clock() + seconds
        while not self.over and (left := until - self.clock()) > 0:
            yield Wait(min(left, self.spec.look_every))
            yield from self.look_if_due()

    def look_if_due(self) -> Plan[None]:
        """Refresh the job's state if that is due; raise if the log is silent for too long."""
        if self.clock() - self.looked >= self.spec.look_every:
            yield from self.look()
        limit = self.spec.idle_timeout
        if limit is not None and self.clock() - self.heard > limit:
            raise IdleError(f"job {self.spec.job_id!r} logged nothing for {limit:g} s")

    def look(self) -> Plan[None]:
        """Refresh the job's state. A dashboard that does not answer is borne for `reconnect` seconds."""
        try:
            self.job = yield from look_up(self.spec.job_id)
        except ClientClosedError:
            raise
        except NotFoundError:
            self.gone = True
        except TRANSIENT as error:
            self.dashboard.bear(error, self.clock())
        else:
            self.dashboard.reset()
        self.looked = self.clock()
