"""Whether what was told in a campaign is true: what may be said of each job, and when at the earliest."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.scale.jobs import Job
from tests.bench.scale.seen import Sight
from tests.bench.scale.verdicts import EVENTS, STATES, end_events, is_read
from tests.faults.plan import Campaign, Fault, Kind
from tests.faults.runs import runs_of

# What does not keep us from hearing a job's end from its dashboard.
_HEARD_THROUGH = {
    Kind.SINGLE_404,
    Kind.CLOCK_BACK,
    Kind.CLOCK_AHEAD,
    Kind.LOG_RESET,
    Kind.AGENT_AWAY,
    Kind.LOG_SHORT,
    Kind.EVENTS_HANG,
}
# How long after a fault a dashboard may not be asked again: the longest pause after failures, and an answer.
RECOVERY_SECONDS = 20.0
# How soon a dashboard that answers is asked: half a second, but four times what an answer takes on a busy machine.
HEARD_SECONDS = 5.0
# How late a verdict may be where nothing keeps us from hearing of it: the log's last lines and Events are waited for.
LATE_SECONDS = HEARD_SECONDS + 2.0
_TOLD = {STATES[end]: event for end, event in EVENTS.items()} | {"Lost": "JobLost", "Unknown": "JobOutcomeUnknown"}
_EARLY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Truth:
    """The verdicts that are right for a job, the moment before which none is, and whether there must be one.

    is_prompt: whether there must be one at once.
    """

    verdicts: frozenset[str]
    since: float
    is_known: bool = True
    is_prompt: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """What was told wrong in a campaign, by the names of watches, with what is to be said of each.

    false: a verdict or an Event that is not the truth, or came before it.
    missed: an end that a status shows, or that surely was heard, and no Event tells.
    doubled: an end that more than one Event tells, or a verdict that was taken back.
    stuck: a job that is over, which surely was heard, and no verdict to the last.
    late: a verdict that came some seconds after an end that nothing kept us from hearing.
    lines: a log read to its end with another number of lines than it has.
    """

    false: Mapping[str, str]
    missed: Mapping[str, str]
    doubled: Mapping[str, str]
    stuck: Mapping[str, str]
    late: Mapping[str, str]
    lines: Mapping[str, str]

    @property
    def is_right(self) -> bool:
        """Whether nothing was told wrong."""
        return not any(getattr(self, part) for part in self.__slots__)


def truth_of(job: Job, faults: Iterable[Fault]) -> Truth:
    """Return the truth about a job among the faults of its dashboard, and the ends of the controller."""
    met = [fault for fault in faults if fault.dashboard == job.dashboard or fault.kind is Kind.CONTROLLER_KILLED]
    own = [fault for fault in met if fault.dashboard == job.dashboard]
    gone = min((fault.begin for fault in own if fault.takes(job)), default=math.inf)
    since = min(job.ended, gone)
    was_seen = _is_heard(met, job.started, since)
    # Whoever has not seen the first run of an id takes the next one for it.
    others = set() if was_seen else {STATES[run.end] for run in runs_of(job, own)[1:]}
    if since < job.ended:
        return Truth(frozenset({"Lost", *others}), since, was_seen)
    if _is_heard(met, job.ended, gone):
        return Truth(frozenset({STATES[job.end]}), since, is_prompt=_is_quiet(met, since, since + LATE_SECONDS))
    return Truth(frozenset({STATES[job.end], "Lost", "Unknown", *others}), since, was_seen)


def _is_heard(faults: Iterable[Fault], begin: float, end: float) -> bool:
    """Whether a dashboard surely was heard between two moments."""
    heard_from = begin
    for first, last in _deaf(faults):
        if first - heard_from > HEARD_SECONDS:
            break
        heard_from = max(heard_from, last)
    return end - heard_from > HEARD_SECONDS


def _is_quiet(faults: Iterable[Fault], begin: float, end: float) -> bool:
    """Whether nothing kept us from hearing a dashboard between two moments."""
    return not any(first < end and begin < last for first, last in _deaf(faults))


def _deaf(faults: Iterable[Fault]) -> list[tuple[float, float]]:
    return sorted((one.begin, one.end + RECOVERY_SECONDS) for one in faults if one.kind not in _HEARD_THROUGH)


def score(plan: Campaign, sights: Mapping[str, Sight], events: Iterable[Mapping[str, Any]]) -> Score:
    """Hold what was seen of the watches against the truth."""
    told = end_events(events)
    truths = {name: truth_of(job, plan.faults) for name, job in plan.jobs.items()}
    seen = {name: sights.get(name, Sight()) for name in plan.jobs}
    counts = {name: sum(count for (whose, _), count in told.items() if whose == name) for name in plan.jobs}
    false = {name: text for name in plan.jobs if (text := _false(truths[name], seen[name], name, told))}
    return Score(
        false=false,
        missed={name: "no Event" for name, truth in truths.items() if not counts[name] and _is_over(truth, seen[name])},
        doubled={name: text for name, sight in seen.items() if (text := _doubled(counts[name], sight))},
        stuck={name: "no verdict" for name, truth in truths.items() if truth.is_known and not seen[name].finished},
        late={name: text for name, truth in truths.items() if (text := _late(truth, seen[name]))},
        lines={name: text for name, job in plan.jobs.items() if (text := _wrong_lines(job, truths[name], seen[name]))},
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


def _doubled(events: int, sight: Sight) -> str:
    return f"{events} Events, taken back {sight.taken_back} times" if events > 1 or sight.taken_back else ""


def _late(truth: Truth, sight: Sight) -> str:
    seconds = (sight.finished or truth.since) - truth.since
    return f"verdict after {seconds:.1f} s" if truth.is_prompt and seconds > LATE_SECONDS else ""


def _is_over(truth: Truth, sight: Sight) -> bool:
    return truth.is_known or bool(sight.finished)


def _wrong_lines(job: Job, truth: Truth, sight: Sight) -> str:
    # When an end is heard so late that its record is gone, another run may have written on in the same file.
    if not is_read(sight) or truth.verdicts != {STATES[job.end]}:
        return ""
    told, right = sight.status["jobs"][0]["log"]["lines"], job.lines(job.ended)
    return f"{told} lines, not {right}" if told != right else ""
