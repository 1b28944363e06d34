"""The API server goes away and comes back: what happened meanwhile is told in full, and once."""

from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.cluster.conftest import ROOT, SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from tests.cluster.controller import Controller
from tests.cluster.watches import Watches, conditions, first_log, log_of, polled
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import TERMINAL, RayHead
from tests.ray.fakedashboard import FakeDashboard

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(180)]

POD = "203.0.113.7"

ENTRYPOINT = """python -uc "
import sys, time
for i in range(60):
    print('line', i)
    time.sleep(0.1)
sys.exit(3)
" """


@pytest.mark.real_ray
def test_a_job_that_ends_while_the_api_server_is_away_gets_its_verdict_and_one_event(
    ray_head: RayHead, tmp_path: Path
) -> None:
    name = f"job-{uuid4().hex[:8]}"
    # A control plane of its own: the other tests' controllers need theirs all the time.
    with ControlPlane() as plane, plane.namespace() as namespace:
        watches = Watches(plane, namespace)
        kubeconfig = _installed(plane, namespace, ray_head)
        override = f"{namespace}/shared={ray_head.dashboard_url}"
        with Controller(
            kubeconfig, tmp_path / "log", "--namespace", namespace, "--dashboard-override", override
        ) as one:
            watches.apply(name, name)
            ray_head.submit(ENTRYPOINT, submission_id=name)
            watches.wait_until(name, lambda status: status.get("state") == "Running", 60)
            plane.kill_apiserver()
            assert any(state in TERMINAL for state in polled(lambda: ray_head.job(name)["status"], 60))
            plane.start_apiserver()
            status = watches.wait(name, timeout=60)
            assert watches.reasons(name) == ["JobRunning", "JobFailed"]
            assert status["state"] == "Failed"
            assert conditions(status)["Succeeded"]["reason"] == "JobFailed"
            log = watches.wait_until(name, lambda now: first_log(now).get("complete"))["jobs"][0]["log"]
            assert log["lines"] == log_of(ray_head, name).count(b"\n")
            one.stop()
            assert watches.reasons(name) == ["JobRunning", "JobFailed"]
            assert "Traceback" not in one.tail(1000)


def test_an_api_server_that_is_also_the_way_to_the_dashboard_loses_no_job_by_its_absence(tmp_path: Path) -> None:
    ends, goes_on = f"job-{uuid4().hex[:8]}", f"job-{uuid4().hex[:8]}"
    fake = FakeDashboard()
    jobs = {name: fake.add_job(name, b"one\n", "RUNNING") for name in (ends, goes_on)}
    try:
        with ControlPlane() as plane, plane.namespace() as namespace, plane.pod_network() as network:
            watches = Watches(plane, namespace)
            kubeconfig = _installed_behind_the_api_server(plane, namespace)
            url = urlsplit(fake.url)
            network.routes[POD, raycluster.PORTS["dashboard"]] = (str(url.hostname), url.port or 0)
            with Controller(kubeconfig, tmp_path / "log", "--namespace", namespace, "--use-kubernetes-proxy") as one:
                for name in jobs:
                    watches.apply(name, name)
                    watches.wait_until(name, lambda status: status.get("state") == "Running", 60)
                plane.kill_apiserver()
                asked = len(fake.requests)
                jobs[ends].append(b"two\n")
                jobs[ends].finish("FAILED")
                plane.start_apiserver()
                status = watches.wait(ends, timeout=60)
                assert status["state"] == "Failed"
                watches.wait_until(ends, lambda now: first_log(now).get("tail") == ["one", "two"])
                watches.wait_reason(goes_on, "DashboardReachable", "Answering")
                assert watches.status(goes_on)["state"] == "Running"
                assert len(fake.requests) > asked
                one.stop()
                told = [[each for each in watches.reasons(name) if each.startswith("Job")] for name in (ends, goes_on)]
                assert told == [["JobRunning", "JobFailed"], ["JobRunning"]]
                assert "Traceback" not in one.tail(1000)
    finally:
        fake.stop()


def _installed_behind_the_api_server(plane: ControlPlane, namespace: str) -> Path:
    """Do what `_installed` does; the head's Pod can be reached by the API server alone."""
    raycluster.install_crd(plane)
    for folder in ("rbac", "proxy"):
        plane.apply(ROOT / "manifests" / folder, "--server-side")
    raycluster.create(plane, namespace, "shared")
    raycluster.create_head_service(plane, namespace, "shared")
    raycluster.create_head_pod(plane, namespace, "shared", "shared-head", ip=POD)
    raycluster.set_head_ready(plane, namespace, "shared", head_ip=POD, pod_name="shared-head")
    return plane.service_account_kubeconfig(SYSTEM_NAMESPACE, SERVICE_ACCOUNT)


def _installed(plane: ControlPlane, namespace: str, head: RayHead) -> Path:
    """Install what an administrator installs and a RayCluster; return a kubeconfig of the controller's account."""
    raycluster.install_crd(plane)
    plane.apply(ROOT / "manifests" / "rbac", "--server-side")
    raycluster.ready_cluster(plane, namespace, "shared", head_ip=head.node_ip)
    return plane.service_account_kubeconfig(SYSTEM_NAMESPACE, SERVICE_ACCOUNT)
