"""Following a job's log to its end: which source to ask, when to ask again, and when the end is the end.

The sources, best first: the file route of the driver's agent (bytes from any offset), the WebSocket tail (text
from the start), the dashboard's log file (all bytes, again and again). A tail is never believed about the job's
fate: the log is over when the job was known to be over *before* the last bytes were read.
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from rayjobwatch.ray.endpoints import may_ask
from rayjobwatch.ray.errors import ClientClosedError, ClientError, JobStateError, TailEndedError
from rayjobwatch.ray.jobs import JobStatus, JobType
from rayjobwatch.ray.tail_bytes import read_bytes
from rayjobwatch.ray.tail_state import TRANSIENT, IdleError, Rung, TailSpec, TailState, VanishedError
from rayjobwatch.ray.tail_text import CAUSES, read_socket, unread_text
from rayjobwatch.ray.wire import Close, Plan, Wait, look_up

_QUICK_CONNECT: Final = {Rung.AGENT: 2.0, Rung.SOCKET: 5.0}
_FILE_REST: Final = 0.5
_FILE_BYTES_A_SECOND: Final = 20e6
_LONGEST_REST: Final = 30.0


def jitter() -> float:
    """Return a factor that spreads retries."""
    return random.uniform(0.7, 1.3)  # noqa: S311


class Tail:
    """One run of following a log. `run` is the plan."""

    def __init__(self, spec: TailSpec, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self.spec = spec
        self.state = TailState(spec, clock)
        self.jitter = jitter
        self.barred: set[Rung] = set()
        self.cuts: Counter[int] = Counter()

    def run(self) -> Plan[None]:
        """Yield the log's batches until its end; raise what cannot be got over."""
        state = self.state
        state.job = yield from look_up(self.spec.job_id)
        state.looked = state.clock()
        if state.job.type is JobType.DRIVER:
            raise JobStateError(f"job {self.spec.job_id!r} was not submitted through the Jobs API: it has no log")
        while not (yield from self._attempt()):
            pass

    def _attempt(self) -> Plan[bool]:
        """Follow the best source; return whether the log's end was reached."""
        if self._never_started():
            yield from self.state.finish()
            return True
        rung = self._rung()
        if rung is None:
            yield from self.state.announce()
            yield from self.state.rest(self._pause(None))
            return False
        try:
            return (yield from self._follow(rung))
        except (ClientClosedError, IdleError, VanishedError):
            raise
        except TRANSIENT as error:
            failure = error
        yield Close()
        return (yield from self._recover(rung, failure))

    def _never_started(self) -> bool:
        job = self.state.job
        return self.state.over and not (job.driver_node_id or job.driver_agent_http_address)

    def _rung(self) -> Rung | None:
        """Return the best source that may be asked now; None while the job waits for its start."""
        if self.spec.protocol == "websocket":
            return Rung.SOCKET
        if self.state.job.status == JobStatus.PENDING:
            return None
        ladder = [Rung.AGENT] if self._agent_allowed() else []
        if self.spec.protocol == "auto":
            ladder += [Rung.FILE, Rung.SOCKET] if self.state.over else [Rung.SOCKET, Rung.FILE]
        else:
            ladder.append(Rung.FILE)
        return next((rung for rung in ladder if rung not in self.barred), ladder[-1])

    def _agent_allowed(self) -> bool:
        return may_ask(self.state.job.driver_agent_http_address, self.spec.agents)

    def _follow(self, rung: Rung) -> Plan[bool]:
        state = self.state
        connect = self.spec.timeout
        if self.spec.protocol == "auto" or rung is Rung.AGENT:
            connect = min(connect, _QUICK_CONNECT.get(rung, connect))
        if rung is Rung.SOCKET:
            return (yield from self._follow_socket(connect))
        while True:
            over = state.over
            yield from read_bytes(state, rung, connect)
            if over:
                yield from state.finish()
                return True
            yield from state.look_if_due()
            yield from state.rest(self._pause(rung))

    def _follow_socket(self, connect: float) -> Plan[bool]:
        """Follow the text tail. It may end too early without a word, so its end is checked against the bytes."""
        state, auto = self.state, self.spec.protocol == "auto"
        known = state.over
        yield from read_socket(state, connect, until_over=auto and not known, may_wait=not auto)
        if not state.over:
            yield from state.look()
        if not state.over:
            raise TailEndedError(f"the server ended the log tail of {self.spec.job_id!r} while the job runs")
        if auto and not known:
            return False  # the bytes are asked now, to the end
        if not (yield from self._is_complete()) and not known:
            return False  # once more, now that the job is known to be over
        yield from state.finish()
        return True

    def _is_complete(self) -> Plan[bool]:
        """Compare the text tail with the log file; raise if it brought less, return False if there is no telling."""
        state, job = self.state, self.spec.job_id
        try:
            unread = yield from unread_text(state, self.spec.timeout)
        except ClientClosedError:
            raise
        except TRANSIENT as error:
            failure = error
        else:
            if unread:
                raise TailEndedError(
                    f"the server ended the log tail of {job!r} {unread} bytes before the log's end {CAUSES}"
                )
            return True
        yield Close()
        if not state.log.cursor.text_offset and not state.log.held_size:
            raise failure
        return False

    def _pause(self, rung: Rung | None) -> float:
        pause = self.spec.pace.after(self.state.clock() - self.state.heard)
        if rung is Rung.FILE:  # every read costs the server the whole file
            pause = max(pause, _FILE_REST, self.state.furthest / _FILE_BYTES_A_SECOND)
        return min(pause, _LONGEST_REST)

    def _recover(self, rung: Rung, error: ClientError) -> Plan[bool]:
        """Decide what follows a failure of `rung`: the next source, the same again after a while, or the end."""
        state = self.state
        state.strikes[rung] += 1
        if rung not in state.worked or state.strikes[rung] > 1:
            self.barred.add(rung)
        stuck, cut = self._rung() in self.barred, self._is_cut(error)
        if stuck and (cut or not state.worked):
            raise error
        if stuck and state.gone:  # no source knows the job any more, and none will again
            yield from state.finish()
            return True
        if stuck:
            self.barred.clear()
        if stuck or rung in state.worked:
            state.sources.bear(error, state.clock())
            yield Wait(min(0.25 * 2**state.sources.failures, 8.0) * self.jitter())
            yield from state.look()
        return False

    def _is_cut(self, error: ClientError) -> bool:
        """Whether the text tail ended early at the same place again and again, for which no retry helps."""
        if not isinstance(error, TailEndedError):
            return False
        self.cuts[self.state.furthest] += 1
        return self.state.over or self.cuts[self.state.furthest] > 2
