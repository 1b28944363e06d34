"""All that is known of one watch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from rayjobwatch.model.jobs import Job
from rayjobwatch.model.lens import Findings
from rayjobwatch.model.observation import NO_CLUSTER, Cluster, Problem
from rayjobwatch.model.servestate import NO_CLEAN_UP, ServeState

_NO_JOBS: Mapping[str, Job] = MappingProxyType({})
_NO_FINDINGS: Mapping[str, Findings] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class WatchState:
    """State of a watch.

    `problem` is why the dashboard cannot be located, `unreachable` why it does not answer. `reachable` is None while
    it was never asked. `last_contact` is the time of the last listing.
    """

    jobs: Mapping[str, Job] = field(default_factory=lambda: _NO_JOBS)
    cluster: Cluster = NO_CLUSTER
    problem: Problem | None = None
    unreachable: Problem | None = None
    reachable: bool | None = None
    last_contact: datetime | None = None
    findings: Mapping[str, Findings] = field(default_factory=lambda: _NO_FINDINGS)
    serve: ServeState = NO_CLEAN_UP

    @property
    def trouble(self) -> Problem | None:
        """What keeps the watch from seeing the jobs now."""
        return self.problem or self.unreachable

    @property
    def is_finished(self) -> bool:
        """Whether there are jobs and all are over."""
        return bool(self.jobs) and all(job.state.is_over for job in self.jobs.values())

    @property
    def stale_since(self) -> datetime | None:
        """Since when the job states are only the last ones seen; None while they are fresh or final."""
        fresh = self.reachable and not self.problem
        return None if fresh or self.is_finished else self.last_contact
