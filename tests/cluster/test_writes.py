"""What the controller writes: the status of RayJobWatches, Events, and nothing else."""

from uuid import uuid4

import pytest

from tests.cluster.conftest import SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from tests.cluster.watches import Watches
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.real_ray, pytest.mark.timeout(120)]

USER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"
ALLOWED = {
    ("patch", "rayjobwatch.dev", "rayjobwatches", "status"),
    ("create", "", "events", ""),
}


def test_the_audit_log_shows_no_other_write(control_plane: ControlPlane, watches: Watches, ray_head: RayHead) -> None:
    name = f"job-{uuid4().hex[:8]}"
    watches.apply(name, ray_head.submit("exit 1", submission_id=name))
    watches.wait(name)
    writes = set()
    for event in control_plane.audit_events():
        if event["user"]["username"] == USER and event["verb"] not in ("get", "list", "watch"):
            where = event["objectRef"]
            writes.add((event["verb"], where.get("apiGroup", ""), where["resource"], where.get("subresource", "")))
    assert writes == ALLOWED


def test_the_rights_of_the_controller_allow_no_other_write(control_plane: ControlPlane, watches: Watches) -> None:
    for verb, what in [
        ("patch", "rayclusters"),
        ("update", "rayclusters"),
        ("patch", "rayclusters/status"),
        ("patch", "rayjobwatches"),
        ("delete", "rayjobwatches"),
        ("get", "secrets"),
        ("create", "pods"),
    ]:
        done = control_plane.kubectl("auth", "can-i", verb, what, "--as", USER, "-n", watches.namespace, check=False)
        assert done.stdout.strip() == "no", (verb, what)


def test_a_raycluster_is_left_as_it_was(watches: Watches, ray_head: RayHead) -> None:
    name = f"job-{uuid4().hex[:8]}"
    fields = ("get", "raycluster", "shared", "-o", "jsonpath={.metadata.resourceVersion}")
    before = watches.kubectl(*fields)
    watches.apply(name, ray_head.submit("exit 1", submission_id=name))
    watches.wait(name)
    assert watches.kubectl(*fields) == before
    selector = "involvedObject.kind=RayCluster,involvedObject.name=shared,reason=JobFailed"
    assert name in watches.kubectl("get", "events", "--field-selector", selector)
