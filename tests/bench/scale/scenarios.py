"""What is run, and the figures that come of it."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import aiohttp

from tests.bench.scale import audit, usage, verdicts
from tests.bench.scale.arena import Arena, Snapshot, arena
from tests.bench.scale.contenders import Contender
from tests.bench.scale.jobs import Job
from tests.bench.scale.plans import PENDING_SECONDS, Plan
from tests.bench.scale.records import HOST
from tests.bench.scale.seen import Sight
from tests.localcluster.processes import free_ports

LEAD_SECONDS = 1.0
SUBMIT_SECONDS = 2.0
# From when on the pace of a quiet log is that of a log that has long been quiet.
SETTLE_SECONDS = {"moving": 2.0, "quiet": 45.0, "fleet": 45.0}
PATIENCE_SECONDS = {"moving": 45.0, "quiet": 45.0, "fleet": 180.0, "churn": 150.0}
AGE_SECONDS = 3600.0
IDLE_SECONDS = 10.0
HEALTH_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a scenario is. Seconds are those of a job's life; `rate` is jobs submitted a second."""

    jobs: int = 0
    dashboards: int = 1
    shortest: float | None = None
    longest: float | None = None
    rate: float = 0.0
    minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run gave: figures by name, what was told wrong, and what stood beside them."""

    figures: Mapping[str, float]
    faults: verdicts.Faults
    head: Mapping[str, int] = field(default_factory=dict)
    api: Mapping[str, int] = field(default_factory=dict)
    beside: Mapping[str, float] = field(default_factory=dict)
    problems: Sequence[str] = ()


async def jobs_to_their_end(contender: Contender, name: str, sizes: Sizes, seed: int) -> Outcome:
    """Run `moving` and `quiet`: jobs side by side on one dashboard; a window in which all run, then their ends."""
    least = SUBMIT_SECONDS + PENDING_SECONDS + SETTLE_SECONDS[name]
    if sizes.shortest is None or sizes.shortest <= least:
        raise RuntimeError(f"there is no time at which all jobs run: --shortest must be over {least:.1f}")
    async with arena(contender, sizes.dashboards) as field:
        await _ready(field)
        base, spacing = time.time() + LEAD_SECONDS, SUBMIT_SECONDS / sizes.jobs
        plan = Plan(seed, sizes.jobs, sizes.dashboards, base, spacing, sizes.shortest, sizes.longest)
        jobs = await field.load(replace(plan, moving=name == "moving"))
        await field.create_objects(jobs)
        first = await field.snapshot(max(job.started for job in jobs.values()) + SETTLE_SECONDS[name])
        last = await field.snapshot(min(job.ended for job in jobs.values()))
        await _finish(field, jobs, PATIENCE_SECONDS[name])
        over = await field.snapshot()
        return await _outcome(field, jobs, first, last, _latency(field, jobs) | _memory(over))


async def churn(contender: Contender, name: str, sizes: Sizes, seed: int) -> Outcome:
    """Run short jobs, many a second, submitted just before their watches."""
    async with arena(contender, sizes.dashboards) as field:
        await _ready(field)
        base = time.time() + LEAD_SECONDS
        plan = Plan(seed, sizes.jobs, sizes.dashboards, base, 1 / sizes.rate, sizes.shortest, sizes.longest)
        jobs = await field.load(plan)
        first = await field.snapshot(base)
        await field.create_objects(jobs)
        await _finish(field, jobs, PATIENCE_SECONDS[name])
        last = await field.snapshot()
        done = [sight.finished or last.at for job, sight in field.watcher.sights.items() if job in jobs]
        figures = {"all_after": max(done) - min(field.created[job] for job in jobs)}
        return await _outcome(field, jobs, first, last, figures | _latency(field, jobs) | _memory(last))


async def fleet(contender: Contender, name: str, sizes: Sizes, seed: int) -> Outcome:
    """Run a cold start in front of many long-running jobs, then a steady time in which nothing happens."""
    async with arena(contender, sizes.dashboards) as field:
        jobs = await field.load(Plan(seed, sizes.jobs, sizes.dashboards, time.time() - AGE_SECONDS, 0.0))
        await field.create_objects(jobs)
        began = await field.start()
        if not await field.watcher.all(list(jobs), _is_running, began + PATIENCE_SECONDS[name]):
            field.problems.append(f"not every job is shown as running after {PATIENCE_SECONDS[name]:.0f} s")
        now = time.time()
        sights = [field.watcher.sights.get(job, Sight()) for job in jobs]
        state = max(min(sight.states.values(), default=now) for sight in sights)
        running = max(sight.states.get("Running", now) for sight in sights)
        first = await field.snapshot(now + SETTLE_SECONDS[name])
        middle = await field.snapshot(first.at + sizes.minutes * 30)
        last = await field.snapshot(first.at + sizes.minutes * 60)
        figures = {"cold_start": state - began, "cold_running": running - began}
        figures |= {"rss_begin": first.memory, "rss_middle": middle.memory}
        return await _outcome(field, jobs, first, last, figures | _memory(last))


async def idle(contender: Contender, name: str, sizes: Sizes, seed: int) -> Outcome:
    """Start the controller with nothing to do: ready is when /healthz answers and a watch has a status."""
    async with arena(contender, 0) as field:
        [port] = free_ports(1)
        await field.create_probe()
        began = await field.start("--health-port", str(port))
        healthy, status = await asyncio.gather(_healthy(port, began), field.wait_ready())
        ready = max(healthy, status)
        first = await field.snapshot()
        last = await field.snapshot(ready + IDLE_SECONDS)
        figures = {"ready": ready - began, "healthy": healthy - began, "first_status": status - began}
        return await _outcome(field, {}, first, last, figures | _memory(last))


Run = Callable[[Contender, str, Sizes, int], Awaitable[Outcome]]
SCENARIOS: dict[str, tuple[Run, Sizes]] = {
    "moving": (jobs_to_their_end, Sizes(jobs=100, shortest=20, longest=90)),
    "quiet": (jobs_to_their_end, Sizes(jobs=100, shortest=90, longest=120)),
    "fleet": (fleet, Sizes(jobs=1000, dashboards=100, minutes=2)),
    "churn": (churn, Sizes(jobs=1000, dashboards=10, shortest=1, longest=3, rate=50)),
    "idle": (idle, Sizes()),
}


async def _ready(field: Arena) -> None:
    await field.create_probe()
    await field.start()
    await field.wait_ready()
    await field.remove_probe()


async def _finish(field: Arena, jobs: Mapping[str, Job], patience: float) -> None:
    until = max(job.ended for job in jobs.values()) + patience
    if not await field.watcher.all(list(jobs), lambda sight: bool(sight.finished), until):
        field.problems.append(f"not every verdict was there {patience:.0f} s after the last end")


async def _outcome(
    field: Arena, jobs: Mapping[str, Job], first: Snapshot, last: Snapshot, figures: Mapping[str, float]
) -> Outcome:
    """Put a run's figures together: those of the window between the snapshots, and `figures`."""
    now = time.time()
    ends = sum(job.ended < now for job in jobs.values())
    found = await field.events(ends) if field.contender.tells_all else None
    seconds = last.at - first.at
    api = await field.api_requests(first.at, last.at)
    asked = last.requests - first.requests
    share = 60 / seconds / max(1, len(jobs))
    window = {
        "cpu": (last.cpu - first.cpu) / seconds,
        "window": seconds,
        "head": _sum(asked, "head") * share,
        "agents": _sum(asked, "agent") * share,
        "writes": audit.writes(api, field.contender.resource) * share,
        "event_writes": api["create events"] * share,
        "reads": audit.reads(api),
    }
    beside = {part: (cpu - first.beside[part]) / seconds for part, cpu in last.beside.items()}
    faults = verdicts.faults(jobs, field.watcher.sights, found, now)
    if field.watcher.gaps:
        field.problems.append(f"the watch broke {field.watcher.gaps} times")
    # The list itself: the contender is yet to be stopped.
    return Outcome({**window, **figures}, faults, dict(asked), dict(api), beside, field.problems)


def _latency(field: Arena, jobs: Mapping[str, Job]) -> dict[str, float]:
    delays = verdicts.latencies(jobs, field.watcher.sights, field.created, time.time())
    figures = {"latency_median": statistics.median(delays), "latency_p99": usage.percentile(delays, 0.99)}
    if field.contender.tells_all:
        sights = field.watcher.sights
        figures["unread"] = sum(name in sights and not verdicts.is_read(sights[name]) for name in jobs)
    return figures


def _memory(at: Snapshot) -> dict[str, float]:
    return {"rss": at.memory, "rss_peak": at.peak}


def _sum(asked: Counter[str], side: str) -> int:
    return sum(count for route, count in asked.items() if route.startswith(side))


def _is_running(sight: Sight) -> bool:
    return "Running" in sight.states


async def _healthy(port: int, began: float) -> float:
    """Return when /healthz answered."""
    async with aiohttp.ClientSession() as session:
        while time.time() < began + PATIENCE_SECONDS["moving"]:
            try:
                async with session.get(f"http://{HOST}:{port}/healthz") as answer:
                    if answer.status == 200:
                        return time.time()
            except aiohttp.ClientError:
                await asyncio.sleep(HEALTH_SECONDS)
    raise RuntimeError("/healthz does not answer")
