"""`kubectl delete` of watches that are to stop jobs first always returns, whatever is away."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from rayjobwatch.model.deletion import LONGEST
from tests.cluster.controller import Controller
from tests.cluster.test_stop import SLEEPING
from tests.cluster.watches import Watches, polled
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.real_ray, pytest.mark.slow, pytest.mark.timeout(240)]

BOUND = LONGEST.seconds + 10


@pytest.fixture
def controller_of_own(
    control_plane: ControlPlane, namespace: str, installed: Path, head: RayHead, tmp_path: Path
) -> Iterator[Controller]:
    """Run a controller for a namespace with a RayCluster of its own."""
    raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=head.node_ip)
    override = f"{namespace}/shared={head.dashboard_url}"
    arguments = ["--namespace", namespace, "--dashboard-override", override, "--allow-dashboard-url", "*"]
    with Controller(installed, tmp_path / "log", *arguments) as running:
        yield running


@pytest.fixture
def own(control_plane: ControlPlane, namespace: str, controller_of_own: Controller) -> Watches:
    """Return the watches that this controller serves."""
    return Watches(control_plane, namespace)


def _running(watches: Watches, head: RayHead, **spec: object) -> str:
    name = f"gone-{uuid4().hex[:8]}"
    head.submit(SLEEPING, submission_id=name)
    watches.apply(name, name, stop={"onDeletion": True}, **spec)
    watches.wait_until(name, lambda status: status.get("state") == "Running", 60)
    return name


def _delete(watches: Watches, *what: str, bound: float = BOUND) -> float:
    """Delete as a user does; return how many seconds it took."""
    started = time.monotonic()
    watches.kubectl("delete", *what, f"--timeout={bound:.0f}s", timeout=bound + 10)
    return time.monotonic() - started


def test_a_dead_dashboard_holds_a_watch_back_for_the_bound_at_most(own: Watches, head: RayHead) -> None:
    name = _running(own, head)
    head.kill_dashboard()
    took = _delete(own, "rjw", name)
    assert took > LONGEST.seconds - 5
    assert own.reasons(name)[-1] == "StopFailed"
    head.restart_dashboard()
    assert head.job(name)["status"] == "RUNNING"


def test_without_the_raycluster_it_is_gone_at_once(own: Watches, head: RayHead) -> None:
    name = _running(own, head)
    own.kubectl("delete", "raycluster", "shared")
    assert _delete(own, "rjw", name) < 15


def test_a_namespace_goes_with_its_watches_and_their_jobs_are_stopped(own: Watches, head: RayHead) -> None:
    # By the dashboard's URL: a RayCluster of the namespace may go first, and then nobody knows where to stop them.
    names = [_running(own, head, dashboard={"url": head.dashboard_url}) for _ in range(3)]
    _delete(own, "namespace", own.namespace)
    assert [head.job(name)["status"] for name in names] == ["STOPPED"] * 3


def test_a_namespace_goes_although_the_dashboard_is_dead(own: Watches, head: RayHead) -> None:
    _running(own, head)
    head.kill_dashboard()
    _delete(own, "namespace", own.namespace)


def test_a_controller_that_starts_anew_meanwhile_lets_go_all_the_same(
    own: Watches, head: RayHead, controller_of_own: Controller
) -> None:
    name = _running(own, head)
    controller_of_own.kill()
    own.kubectl("delete", "rjw", name, "--wait=false")
    assert "deletionTimestamp" in own.get(name)["metadata"]
    controller_of_own.start()
    assert any(not own.kubectl("get", "rjw", name, "--ignore-not-found") for _ in polled(lambda: None, BOUND))
    assert head.job(name)["status"] == "STOPPED"
