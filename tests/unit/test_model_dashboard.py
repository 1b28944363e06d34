"""Where a dashboard is, and whether a user may have the controller ask it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.model.dashboard import dashboard_of, head_service_name, is_allowed, service_url
from rayjobwatch.model.observation import Problem

ORIGIN = "https://ray.example.com"
WILD = "https://*.ray.example.com"
TEAM = "https://ray.example.com/team-a"


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        (ORIGIN, ORIGIN),
        (f"{ORIGIN}/", ORIGIN),
        (f"{ORIGIN}/any/path", ORIGIN),
        (f"{ORIGIN}:443", ORIGIN),
        ("HTTPS://RAY.example.COM", ORIGIN),
        ("http://ray:80", "http://ray"),
        ("https://a.ray.example.com", WILD),
        ("https://a.b.ray.example.com", WILD),
        (TEAM, TEAM),
        (f"{TEAM}/x", f"{TEAM}/"),
        ("http://10.0.0.7:8265", "http://10.0.0.7:8265"),
        ("http://[::1]:8265", "http://[::1]:8265"),
        ("http://anything:1", "*"),
    ],
)
def test_an_allowed_dashboard_is_asked(url: str, pattern: str) -> None:
    assert is_allowed(url, ["https://other", pattern])


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("http://ray.example.com", ORIGIN),
        (f"{ORIGIN}:8443", ORIGIN),
        (f"{ORIGIN}:0", ORIGIN),
        (f"{ORIGIN}:99999", ORIGIN),
        (f"{ORIGIN}:x", ORIGIN),
        (f"{ORIGIN}.", ORIGIN),
        (f"{ORIGIN}.evil.com", ORIGIN),
        ("https://evil-ray.example.com", ORIGIN),
        ("https://a.ray.example.com", ORIGIN),
        ("https://ray.example.com@evil.com", ORIGIN),
        ("https://user:pw@ray.example.com", ORIGIN),
        ("https://evil.com#@ray.example.com", ORIGIN),
        ("https://evil.com\\@ray.example.com", ORIGIN),
        ("https://ray%2eexample.com", ORIGIN),
        ("https://ray.exam\nple.com", ORIGIN),
        (" https://ray.example.com", ORIGIN),
        (f"{ORIGIN}?x=1", ORIGIN),
        (f"{ORIGIN}#x", ORIGIN),
        ("ray.example.com", ORIGIN),
        ("//ray.example.com", ORIGIN),
        ("https:ray.example.com", ORIGIN),
        ("https://", ORIGIN),
        ("", ORIGIN),
        ("https://ray.example.com]", ORIGIN),
        ("http://[::1", "http://[::1]:8265"),
        ("http://[::1%25eth0]:8265", "http://[::1]:8265"),
        ("http://[::ffff:10.0.0.7]:8265", "http://10.0.0.7:8265"),
        ("http://0x0a000007:8265", "http://10.0.0.7:8265"),
        (ORIGIN, WILD),
        ("https://.ray.example.com", WILD),
        ("https://xray.example.com", WILD),
        ("https://evil.com\\.ray.example.com", WILD),
        ("https://evil.com%2f.ray.example.com", WILD),
        ("https://evil.com/.ray.example.com", WILD),
        ("https://evil.com?.ray.example.com", WILD),
        ("https://evil。com.ray.example.com", WILD),
        ("https://ray.example.com/team-ab", TEAM),
        ("https://ray.example.com/team-a/../team-b", TEAM),
        ("https://ray.example.com/team-a/%2e%2e/team-b", TEAM),
        ("https://ray.example.com/team-a/..%2fteam-b", TEAM),
        ("https://ray.example.com/team-a\\..\\team-b", TEAM),
        ("https://ray.example.com//team-a", TEAM),
        (ORIGIN, TEAM),
        ("file:///etc/passwd", "*"),
        ("http://[bad", "*"),
        ("http://user:pw@ray", "*"),
    ],
    ids=repr,
)
def test_a_dashboard_that_is_not_clearly_allowed_is_never_asked(url: str, pattern: str) -> None:
    assert not is_allowed(url, [pattern])


def test_nothing_is_allowed_by_default() -> None:
    assert not is_allowed(ORIGIN, [])


@given(st.text(alphabet="htps:/@.[]\\?#%*012ray \n", max_size=40), st.sampled_from([ORIGIN, WILD, TEAM, "*"]))
def test_no_url_makes_the_question_fail(text: str, pattern: str) -> None:
    assert is_allowed(text, [pattern]) in (True, False)


def _cluster(status: Any = None, spec: Any = None, **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "shared", "namespace": "ml", "uid": "u1", **meta}, "spec": spec, "status": status}


HEAD_SERVICE = {"headGroupSpec": {"headService": {"metadata": {"name": "mine"}}}}


@pytest.mark.parametrize(
    ("cluster", "name"),
    [
        (_cluster(), "shared-head-svc"),
        (_cluster({"head": {"serviceName": ""}}), "shared-head-svc"),
        (_cluster({"head": {"serviceName": "theirs"}}, HEAD_SERVICE), "theirs"),
        (_cluster(None, HEAD_SERVICE), "mine"),
    ],
)
def test_the_head_service_is_the_one_that_kuberay_made(cluster: dict[str, Any], name: str) -> None:
    assert head_service_name(cluster) == name


def _service(*ports: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "shared-head-svc", "namespace": "ml"}, "spec": {"ports": list(ports)}}


def test_the_dashboards_address_follows_its_named_port() -> None:
    service = _service({"name": "client", "port": 10001}, {"name": "dashboard", "port": 18265})
    assert service_url(service, "cluster.local") == "http://shared-head-svc.ml.svc.cluster.local:18265"


@pytest.mark.parametrize("ports", [[], [{"name": "8265-port", "port": 8265}, {"name": "metrics", "port": 8080}]])
def test_a_head_without_a_dashboard_port_says_what_to_declare(ports: list[dict[str, Any]]) -> None:
    problem = service_url(_service(*ports), "cluster.local")
    assert isinstance(problem, Problem)
    assert problem.reason == "DashboardPortNotFound"
    assert "containerPort 8265" in problem.message


def test_only_the_heads_own_address_is_asked_for_its_agent() -> None:
    assert dashboard_of(_cluster({"head": {"podIP": "10.1.2.3"}}), "http://x").agent_host == "10.1.2.3"
    assert dashboard_of(_cluster(), "http://x").agent_host == ""
