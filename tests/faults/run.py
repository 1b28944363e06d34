"""Running a plan of jobs and faults to its end, in a world of its own."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from tests.bench.scale.arena import Arena, arena
from tests.bench.scale.contenders import Contender
from tests.bench.scale.ours import OURS
from tests.faults.door import Door, door
from tests.faults.plan import DASHBOARDS, PLANS, Campaign

LEAD_SECONDS = 1.0
PATIENCE_SECONDS = 60.0


@contextlib.asynccontextmanager
async def begun(name: str, seed: int) -> AsyncIterator[tuple[Arena, Campaign, float]]:
    """Begin a plan of `PLANS`; gives the world, the plan, and when it begins (seconds since the epoch)."""
    async with door() as way, arena(_through(way), DASHBOARDS, "tests.faults.dashboards") as field:
        await field.create_probe()
        await field.start(patience=0.0)
        await field.wait_ready()
        await field.remove_probe()
        base = time.time() + LEAD_SECONDS
        await field.ask(do="begin", plan=name, seed=seed, base=base)
        plan = PLANS[name](seed, base)
        way.faults = plan.faults
        yield field, plan, base


def _through(way: Door) -> Contender:
    """Return our controller, its API server behind a door."""
    return replace(OURS, program=lambda start: OURS.program(start._replace(kubeconfig=way.lead(start.kubeconfig))))


async def to_the_end(field: Arena, plan: Campaign) -> None:
    """Create the watches, and wait until all is over and every watch has its verdict, or some time after that."""
    await field.create_objects(plan.jobs)
    await asyncio.sleep(max(0.0, plan.end - time.time()))
    await field.watcher.all(list(plan.jobs), lambda sight: bool(sight.finished), plan.end + PATIENCE_SECONDS)
