"""`python -m tests.faults.frozen`: what it costs the others when 2 of 10 dashboards accept and never answer."""

import asyncio
import statistics
import sys

from tests.bench.run import machine
from tests.bench.scale.usage import percentile
from tests.faults.plan import DASHBOARDS, FROZEN, WAVE_SECONDS
from tests.faults.run import begun, to_the_end
from tests.faults.truth import Score, score


async def run(seed: int) -> bool:
    """Print how late verdicts were on the other dashboards, before and meanwhile; return whether all were right."""
    async with begun("frozen", seed) as (field, plan, base):
        await to_the_end(field, plan)
        sights, found = field.watcher.sights, score(plan, field.watcher.sights, await field.events(len(plan.jobs)))
        late: dict[str, list[float]] = {"before": [], "meanwhile": []}
        for name, job in plan.jobs.items():
            if job.dashboard >= FROZEN:
                wave = "before" if job.ended < base + WAVE_SECONDS else "meanwhile"
                late[wave].append((sights[name].finished or plan.end) - job.ended)
    for wave, delays in late.items():
        print(
            f"{DASHBOARDS - FROZEN} dashboards, {wave:>9}: {len(delays)} verdicts, "
            f"median {statistics.median(delays):.2f} s, p99 {percentile(delays, 0.99):.2f} s, max {max(delays):.2f} s"
        )
    print(", ".join(f"{part} {len(getattr(found, part))}" for part in Score.__slots__))
    return found.is_right


def main() -> int:
    """Return 1 when anything was told wrong."""
    print(f"Machine: {machine()}", flush=True)
    return 0 if asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 1)) else 1


if __name__ == "__main__":
    sys.exit(main())
