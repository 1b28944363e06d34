"""Two namespaces: what whoever may write in one of them cannot make the controller do. A test per attempt."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cluster.conftest import SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from tests.cluster.controller import Controller
from tests.cluster.watches import Watches
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.ray.fakedashboard import FakeDashboard

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(120)]

TOKEN = f"canary-{uuid4().hex}"
JOB = "a"
# For documentation: nobody is there.
NOBODY = "2001:db8::1"
LINK_LOCAL = "169.254.169.254"


@dataclass
class Tenants:
    """A RayCluster `shared` of ours, which wants a token and is well, and the watches of the others' namespace."""

    ours: Watches
    theirs: Watches
    fake: FakeDashboard
    controller: Controller

    def cluster(self, **status: Any) -> str:
        """Make a RayCluster of theirs whose head is said to be ready, and its Service and Pod; return its name."""
        plane, name = self.theirs.control_plane, fresh()
        raycluster.create(plane, self.theirs.namespace, name)
        raycluster.create_head_service(plane, self.theirs.namespace, name)
        raycluster.create_head_pod(plane, self.theirs.namespace, name, f"{name}-head", ip=NOBODY)
        said = {"head_ip": NOBODY, "pod_name": f"{name}-head"} | status
        raycluster.set_head_ready(plane, self.theirs.namespace, name, **said)
        return name

    def refused(self, name: str, reason: str, **spec: Any) -> str:
        """Watch a RayCluster of theirs; return the message of the reason that is expected."""
        target = {} if "dashboard" in spec else {"rayCluster": {"name": name}}
        self.theirs.apply(name, JOB, **(target | spec))
        try:
            return str(self.theirs.wait_reason(name, "Ready", reason)["message"])
        finally:
            self.theirs.kubectl("delete", "rjw", name)

    def replace_service(self, name: str, **spec: Any) -> None:
        """Put another Service in the place of a head Service, as its namespace's writers may."""
        meta = {"name": f"{name}-head-svc", "namespace": self.theirs.namespace}
        ports = [{"name": "dashboard", "port": 8265}]
        self.theirs.kubectl("delete", "service", meta["name"])
        self.theirs.control_plane.apply(
            {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports} | spec}
        )


@pytest.fixture(scope="module")
def tenants(
    control_plane: ControlPlane, installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tenants]:
    """Run a controller for both namespaces; only ours has an administrator who gave it an override."""
    fake = FakeDashboard()
    fake.token = TOKEN
    fake.add_job(JOB, b"x\n")
    log = tmp_path_factory.mktemp("tenants") / "log"
    try:
        with control_plane.namespace("ours") as ours, control_plane.namespace("theirs") as theirs:
            raycluster.create(control_plane, ours, "shared", authOptions={"mode": "token"})
            raycluster.set_head_ready(control_plane, ours, "shared", head_ip="127.0.0.1")
            meta = {"name": "shared", "namespace": ours}
            control_plane.apply(
                {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"auth_token": TOKEN}}
            )
            arguments = ["--namespace", ours, "--namespace", theirs]
            arguments += ["--dashboard-override", f"{ours}/shared={fake.url}"]
            with Controller(installed, log, *arguments) as controller:
                yield Tenants(Watches(control_plane, ours), Watches(control_plane, theirs), fake, controller)
                assert TOKEN not in log.read_text()
    finally:
        fake.stop()


def fresh() -> str:
    """Return a name that no test has used."""
    return f"x-{uuid4().hex[:8]}"


def test_ones_own_cluster_is_watched(tenants: Tenants) -> None:
    tenants.ours.apply("own", JOB)
    assert tenants.ours.wait("own")["state"] == "Succeeded"


def test_a_cluster_of_another_namespace_is_not_found(tenants: Tenants) -> None:
    name = fresh()
    said = tenants.refused(name, "RayClusterNotFound", rayCluster={"name": "shared"})
    assert f"{tenants.theirs.namespace}/shared" in said


def test_a_dashboard_of_another_namespace_is_not_asked_by_its_address(tenants: Tenants) -> None:
    tenants.refused(fresh(), "DashboardURLNotAllowed", dashboard={"url": tenants.fake.url})
    asked_without = [request for request in tenants.fake.requests if "x-ray-authorization" not in request.headers]
    assert asked_without == []


def test_a_secret_of_another_namespace_is_not_read(tenants: Tenants) -> None:
    name = tenants.cluster()
    reference = {"tokenSecretRef": {"name": "shared", "key": "auth_token"}}
    said = tenants.refused(name, "SecretNotFound", auth=reference)
    assert f"{tenants.theirs.namespace}/shared does not exist" in said


