"""The life of a RayCluster as KubeRay writes it, and what a watch says meanwhile: no state passes for another.

What comes of jobs on real heads is in `test_heads` and `test_faults`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.controller import Controller
from tests.cluster.watches import Json, Watches, conditions
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.ray.fakedashboard import FakeDashboard

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

MULTIKUEUE = "kueue.x-k8s.io/multikueue"
# For documentation: nobody is there.
NOBODY = "2001:db8::1"
HEAD_IP = "127.0.0.9"
FINALIZER = "example.com/held"


@dataclass
class Stage:
    """A namespace whose RayCluster `shared` has its dashboard at `fake`, once there is such a RayCluster."""

    watches: Watches
    fake: FakeDashboard

    @property
    def place(self) -> tuple[ControlPlane, str]:
        """Where RayClusters are made."""
        return self.watches.control_plane, self.watches.namespace

    def make_ready(self) -> None:
        """Make the RayCluster and its head, as far as anybody tells."""
        raycluster.create(*self.place, "shared")
        raycluster.set_head_ready(*self.place, "shared", head_ip=HEAD_IP)

    def wait(self, name: str, reason: str) -> str:
        """Wait until both conditions say why no dashboard is asked; return what helps."""
        ready = self.watches.wait_reason(name, "Ready", reason)
        reachable = self.watches.wait_reason(name, "DashboardReachable", reason)
        assert (ready["status"], reachable["status"]) == ("False", "False")
        return str(ready["message"])

    def wait_up(self, name: str) -> None:
        """Wait until the dashboard is asked."""
        self.watches.wait_reason(name, "Ready", "Watching")
        self.watches.wait_reason(name, "DashboardReachable", "Answering")


@pytest.fixture
def stage(control_plane: ControlPlane, namespace: str, installed: Path, tmp_path: Path) -> Iterator[Stage]:
    """Run a controller for a namespace."""
    fake = FakeDashboard()
    arguments = ["--namespace", namespace, "--dashboard-override", f"{namespace}/shared={fake.url}"]
    try:
        with Controller(installed, tmp_path / "log", *arguments):
            yield Stage(Watches(control_plane, namespace), fake)
    finally:
        fake.stop()


@pytest.mark.slow
def test_a_watch_says_in_which_state_its_cluster_is_and_outlives_it(stage: Stage) -> None:
    name, (over, lost, later) = fresh(), (f"{each}-{uuid4().hex[:8]}" for each in ("over", "lost", "later"))
    stage.fake.add_job(over, b"one\nTraceback\nKeyError: 'x'\n", "FAILED")
    stage.fake.add_job(lost, b"two\n", "RUNNING")
    stage.watches.apply(name, over, lost, later)
    assert "is its name right?" in stage.wait(name, "RayClusterNotFound")
    raycluster.create(*stage.place, "shared")
    assert "does KubeRay run?" in stage.wait(name, "RayClusterProvisioning")
    raycluster.set_provisioning(*stage.place, "shared")
    stage.watches.wait_until(name, lambda now: "[ray-head]" in conditions(now)["Ready"]["message"])
    assert stage.watches.status(name)["state"] == "Waiting"

    raycluster.set_head_ready(*stage.place, "shared", head_ip=HEAD_IP)
    stage.wait_up(name)
    known = stage.watches.wait_until(name, lambda now: is_read(now, over) and tail(now, lost) == ["two"])
    assert states(known) == {over: "Failed", lost: "Running", later: "Waiting"}

    for change, reason, helps in (
        (raycluster.set_head_not_ready, "RayClusterNotReady", "kubectl describe pod -l ray.io/cluster=shared"),
        (raycluster.lose_head, "HeadPodNotFound", "kubectl describe raycluster shared"),
        (raycluster.begin_to_suspend, "RayClusterSuspending", "its jobs"),
        (raycluster.suspend, "RayClusterSuspended", "suspend: false"),
        (raycluster.resume, "RayClusterProvisioning", "to come up"),
    ):
        change(*stage.place, "shared")
        assert helps in stage.wait(name, reason)
        assert states(stage.watches.status(name)) == states(known)
        assert "staleSince" in stage.watches.status(name)
    raycluster.set_head_ready(*stage.place, "shared", head_ip=HEAD_IP)
    stage.wait_up(name)
    assert "staleSince" not in stage.watches.status(name)

    hold(stage, "shared")
    assert "Lost" in stage.wait(name, "RayClusterDeleting")
    assert states(stage.watches.status(name)) == states(known)
    let_go(stage, "shared")
    stage.wait(name, "RayClusterNotFound")
    last = stage.watches.wait_until(name, lambda now: states(now)[lost] == "Lost")
    assert states(last) == {over: "Failed", lost: "Lost", later: "Waiting"}
    assert row(last, over) == row(known, over)
    assert tail(last, lost) == ["two"]
    assert last["cluster"] == known["cluster"]

    stage.fake.add_job(later, b"three\n")
    stage.make_ready()
    last = stage.watches.wait(name)
    assert states(last) == {over: "Failed", lost: "Lost", later: "Succeeded"}
    assert row(last, over) == row(known, over)


@pytest.mark.slow
def test_a_job_gets_no_verdict_from_another_cluster_of_the_same_name(stage: Stage) -> None:
    name, job = fresh(), f"job-{uuid4().hex[:8]}"
    submitted = stage.fake.add_job(job, b"one\n", "RUNNING")
    stage.make_ready()
    stage.watches.apply(name, job)
    before = stage.watches.wait_until(name, lambda now: now.get("state") == "Running")
    # The new one is there at once; its dashboard calls its session the same and has a job of that id.
    hold(stage, "shared")
    stage.wait(name, "RayClusterDeleting")
    submitted.finish("FAILED")
    let_go(stage, "shared")
    stage.make_ready()
    status = stage.watches.wait(name)
    assert status["state"] == "Lost"
    told = [reason for reason in stage.watches.reasons(name) if reason.startswith("Job")]
    assert told == ["JobRunning", "JobLost"]
    stage.watches.apply("another", job)
    after = stage.watches.wait("another")
    assert after["state"] == "Failed"
    assert after["cluster"]["uid"] != before["cluster"]["uid"]


@pytest.mark.slow
def test_a_head_that_kuberay_says_is_ready_is_not_taken_for_granted(stage: Stage) -> None:
    name, cluster = fresh(), fresh()
    raycluster.create(*stage.place, cluster)
    stage.watches.apply(name, "raysubmit_1", rayCluster={"name": cluster})
    pod = f"{cluster}-head"
    raycluster.set_head_ready(*stage.place, cluster, head_ip=NOBODY, pod_name=pod)
    stage.watches.wait_reason(name, "Ready", "HeadServiceNotFound")
    raycluster.create_head_service(*stage.place, cluster, dashboard_port=False)
    said = stage.watches.wait_reason(name, "Ready", "DashboardPortNotFound", timeout=40)
    assert "declare containerPort 8265" in said["message"]
    stage.watches.kubectl("delete", "service", f"{cluster}-head-svc")
    raycluster.create_head_service(*stage.place, cluster)
    said = stage.watches.wait_reason(name, "Ready", "HeadPodNotFound", timeout=40)
    assert pod in said["message"]
    assert "a second head Service" in said["message"]
    raycluster.create_head_pod(*stage.place, cluster, pod, ip=NOBODY)
    # No Pods on such a machine: found, but not to be reached.
    found = {"DashboardUnreachable", "DashboardTimeout"}
    status = stage.watches.wait_until(name, lambda now: conditions(now).get("Ready", {}).get("reason") in found, 40)
    url = f"http://{cluster}-head-svc.{stage.watches.namespace}.svc.cluster.local:8265"
    assert url in conditions(status)["Ready"]["message"]


def test_a_copy_of_a_cluster_that_runs_elsewhere_is_not_asked(stage: Stage) -> None:
    name, cluster = fresh(), fresh()
    raycluster.create(*stage.place, cluster, managedBy=MULTIKUEUE)
    raycluster.set_head_ready(*stage.place, cluster, head_ip=NOBODY)
    stage.watches.apply(name, "raysubmit_1", rayCluster={"name": cluster})
    assert MULTIKUEUE in stage.wait(name, "RayClusterManagedElsewhere")
    assert conditions(stage.watches.status(name))["Stalled"]["status"] == "True"


def fresh() -> str:
    """Return a name that no test has used."""
    return f"x-{uuid4().hex[:8]}"


def hold(stage: Stage, cluster: str) -> None:
    """Delete a RayCluster that a finalizer holds back, as KubeRay's own does until Redis is cleaned up."""
    patch_finalizers(stage, cluster, FINALIZER)
    stage.watches.kubectl("delete", "raycluster", cluster, "--wait=false")


def let_go(stage: Stage, cluster: str) -> None:
    """Let a RayCluster be gone."""
    patch_finalizers(stage, cluster)


def patch_finalizers(stage: Stage, cluster: str, *finalizers: str) -> None:
    patch = json.dumps({"metadata": {"finalizers": finalizers}})
    stage.watches.kubectl("patch", "raycluster", cluster, "--type=merge", "-p", patch)


def row(status: Json, job: str) -> Json:
    """Return the row of a job, empty while there is none."""
    return next((each for each in status.get("jobs") or [] if each["id"] == job), {})


def states(status: Json) -> dict[str, str]:
    """Return the states of the jobs."""
    return {each["id"]: each["state"] for each in status.get("jobs") or []}


def tail(status: Json, job: str) -> list[str]:
    """Return the last lines of a job's log."""
    return list((row(status, job).get("log") or {}).get("tail") or [])


def is_read(status: Json, job: str) -> bool:
    """Whether a job is over and its log was read to its end."""
    return bool((row(status, job).get("log") or {}).get("complete"))
