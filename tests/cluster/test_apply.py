"""What the API server itself says of manifests: refusals that name the field, defaults, documentation."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import ROOT
from tests.cluster.watches import manifest
from tests.localcluster.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

GOOD: dict[str, Any] = {"rayCluster": {"name": "shared"}, "jobs": {"ids": ["raysubmit_1"]}}


def dry_run(control_plane: ControlPlane, spec: dict[str, Any], check: bool = True) -> tuple[int, str]:
    """Apply a watch without keeping it; return kubectl's exit code and output."""
    body = json.dumps(manifest("dry", spec))
    done = control_plane.kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", input=body, check=check)
    return done.returncode, done.stdout + done.stderr


_RULE = {"name": "oom", "pattern": "out of memory"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"rayCluster": None}, ["exactly one of spec.rayCluster and spec.dashboard"], id="no target"),
        pytest.param({"dashboard": {"url": "http://ray:8265"}}, ["exactly one of spec.rayCluster"], id="two targets"),
        pytest.param({"rayCluster": {"name": "../x"}}, ["spec.rayCluster.name", "kubectl get raycluster"], id="name"),
        pytest.param(
            {"jobs": {"ids": ["a"], "metadata": {"team": "nlp"}}},
            ["spec.jobs.ids", "remove metadata, entrypoint and includeFinished"],
            id="ids and metadata",
        ),
        pytest.param({"jobs": {"ids": ["a"], "entrypoint": "x"}}, ["or remove ids"], id="ids and entrypoint"),
        pytest.param({"jobs": {"ids": ["a"], "includeFinished": True}}, ["or remove ids"], id="ids and finished ones"),
        pytest.param({"jobs": {"metadata": {}}}, ["spec.jobs.metadata"], id="no metadata"),
        pytest.param({"jobs": {"metadata": {"team": 7}}}, ["spec.jobs.metadata.team", "string"], id="a number"),
        pytest.param({"jobs": {"entrypoint": ""}}, ["spec.jobs.entrypoint"], id="no entrypoint"),
        pytest.param({"jobs": {"entrypoint": "x" * 1025}}, ["spec.jobs.entrypoint"], id="long entrypoint"),
        pytest.param({"jobs": {"id": ["a"]}}, ["spec.jobs.id"], id="unknown selector"),
        pytest.param(
            {"jobs": None, "stop": {"requested": True}}, ["spec.stop", "entrypoint '.*'"], id="stop everything"
        ),
        pytest.param(
            {"jobs": {"includeFinished": True}, "stop": {"activeDeadlineSeconds": 60}},
            ["spec.stop", "ids, metadata or entrypoint"],
            id="deadline of everything",
        ),
        pytest.param({"jobs": {"ids": []}}, ["spec.jobs.ids"], id="no ids"),
        pytest.param({"jobs": {"ids": ["a", "a"]}}, ["spec.jobs.ids[1]", "Duplicate"], id="same id twice"),
        pytest.param({"jobs": {"ids": ["a/../b"]}}, ["spec.jobs.ids[0]", "ray job list"], id="an id that is a path"),
        pytest.param({"jobs": {"ids": ["x" * 101]}}, ["spec.jobs.ids[0]"], id="long id"),
        pytest.param({"jobs": {"ids": [f"j{n}" for n in range(51)]}}, ["spec.jobs.ids"], id="too many ids"),
        pytest.param({"logs": {"protocol": "gopher"}}, ["spec.logs.protocol", '"Auto", "WebSocket"'], id="protocol"),
        pytest.param({"logs": {"tailLines": 101}}, ["spec.logs.tailLines", "100"], id="tailLines"),
        *(
            pytest.param({"logs": {"rules": [_RULE | {"condition": one}]}}, ["controller's own"], id=f"built-in {one}")
            for one in ("Ready", "DashboardReachable", "Finished", "Succeeded", "Stalled")
        ),
        pytest.param({"logs": {"rules": [_RULE | {"condition": "lower"}]}}, ["CamelCase"], id="condition"),
        pytest.param({"logs": {"rules": [_RULE, _RULE]}}, ["Duplicate value"], id="rule twice"),
        pytest.param({"logs": {"rules": [_RULE | {"name": "A B"}]}}, ["lower-case letters"], id="rule name"),
        pytest.param(
            {"logs": {"rules": [_RULE | {"condition": "X"}, _RULE | {"name": "b", "condition": "X"}]}},
            ["a condition of its own"],
            id="condition twice",
        ),
        pytest.param(
            {"logs": {"rules": [_RULE | {"resetAfterSeconds": 10, "resetPattern": "x"}]}}, ["not both"], id="two resets"
        ),
        pytest.param(
            {"logs": {"values": [{"name": "loss", "pattern": "x"}]}}, ["(?P<value>"], id="value without capture"
        ),
        pytest.param({"log": {}}, ["spec.log"], id="unknown field"),
        pytest.param(
            {"rayCluster": None, "dashboard": {"url": "ftp://ray:8265"}}, ["spec.dashboard.url", "http"], id="scheme"
        ),
        pytest.param(
            {"rayCluster": None, "dashboard": {"url": "http://u:p@ray:8265"}},
            ["spec.dashboard.url", "password"],
            id="password in the URL",
        ),
        pytest.param({"auth": {}}, ["spec.auth.tokenSecretRef"], id="auth without a Secret"),
        pytest.param(
            {"auth": {"tokenSecretRef": {"name": "other/ray", "key": "t"}}},
            ["spec.auth.tokenSecretRef.name", "in this namespace"],
            id="a Secret of another namespace",
        ),
        pytest.param(
            {"auth": {"tokenSecretRef": {"name": "ray", "key": "../t"}}},
            ["spec.auth.tokenSecretRef.key", "a key of the Secret"],
            id="a key that is a path",
        ),
        pytest.param(
            {"rayCluster": None, "dashboard": {"url": "http://ray:8265", "caSecretRef": {"name": "ca", "key": "ca"}}},
            ["spec.dashboard.caSecretRef", "https://"],
            id="a CA without TLS",
        ),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused_with_the_field_named(
    control_plane: ControlPlane, installed: Path, change: dict[str, Any], says: list[str]
) -> None:
    spec = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    code, output = dry_run(control_plane, spec, check=False)
    assert code != 0
    assert all(part in output for part in says), output


