"""`python -m tests.cluster.crashing PLACE run ...`: the controller, killed when it comes to PLACE.

PLACE may also be a number: then it is killed at the place that it comes to as that one.
"""

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from rayjobwatch import cli
from rayjobwatch.engine import crash
from rayjobwatch.ray.api import serve
from rayjobwatch.ray.plan import Plan

# Where one that cleans up after jobs may die; test_crash.py has the others.
CLEAN_UP_PLACES = [
    "before the applications are deleted",
    "after the applications are deleted",
    "before the record is deleted",
    "after the record is deleted",
    "before the watch is deleted",
    "after the watch is deleted",
]
# An imperative application is taken over by one request and left out by the next.
TAKEN_OVER = "an imperative application is taken over"


def die_at(place: str) -> None:
    """Have this process killed at `place`."""
    reached: list[str] = []

    def on_reached(now: str) -> None:
        reached.append(now)
        if place in (now, str(len(reached))):
            os.kill(os.getpid(), signal.SIGKILL)

    crash.on_reached = on_reached


def say_when_taken_over() -> None:
    """Have a place between the requests that delete an imperative application."""
    put = serve._put
    operations: list[str] = []

    def noticed(config: Mapping[str, Any], operation: str, at_most: float | None) -> Plan[None]:
        if operations:
            crash.reached(TAKEN_OVER)
        operations.append(operation)
        yield from put(config, operation, at_most)

    serve._put = noticed


if __name__ == "__main__":
    die_at(sys.argv[1])
    say_when_taken_over()
    sys.exit(cli.main(sys.argv[2:]))
