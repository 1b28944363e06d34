"""`rayjobwatch run --use-kubernetes-proxy`: dashboards asked through the real API server's proxy of their Services."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.cluster.conftest import ROOT
from tests.cluster.controller import Controller
from tests.cluster.watches import Json, Watches, conditions
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.egress import PodNetwork
from tests.localcluster.rayhead import RayHead
from tests.ray.fakedashboard import FakeDashboard
from tests.ray.fakestate import application

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(120)]

# For documentation: addresses that are nobody's.
POD = "203.0.113.7"
VICTIM = "203.0.113.9"
ACCOUNT = "outside"
PORT = raycluster.PORTS["dashboard"]


@dataclass
class Stage:
    """A namespace with the RayCluster `shared`, whose head Pod is reached by the API server alone."""

    watches: Watches
    network: PodNetwork
    fake: FakeDashboard
    controller: Controller
    kubeconfig: Path

    def told(self) -> str:
        """Return all that is told to anybody: objects, Events, the log."""
        return self.watches.kubectl("get", "rjw,events,raycluster", "-o", "json") + self.controller.log.read_text()

    def running(self) -> str:
        """Watch a new job; return its name when it runs."""
        name = fresh()
        self.fake.add_job(name, b"one\n", "RUNNING")
        self.watches.apply(name, name)
        self.watches.wait_until(name, lambda status: status.get("state") == "Running")
        return name


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run a controller outside of the Pods' network, as an account that may do nothing beyond the namespace."""
    fake, log = FakeDashboard(), tmp_path_factory.mktemp("proxy") / "log"
    control_plane.apply(ROOT / "manifests" / "proxy" / "clusterrole.yaml", "--server-side")
    try:
        with control_plane.namespace() as namespace, control_plane.pod_network() as network:
            watches = Watches(control_plane, namespace)
            make_cluster(control_plane, namespace)
            lead(network, fake.url)
            watches.kubectl("create", "serviceaccount", ACCOUNT)
            for role in ("rayjobwatch", "rayjobwatch-credentials"):
                grant(watches, role)
            kubeconfig = control_plane.service_account_kubeconfig(namespace, ACCOUNT)
            with Controller(kubeconfig, log, "--namespace", namespace, "--use-kubernetes-proxy") as controller:
                yield Stage(watches, network, fake, controller, kubeconfig)
    finally:
        fake.stop()


def make_cluster(control_plane: ControlPlane, namespace: str) -> None:
    """Make the RayCluster `shared`, its Service and its head Pod; its token is in a Secret."""
    raycluster.create(control_plane, namespace, "shared", authOptions={"mode": "token", "secretName": "ray"})
    raycluster.create_head_service(control_plane, namespace, "shared")
    raycluster.create_head_pod(control_plane, namespace, "shared", "shared-head", ip=POD)
    raycluster.set_head_ready(control_plane, namespace, "shared", head_ip=POD, pod_name="shared-head")
    secret = {"metadata": {"name": "ray", "namespace": namespace}, "stringData": {"auth_token": "rays-own"}}
    control_plane.apply({"apiVersion": "v1", "kind": "Secret", **secret})


