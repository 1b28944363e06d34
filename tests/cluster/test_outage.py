"""The API server goes away and comes back: what happened meanwhile is told in full, and once."""

from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.conftest import ROOT, SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from tests.cluster.controller import Controller
from tests.cluster.watches import Watches, conditions, first_log, log_of, polled
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import TERMINAL, RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.real_ray, pytest.mark.timeout(180)]

ENTRYPOINT = """python -uc "
import sys, time
for i in range(60):
    print('line', i)
    time.sleep(0.1)
sys.exit(3)
" """


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


def _installed(plane: ControlPlane, namespace: str, head: RayHead) -> Path:
    """Install what an administrator installs and a RayCluster; return a kubeconfig of the controller's account."""
    raycluster.install_crd(plane)
    plane.apply(ROOT / "manifests" / "rbac", "--server-side")
    raycluster.ready_cluster(plane, namespace, "shared", head_ip=head.node_ip)
    return plane.service_account_kubeconfig(SYSTEM_NAMESPACE, SERVICE_ACCOUNT)
