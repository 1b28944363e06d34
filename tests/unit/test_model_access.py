"""With what a dashboard is asked: where it comes from, what is wrong with it, and that nothing shows it."""

import base64
from typing import Any

import pytest

from rayjobwatch.model.access import (
    NO_ACCESS,
    Access,
    Account,
    SecretKey,
    ca_in,
    ca_source,
    kuberay_secret_name,
    refusal,
    token_in,
    token_source,
)
from rayjobwatch.model.conditions import conditions_of
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.spec import WatchSpec
from rayjobwatch.model.state import WatchState

CANARY = "canary-0123456789"
WHERE = SecretKey("ml", "ray", "auth_token")
OWN = {"tokenSecretRef": {"name": "mine", "key": "t"}}


def spec(**more: Any) -> WatchSpec:
    return WatchSpec.model_validate({"rayCluster": {"name": "shared"}, "jobs": {"ids": ["a"]}, **more})


def cluster(options: Any) -> dict[str, Any]:
    return {"metadata": {"name": "shared", "namespace": "ml"}, "spec": {"authOptions": options}}


@pytest.mark.parametrize(
    ("options", "auth", "source"),
    [
        (None, None, None),
        ({}, None, None),
        ({"mode": "disabled", "secretName": "x"}, None, None),
        ({"enableK8sTokenAuth": True}, None, None),
        ({"mode": "token"}, None, SecretKey("ml", "shared", "auth_token")),
        ({"mode": "token", "secretName": ""}, None, SecretKey("ml", "shared", "auth_token")),
        ({"mode": "token", "secretName": "x"}, None, SecretKey("ml", "x", "auth_token")),
        ({"mode": "token", "enableK8sTokenAuth": True}, None, Account("ml", "rayjobwatch-dashboard")),
        ({"mode": "token", "enableK8sTokenAuth": True}, OWN, SecretKey("ml", "mine", "t")),
        ({"mode": "token", "secretName": "x"}, OWN, SecretKey("ml", "mine", "t")),
        (None, OWN, SecretKey("ml", "mine", "t")),
    ],
)
def test_the_token_is_the_watchs_else_the_rayclusters(options: Any, auth: Any, source: Any) -> None:
    assert token_source("ml", spec(auth=auth), cluster(options)) == source


def test_a_dashboard_without_a_raycluster_gets_the_token_that_its_watch_names_and_no_other() -> None:
    of_url = {"rayCluster": None, "dashboard": {"url": "https://ray.example.com"}}
    assert token_source("ml", spec(**of_url), None) is None
    assert token_source("ml", spec(**of_url, auth=OWN), None) == SecretKey("ml", "mine", "t")
    assert ca_source("ml", spec(**of_url)) is None
    of_url["dashboard"]["caSecretRef"] = {"name": "ca", "key": "ca.crt"}  # type: ignore[index,assignment]
    assert ca_source("ml", spec(**of_url)) == SecretKey("ml", "ca", "ca.crt")


@pytest.mark.parametrize(
    ("cluster", "secret"),
    [("shared", "shared"), ("1st", "rst"), ("c" * 53, "c" * 50), ("abc-" + "d" * 49, "r" + "d" * 49)],
)
def test_kuberays_secret_is_found_by_kuberays_rule(cluster: str, secret: str) -> None:
    assert kuberay_secret_name(cluster) == secret


def secret(value: bytes, key: str = "auth_token") -> dict[str, Any]:
    return {"data": {key: base64.b64encode(value).decode()}}


@pytest.mark.parametrize("value", [b"tok", b"tok\n", b" tok\r\n"])
def test_a_token_is_read_without_the_line_end_that_an_editor_left(value: bytes) -> None:
    assert token_in(secret(value), WHERE) == "tok"


@pytest.mark.parametrize(
    ("found", "reason", "says"),
    [
        (None, "SecretNotFound", "Secret ml/ray does not exist; create it with the key auth_token"),
        ({}, "SecretNotFound", "Secret ml/ray lacks the key auth_token"),
        ({"data": None}, "SecretNotFound", "lacks the key"),
        (secret(b"x", "other"), "SecretNotFound", "lacks the key auth_token"),
        (secret(b""), "InvalidToken", "Secret ml/ray, key auth_token holds no token"),
        (secret(f"{CANARY} {CANARY}".encode()), "InvalidToken", "without spaces"),
        (secret(CANARY.encode() + b"\xff"), "InvalidToken", "holds no token"),
        ({"data": {"auth_token": CANARY + "!"}}, "InvalidToken", "holds no token"),
    ],
)
def test_what_is_wrong_with_a_secret_is_said_without_its_content(found: Any, reason: str, says: str) -> None:
    problem = token_in(found, WHERE)
    assert isinstance(problem, Problem)
    assert (problem.reason, problem.stalled) == (reason, False)
    shown = conditions_of(WatchState(problem=problem))[0].message
    assert says in shown
    assert CANARY not in shown


PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"


def test_a_ca_is_its_certificates_without_a_bundles_remarks() -> None:
    bundle = f"# Autorité\n{PEM}\n-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n{PEM}\n"
    assert ca_in(secret(bundle.encode()), WHERE) == f"{PEM}\n{PEM}"


@pytest.mark.parametrize("value", [b"", b"AAAA", b"\xff", CANARY.encode()])
def test_what_is_no_ca_is_said_so(value: bytes) -> None:
    problem = ca_in(secret(value), WHERE)
    assert isinstance(problem, Problem)
    assert problem.reason == "InvalidCA"
    assert CANARY not in problem.message


def test_a_refusal_says_where_the_token_came_from_and_nothing_else_does() -> None:
    refused, away = Problem(Reason.UNAUTHORIZED, "HTTP 403"), Problem(Reason.DASHBOARD_TIMEOUT, "HTTP 408")
    assert "Secret ml/ray, key auth_token" in refusal(refused, WHERE).message
    assert "name its Secret in spec.auth" in refusal(refused, None).message
    assert refusal(away, WHERE) == away


def test_no_credential_is_shown_and_each_has_a_session_of_its_own() -> None:
    access = Access(CANARY, CANARY)
    assert CANARY not in f"{access!r} {access} {Dashboard('http://x', access=access)!r}"
    assert Dashboard("http://x", access=access) != Dashboard("http://x", access=Access(CANARY))
    assert Dashboard("http://x", access=NO_ACCESS) == Dashboard("http://x")
