"""`make faults SEED=N`: run campaigns of faults, print what was told wrong.

A campaign is 100 jobs on 10 scripted dashboards, and 50 faults of 30 kinds within 75 s, drawn from its seed; the same
seed gives the same campaign.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass

import aiohttp

from tests.bench.run import machine
from tests.bench.scale.arena import Arena
from tests.faults.plan import JOBS, Campaign, Kind
from tests.faults.run import begun, to_the_end
from tests.faults.truth import Score, score

STATED = 5
PARTS = Score.__slots__
# How long after the last verdict an Event may come: what hung is tried again, at last after half a minute.
EVENTS_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a seed's campaign. seconds: from its beginning to the last of the `verdicts`."""

    seed: int
    plan: Campaign
    score: Score
    verdicts: int
    seconds: float


async def run(seed: int) -> Result:
    """Run the campaign of a seed to its end, in a world of its own."""
    async with begun("campaign", seed) as (field, plan, base):
        killing = asyncio.create_task(_kill(field, plan))
        await to_the_end(field, plan)
        await killing
        finished = [sight.finished for name, sight in field.watcher.sights.items() if name in plan.jobs]
        verdicts = [moment for moment in finished if moment]
        events = await field.events(len(verdicts), EVENTS_SECONDS)
        seconds = max(verdicts, default=base) - base
        return Result(seed, plan, score(plan, field.watcher.sights, events), len(verdicts), seconds)


async def _kill(field: Arena, plan: Campaign) -> None:
    for fault in plan.faults:
        if fault.kind is Kind.CONTROLLER_KILLED:
            await asyncio.sleep(max(0.0, fault.begin - time.time()))
            await field.kill()


def rows(result: Result) -> list[str]:
    """Return a line for the table, and one for each thing that was told wrong."""
    plan, found = result.plan, result.score
    kinds = len({fault.kind for fault in plan.faults})
    counts = [len(getattr(found, part)) for part in PARTS]
    line = f"{result.seed:>4} {JOBS:>5} {len(plan.faults):>7} {kinds:>6} {result.verdicts:>9}"
    wrong = [(part, name, text) for part in PARTS for name, text in getattr(found, part).items()]
    return [
        line + "".join(f" {count:>7}" for count in counts) + f" {result.seconds:>9.0f} s",
        *(f"     {part}: {name} on {plan.jobs[name].dashboard}, {text}" for part, name, text in wrong[:STATED]),
    ]


HEAD = "seed  jobs  faults  kinds  verdicts " + "".join(f" {part:>7}" for part in PARTS) + "  last verdict"


class Runs:
    """The campaigns that were run, some side by side."""

    def __init__(self, side_by_side: int) -> None:
        self.results: list[Result] = []
        self.broken = 0
        self._places = asyncio.Semaphore(side_by_side)

    async def run_all(self, seeds: range) -> None:
        """Run the campaigns of these seeds."""
        await asyncio.gather(*map(self._run, seeds))

    async def _run(self, seed: int) -> None:
        async with self._places:
            try:
                result = await run(seed)
            except* (RuntimeError, aiohttp.ClientError, OSError) as errors:
                print(f"{seed:>4} could not be run to its end: {errors.exceptions[0]}", flush=True)
                self.broken += 1
            else:
                print("\n".join(rows(result)), flush=True)
                self.results.append(result)

    @property
    def is_right(self) -> bool:
        """Whether nothing was told wrong in any."""
        return not self.broken and all(result.score.is_right for result in self.results)

    def summary(self) -> list[str]:
        """Return the sums, and how many faults there were of each kind."""
        scores = [result.score for result in self.results]
        sums = ", ".join(f"{part} {sum(len(getattr(each, part)) for each in scores)}" for part in PARTS)
        kinds = Counter(fault.kind for result in self.results for fault in result.plan.faults)
        return [
            f"\n{len(self.results)} campaigns, {len(self.results) * JOBS} jobs, {kinds.total()} faults: {sums}",
            *(f"  {count:>4}  {kind}" for kind, count in kinds.most_common()),
        ]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults SEED=N ARGS=", description=__doc__)
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many campaigns, each with the next seed (default: 1)")
    parser.add_argument("--side-by-side", type=int, default=1, help="campaigns at a time (default: 1)")
    return parser.parse_args(arguments)


def main() -> int:
    """Return 1 when anything was told wrong."""
    options = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"Machine: {machine()}\n\n{HEAD}", flush=True)
    runs = Runs(options.side_by_side)
    try:
        asyncio.run(runs.run_all(range(options.seed, options.seed + options.seeds)))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        runs.broken += 1
    print("\n".join(runs.summary()))
    return 0 if runs.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
