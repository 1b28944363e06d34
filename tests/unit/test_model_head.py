"""Where a RayCluster's head is: nobody who may write in its namespace leads the controller anywhere else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.model.dashboard import dashboard_of
from rayjobwatch.model.head import head_place, head_pod_name, is_no_pods, service_problem, status_problem
from rayjobwatch.model.observation import Problem

HEAD = {"podIP": "10.1.2.3", "podName": "shared-head-x"}
SELECTOR = {"ray.io/cluster": "shared", "ray.io/node-type": "head"}


def cluster(**head: Any) -> dict[str, Any]:
    return {"metadata": {"name": "shared", "namespace": "ml", "uid": "u1"}, "status": {"head": HEAD | head}}


def service(target: Any = None, **spec: Any) -> dict[str, Any]:
    port = {"name": "dashboard", "port": 8265} | ({"targetPort": target} if target else {})
    spec = {"selector": SELECTOR, "ports": [{"name": "client", "port": 10001}, port]} | spec
    return {"metadata": {"name": "shared-head-svc", "namespace": "ml"}, "spec": spec}


def pod(uid: str = "u1", ip: str | None = "10.1.2.3", phase: str = "Running") -> dict[str, Any]:
    return {
        "metadata": {"name": "shared-head-x", "namespace": "ml", "ownerReferences": [{"uid": uid}]},
        "spec": {"containers": [{"name": "side"}, {"ports": [{"name": "board", "containerPort": 9000}]}]},
        "status": {"phase": phase} | ({"podIP": ip} if ip else {}),
    }


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "::1", "::", "169.254.169.254", "fe80::1", "fd00:ec2::254"),
        *("224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "2002:7f00:1::"),
        *("", "localhost", "kubernetes.default.svc", "2130706433", "0x7f.1", "127.1", "10.0.0.1:80", "10.0.0.1@x"),
    ],
)
def test_an_address_that_no_pod_has_is_known(address: str) -> None:
    assert is_no_pods(address)


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "192.168.0.9", "172.16.0.1", "100.64.0.7", "fd00:10:244::5", "2600::1"]
)
def test_an_address_of_a_pod_is_known(address: str) -> None:
    assert not is_no_pods(address)


@given(st.text(max_size=50))
def test_no_text_makes_the_question_fail(text: str) -> None:
    assert is_no_pods(text) in (True, False)


@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "evil.example.com", "fd00:ec2::254"])
def test_a_status_that_no_kuberay_has_written_is_refused(address: str) -> None:
    problem = status_problem(cluster(podIP=address))
    assert problem is not None
    assert problem.reason == "ForeignHead"
    assert address in problem.message


@pytest.mark.parametrize("address", ["10.1.2.3", "", None])
def test_a_status_of_kuberay_is_taken(address: str | None) -> None:
    assert status_problem(cluster(podIP=address)) is None


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"type": "ExternalName", "externalName": "metadata.google.internal"}, "of type ExternalName"),
        ({"type": "ExternalName", "externalName": "x", "selector": SELECTOR}, "of type ExternalName"),
        ({"selector": None}, "ray.io/cluster: shared"),
        ({"selector": {}}, "does not select"),
        ({"selector": {"app": "victim"}}, "does not select"),
        ({"selector": SELECTOR | {"ray.io/cluster": "other"}}, "does not select"),
    ],
)
def test_a_service_that_leads_elsewhere_is_refused(spec: dict[str, Any], says: str) -> None:
    problem = service_problem(cluster(), service(**spec))
    assert problem is not None
    assert problem.reason == "ForeignHead"
    assert says in problem.message
    assert "ml/shared-head-svc" in problem.message


@pytest.mark.parametrize(("target", "port"), [(None, 8265), (8265, 8265), (9999, 9999), ("board", 9000)])
def test_the_dashboard_is_in_the_rayclusters_own_pod(target: Any, port: int) -> None:
    assert service_problem(cluster(), service(target)) is None
    place = head_place(cluster(podIP="10.9.9.9"), service(target), pod())
    assert place == ("10.1.2.3", port)  # as the kubelet says, not as whoever wrote the status
    dashboard = dashboard_of(cluster(podIP="10.9.9.9"), "http://x", place)
    assert (dashboard.place, dashboard.agent_host) == (place, "10.1.2.3")


@pytest.mark.parametrize(
    ("found", "reason", "says"),
    [
        (None, "HeadPodNotFound", "waiting for the head Pod ml/shared-head-x, which is not there although RayCluster"),
        (None, "HeadPodNotFound", "-l ray.io/cluster=shared,ray.io/node-type=head` shows a second head Service"),
        (pod(phase="Pending"), "HeadPodNotFound", "its phase is Pending"),
        (pod(phase="Succeeded"), "HeadPodNotFound", "its phase is Succeeded"),
        (pod(ip=None), "HeadPodNotFound", "to run"),
        (pod(uid="u2"), "ForeignHead", "not owned by RayCluster shared"),
        (pod(ip="127.0.0.1"), "ForeignHead", "its address is 127.0.0.1"),
    ],
)
def test_a_pod_that_is_not_the_rayclusters_running_head_is_not_asked(found: Any, reason: str, says: str) -> None:
    problem = head_place(cluster(), service(), found)
    assert isinstance(problem, Problem)
    assert (problem.reason, problem.stalled) == (reason, False)
    assert says in problem.message


def test_a_port_that_the_pod_has_not_is_said() -> None:
    problem = head_place(cluster(), service("nothing"), pod())
    assert isinstance(problem, Problem)
    assert problem.reason == "DashboardPortNotFound"


def test_a_kuberay_that_names_no_pod_is_waited_for() -> None:
    unnamed = cluster(podName="")
    assert head_pod_name(unnamed) == ""
    problem = head_place(unnamed, service(), None)
    assert isinstance(problem, Problem)
    assert "status.head.podName" in problem.message