@pytest.mark.parametrize(
    "change",
    [
        {"jobs": None},
        {"jobs": {}},
        {"jobs": {"includeFinished": True}},
        {"jobs": {"metadata": {"team": "nlp", "a/b": ""}}},
        {"jobs": {"entrypoint": r"^python train\.py"}, "stop": {"requested": True}},
        {"jobs": {"entrypoint": "x", "metadata": {"a": "b"}, "includeFinished": True}},
        {"jobs": {"ids": ["a"], "includeFinished": False}},
        {"jobs": None, "stop": {"requested": False}},
    ],
)
def test_jobs_may_be_selected_in_many_ways(
    control_plane: ControlPlane, installed: Path, change: dict[str, Any]
) -> None:
    dry_run(control_plane, {key: value for key, value in {**GOOD, **change}.items() if value is not None})


def test_defaults_are_filled_in(control_plane: ControlPlane, installed: Path) -> None:
    _, output = dry_run(control_plane, GOOD)
    assert json.loads(output)["spec"]["logs"] == {"protocol": "Auto", "tailLines": 20}


def test_the_target_cannot_be_changed(control_plane: ControlPlane, installed: Path, namespace: str) -> None:
    body = json.dumps(manifest("fixed", GOOD))
    control_plane.kubectl("-n", namespace, "apply", "-f", "-", input=body)
    patch = json.dumps({"spec": {"rayCluster": {"name": "other"}}})
    done = control_plane.kubectl("-n", namespace, "patch", "rjw", "fixed", "--type=merge", "-p", patch, check=False)
    assert done.returncode != 0
    assert "spec.rayCluster cannot be changed" in done.stderr


def test_explain_tells_what_every_field_of_spec_means(control_plane: ControlPlane, installed: Path) -> None:
    text = control_plane.kubectl("explain", "rjw.spec", "--recursive").stdout
    assert all(field in text for field in ("rayCluster", "dashboard", "ids", "protocol", "tailLines"))
    fields = ["rayCluster.name", "dashboard.url", "logs.protocol", "logs.tailLines"]
    fields += [f"jobs.{name}" for name in ("ids", "metadata", "entrypoint", "includeFinished")]
    fields += ["stop.requested", "stop.activeDeadlineSeconds", "stop.pendingDeadlineSeconds", "stop.onDeletion"]
    fields += ["serve.applications", "serve.cleanup"]
    fields += ["retention.deleteRecordAfterSeconds", "retention.ttlSecondsAfterFinished"]
    for field in fields:
        described = control_plane.kubectl("explain", f"rjw.spec.{field}").stdout.partition("DESCRIPTION:")[2]
        assert len(described.split()) > 8, field


@pytest.mark.parametrize("folder", ["base", "rbac", "proxy", "samples"])
def test_the_manifests_are_accepted_by_the_api_server(
    control_plane: ControlPlane, installed: Path, folder: str
) -> None:
    done = control_plane.kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", str(ROOT / "manifests" / folder)
    )
    assert "Warning" not in done.stderr
    assert done.stdout.count("serverside-applied") >= 2
