"""All that is known of one watch."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from rayjobwatch.model.jobs import Job, JobState
from rayjobwatch.model.lens import Findings
from rayjobwatch.model.observation import NO_CLUSTER, Cluster, Problem
from rayjobwatch.model.servestate import NO_CLEAN_UP, ServeState

_NO_JOBS: Mapping[str, Job] = MappingProxyType({})
_NO_FINDINGS: Mapping[str, Findings] = MappingProxyType({})
Counts = Mapping[JobState, int]
NO_COUNTS: Counts = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Selected:
    """What is known of a selection (`model.selection`) beside the jobs of the state.

    `key` names the selection that all of this speaks of; `since` is when its watch was created. `settled` counts the
    jobs that are over and forgotten: in the table of the present session every selected job that was over at `until`
    or before is settled, or in the state. `newest` is the newest end of a job in that table. `unlisted` counts the
    jobs that an earlier process knew without a row in status, until a listing shows them again.
    """

    key: str = ""
    since: datetime | None = None
    settled: Counts = field(default_factory=lambda: NO_COUNTS)
    until: datetime | None = None
    newest: datetime | None = None
    unlisted: Counts = field(default_factory=lambda: NO_COUNTS)


@dataclass(frozen=True, slots=True)
class WatchState:
    """State of a watch.

    `problem` is why the dashboard cannot be located, `unreachable` why it does not answer. `reachable` is None while
    it was never asked. `last_contact` is the time of the last listing. `hindrance` is what of the spec
    cannot be done, though the jobs are seen.
    """

    jobs: Mapping[str, Job] = field(default_factory=lambda: _NO_JOBS)
    cluster: Cluster = NO_CLUSTER
    problem: Problem | None = None
    hindrance: Problem | None = None
    unreachable: Problem | None = None
    reachable: bool | None = None
    last_contact: datetime | None = None
    findings: Mapping[str, Findings] = field(default_factory=lambda: _NO_FINDINGS)
    serve: ServeState = NO_CLEAN_UP
    selected: Selected | None = None

    @property
    def trouble(self) -> Problem | None:
        """What keeps the watch from seeing the jobs now."""
        return self.problem or self.unreachable

    @property
    def counts(self) -> Counter[JobState]:
        """How many of the watched jobs are in which state, whether they have a row in status or not."""
        counts = Counter(job.state for job in self.jobs.values())
        for others in (self.selected.settled, self.selected.unlisted) if self.selected else ():
            counts.update(others)
        return counts

    @property
    def is_finished(self) -> bool:
        """Whether there are jobs and all are over."""
        if self.selected:
            counts = self.counts
            return bool(counts) and all(state.is_over for state in counts)
        return bool(self.jobs) and all(job.state.is_over for job in self.jobs.values())

    @property
    def is_done(self) -> bool:
        """Whether all jobs are over and no others can come."""
        return self.selected is None and self.is_finished

    @property
    def stale_since(self) -> datetime | None:
        """Since when the job states are only the last ones seen; None while they are fresh or final."""
        fresh = self.reachable and not self.problem
        return None if fresh or self.is_done else self.last_contact
