"""Every status that a user could have seen, held against what is true at that moment."""

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from typing import IO, Self

from tests.cluster.watches import Json, Watches, conditions
from tests.localcluster.processes import wait_for

OVER = {"Succeeded", "Failed", "Stopped", "Lost", "Unknown"}


class Recorder:
    """`kubectl get rjw -w` from its start on; a context manager.

    ends: how each job may be said to have ended, no way while it goes on; the caller keeps it true. `falsehoods` is
    what was said otherwise; `now` is the status of each watch that was shown last.
    """

    def __init__(self, watches: Watches, ends: Mapping[str, set[str]]) -> None:
        self.now: dict[str, Json] = {}
        self.falsehoods: list[str] = []
        self._watches = watches
        self._ends = ends
        self._said: dict[tuple[str, str], str] = {}
        self._versions: dict[str, int] = {}

    def __enter__(self) -> Self:
        plane = self._watches.control_plane
        command = [str(plane.kubectl_path), "get", "rjw", "-n", self._watches.namespace, "-w", "-o", "json"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=plane.environment(), text=True)
        assert self._process.stdout
        self._thread = threading.Thread(target=self._read, args=(self._process.stdout,), name="recorder", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._thread.join(10)
        assert self._process.stdout
        self._process.stdout.close()

    def wait_for_all(self) -> None:
        """Wait until what there is to see now was seen."""
        shown = json.loads(self._watches.kubectl("get", "rjw", "-o", "json"))["items"]
        newest = {item["metadata"]["name"]: int(item["metadata"]["resourceVersion"]) for item in shown}
        wait_for(
            "what is shown now",
            lambda: all(self._versions.get(name, 0) >= version for name, version in newest.items()),
            timeout=30,
        )
        assert self._process.poll() is None, "kubectl get -w has ended: not everything was seen"

    def _read(self, stream: IO[str]) -> None:
        for found in _objects(stream):
            for item in found["items"] if found["kind"] == "List" else [found]:
                name = item["metadata"]["name"]
                self._take(name, item.get("status") or {})
                self._versions[name] = int(item["metadata"]["resourceVersion"])

    def _take(self, name: str, status: Json) -> None:
        rows: list[Json] = status.get("jobs") or []
        said = [*_untrue(status), *(fault for row in rows if (fault := self._untrue_row(name, row)))]
        self.now[name] = status
        self.falsehoods += [f"rjw/{name}: {fault}" for fault in said]

    def _untrue_row(self, name: str, row: Json) -> str:
        job, state = row["id"], row["state"]
        before = self._said.setdefault((name, job), state)
        self._said[name, job] = state
        if before in OVER and state != before:
            return f"{job} was {before} and is {state}"
        ends = self._ends.get(job, set())
        if state not in OVER - ends:
            return ""
        return f"{job} is said to be {state}; true is {ends or 'that it goes on'}: {row}"


def _untrue(status: Json) -> Iterator[str]:
    """Yield what a status says that does not go together."""
    now, states = conditions(status), {row["state"] for row in status.get("jobs") or []}
    if now.get("Finished", {}).get("status") == "True" and not states <= OVER:
        yield f"Finished, with {states}"
    if now.get("Succeeded", {}).get("status") == "True" and states != {"Succeeded"}:
        yield f"Succeeded, with {states}"
    if (
        now.get("DashboardReachable", {}).get("status") == "False"
        and "Running" in states
        and "staleSince" not in status
    ):
        yield "the dashboard is away, and the states are not marked stale"


def _objects(stream: IO[str]) -> Iterator[Json]:
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if line == "}\n":
            yield json.loads("".join(lines))
            lines = []
