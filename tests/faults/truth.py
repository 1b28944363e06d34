"""Whether what was told in a campaign is true: what may be said of each job, and when at the earliest."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.scale.jobs import Job
from tests.bench.scale.seen import Sight
from tests.bench.scale.verdicts import EVENTS, STATES, end_events, is_read
from tests.faults.plan import Campaign, Fault, Kind

# What does not keep us from hearing a job's end from its dashboard.
_HEARD_THROUGH = {
    Kind.SINGLE_404,
    Kind.CLOCK_BACK,
    Kind.CLOCK_AHEAD,
    Kind.LOG_RESET,
    Kind.AGENT_AWAY,
    Kind.LOG_SHORT,
}
# How long after a fault a dashboard may not be asked again: the longest pause after failures, and an answer.
RECOVERY_SECONDS = 20.0
# How soon a dashboard that answers is asked: half a second, but four times what an answer takes on a busy machine.
HEARD_SECONDS = 10.0
_TOLD = {STATES[end]: event for end, event in EVENTS.items()} | {"Lost": "JobLost", "Unknown": "JobOutcomeUnknown"}
_EARLY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Truth:
    """The verdicts that are right for a job, the moment before which none is, and whether there must be one."""

    verdicts: frozenset[str]
    since: float
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class Score:
    """What was told wrong in a campaign, by the names of watches.

    false: a state or an Event that is not the truth, or came before it.  missed: no verdict.  doubled: two terminal
    Events, or a verdict that was taken back.  lines: a log read to its end with another number of lines than it has.
    """

    false: Mapping[str, str]
    missed: Sequence[str]
    doubled: Sequence[str]
    lines: Sequence[str]

    @property
    def is_right(self) -> bool:
        """Whether nothing was told wrong."""
        return not (self.false or self.missed or self.doubled or self.lines)


def truth_of(job: Job, faults: Iterable[Fault]) -> Truth:
    """Return the truth about a job among the faults of its dashboard, and the ends of the controller."""
    met = [fault for fault in faults if fault.dashboard == job.dashboard or fault.kind is Kind.CONTROLLER_KILLED]
    lost = [fault.begin for fault in met if fault.kind is Kind.NEW_HEAD and fault.begin > job.submitted]
    trimmed = [fault.begin for fault in met if fault.kind is Kind.TABLE_TRIMMED and fault.begin >= job.ended]
    gone = min([*lost, *trimmed], default=None)
    since = min([job.ended, *lost])
    was_seen = _is_heard(met, job.started, since)
    if since < job.ended:
        return Truth(frozenset({"Lost"}), since, was_seen)
    if gone is None or _is_heard(met, job.ended, gone):
        return Truth(frozenset({STATES[job.end]}), since)
    return Truth(frozenset({STATES[job.end], "Lost", "Unknown"}), since, was_seen)


def _is_heard(faults: Iterable[Fault], begin: float, end: float) -> bool:
    """Whether a dashboard surely was heard between two moments."""
    deaf = sorted((one.begin, one.end + RECOVERY_SECONDS) for one in faults if one.kind not in _HEARD_THROUGH)
    heard_from = begin
    for first, last in deaf:
        if first - heard_from > HEARD_SECONDS:
            break
        heard_from = max(heard_from, last)
    return end - heard_from > HEARD_SECONDS


def score(plan: Campaign, sights: Mapping[str, Sight], events: Iterable[Mapping[str, Any]]) -> Score:
    """Hold what was seen of the watches against the truth."""
    told = end_events(events)
    truths = {name: truth_of(job, plan.faults) for name, job in plan.jobs.items()}
    seen = {name: sights.get(name, Sight()) for name in plan.jobs}
    false = {name: text for name in plan.jobs if (text := _false(truths[name], seen[name], name, told))}
    return Score(
        false=false,
        missed=[name for name, truth in truths.items() if truth.is_known and not seen[name].finished],
        doubled=[name for name in plan.jobs if seen[name].taken_back or _count(told, name) > 1],
        lines=[name for name, job in plan.jobs.items() if _has_wrong_lines(job, seen[name])],
    )


def _false(truth: Truth, sight: Sight, name: str, told: Counter[tuple[str, str]]) -> str:
    for state, at in sight.states.items():
        if state in _TOLD and state not in truth.verdicts:
            return f"{state}, {at - truth.since:+.1f} s from {' or '.join(sorted(truth.verdicts))}"
        if state in _TOLD and at < truth.since - _EARLY_SECONDS:
            return f"{state} {truth.since - at:.1f} s too early"
    right = {_TOLD[verdict] for verdict in truth.verdicts}
    wrong = [reason for whose, reason in told if whose == name and reason not in right]
    return f"Event {wrong[0]}, not {' or '.join(sorted(right))}" if wrong else ""


def _count(told: Counter[tuple[str, str]], name: str) -> int:
    return sum(count for (whose, _), count in told.items() if whose == name)


def _has_wrong_lines(job: Job, sight: Sight) -> bool:
    if not is_read(sight) or sight.state in ("Lost", "Unknown"):
        return False
    return bool(sight.status["jobs"][0]["log"]["lines"] != job.lines(job.ended))
