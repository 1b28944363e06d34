"""What the controller writes: status of RayJobWatches, its finalizer on them, the annotated ones, Events, no more."""

from uuid import uuid4

import pytest

from tests.cluster.conftest import SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from tests.cluster.watches import Watches
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.real_ray, pytest.mark.timeout(120)]

USER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"
DELETION = ("delete", "rayjobwatch.dev", "rayjobwatches", "")  # of a watch whose spec has a time to live
MADE = ("create", "rayjobwatch.dev", "rayjobwatches", "")  # that a RayCluster's annotation asks for
COUNT = ("patch", "", "events", "")  # how often a log rule fired
TOKEN = ("create", "", "serviceaccounts", "token")  # of RayClusters that take Kubernetes' own
FINALIZER = ("patch", "rayjobwatch.dev", "rayjobwatches", "")
ALLOWED = {
    ("patch", "rayjobwatch.dev", "rayjobwatches", "status"),
    ("create", "", "events", ""),
}


def test_the_audit_log_shows_no_other_write(control_plane: ControlPlane, watches: Watches, ray_head: RayHead) -> None:
    name = f"job-{uuid4().hex[:8]}"
    watches.apply(name, ray_head.submit("exit 1", submission_id=name))
    watches.wait(name)
    assert {write for write, _ in _writes(control_plane)} - {FINALIZER, DELETION, MADE, COUNT, TOKEN} == ALLOWED


def test_only_a_watch_that_is_to_do_something_first_gets_a_finalizer(
    control_plane: ControlPlane, watches: Watches, ray_head: RayHead
) -> None:
    plain, holding = f"job-{uuid4().hex[:8]}", f"job-{uuid4().hex[:8]}"
    job = ray_head.submit("exit 0", submission_id=plain)
    watches.apply(plain, job)
    watches.apply(holding, job, stop={"onDeletion": True})
    watches.wait(plain)
    watches.wait(holding)
    before, after = watches.get(plain), watches.get(holding)
    assert "finalizers" not in before["metadata"]
    assert after["metadata"]["finalizers"] == ["rayjobwatch.dev/cleanup"]
    assert after["spec"] == {**before["spec"], "stop": {"onDeletion": True}}
    watches.kubectl("delete", "rjw", holding, "--timeout=20s")
    # What came too late, after a status of the same moment, was refused and done again.
    patched = [name for write, name in _writes(control_plane, done=True) if write == FINALIZER]
    assert patched.count(holding) == 2
    assert plain not in patched


def _writes(control_plane: ControlPlane, *, done: bool = False) -> list[tuple[tuple[str, str, str, str], str]]:
    """Return what the controller has written: verb, group, resource and subresource, and the object's name.

    done: without what was refused.
    """
    found = []
    for event in control_plane.audit_events():
        is_write = event["user"]["username"] == USER and event["verb"] not in ("get", "list", "watch")
        if is_write and (not done or event["responseStatus"]["code"] == 200):
            where = event["objectRef"]
            write = (event["verb"], where.get("apiGroup", ""), where["resource"], where.get("subresource", ""))
            found.append((write, where.get("name", "")))
    return found


def test_the_rights_of_the_controller_allow_no_other_write(control_plane: ControlPlane, watches: Watches) -> None:
    for verb, what in [
        ("patch", "rayclusters"),
        ("update", "rayclusters"),
        ("patch", "rayclusters/status"),
        ("update", "rayjobwatches"),
        ("deletecollection", "rayjobwatches"),
        ("delete", "rayclusters"),
        ("delete", "rayjobs"),
        ("get", "rayservices"),
        ("list", "secrets"),
        ("watch", "secrets"),
        ("create", "secrets"),
        ("list", "pods"),
        ("create", "pods"),
        ("create", "serviceaccounts/token"),
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
