"""RayClusters as KubeRay's operator writes them, state by state: each has its own reason, and says what helps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.engine.objects import cluster_part
from rayjobwatch.model.raycluster import cluster_problem, manager_problem
from rayjobwatch.model.reasons import Reason

WAITS = {"type": "HeadPodReady", "status": "False", "reason": "ImagePullBackOff", "message": "ray-head: no such image"}
GONE = {"type": "HeadPodReady", "status": "False", "reason": "HeadPodNotFound", "message": "Head Pod not found"}
UNKNOWN = {"type": "HeadPodReady", "status": "Unknown", "reason": "Unknown"}
UP = {"type": "HeadPodReady", "status": "True", "reason": "HeadPodRunningAndReady"}
QUOTA = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreateHeadPod"}
QUOTA |= {"message": "FailedCreateHeadPod\nexceeded quota: gpus"}
FINE = {"type": "ReplicaFailure", "status": "False", "reason": "", "message": ""}
SUSPENDED = {"suspend": True}


def is_(kind: str, status: bool) -> dict[str, str]:
    return {"type": kind, "status": str(status), "reason": kind}


NEVER, ONCE = is_("RayClusterProvisioned", False), is_("RayClusterProvisioned", True)
SUSPENDING, ASLEEP = is_("RayClusterSuspending", True), is_("RayClusterSuspended", True)
AWAKE = [is_("RayClusterSuspending", False), is_("RayClusterSuspended", False)]


def cluster(
    status: Mapping[str, Any] | None = None, spec: Mapping[str, Any] | None = None, *, deleted: bool = False
) -> dict[str, Any]:
    """Return what the controller keeps of a RayCluster."""
    meta = {"name": "shared", "namespace": "ml", "uid": "u1"}
    meta |= {"deletionTimestamp": "2026-11-21T10:00:00Z"} if deleted else {}
    return cluster_part({"metadata": meta, "spec": spec or {}, "status": status})


def told(*conditions: dict[str, str], state: str = "") -> dict[str, Any]:
    """Return a status."""
    return {"conditions": list(conditions), "head": {}} | ({"state": state} if state else {})


@pytest.mark.parametrize(
    ("found", "reason", "says"),
    [
        (cluster(), "RayClusterProvisioning", "no status yet: does KubeRay run?"),
        (cluster({}), "RayClusterProvisioning", "kubectl describe raycluster shared"),
        (cluster(told(GONE, NEVER, *AWAKE)), "RayClusterProvisioning", "False (HeadPodNotFound: Head Pod not found)"),
        (cluster(told(WAITS, NEVER)), "RayClusterProvisioning", "to come up: HeadPodReady is False (ImagePull"),
        (cluster(told(WAITS, NEVER)), "RayClusterProvisioning", "-l ray.io/cluster=shared,ray.io/node-type=head"),
        (cluster(told(GONE, NEVER, QUOTA)), "RayClusterProvisioning", "FailedCreateHeadPod: exceeded quota: gpus"),
        (cluster(told(WAITS, ONCE, state="ready")), "RayClusterNotReady", "no such image"),
        (cluster(told(UNKNOWN, ONCE, state="ready")), "RayClusterNotReady", "HeadPodReady is Unknown"),
        (cluster(told(UNKNOWN, ONCE, QUOTA)), "RayClusterNotReady", "exceeded quota"),
        (cluster({"state": "failed"}), "RayClusterNotReady", "its state is failed"),
        (cluster({"state": ""}), "RayClusterNotReady", "its state is not said"),
        (cluster(told(GONE, ONCE, state="ready")), "HeadPodNotFound", "waiting for KubeRay to make another"),
        (cluster(told(GONE, ONCE, QUOTA, state="ready")), "HeadPodNotFound", "exceeded quota"),
        (cluster(told(GONE, ONCE, FINE, state="ready")), "HeadPodNotFound", "kubectl describe raycluster shared"),
        (cluster(told(UP, ONCE, *AWAKE, state="ready"), SUSPENDED), "RayClusterSuspending", "its jobs"),
        (cluster({"state": "ready"}, SUSPENDED), "RayClusterSuspending", "its jobs"),
        (cluster(told(UP, ONCE, SUSPENDING, state="ready")), "RayClusterSuspending", "its jobs"),
        (cluster(told(GONE, NEVER, ASLEEP, state="suspended"), SUSPENDED), "RayClusterSuspended", "suspend: false"),
        (cluster({"state": "suspended"}, SUSPENDED), "RayClusterSuspended", "suspend: false"),
        (cluster(None, SUSPENDED), "RayClusterSuspended", "suspend: false"),
        (cluster(told(GONE, NEVER, ASLEEP, state="suspended")), "RayClusterProvisioning", "to resume"),
        (cluster(told(WAITS, NEVER, *AWAKE, state="suspended")), "RayClusterProvisioning", "to come up"),
        (cluster(told(UP, ONCE), deleted=True), "RayClusterDeleting", "not over when it is gone are Lost"),
        (cluster(told(GONE, NEVER, ASLEEP), SUSPENDED, deleted=True), "RayClusterDeleting", "being deleted"),
    ],
)
def test_a_cluster_without_a_head_says_what_is_waited_for(found: dict[str, Any], reason: str, says: str) -> None:
    problem = cluster_problem(found)
    assert problem is not None
    assert (problem.reason, problem.stalled) == (reason, False)
    assert says in problem.message
    assert "shared" in problem.message


@pytest.mark.parametrize(
    "status",
    [
        told(UP, ONCE, *AWAKE, state="ready"),
        told(UP, NEVER, *AWAKE),  # its workers are not all there yet
        told(UP, QUOTA, ONCE),
        told(UP),
        {"state": "ready"},
        {"state": "ready", "conditions": None},
    ],
)
def test_a_cluster_whose_head_is_up_has_no_problem(status: dict[str, Any]) -> None:
    assert cluster_problem(cluster(status)) is None
    assert manager_problem(cluster(status)) is None


def test_a_cluster_whose_head_is_elsewhere_says_what_to_do() -> None:
    assert manager_problem(cluster(told(UP), {"managedBy": "ray.io/kuberay-operator"})) is None
    problem = manager_problem(cluster(told(UP), {"managedBy": "kueue.x-k8s.io/multikueue"}))
    assert problem is not None
    assert (problem.reason, problem.stalled) == ("RayClusterManagedElsewhere", True)
    assert "run by kueue.x-k8s.io/multikueue" in problem.message
    assert "--dashboard-override" in problem.message


RECORDED = yaml.safe_load(Path(__file__).with_name("raycluster_statuses.yaml").read_text())


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["name"])
def test_what_kuberay_was_seen_to_write_is_understood(recorded: dict[str, Any]) -> None:
    found = cluster(
        recorded["status"], {"suspend": recorded.get("suspend", False)}, deleted=recorded.get("deleted", False)
    )
    problem = cluster_problem(found)
    assert (problem.reason if problem else "") == recorded["reason"]


CONDITIONS = [WAITS, GONE, UNKNOWN, UP, QUOTA, NEVER, ONCE, SUSPENDING, ASLEEP, *AWAKE, {}, {"type": "HeadPodReady"}]


@given(st.lists(st.sampled_from(CONDITIONS)), st.sampled_from(["", "ready", "suspended", "x\n" * 999]), st.booleans())
def test_a_head_that_is_said_not_to_be_ready_is_never_asked(
    conditions: list[dict[str, str]], state: str, suspend: bool
) -> None:
    problem = cluster_problem(cluster(told(*conditions, state=state), {"suspend": suspend}))
    ready = [each.get("status") == "True" for each in conditions if each.get("type") == "HeadPodReady"]
    if suspend or (not ready[-1] if ready else state != "ready"):
        assert problem is not None
        assert problem.reason in Reason
        assert "\n" not in problem.message
