"""`make bench-scale`: run the scenarios, print the table, append each run to the history."""

import argparse
import asyncio
import itertools
import os
import signal
import sys
from collections import defaultdict
from dataclasses import fields, replace

import aiohttp

from tests.bench.run import machine
from tests.bench.scale import report
from tests.bench.scale.contenders import Contender
from tests.bench.scale.kuberay import KUBERAY
from tests.bench.scale.ours import OURS
from tests.bench.scale.scenarios import SCENARIOS, Outcome, Sizes

RUNS = 2
WITH_PEER = ("moving", "fleet", "churn")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-scale ARGS=", description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each, of which the median counts (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="what the jobs are made from (default: 1)")
    sizes = parser.add_argument_group("sizes, in place of a scenario's own")
    sizes.add_argument("--jobs", type=int)
    sizes.add_argument("--dashboards", type=int)
    sizes.add_argument("--shortest", type=float, help="seconds from a job's submission to its end, at least")
    sizes.add_argument("--longest", type=float, help="... and at most")
    sizes.add_argument("--rate", type=float, help="churn: jobs a second")
    sizes.add_argument("--minutes", type=float, help="fleet: length of the steady time")
    return parser.parse_args(arguments)


def sizes_of(name: str, options: argparse.Namespace) -> Sizes:
    """Return a scenario's sizes with what was given in place of its own."""
    given = {each.name: value for each in fields(Sizes) if (value := getattr(options, each.name)) is not None}
    return replace(SCENARIOS[name][1], **given)


async def run_once(contender: Contender, name: str, sizes: Sizes, seed: int) -> Outcome | None:
    """Run a scenario and remember the outcome; None, and why is printed, where it could not be run to its end."""
    outcome = None
    try:
        outcome = await SCENARIOS[name][0](contender, name, sizes, seed)
    except* (RuntimeError, aiohttp.ClientError, OSError) as errors:
        print(f"{contender.name}, {name}: {errors.exceptions[0]}", flush=True)
    else:
        report.remember(contender.name, name, sizes, seed, outcome)
    return outcome


class Runs:
    """The runs so far: ours, and those of KubeRay's operator where it is named."""

    def __init__(self) -> None:
        self.outcomes = {contender.name: defaultdict[str, list[Outcome]](list) for contender in (OURS, KUBERAY)}
        self.is_right = True

    async def run_all(self, options: argparse.Namespace) -> None:
        """Run what was asked for."""
        has_peer = {"KUBERAY_OPERATOR", "KUBERAY_CRDS"} <= os.environ.keys()
        for name in options.scenarios or SCENARIOS:
            contenders = [OURS, KUBERAY] if has_peer and name in WITH_PEER else [OURS]
            for number, contender in itertools.product(range(options.runs), contenders):
                await self._run(contender, name, number, options)

    async def _run(self, contender: Contender, name: str, number: int, options: argparse.Namespace) -> None:
        outcome = await run_once(contender, name, sizes_of(name, options), options.seed + number)
        if contender is OURS:
            self.is_right = self.is_right and outcome is not None and not outcome.faults.any
        if outcome:
            print("\n".join(report.details(f"{contender.name}, {name}", number + 1, outcome)), flush=True)
            self.outcomes[contender.name][name].append(outcome)


def main() -> int:
    """Return 1 when anything that we told of a job was wrong."""
    options = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"Machine: {machine()}\nRuns: {options.runs}; CPU and RSS are the contender's process alone.", flush=True)
    runs = Runs()
    try:
        asyncio.run(runs.run_all(options))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        runs.is_right = False
    print("\n" + "\n".join(report.table(runs.outcomes[OURS.name], runs.outcomes[KUBERAY.name])))
    return 0 if runs.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
