"""A watch without a manifest: `kubectl annotate raycluster/NAME rayjobwatch.dev/watch=all`, and what comes of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cluster.controller import Controller
from tests.cluster.watches import Watches, polled
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.ray.fakedashboard import FakeDashboard

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

JOB = "a"


@dataclass
class Stage:
    """A namespace whose RayCluster `shared` is ready and has a job that is over, and a controller."""

    watches: Watches
    controller: Controller

    def cluster(self) -> str:
        """Make another RayCluster, not ready yet; return its name."""
        name = f"x-{uuid4().hex[:8]}"
        raycluster.create(self.watches.control_plane, self.watches.namespace, name)
        return name

    def annotate(self, cluster: str, value: str = "=all") -> None:
        """Set the annotation, or remove it with `-`."""
        self.watches.kubectl("annotate", f"raycluster/{cluster}", f"rayjobwatch.dev/watch{value}", "--overwrite")

    def made(self, name: str, *, without: str = "") -> dict[str, Any]:
        """Wait until there is a watch, other than the one with the uid `without`; return its metadata."""
        read = ("get", "rjw", name, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}")
        for uid in polled(lambda: self.watches.kubectl(*read), 30):
            if uid not in ("", without):
                meta: dict[str, Any] = self.watches.get(name)["metadata"]
                return meta
        pytest.fail(f"no rjw/{name} was made:\n{self.controller.tail()}")

    def gone(self, name: str, timeout: int = 30) -> None:
        """Wait until there is no watch."""
        self.watches.kubectl("wait", "--for=delete", f"rjw/{name}", f"--timeout={timeout}s", timeout=timeout + 10)

    def told(self, cluster: str, reason: str) -> str:
        """Wait for an Event on a RayCluster; return its message."""
        selector = f"involvedObject.kind=RayCluster,involvedObject.name={cluster},reason={reason}"
        read = ("get", "events", "--field-selector", selector, "-o", "jsonpath={.items[*].message}")
        for message in polled(lambda: self.watches.kubectl(*read), 30):
            if message:
                return str(message)
        pytest.fail(f"no Event {reason} on RayCluster {cluster}:\n{self.controller.tail()}")


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    fake = FakeDashboard()
    fake.add_job(JOB, b"x\n")
    log = tmp_path_factory.mktemp("annotation") / "log"
    try:
        with control_plane.namespace() as namespace:
            raycluster.ready_cluster(control_plane, namespace, "shared", head_ip="127.0.0.9")
            override = f"{namespace}/shared={fake.url}"
            with Controller(installed, log, "--namespace", namespace, "--dashboard-override", override) as controller:
                yield Stage(Watches(control_plane, namespace), controller)
    finally:
        fake.stop()


def test_the_annotation_makes_a_watch_of_all_jobs_and_its_removal_removes_it(stage: Stage) -> None:
    version = ("get", "raycluster", "shared", "-o", "jsonpath={.metadata.resourceVersion}")
    stage.annotate("shared")
    before = stage.watches.kubectl(*version)
    meta = stage.made("shared")
    assert meta["labels"] == {"app.kubernetes.io/managed-by": "rayjobwatch"}
    owner = {key: meta["ownerReferences"][0].get(key) for key in ("kind", "name", "blockOwnerDeletion", "controller")}
    assert owner == {"kind": "RayCluster", "name": "shared", "blockOwnerDeletion": None, "controller": None}
    stage.watches.wait_reason("shared", "DashboardReachable", "Answering")
    # All jobs, but none that was over before.
    assert stage.watches.status("shared").get("counts", {}).get("total", 0) == 0
    stage.watches.kubectl("patch", "rjw/shared", "--type=merge", "-p", '{"spec":{"jobs":{"includeFinished":true}}}')
    assert stage.watches.wait("shared", "Succeeded")["counts"]["total"] == 1
    assert "follows all jobs" in stage.told("shared", "WatchCreated")
    assert stage.watches.kubectl(*version) == before
    stage.annotate("shared", "-")
    stage.gone("shared")
    assert "removed" in stage.told("shared", "WatchDeleted")


@pytest.mark.slow
def test_a_watch_that_is_deleted_while_the_annotation_stands_is_made_again(stage: Stage) -> None:
    name = stage.cluster()
    stage.annotate(name)
    first = stage.made(name)["uid"]
    stage.watches.kubectl("delete", "rjw", name)
    assert stage.made(name, without=first)["uid"] != first


@pytest.mark.slow
def test_what_was_annotated_while_the_controller_was_away(stage: Stage) -> None:
    removed, added = stage.cluster(), stage.cluster()
    stage.annotate(removed)
    stage.made(removed)
    stage.controller.stop()
    stage.annotate(removed, "-")
    stage.annotate(added)
    stage.controller.start()
    stage.made(added)
    stage.gone(removed)


@pytest.mark.slow
def test_a_users_own_watch_of_that_name_is_left_alone(stage: Stage) -> None:
    name = stage.cluster()
    stage.watches.apply(name, JOB, rayCluster={"name": name})
    before = stage.watches.get(name)
    stage.annotate(name)
    assert f"RayJobWatch {name}" in stage.told(name, "WatchNotCreated")
    stage.annotate(name, "-")
    # One that is acted on shows that the controller has seen the other.
    other = stage.cluster()
    stage.annotate(other)
    stage.made(other)
    after = stage.watches.get(name)
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    stage.annotate(name)
    stage.watches.kubectl("delete", "rjw", name)
    assert "ownerReferences" in stage.made(name, without=before["metadata"]["uid"])


@pytest.mark.slow
def test_a_value_that_asks_for_nothing_is_told(stage: Stage) -> None:
    name = stage.cluster()
    stage.annotate(name, "=true")
    assert "set it to 'all' or remove it" in stage.told(name, "WatchNotCreated")
    assert stage.watches.kubectl("get", "rjw", name, "--ignore-not-found") == ""
    stage.annotate(name)
    stage.made(name)


@pytest.mark.slow
def test_the_watch_goes_with_its_raycluster(stage: Stage) -> None:
    name = stage.cluster()
    stage.annotate(name)
    stage.made(name)
    stage.watches.kubectl("delete", "raycluster", name)
    stage.gone(name, 60)
