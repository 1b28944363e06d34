"""Which source of a log is asked next, and when a source is given up.

The sources are the rungs of a ladder. An agent is a rung only where its job names one that `agents` allows.

    protocol    job PENDING     job runs               job is over
    auto        (it is waited   agent, socket, file    agent, file, socket
    http         for)           agent, file            agent, file
    websocket   socket          socket                 socket

The best rung that was not given up is asked. What follows when it fails:

    it never worked before                                it is given up, the next one is asked at once
    it worked before, and fails for the first time        the same again, after a back-off
    it worked before, and fails again without progress    it is given up, the next one is asked after a back-off
    all are given up, and
        the agent has no such file                        all are asked once more, after a back-off: not there yet
        none ever worked                                  the tail ends with this failure
        the text ended early, and a retry cannot help     the tail ends with this failure
        the job's record is gone                          the log is over
        otherwise                                         all may be asked again, after a back-off

Back-offs go on for `reconnect` seconds without any progress; then the tail ends with the failure.
"""

from collections import Counter
from enum import StrEnum

from rayjobwatch.ray.api.logs import may_ask
from rayjobwatch.ray.api.records import JobStatus
from rayjobwatch.ray.errors import ClientError, TailEndedError
from rayjobwatch.ray.tail.progress import Progress
from rayjobwatch.ray.tail.spec import Rung


class Then(StrEnum):
    """What follows a failure. SWITCH: the next source.  RETRY: after a back-off.  END: the log is over."""

    SWITCH = "switch"
    RETRY = "retry"
    END = "end"


class Ladder:
    """The sources of one tail."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._given_up: set[Rung] = set()
        self._cuts: Counter[int] = Counter()
        self._is_young = False
        self._was_awaited = False

    def best(self) -> Rung | None:
        """Return the source to ask now; None while the job waits for its start."""
        rungs = self._rungs()
        return next((rung for rung in rungs if rung not in self._given_up), rungs[-1] if rungs else None)

    def _rungs(self) -> list[Rung]:
        spec, job, over = self._progress.spec, self._progress.job, self._progress.over
        if spec.protocol == "websocket":
            return [Rung.SOCKET]
        if job.status == JobStatus.PENDING:
            return []
        agent = [Rung.AGENT] if may_ask(job.driver_agent_http_address, spec.agents) else []
        if spec.protocol == "http":
            return [*agent, Rung.FILE]
        return [*agent, Rung.FILE, Rung.SOCKET] if over else [*agent, Rung.SOCKET, Rung.FILE]

    def failed(self, rung: Rung, error: ClientError) -> Then:
        """Say what follows a failure of `rung`; raise it if nothing does."""
        progress = self._progress
        progress.strikes[rung] += 1
        self._is_young = self._is_young or (rung is Rung.AGENT and error.status_code == 404)
        if rung not in progress.worked or progress.strikes[rung] > 1:
            self._given_up.add(rung)
        stuck, cut = self.best() in self._given_up, self._is_cut(error)
        if stuck and self._may_come(progress):
            self._given_up.clear()
            return Then.RETRY
        if stuck and (cut or not progress.worked):
            raise error
        if stuck and progress.gone:  # no source knows the job any more, and none will again
            return Then.END
        if stuck:
            self._given_up.clear()
        return Then.RETRY if stuck or rung in progress.worked else Then.SWITCH

    def _may_come(self, progress: Progress) -> bool:
        """Whether the log may not have been there yet when its agent was asked; it is waited for once."""
        waits = self._is_young and not progress.worked and not self._was_awaited
        self._was_awaited = self._was_awaited or waits
        return waits

    def _is_cut(self, error: ClientError) -> bool:
        """Whether the text tail ended early at the same place again and again, for which no retry helps."""
        if not isinstance(error, TailEndedError):
            return False
        self._cuts[self._progress.furthest] += 1
        return self._progress.over or self._cuts[self._progress.furthest] > 2
