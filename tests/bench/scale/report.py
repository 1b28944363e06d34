"""The table, against what is to be reached, and the history file."""

import json
import math
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

from tests.bench.run import ROOT, machine
from tests.bench.scale.scenarios import Outcome, Sizes
from tests.localcluster.detached import state_directory

PERCENT = 100.0

Outcomes = Mapping[str, Sequence[Outcome]]


class Row(NamedTuple):
    """A figure of a scenario: its name in an outcome, in words, its unit, and what is to be reached (at most)."""

    scenario: str
    figure: str
    words: str
    unit: str
    target: float = math.inf


ROWS = [
    Row("moving", "latency_median", "terminal in Ray -> Finished=True, median", "s", 0.35),
    Row("moving", "latency_p99", "terminal in Ray -> Finished=True, p99", "s", 1.0),
    Row("moving", "head", "requests to the head, per job and minute", "", 1.3),
    Row("moving", "agents", "requests to agents, per job and minute", "", 30),
    Row("moving", "writes", "status writes, per object and minute", "", 12),
    Row("moving", "event_writes", "Events, per object and minute", ""),
    Row("moving", "reads", "API-server reads in the window", "", 0),
    Row("moving", "unread", "logs not read to their end", ""),
    Row("moving", "cpu", "CPU of a core", "%", 0.10),
    Row("moving", "rss", "RSS at the end", "MiB", 90),
    Row("moving", "rss_peak", "RSS, peak", "MiB", 90),
    Row("quiet", "latency_median", "terminal in Ray -> Finished=True, median", "s"),
    Row("quiet", "latency_p99", "terminal in Ray -> Finished=True, p99", "s"),
    Row("quiet", "head", "requests to the head, per job and minute", "", 1.3),
    Row("quiet", "agents", "requests to agents, per job and minute", "", 6),
    Row("quiet", "writes", "status writes, per object and minute", ""),
    Row("quiet", "reads", "API-server reads in the window", "", 0),
    Row("quiet", "cpu", "CPU of a core", "%", 0.10),
    Row("quiet", "rss_peak", "RSS, peak", "MiB", 90),
    Row("fleet", "cold_start", "cold start until all have a state", "s", 10),
    Row("fleet", "cold_running", "cold start until all are shown as Running", "s", 10),
    Row("fleet", "cpu", "CPU of a core", "%", 0.15),
    Row("fleet", "rss_begin", "RSS, beginning of the window", "MiB", 120),
    Row("fleet", "rss_middle", "RSS, middle of the window", "MiB", 120),
    Row("fleet", "rss", "RSS, end of the window", "MiB", 120),
    Row("fleet", "rss_peak", "RSS, peak", "MiB"),
    Row("fleet", "head", "requests to the head, per job and minute", ""),
    Row("fleet", "agents", "requests to agents, per job and minute", "", 6),
    Row("fleet", "writes", "status writes, per object and minute", ""),
    Row("fleet", "reads", "API-server reads in the window", "", 0),
    Row("churn", "latency_median", "terminal in Ray -> Finished=True, median", "s", 1.0),
    Row("churn", "latency_p99", "terminal in Ray -> Finished=True, p99", "s"),
    Row("churn", "all_after", "all verdicts after the first creation", "s", 25),
    Row("churn", "unread", "logs not read to their end", ""),
    Row("churn", "cpu", "CPU of a core", "%"),
    Row("churn", "rss_peak", "RSS, peak", "MiB"),
    Row("churn", "reads", "API-server reads", "", 0),
    Row("idle", "ready", "start -> ready (the later of the next two)", "s", 2.0),
    Row("idle", "healthy", "start -> /healthz answers", "s"),
    Row("idle", "first_status", "start -> first status of a watch", "s"),
    Row("idle", "rss", "RSS idle, 10 s after ready", "MiB", 75),
    Row("idle", "cpu", "CPU of a core, idle", "%"),
]


def table(outcomes: Outcomes, peers: Outcomes) -> Iterator[str]:
    """Yield the table's lines: medians of the runs, ours and those of KubeRay's operator beside them where it ran."""
    form = "{:9} {:45} {:>12} {:>10} {:>7} {:>12}"
    yield form.format("scenario", "figure", "measured", "to reach", "ratio", "KubeRay" if peers else "").rstrip()
    for row in ROWS:
        value = _median(outcomes, row)
        if value is not None:
            peer = _median(peers, row)
            cells = [_text(value, row.unit), *_against(value, row), "" if peer is None else _text(peer, row.unit)]
            yield form.format(row.scenario, row.words, *cells).rstrip()


def details(name: str, number: int, outcome: Outcome) -> Iterator[str]:
    """Yield what else is to be said of one run; `name` says of what."""
    counts = {what.replace("_", " "): count for what, count in asdict(outcome.faults).items() if what != "examples"}
    yield f"{name}, run {number}: faults: {_counts(counts)}"
    yield from (f"  ! {example}" for example in outcome.faults.examples)
    yield f"  window {outcome.figures['window']:.0f} s; requests by route: {_counts(outcome.head)}"
    yield f"  requests to the API server: {_counts(outcome.api)}"
    shares = ", ".join(f"{part} {share:.0%}" for part, share in outcome.beside.items())
    yield f"  CPU beside its {outcome.figures['cpu']:.0%} of a core: {shares}"
    yield from (f"  ! {problem}" for problem in outcome.problems)


def remember(contender: str, name: str, sizes: Sizes, seed: int, outcome: Outcome) -> None:
    """Append a run to the history, `bench-scale.jsonl` in the state directory: one JSON line each."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _commit(),
        "machine": machine(),
        "contender": contender,
        "scenario": name,
        "sizes": asdict(sizes),
        "seed": seed,
        **asdict(outcome),
    }
    path = state_directory() / "bench-scale.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as history:
        history.write(json.dumps(line) + "\n")


def _median(outcomes: Outcomes, row: Row) -> float | None:
    values = [run.figures[row.figure] for run in outcomes.get(row.scenario, ()) if row.figure in run.figures]
    return statistics.median(values) if values else None


def _against(value: float, row: Row) -> Sequence[str]:
    if math.isinf(row.target):
        return "", ""
    ratio = f"{value / row.target:.2f}" if row.target else ("1.00" if value == 0 else "> 1")
    return f"<= {_text(row.target, row.unit)}" if row.target else "0", ratio


def _text(value: float, unit: str) -> str:
    if unit == "%":
        return f"{value * PERCENT:.1f} %"
    digits = 0 if unit == "MiB" or value == int(value) else 2
    return f"{value:.{digits}f} {unit}".rstrip()


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
