"""Dashboards that want a token: where it comes from, that it may be changed, and that nobody ever reads it."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cluster.controller import Controller
from tests.cluster.watches import Watches, conditions
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead
from tests.ray.fakedashboard import FakeDashboard
from tests.ray.tls import authority_pem, server_context

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(120)]

HEADER = "x-ray-authorization"
CLUSTERS = WAITING, ROTATING, KUBERNETES = "waiting", "rotating", "kubernetes"


def canary() -> str:
    """Return a token that stands out."""
    return f"canary-{uuid4().hex}"


@dataclass
class Stage:
    """A namespace with RayClusters that want a token, each with a scripted dashboard, and the controller."""

    watches: Watches
    dashboards: dict[str, FakeDashboard]
    controller: Controller

    def secret(self, name: str, **data: str) -> None:
        """Make a Secret, or change it."""
        self.watches.control_plane.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": self.watches.namespace},
                "stringData": data,
            }
        )

    def told(self) -> str:
        """Return all that is told to anybody: objects, Events, the log."""
        objects = self.watches.kubectl("get", "rjw,events,raycluster", "-o", "json")
        return objects + self.controller.log.read_text()


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run a controller; its RayClusters have their head at no address of ours, and overrides to be reached by."""
    dashboards = {name: FakeDashboard() for name in CLUSTERS}
    log = tmp_path_factory.mktemp("tokens") / "log"
    try:
        with control_plane.namespace() as namespace:
            arguments = ["--namespace", namespace, "--allow-dashboard-url", "*"]
            for name, fake in dashboards.items():
                auth = {"mode": "token", "enableK8sTokenAuth": name == KUBERNETES}
                raycluster.create(control_plane, namespace, name, authOptions=auth)
                raycluster.set_head_ready(control_plane, namespace, name, head_ip="127.0.0.9")
                arguments += ["--dashboard-override", f"{namespace}/{name}={fake.url}"]
            with Controller(installed, log, *arguments) as controller:
                yield Stage(Watches(control_plane, namespace), dashboards, controller)
    finally:
        for fake in dashboards.values():
            fake.stop()


def fresh() -> str:
    """Return a name that no test has used."""
    return f"job-{uuid4().hex[:8]}"


def tokens(fake: FakeDashboard) -> set[str]:
    """Return the tokens that a dashboard was sent."""
    return {request.headers.get(HEADER, "") for request in fake.requests}


def test_the_token_of_a_raycluster_is_found_waited_for_and_may_change_mid_tail(stage: Stage) -> None:
    name, old, new = fresh(), canary(), canary()
    fake = stage.dashboards[WAITING]
    fake.token = old
    job = fake.add_job(name, b"one\n", "RUNNING")
    stage.watches.apply(name, name, rayCluster={"name": WAITING})
    ready = stage.watches.wait_reason(name, "Ready", "SecretNotFound")
    assert f"Secret {stage.watches.namespace}/{WAITING}" in ready["message"]
    assert "auth_token" in ready["message"]
    assert tokens(fake) == set()

    stage.secret(WAITING, auth_token=f"{old}\n")
    stage.watches.wait_until(name, lambda status: lines(status, name) == ["one"])
    assert tokens(fake) == {f"Bearer {old}"}

    fake.token = new
    unauthorized = stage.watches.wait_reason(name, "Ready", "Unauthorized")
    assert f"Secret {stage.watches.namespace}/{WAITING}, key auth_token" in unauthorized["message"]
    assert stage.watches.status(name)["state"] == "Running"
    job.append(b"two\n")
    stage.secret(WAITING, auth_token=new)
    stage.watches.wait_reason(name, "Ready", "Watching", timeout=40)
    job.append(b"three\n")
    job.finish()
    status = stage.watches.wait(name)
    assert status["state"] == "Succeeded"
    assert lines(status, name) == ["one", "two", "three"]
    assert log(status, name)["lines"] == 3
    assert stage.watches.reasons(name) == ["JobRunning", "DashboardUnreachable", "DashboardReachable", "JobSucceeded"]
    assert not any(token in stage.told() for token in (old, new))


def test_a_token_that_is_changed_in_both_places_is_not_noticed(stage: Stage) -> None:
    name, old, new = fresh(), canary(), canary()
    fake = stage.dashboards[ROTATING]
    fake.token = old
    stage.secret(ROTATING, auth_token=old)
    job = fake.add_job(name, b"one\n", "RUNNING")
    stage.watches.apply(name, name, rayCluster={"name": ROTATING})
    stage.watches.wait_reason(name, "Ready", "Watching")
    written = conditions(stage.watches.status(name))["DashboardReachable"]["lastTransitionTime"]
    stage.secret(ROTATING, auth_token=new)
    fake.token = new
    stage.watches.wait_until(name, lambda _: f"Bearer {new}" in tokens(fake))
    job.append(b"two\n")
    stage.watches.wait_until(name, lambda status: lines(status, name) == ["one", "two"])
    reachable = conditions(stage.watches.status(name))["DashboardReachable"]
    assert (reachable["status"], reachable["lastTransitionTime"]) == ("True", written)
    job.finish()
    assert stage.watches.wait(name)["state"] == "Succeeded"


