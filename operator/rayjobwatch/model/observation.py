"""What was seen of a watch's dashboard at one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rayjobwatch.model.cause.tasks import FailedTask
from rayjobwatch.model.cause.window import LogWindow
from rayjobwatch.model.facts import NO_FACTS, Facts
from rayjobwatch.model.jobs import JobRow
from rayjobwatch.model.lens import Findings
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.redaction.patterns import NO_PATTERNS, Patterns


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a watch cannot work now: the reason, what is being waited for, and who can mend it.

    `stalled`: only a change of the watch or of the controller's settings helps.
    """

    reason: Reason
    message: str
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """The Ray cluster behind a dashboard. `uid` is the RayCluster's, empty without one."""

    dashboard_url: str = ""
    uid: str = ""
    session: str = ""
    ray_version: str = ""
    facts: Facts = NO_FACTS

    def after(self, known: "Cluster") -> "Cluster":
        """Return this cluster with what was known of the same one before, until it has said more of itself."""
        same = (self.dashboard_url, self.uid, self.session) == (known.dashboard_url, known.uid, known.session)
        return replace(self, facts=known.facts) if same and self.facts == NO_FACTS else self


NO_CLUSTER = Cluster()


@dataclass(frozen=True, slots=True)
class Nodes:
    """Ids of Ray's nodes as they stood at `time`."""

    time: datetime
    alive: frozenset[str]
    dead: frozenset[str]


@dataclass(frozen=True, slots=True)
class Listing:
    """Ray's table of jobs in one session, as it stood at some moment between when it was `asked` for and `time`."""

    session: str
    time: datetime
    rows: Mapping[str, JobRow]
    asked: datetime


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a fold needs. No `listing`: nothing was heard of the jobs.

    `cluster_gone`: the API server says that the RayCluster with the uid of `state.cluster` is no more.
    `last_contact`: when the dashboard answered last, for this watch or another.
    `complete_logs`: ids of the jobs whose log was read to the end (or is not followed at all). `windows`: what is kept
    of the logs, by job id, to find the cause of a failure in; `last_lines`: when their last lines were read;
    `tasks`: those that failed, by Ray's id of the driver, where that was asked and answered;
    `findings`: what the watch's rules and values found in them; `patterns`: what it does not show.
    `head_ahead`: by how much the head's clock, which wrote the times of the rows, is ahead of `now`.
    `nodes`: Ray's nodes, where it was asked for them; `is_head_in_doubt`: it may be another head than before, and has
    not said which nodes it has.
    """

    now: datetime
    cluster: Cluster = NO_CLUSTER
    listing: Listing | None = None
    problem: Problem | None = None
    hindrance: Problem | None = None
    unreachable: Problem | None = None
    cluster_gone: bool = False
    last_contact: datetime | None = None
    complete_logs: frozenset[str] = field(default_factory=frozenset)
    windows: Mapping[str, LogWindow] = field(default_factory=dict)
    last_lines: Mapping[str, datetime] = field(default_factory=dict)
    head_ahead: timedelta = timedelta(0)
    tasks: Mapping[str, Sequence[FailedTask]] = field(default_factory=dict)
    findings: Mapping[str, Findings] = field(default_factory=dict)
    patterns: Patterns = NO_PATTERNS
    nodes: Nodes | None = None
    is_head_in_doubt: bool = False
