"""`python -m tests.cluster.crashing PLACE run ...`: the controller, killed when it comes to PLACE."""

import os
import signal
import sys

from rayjobwatch import cli
from rayjobwatch.engine import crash

# Where one that cleans up after jobs may die; test_crash.py has the others.
CLEAN_UP_PLACES = [
    "before the applications are deleted",
    "after the applications are deleted",
    "before the record is deleted",
    "after the record is deleted",
    "before the watch is deleted",
]


def die_at(place: str) -> None:
    """Have this process killed at `place`."""

    def on_reached(reached: str) -> None:
        if reached == place:
            os.kill(os.getpid(), signal.SIGKILL)

    crash.on_reached = on_reached


if __name__ == "__main__":
    die_at(sys.argv[1])
    sys.exit(cli.main(sys.argv[2:]))
