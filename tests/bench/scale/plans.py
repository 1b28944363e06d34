"""Which jobs a scenario runs: a function of a few numbers and a seed, the same in every process."""

import math
import random
from dataclasses import dataclass

from tests.bench.scale.jobs import FAILED, STOPPED, SUCCEEDED, Job

ENDS = {SUCCEEDED: 0.6, FAILED: 0.25, STOPPED: 0.15}
PENDING_SECONDS = 0.9
LINE_SECONDS = (0.25, 1.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """Jobs of one scenario.

    The first is submitted at `base` (seconds since the epoch), each further one `spacing` seconds later, on the
    dashboards in turn. Each is over `shortest` to `longest` seconds after its submission, never where that is None.
    `moving`: logs get a line or a few each second; otherwise none after the first ones.
    """

    seed: int
    jobs: int
    dashboards: int
    base: float
    spacing: float
    shortest: float | None = None
    longest: float | None = None
    moving: bool = False


def jobs_of(plan: Plan) -> list[Job]:
    """Return the jobs of a plan, in the order of their submission."""
    chance = random.Random(plan.seed)
    return [_job(plan, number, chance) for number in range(plan.jobs)]


def _job(plan: Plan, number: int, chance: random.Random) -> Job:
    life = math.inf
    if plan.shortest is not None and plan.longest is not None:
        life = chance.uniform(plan.shortest, plan.longest)
    submitted = plan.base + number * plan.spacing
    return Job(
        id=f"raysubmit_{number:05d}{chance.getrandbits(44):011x}",
        dashboard=number % plan.dashboards,
        submitted=submitted,
        started=submitted + min(PENDING_SECONDS, life / 2),
        ended=submitted + life,
        end=chance.choices(list(ENDS), list(ENDS.values()))[0],
        line_seconds=chance.uniform(*LINE_SECONDS) if plan.moving else math.inf,
    )
