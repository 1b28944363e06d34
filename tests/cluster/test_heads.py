"""Heads and dashboards that go away: jobs are stale or lost, never wrongly failed."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.controller import Controller
from tests.cluster.watches import Watches, conditions
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.real_ray, pytest.mark.timeout(240)]


@pytest.fixture
def own(
    control_plane: ControlPlane, namespace: str, installed: Path, head: RayHead, tmp_path: Path
) -> Iterator[Watches]:
    """Return watches on the head that may be broken."""
    raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=head.node_ip)
    override = f"{namespace}/shared={head.dashboard_url}"
    with Controller(installed, tmp_path / "log", "--namespace", namespace, "--dashboard-override", override):
        yield Watches(control_plane, namespace)


@pytest.mark.slow
def test_a_dashboard_that_is_away_makes_states_stale_and_a_new_head_loses_the_jobs(own: Watches, head: RayHead) -> None:
    name = f"job-{uuid4().hex[:8]}"
    head.submit("sleep 600", submission_id=name)
    own.apply(name, name)
    own.wait_until(name, lambda status: status.get("state") == "Running", 60)

    head.kill_dashboard()
    own.wait_reason(name, "DashboardReachable", "DashboardUnreachable")
    status = own.status(name)
    assert status["state"] == "Running"
    assert "staleSince" in status
    assert conditions(status)["Finished"]["status"] == "False"

    head.restart_dashboard()
    own.wait_reason(name, "DashboardReachable", "Answering", 60)
    status = own.status(name)
    assert (status["state"], status.get("staleSince")) == ("Running", None)

    head.kill()
    own.wait_reason(name, "DashboardReachable", "DashboardUnreachable")
    assert own.status(name)["state"] == "Running"
    head.start()
    status = own.wait(name, timeout=90)
    assert status["state"] == "Lost"
    assert conditions(status)["Succeeded"]["reason"] == "JobLost"
    away = ["DashboardUnreachable", "DashboardReachable", "DashboardUnreachable"]
    assert own.reasons(name) == ["JobRunning", *away, "HeadReplaced", "JobLost"]
    (replaced,) = (event for event in own.events(name) if event["reason"] == "HeadReplaced")
    assert status["cluster"]["session"] in replaced["message"]


@pytest.mark.slow
def test_what_happens_to_a_dashboard_is_told_once_on_the_raycluster_however_many_watch_it(
    own: Watches, head: RayHead
) -> None:
    name = f"job-{uuid4().hex[:8]}"
    head.submit("sleep 600", submission_id=name)
    watches = [f"{name}-{number}" for number in range(5)]
    for watch in watches:
        own.apply(watch, name)
    for watch in watches:
        own.wait_until(watch, lambda status: status.get("state") == "Running", 60)
    head.kill()
    for watch in watches:
        own.wait_reason(watch, "DashboardReachable", "DashboardUnreachable")
    head.start()
    for watch in watches:
        assert own.wait(watch, timeout=90)["state"] == "Lost"
        assert own.reasons(watch) == ["JobRunning", "DashboardUnreachable", "HeadReplaced", "JobLost"]
    selector = "involvedObject.kind=RayCluster,involvedObject.name=shared"
    events = json.loads(own.kubectl("get", "events", "--field-selector", selector, "-o", "json"))["items"]
    assert sorted(event["reason"] for event in events) == ["DashboardUnreachable", "HeadReplaced"]
    uid = json.loads(own.kubectl("get", "raycluster", "shared", "-o", "json"))["metadata"]["uid"]
    assert {event["involvedObject"]["uid"] for event in events} == {uid}


def test_a_job_of_a_deleted_raycluster_is_lost(own: Watches, head: RayHead) -> None:
    name = f"job-{uuid4().hex[:8]}"
    head.submit("sleep 600", submission_id=name)
    own.apply(name, name)
    own.wait_until(name, lambda status: status.get("state") == "Running", 60)
    own.kubectl("delete", "raycluster", "shared")
    assert own.wait(name)["state"] == "Lost"
