"""Whether what was told of jobs is true: states, line counts and Events held against the script."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.scale.jobs import Job
from tests.bench.scale.seen import Sight

STATES = {"SUCCEEDED": "Succeeded", "FAILED": "Failed", "STOPPED": "Stopped"}
EVENTS = {"SUCCEEDED": "JobSucceeded", "FAILED": "JobFailed", "STOPPED": "JobStopped"}
SEEN_SECONDS = 60.0
EXAMPLES = 3
ENDS = frozenset({*EVENTS.values(), "JobLost", "JobOutcomeUnknown"})


@dataclass(frozen=True, slots=True)
class Faults:
    """How many jobs were told wrong, in each way, and some `examples` of the first.

    wrong: a verdict or terminal Event that is not the script's, or came before its end; another state than Running
    of a job that has run for long. missing: no verdict.
    lines: the log was read to its end with another number of lines than it has.
    missing_events, doubled_events: terminal Events on the RayJobWatch.
    """

    wrong: int = 0
    missing: int = 0
    lines: int = 0
    missing_events: int = 0
    doubled_events: int = 0
    examples: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether anything was told wrong."""
        return bool(self.wrong or self.missing or self.lines or self.missing_events or self.doubled_events)


def faults(
    jobs: Mapping[str, Job], sights: Mapping[str, Sight], events: Iterable[Mapping[str, Any]] | None, now: float
) -> Faults:
    """Hold what was seen of watches, each of the job of the same key, against the script at the time `now`.

    `events` is None where nobody promised any.
    """
    told = end_events(events or ())
    over = {name: job for name, job in jobs.items() if job.ended <= now}
    seen = {name: sights.get(name, Sight()) for name in jobs}
    right = {(name, EVENTS[job.end]) for name, job in over.items()}
    done = {(name, reason) for name, reason in right if seen[name].finished}
    wrong = {name: text for name, job in jobs.items() if (text := _wrong(job, seen[name], now))}
    wrong |= {name: f"Event {reason}" for name, reason in told if name in jobs and (name, reason) not in right}
    return Faults(
        wrong=len(wrong),
        missing=sum(not seen[name].finished for name in over),
        lines=sum(_has_wrong_lines(job, seen[name]) for name, job in over.items()),
        missing_events=len(done - set(told)) if events is not None else 0,
        doubled_events=sum(count > 1 for count in told.values()),
        examples=tuple(f"{name}: {text}; Ray: {jobs[name].status(now)}" for name, text in wrong.items())[:EXAMPLES],
    )


def end_events(events: Iterable[Mapping[str, Any]]) -> Counter[tuple[str, str]]:
    """Count the terminal Events on RayJobWatches by the watch's name and the reason."""
    counts: Counter[tuple[str, str]] = Counter()
    for event in events:
        about = event["involvedObject"]
        if about["kind"] == "RayJobWatch" and event["reason"] in ENDS:
            counts[about["name"], event["reason"]] += event.get("count") or 1
    return counts


def latencies(
    jobs: Mapping[str, Job], sights: Mapping[str, Sight], created: Mapping[str, float], now: float
) -> list[float]:
    """Return for each job the seconds from its end, or its watch's creation, to the verdict; without one, to `now`."""
    return [
        ((sights[name].finished if name in sights else None) or now) - max(job.ended, created[name])
        for name, job in jobs.items()
    ]


def is_read(sight: Sight) -> bool:
    """Whether the log of the watch's only job was read to its end."""
    return bool(_log(sight).get("complete"))


def _wrong(job: Job, sight: Sight, now: float) -> str:
    """Return what was told wrong of a job; empty if nothing."""
    if sight.finished is None:
        is_wrong = job.started + SEEN_SECONDS < now < job.ended and sight.state != "Running"
        return (sight.state or "no state") if is_wrong else ""
    if sight.finished < job.ended:
        return f"Finished {job.ended - sight.finished:.2f} s before the end"
    return "" if sight.verdicts == {STATES[job.end]} else ", ".join(sorted(sight.verdicts))


def _has_wrong_lines(job: Job, sight: Sight) -> bool:
    return is_read(sight) and _log(sight)["lines"] != job.lines(job.ended)


def _log(sight: Sight) -> dict[str, Any]:
    rows = sight.status.get("jobs") or [{}]
    log: dict[str, Any] = rows[0].get("log") or {}
    return log