def lead(network: PodNetwork, url: str, address: str = POD) -> None:
    """Have a dashboard answer at an address, that of the head Pod."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    network.routes[address, PORT] = parts.hostname, parts.port


def grant(watches: Watches, role: str) -> None:
    """Bind a ClusterRole to the account in its namespace."""
    subject = f"--serviceaccount={watches.namespace}:{ACCOUNT}"
    watches.kubectl("create", "rolebinding", role, f"--clusterrole={role}", subject)


@pytest.fixture
def granted(stage: Stage) -> Stage:
    """Let the controller use the proxy."""
    if not stage.watches.kubectl("get", "rolebinding", "rayjobwatch-proxy", "--ignore-not-found"):
        grant(stage.watches, "rayjobwatch-proxy")
    return stage


def fresh() -> str:
    """Return a name that no test has used."""
    return f"job-{uuid4().hex[:8]}"


def test_a_missing_right_is_named_and_waited_for(stage: Stage) -> None:
    stage.watches.kubectl("delete", "rolebinding", "rayjobwatch-proxy", "--ignore-not-found")
    name = fresh()
    job = stage.fake.add_job(name, b"x\n", "RUNNING")
    stage.watches.apply(name, name)
    for kind in ("Ready", "DashboardReachable"):
        said = stage.watches.wait_reason(name, kind, "Forbidden")["message"]
        assert f'"services/proxy" in API group "" in the namespace "{stage.watches.namespace}"' in said
        assert "manifests/proxy" in said
    grant(stage.watches, "rayjobwatch-proxy")
    job.finish()
    assert stage.watches.wait(name)["state"] == "Succeeded"


def test_the_dashboard_gets_its_own_token_and_never_the_api_servers(granted: Stage) -> None:
    granted.fake.token = "rays-own"
    try:
        name = granted.running()
        granted.fake.jobs[name].finish()
        status = granted.watches.wait(name)
    finally:
        granted.fake.token = None
    assert status["state"] == "Succeeded"
    assert row(status)["log"]["tail"] == ["one"]
    assert status["cluster"]["dashboardURL"].endswith("/services/shared-head-svc:dashboard/proxy")
    asked = granted.fake.requests
    assert {request.headers.get("x-ray-authorization") for request in asked} == {"Bearer rays-own"}
    assert not any("authorization" in request.headers for request in asked)
    token = json.loads(granted.kubeconfig.read_text())["users"][0]["user"]["token"]
    assert token not in granted.told()
    assert "rays-own" not in granted.told()


def test_a_service_that_is_gone_makes_states_stale_and_loses_nothing(granted: Stage) -> None:
    name = granted.running()
    granted.watches.kubectl("delete", "service", "shared-head-svc")
    # First nobody answers; that the Service is missing is noticed when it is looked for again.
    gone = ("DashboardUnreachable", "HeadServiceNotFound")
    status = granted.watches.wait_until(name, lambda now: conditions(now).get("Ready", {}).get("reason") in gone)
    assert (status["state"], conditions(status)["Finished"]["status"]) == ("Running", "False")
    assert "staleSince" in status
    raycluster.create_head_service(granted.watches.control_plane, granted.watches.namespace, "shared")
    granted.watches.wait_reason(name, "DashboardReachable", "Answering", 60)
    assert granted.watches.status(name)["state"] == "Running"
    granted.fake.jobs[name].finish()
    assert granted.watches.wait(name)["state"] == "Succeeded"
    of_the_job = [reason for reason in granted.watches.reasons(name) if reason.startswith("Job")]
    assert of_the_job == ["JobRunning", "JobSucceeded"]


def test_a_head_that_cannot_be_reached_is_away_and_its_job_goes_on(granted: Stage) -> None:
    name = granted.running()
    route = granted.network.routes.pop((POD, PORT))
    granted.fake.drop_connections()
    said = granted.watches.wait_reason(name, "DashboardReachable", "DashboardUnreachable")
    assert "error trying to reach service" in said["message"]
    assert granted.watches.status(name)["state"] == "Running"
    granted.network.routes[POD, PORT] = route
    granted.watches.wait_reason(name, "DashboardReachable", "Answering")
    granted.fake.jobs[name].finish()
    assert granted.watches.wait(name)["state"] == "Succeeded"


def test_a_websocket_goes_through_the_proxy(granted: Stage) -> None:
    name = fresh()
    job = granted.fake.add_job(name, b"one\n", "RUNNING")
    granted.watches.apply(name, name, logs={"protocol": "WebSocket"})
    granted.watches.wait_until(name, lambda status: tail(status) == ["one"])
    assert any(name in request.path for request in granted.fake.tails)
    job.append(b"two\n")
    granted.watches.wait_until(name, lambda status: tail(status) == ["one", "two"])
    job.finish()
    assert granted.watches.wait(name)["state"] == "Succeeded"


def test_an_api_servers_token_that_ends_is_replaced_by_the_kubeconfigs_new_one(granted: Stage) -> None:
    name = granted.running()
    plane, namespace = granted.watches.control_plane, granted.watches.namespace
    # A token is worth nothing any more when its account is made anew.
    granted.watches.kubectl("delete", "serviceaccount", ACCOUNT)
    granted.watches.kubectl("create", "serviceaccount", ACCOUNT)
    plane.service_account_kubeconfig(namespace, ACCOUNT).replace(granted.kubeconfig)
    granted.fake.jobs[name].finish()
    assert granted.watches.wait(name)["state"] == "Succeeded"


@pytest.mark.parametrize(
    "spec", [{"type": "ExternalName", "externalName": "localhost"}, {"selector": {"app": "other"}}]
)
def test_a_service_that_does_not_lead_to_the_head_is_not_asked(granted: Stage, spec: Json) -> None:
    plane, namespace, name = granted.watches.control_plane, granted.watches.namespace, f"x-{uuid4().hex[:8]}"
    raycluster.create(plane, namespace, name)
    meta = {"name": f"{name}-head-svc", "namespace": namespace}
    ports = [{"name": "dashboard", "port": PORT}]
    plane.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports, **spec}})
    raycluster.set_head_ready(plane, namespace, name, head_ip=POD)
    granted.watches.apply(name, "a", rayCluster={"name": name})
    granted.watches.wait_reason(name, "Ready", "ForeignHead")


@pytest.mark.parametrize("target", [{}, {"targetRef": {"kind": "Pod", "name": "shared-head"}}])
def test_the_api_server_connects_to_no_address_that_is_not_a_pods_own(granted: Stage, target: Json) -> None:
    plane, namespace, name = granted.watches.control_plane, granted.watches.namespace, f"x-{uuid4().hex[:8]}"
    raycluster.create(plane, namespace, name)
    service = raycluster.create_head_service(plane, namespace, name)
    reference = {key: {**value, "namespace": namespace} for key, value in target.items()}
    plane.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [VICTIM], "conditions": {"ready": True}, **reference}],
            "ports": [{"name": "dashboard", "port": PORT}],
        }
    )
    raycluster.set_head_ready(plane, namespace, name, head_ip=POD)
    victim = FakeDashboard()
    lead(granted.network, victim.url, VICTIM)
    try:
        granted.watches.apply(name, "a", rayCluster={"name": name})
        said = granted.watches.wait_reason(name, "Ready", "DashboardUnreachable")["message"]
        assert f'no endpoints available for service "{service}"' in said
        assert victim.requests == []
    finally:
        victim.stop()


def test_serve_applications_are_deleted_through_the_proxy(granted: Stage) -> None:
    name = fresh()
    granted.fake.state.applications = {each: application(each) for each in ("llm", "other")}
    granted.fake.add_job(name, b"x\n")
    granted.watches.apply(name, name, serve={"applications": ["llm"], "cleanup": "OnFinished"})
    granted.watches.wait_until(name, lambda status: status.get("serve", {}).get("state") == "Done")
    assert set(granted.fake.state.applications) == {"other"}


@pytest.mark.real_ray
@pytest.mark.timeout(240)
def test_real_ray_is_watched_and_acted_on_through_the_proxy(granted: Stage, head: RayHead) -> None:
    route = granted.network.routes[POD, PORT]
    lead(granted.network, head.dashboard_url)
    granted.fake.drop_connections()
    try:
        stopped, done = fresh(), fresh()
        head.submit("echo hello; sleep 600", submission_id=stopped)
        head.submit("echo bye; exit 3", submission_id=done)
        granted.watches.apply(done, done, retention={"deleteRecordAfterSeconds": 10})
        status = granted.watches.wait(done, timeout=90)
        assert (status["state"], row(status)["exitCode"]) == ("Failed", 3)
        granted.watches.wait_until(done, lambda now: "bye" in tail(now))
        granted.watches.apply(stopped, stopped)
        granted.watches.wait_until(stopped, lambda now: "hello" in tail(now), 60)
        granted.watches.kubectl("patch", "rjw", stopped, "--type=merge", "-p", '{"spec":{"stop":{"requested":true}}}')
        assert granted.watches.wait(stopped)["state"] == "Stopped"
        granted.watches.wait_until(done, lambda now: row(now).get("record", {}).get("state") == "Deleted", 60)
    finally:
        granted.network.routes[POD, PORT] = route


def row(status: Json) -> Json:
    """Return the first job of a status, empty while there is none."""
    jobs: list[Json] = status.get("jobs") or [{}]
    return jobs[0]


def tail(status: Json) -> list[str]:
    """Return the log lines of the first job of a status."""
    lines: list[str] = (row(status).get("log") or {}).get("tail") or []
    return lines
