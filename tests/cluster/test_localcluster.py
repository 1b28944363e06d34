"""The ground under all other cluster tests: what it starts is real, and what it starts it also ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.localcluster import raycluster
from tests.localcluster.guard import parents
from tests.localcluster.kubectl import KubectlError
from tests.localcluster.processes import Guarded, command_line
from tests.localcluster.rayhead import RayHead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.localcluster.controlplane import ControlPlane

NEEDS_OWN_CLUSTER = pytest.mark.skipif("KUBECONFIG" in os.environ, reason="needs an audit log, so a cluster of our own")
ASSETS = os.environ.get("KUBEBUILDER_ASSETS")
NEEDS_CONTROLLER_MANAGER = pytest.mark.skipif(
    bool(ASSETS) and not Path(ASSETS or "", "kube-controller-manager").exists() and "KUBECONFIG" not in os.environ,
    reason="KUBEBUILDER_ASSETS has no kube-controller-manager",
)


def test_the_api_server_is_ready(control_plane: ControlPlane) -> None:
    assert control_plane.kubectl("get", "--raw", "/readyz").stdout == "ok"


def test_a_raycluster_goes_through_its_states(control_plane: ControlPlane, namespace: str) -> None:
    def status() -> tuple[str | None, str | None, str | None]:
        found = control_plane.get("raycluster", "shared", "-n", namespace).get("status", {})
        conditions = {item["type"]: item["status"] for item in found.get("conditions", [])}
        return found.get("state"), conditions.get("HeadPodReady"), found.get("head", {}).get("podIP")

    raycluster.install_crd(control_plane)
    raycluster.create(control_plane, namespace, "shared")
    assert status() == (None, None, None)
    raycluster.set_provisioning(control_plane, namespace, "shared")
    assert status() == (None, "False", None)
    raycluster.set_head_ready(control_plane, namespace, "shared", head_ip="192.0.2.7")
    assert status() == ("ready", "True", "192.0.2.7")
    raycluster.replace_head(control_plane, namespace, "shared", head_ip="192.0.2.8")
    assert status() == ("ready", "True", "192.0.2.8")
    raycluster.suspend(control_plane, namespace, "shared")
    assert status() == ("suspended", "False", None)


@NEEDS_CONTROLLER_MANAGER
def test_what_is_owned_by_the_deleted_is_collected(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "configmap", "owner", "-n", namespace)
    uid = control_plane.get("configmap", "owner", "-n", namespace)["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    metadata = {"name": "owned", "namespace": namespace, "ownerReferences": [reference]}
    control_plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    control_plane.kubectl("delete", "configmap", "owner", "-n", namespace)
    control_plane.kubectl("wait", "--for=delete", "configmap/owned", "-n", namespace, "--timeout=45s")


def test_a_service_account_has_its_own_rights_only(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    control_plane.kubectl("create", "role", "reader", "-n", namespace, "--verb=list", "--resource=services")
    account = f"--serviceaccount={namespace}:reader"
    control_plane.kubectl("create", "rolebinding", "reader", "-n", namespace, "--role=reader", account)
    kubeconfig = control_plane.service_account_kubeconfig(namespace, "reader")
    assert kubeconfig.stat().st_mode & 0o077 == 0
    control_plane.kubectl("get", "services", "-n", namespace, f"--kubeconfig={kubeconfig}")
    with pytest.raises(KubectlError, match=f"system:serviceaccount:{namespace}:reader.*cannot list resource"):
        control_plane.kubectl("get", "secrets", "-n", namespace, f"--kubeconfig={kubeconfig}")


@NEEDS_OWN_CLUSTER
def test_the_audit_log_has_who_wrote_what(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "configmap", "audited", "-n", namespace)
    [event] = control_plane.audit_events(
        lambda event: event["objectRef"].get("namespace") == namespace and event["objectRef"].get("name") == "audited"
    )
    assert (event["user"]["username"], event["verb"], event["objectRef"]["resource"]) == (
        "admin",
        "create",
        "configmaps",
    )


@pytest.mark.slow
@NEEDS_CONTROLLER_MANAGER
def test_a_deleted_namespace_goes(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "configmap", "content", "-n", namespace)
    control_plane.kubectl("delete", "namespace", namespace, "--timeout=40s")
    assert control_plane.kubectl("get", "namespace", namespace, check=False).returncode == 1


@pytest.fixture(scope="module")
def other() -> Iterator[RayHead]:
    """Start a second head, with token auth, and see to it that nothing is left of it in the end."""
    with RayHead(num_cpus=2, token="a-token-of-this-test") as head:
        yield head
        pids, directory = set(head.processes()), head.session_directory.parent
    assert not pids & set(parents())
    assert not directory.exists()


def test_two_ray_heads_live_side_by_side(ray_head: RayHead, other: RayHead) -> None:
    mine, theirs = ray_head.submit("sleep 600"), other.submit("setsid sleep 600 & sleep 600")
    other.wait_job(theirs, {"RUNNING"})
    rows = [{row["submission_id"] for row in head.request("GET", "/api/jobs/")} for head in (ray_head, other)]
    assert (mine in rows[0], theirs in rows[0]) == (True, False)
    assert (mine in rows[1], theirs in rows[1]) == (False, True)
    assert any("sleep 600" in line for line in other.processes().values())
    ray_head.stop_job(mine)


@pytest.mark.slow
def test_a_head_with_a_token_asks_for_it(other: RayHead) -> None:
    job = other.submit("sleep 600")
    assert job in other.cli("job", "list").stdout
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{other.dashboard_url}/api/jobs/{job}", timeout=10)


def test_a_dashboard_comes_back_with_its_jobs(other: RayHead) -> None:
    job = other.submit("sleep 600")
    other.kill_dashboard()
    with pytest.raises(OSError, match="refused"):
        other.job(job)
    other.restart_dashboard()
    assert other.wait_job(job, {"RUNNING"})["submission_id"] == job


def test_what_a_killed_owner_started_is_ended(tmp_path: Path) -> None:
    """A test run that gets SIGKILL leaves nothing, not even a process that fled into a session of its own."""
    owned = tmp_path / "owned"
    owned.mkdir()
    code = (
        "import pathlib, sys, time; from tests.localcluster.processes import Guarded;"
        "g = Guarded(['sh', '-c', 'setsid sleep 600 & sleep 600'], log=pathlib.Path(sys.argv[1]) / 'log',"
        " owned_directory=pathlib.Path(sys.argv[1]));"
        "time.sleep(0.3) or print(g.pid, *g.processes(), flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, owned], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        pids = [int(word) for word in owner.stdout.readline().split()]
        owner.send_signal(signal.SIGKILL)
    assert len(pids) >= 4
    deadline = time.monotonic() + 10
    while set(pids) & set(parents()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not set(pids) & set(parents())
    assert not owned.exists()


def test_a_guarded_command_has_its_exit_code(tmp_path: Path) -> None:
    command = Guarded(["sh", "-c", "echo out; exit 7"], log=tmp_path / "log")
    command.wait(10)
    assert command.exit_code() == 7
    assert (tmp_path / "log").read_text() == "out\n"
    command.end()
    assert command_line(command.pid) == ""


@pytest.mark.slow
def test_up_prints_what_to_export_and_down_ends_it(tmp_path: Path) -> None:
    def run(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "tests.localcluster", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout

    environment = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    environment["XDG_STATE_HOME"] = str(tmp_path)
    exported = dict(line.removeprefix("export ").split("=", 1) for line in run("up", "--no-ray").splitlines())
    try:
        kubeconfig = Path(exported["KUBECONFIG"])
        assert json.loads(kubeconfig.read_text())["current-context"] == "local"
        assert exported["KUBECONFIG"] in run("status")
        run("up", "--no-ray", code=1)
    finally:
        run("down")
    assert not kubeconfig.parent.exists()
    run("status", code=1)
