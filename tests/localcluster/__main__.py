"""`python -m tests.localcluster prepare|up|status|down`."""

from __future__ import annotations

import argparse
import sys

from tests.localcluster.binaries import BuildError
from tests.localcluster.cache import say
from tests.localcluster.detached import Detached, up
from tests.localcluster.prepare import prepare
from tests.localcluster.processes import ClusterError
from tests.localcluster.venvs import InstallError


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.localcluster", description="A real cluster on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="build Kubernetes and install Ray, where that is not done yet")
    up_parser = commands.add_parser("up", help="start a control plane and a Ray head; print what to export")
    up_parser.add_argument("--no-ray", action="store_true", help="the control plane only")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("down", help="stop what `up` started, and nothing else")
    return parser.parse_args(arguments)


def print_exports(cluster: Detached) -> None:
    for name, value in cluster.exports.items():
        print(f"export {name}={value}")


def status() -> int:
    cluster = Detached.load()
    if not cluster.running():
        say("nothing runs")
        return 1
    print_exports(cluster)
    say(f"{len(cluster.running())} of {len(cluster.guards)} parts run")
    return 0


def run(options: argparse.Namespace) -> int:
    if options.command == "prepare":
        prepare()
    elif options.command == "up":
        print_exports(up(with_ray=not options.no_ray))
    elif options.command == "down":
        Detached.load().end()
    else:
        return status()
    return 0


def main() -> int:
    """Run one command; 1 with a message when it could not be done."""
    try:
        return run(parse(sys.argv[1:]))
    except (ClusterError, BuildError, InstallError) as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