def test_a_raycluster_names_no_secret_of_another_namespace(tenants: Tenants) -> None:
    name = tenants.cluster()
    patch = json.dumps({"spec": {"authOptions": {"mode": "token", "secretName": f"../../{tenants.ours.namespace}/x"}}})
    tenants.theirs.kubectl("patch", "raycluster", name, "--type=merge", "-p", patch)
    tenants.refused(name, "SecretNotFound")


def test_secrets_are_read_one_by_one_and_only_those_that_are_named(tenants: Tenants) -> None:
    tenants.ours.apply("read", JOB)
    tenants.ours.wait("read")
    user = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"
    namespaces = {tenants.ours.namespace, tenants.theirs.namespace}
    reads = tenants.ours.control_plane.audit_events(
        lambda event: (
            event["user"]["username"] == user
            and event["objectRef"]["resource"] == "secrets"
            and event["objectRef"].get("namespace") in namespaces
        )
    )
    assert {event["verb"] for event in reads} == {"get"}
    own = {event["objectRef"]["name"] for event in reads if event["objectRef"]["namespace"] == tenants.ours.namespace}
    assert own == {"shared"}


def test_the_controllers_account_may_not_list_secrets_or_be_anybody(tenants: Tenants) -> None:
    account = f"--as=system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"
    denied = [
        ("list", "secrets"),
        ("watch", "secrets"),
        ("update", "secrets"),
        ("list", "pods"),
        ("create", "serviceaccounts/default", "--subresource=token"),
        ("update", "rayclusters.ray.io"),
    ]
    for question in denied:
        done = tenants.theirs.control_plane.kubectl(
            "auth", "can-i", *question, "-n", tenants.theirs.namespace, account, check=False
        )
        assert done.stdout.strip() == "no", question


def test_a_head_of_ones_own_is_asked_at_its_pods_address(tenants: Tenants) -> None:
    name = tenants.cluster()
    tenants.theirs.apply(name, JOB, rayCluster={"name": name})
    status = tenants.theirs.wait_until(
        name, lambda now: any(item["reason"].startswith("Dashboard") for item in now.get("conditions") or [])
    )
    ready = next(item for item in status["conditions"] if item["type"] == "Ready")
    assert ready["reason"] in ("DashboardUnreachable", "DashboardTimeout")
    assert f"http://{name}-head-svc.{tenants.theirs.namespace}.svc.cluster.local:8265" in ready["message"]
    tenants.theirs.kubectl("delete", "rjw", name)


def test_a_service_of_type_externalname_is_not_followed(tenants: Tenants) -> None:
    name = tenants.cluster()
    tenants.replace_service(name, type="ExternalName", externalName="localhost")
    assert "ExternalName" in tenants.refused(name, "ForeignHead")


@pytest.mark.parametrize("selector", [{}, {"app": "victim"}])
def test_a_service_of_somebody_elses_endpoints_is_not_followed(tenants: Tenants, selector: dict[str, str]) -> None:
    name = tenants.cluster()
    tenants.replace_service(name, clusterIP="None", selector=selector)
    assert "does not select" in tenants.refused(name, "ForeignHead")


@pytest.mark.parametrize("address", [LINK_LOCAL, "127.0.0.1", "fd00:ec2::254", "localhost"])
def test_an_address_in_a_hand_made_status_is_not_asked(tenants: Tenants, address: str) -> None:
    assert address in tenants.refused(tenants.cluster(head_ip=address), "ForeignHead")


def test_a_pod_that_is_nobodys_or_anothers_is_not_asked(tenants: Tenants) -> None:
    assert "nobody" in tenants.refused(tenants.cluster(pod_name="nobody"), "HeadPodNotFound")
    other = f"{tenants.cluster()}-head"
    assert other in tenants.refused(tenants.cluster(pod_name=other), "ForeignHead")


def test_a_pod_that_says_to_be_here_is_not_asked(tenants: Tenants) -> None:
    name = tenants.cluster()
    raycluster.set_pod_address(tenants.theirs.control_plane, tenants.theirs.namespace, f"{name}-head", "127.0.0.1")
    assert "127.0.0.1" in tenants.refused(name, "ForeignHead")


def test_a_service_name_that_is_a_path_leads_nowhere(tenants: Tenants) -> None:
    name = tenants.cluster()
    head = {"serviceName": f"../../{tenants.ours.namespace}/services/shared-head-svc"}
    patch = json.dumps({"status": {"head": head}})
    tenants.theirs.kubectl("patch", "raycluster", name, "--subresource=status", "--type=merge", "-p", patch)
    tenants.refused(name, "HeadServiceNotFound")