def test_watches_of_one_dashboard_have_each_what_their_own_token_lets_them_see(stage: Stage) -> None:
    right, wrong, names = canary(), canary(), {kind: fresh() for kind in ("right", "wrong", "none", "bad")}
    stage.secret("tokens", right=right, wrong=wrong, bad="two words")
    fake = FakeDashboard()
    try:
        fake.token = right
        fake.add_job("a", b"x\n")
        for kind, name in names.items():
            reference = {"tokenSecretRef": {"name": "tokens", "key": kind}}
            more: dict[str, Any] = {} if kind == "none" else {"auth": reference}
            stage.watches.apply(name, "a", dashboard={"url": fake.url}, **more)
        assert stage.watches.wait(names["right"])["state"] == "Succeeded"
        said = {
            kind: stage.watches.wait_reason(names[kind], "Ready", reason)["message"]
            for kind, reason in {"wrong": "Unauthorized", "none": "Unauthorized", "bad": "InvalidToken"}.items()
        }
        assert f"Secret {stage.watches.namespace}/tokens, key wrong" in said["wrong"]
        assert "spec.auth" in said["none"]
        assert tokens(fake) == {f"Bearer {right}", f"Bearer {wrong}", ""}
        assert all(stage.watches.status(names[kind])["state"] == "Waiting" for kind in said)
        assert not any(token in stage.told() for token in (right, wrong, "two words"))
    finally:
        for name in names.values():
            stage.watches.kubectl("delete", "rjw", name)
        fake.stop()


def test_a_dashboard_with_a_ca_of_its_own(stage: Stage) -> None:
    names = {kind: fresh() for kind in ("ca", "public", "bad", "missing")}
    stage.secret("ca", ca=authority_pem().decode(), bad="no certificate")
    fake = FakeDashboard(tls=server_context())
    try:
        fake.add_job("a", b"x\n")
        for kind, name in names.items():
            reference = {} if kind == "public" else {"caSecretRef": {"name": "ca", "key": kind}}
            stage.watches.apply(name, "a", dashboard={"url": fake.url, **reference})
        assert stage.watches.wait(names["ca"])["state"] == "Succeeded"
        stage.watches.wait_reason(names["public"], "Ready", "DashboardUnreachable")
        assert "ca, key bad" in stage.watches.wait_reason(names["bad"], "Ready", "InvalidCA")["message"]
        stage.watches.wait_reason(names["missing"], "Ready", "SecretNotFound")
    finally:
        for name in names.values():
            stage.watches.kubectl("delete", "rjw", name)
        fake.stop()


def test_a_head_that_asks_kubernetes_who_we_are_sees_an_account_of_its_own_namespace(stage: Stage) -> None:
    name, namespace = fresh(), stage.watches.namespace
    stage.dashboards[KUBERNETES].add_job(name, b"x\n")
    stage.watches.apply(name, name, rayCluster={"name": KUBERNETES})
    missing = stage.watches.wait_reason(name, "Ready", "ServiceAccountNotFound")
    assert f"{namespace}/rayjobwatch-dashboard" in missing["message"]
    account, kind = "rayjobwatch-dashboard", "--resource=rayclusters.ray.io"
    stage.watches.kubectl("create", "serviceaccount", account)
    stage.watches.kubectl("create", "role", account, "--verb=get,ray:write", kind)
    subject = f"--serviceaccount={namespace}:{account}"
    stage.watches.kubectl("create", "rolebinding", account, f"--role={account}", subject)
    assert stage.watches.wait(name)["state"] == "Succeeded"
    sent = [token.removeprefix("Bearer ") for token in tokens(stage.dashboards[KUBERNETES])]
    assert [user_of(token) for token in sent] == [f"system:serviceaccount:{namespace}:rayjobwatch-dashboard"]
    assert not any(token in stage.told() for token in sent)


@pytest.mark.real_ray
@pytest.mark.timeout(240)
def test_real_ray_with_a_token_tells_state_and_log_and_stops(
    control_plane: ControlPlane, installed: Path, namespace: str, tmp_path: Path
) -> None:
    secret, name = canary(), fresh()
    watches = Watches(control_plane, namespace)
    with RayHead(num_cpus=2, token=secret) as head:
        raycluster.create(control_plane, namespace, "shared", authOptions={"mode": "token", "secretName": "ours"})
        raycluster.set_head_ready(control_plane, namespace, "shared", head_ip=head.node_ip)
        watches.kubectl("create", "secret", "generic", "ours", f"--from-literal=auth_token={secret}")
        override = f"{namespace}/shared={head.dashboard_url}"
        controller = Controller(installed, tmp_path / "log", "--namespace", namespace, "--dashboard-override", override)
        with controller:
            head.submit("echo hello; sleep 600", submission_id=name)
            watches.apply(name, name)
            watches.wait_until(name, lambda status: "hello" in lines(status, name), 60)
            cursor = log(watches.status(name), name)["cursor"]
            assert cursor.startswith("b:")  # in bytes: the agent gave them
            watches.kubectl("patch", "rjw", name, "--type=merge", "-p", '{"spec":{"stop":{"requested":true}}}')
            assert watches.wait(name)["state"] == "Stopped"
            told = watches.kubectl("get", "rjw,events", "-o", "json") + controller.log.read_text()
    assert secret not in told


def user_of(token: str) -> str:
    """Return whose a ServiceAccount's token is."""
    claims = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"])


def log(status: dict[str, Any], job: str) -> dict[str, Any]:
    """Return what status says of a job's log."""
    rows: dict[str, dict[str, Any]] = {row["id"]: row for row in status.get("jobs") or []}
    return rows.get(job, {}).get("log") or {}


def lines(status: dict[str, Any], job: str) -> list[str]:
    """Return the lines of a job's log that status has."""
    return log(status, job).get("tail") or []
