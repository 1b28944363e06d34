"""RayJobWatches as a user handles them: by kubectl."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead

Json = dict[str, Any]


class Watches:
    """Applies and reads the RayJobWatches of one namespace."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane = control_plane
        self.namespace = namespace

    def kubectl(self, *arguments: str, **more: Any) -> str:
        """Run kubectl in the namespace; return what it prints."""
        return self.control_plane.kubectl("-n", self.namespace, *arguments, **more).stdout

    def apply(self, name: str, *ids: str, **spec: Any) -> None:
        """Apply a watch of the jobs `ids`, on RayCluster `shared` unless `spec` says otherwise."""
        target = {} if "dashboard" in spec else {"rayCluster": {"name": "shared"}}
        self.kubectl("apply", "-f", "-", input=json.dumps(manifest(name, {**target, "jobs": {"ids": ids}, **spec})))

    def get(self, name: str) -> Json:
        """Return a watch as the API server has it."""
        found: Json = json.loads(self.kubectl("get", "rjw", name, "-o", "json"))
        return found

    def status(self, name: str) -> Json:
        """Return a watch's status, empty while there is none."""
        status: Json = self.get(name).get("status") or {}
        return status

    def all(self) -> dict[str, Json]:
        """Return the status of every watch, by name."""
        items = json.loads(self.kubectl("get", "rjw", "-o", "json"))["items"]
        return {item["metadata"]["name"]: item.get("status") or {} for item in items}

    def wait(self, name: str, condition: str = "Finished", timeout: int = 60) -> Json:
        """Wait for a condition as scripts do; return the status then."""
        self.kubectl(
            "wait", f"--for=condition={condition}", f"rjw/{name}", f"--timeout={timeout}s", timeout=timeout + 10
        )
        return self.status(name)

    def wait_read(self, name: str) -> Json:
        """Wait until a watch's jobs are over and the first one's log was read to its end; return the status then."""
        self.wait(name)
        return self.wait_until(name, lambda now: first_log(now).get("complete"))

    def wait_until(self, name: str, holds: Callable[[Json], object], timeout: float = 30) -> Json:
        """Wait until a watch's status is as wanted."""
        status: Json = {}
        for status in polled(lambda: self.status(name), timeout):
            if holds(status):
                return status
        pytest.fail(f"rjw/{name} did not come to that in {timeout} s; its status: {json.dumps(status, indent=1)}")

    def wait_reason(self, name: str, kind: str, reason: str, timeout: float = 30) -> Json:
        """Wait until a condition has a reason; return the condition."""
        status = self.wait_until(name, lambda now: conditions(now).get(kind, {}).get("reason") == reason, timeout)
        return conditions(status)[kind]

    def events(self, name: str) -> list[Json]:
        """Return the Events on a watch, oldest first, once none is pending: a status does not wait for them."""
        for found in polled(lambda: self.kubectl("get", "rjw", name, "-o", "json", "--ignore-not-found"), 60):
            if not found or not (json.loads(found).get("status") or {}).get("eventsPending"):
                break
        selector = f"involvedObject.kind=RayJobWatch,involvedObject.name={name}"
        items: list[Json] = json.loads(self.kubectl("get", "events", "--field-selector", selector, "-o", "json"))[
            "items"
        ]
        # Not by creationTimestamp: two within a second would come in any order.
        return sorted(items, key=lambda item: int(item["metadata"]["resourceVersion"]))

    def reasons(self, name: str) -> list[str]:
        """Return the reasons of the Events on a watch."""
        return [event["reason"] for event in self.events(name)]


def manifest(name: str, spec: Json) -> Json:
    """Return a RayJobWatch."""
    return {"apiVersion": "rayjobwatch.dev/v1alpha1", "kind": "RayJobWatch", "metadata": {"name": name}, "spec": spec}


def conditions(status: Json) -> dict[str, Json]:
    """Return conditions by type."""
    return {item["type"]: item for item in status.get("conditions") or []}


def first_job(status: Json) -> Json:
    """Return the first row of a status, empty while there is none."""
    rows: list[Json] = status.get("jobs") or [{}]
    return rows[0]


def first_log(status: Json) -> Json:
    """Return what a status tells of its first job's log, empty while it tells nothing."""
    return first_job(status).get("log") or {}


def polled(read: Callable[[], Any], timeout: float) -> Iterator[Any]:
    """Yield what `read` returns, again and again until `timeout`."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        yield read()
        time.sleep(0.1)


def log_of(head: RayHead, job: str) -> bytes:
    """Return the driver log of a job as Ray wrote it."""
    return (head.session_directory / "logs" / f"job-driver-{job}.log").read_bytes()
