"""Rules, values and redaction of a watch on real jobs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.controller import Controller
from tests.cluster.test_journey import fresh
from tests.cluster.test_writes import USER
from tests.cluster.watches import Json, Watches, conditions, first_job, first_log
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.real_ray, pytest.mark.timeout(120)]

PROGRESS = {"name": "progress", "pattern": r"step (?P<value>\d+)/(?P<of>\d+)"}
FLAPPING = """python -uc "
import time
for i in range(100):
    for j in range(100):
        print('oom', i, j)
        if j % 10 == 0:
            print('freed')
    time.sleep(0.1)
" """
SLOW = "python -uc \"import time\nfor i in range({0}): print('oom', i, 'step %d/{0}' % (i + 1)); time.sleep({1})\""


def rule(name: str = "oom", pattern: str = "^oom", **more: Any) -> Json:
    """Return a rule; Ray begins a log with the entrypoint, whose lines it is not to match."""
    return {"name": name, "pattern": pattern, **more}


def found(status: Json, kind: str = "rules") -> dict[str, Json]:
    """Return what was found in the only job's log, by name."""
    return {item["name"]: item for item in first_job(status).get(kind, [])}


@pytest.mark.slow
def test_a_rule_fires_while_the_job_runs_and_its_progress_is_a_column(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    logs = {"rules": [rule(condition="GPUMemoryExhausted", threshold={"count": 3, "withinSeconds": 60})]}
    watches.apply(name, ray_head.submit(SLOW.format(60, 0.2), submission_id=name), logs={**logs, "values": [PROGRESS]})
    status = watches.wait(name, "GPUMemoryExhausted")
    assert status["state"] == "Running"
    assert "rule oom fires for job" in conditions(status)["GPUMemoryExhausted"]["message"]
    watches.wait_until(name, lambda now: "0%" < now.get("progress", "") < "95%")
    status = watches.wait(name)
    status = watches.wait_until(name, lambda now: found(now).get("oom", {}).get("count") == 60)
    assert status["progress"] == "100%"
    assert found(status, "values")["progress"]["value"] == "60"
    assert conditions(status)["GPUMemoryExhausted"]["status"] == "True"
    header, row = watches.kubectl("get", "rjw", name).splitlines()
    assert row[header.index("PROGRESS") :].split()[0] == "100%"
    (event,) = [event for event in watches.events(name) if event["reason"] == "LogRuleFired"]
    assert (event["type"], event["count"]) == ("Warning", 1)
    assert event["message"].startswith(f"rule oom fired for job {name}: oom 2 step 3/60")


@pytest.mark.slow
def test_ten_thousand_lines_in_ten_seconds_make_few_events_and_are_counted_exactly(
    control_plane: ControlPlane, watches: Watches, ray_head: RayHead
) -> None:
    name = fresh()
    rules = [rule(resetPattern="^freed"), rule("any", resetAfterSeconds=10)]
    watches.apply(name, ray_head.submit(FLAPPING, submission_id=name), logs={"rules": rules})
    status = watches.wait_read(name)
    assert {item["name"]: item["count"] for item in found(status).values()} == {"oom": 10_000, "any": 10_000}
    assert found(status)["oom"]["fired"] == 1001
    writes = [write for write in _event_writes(control_plane) if write["name"].startswith(f"{name}.")]
    told = [event for event in watches.events(name) if event["reason"].startswith("LogRule")]
    assert 2 <= len(told) <= 4
    assert len(writes) - len(_others(watches, name)) <= 10


def _others(watches: Watches, name: str) -> list[Json]:
    return [event for event in watches.events(name) if not event["reason"].startswith("LogRule")]


def _event_writes(control_plane: ControlPlane) -> list[Mapping[str, str]]:
    return [
        event["objectRef"]
        for event in control_plane.audit_events()
        if event["user"]["username"] == USER and event["objectRef"]["resource"] == "events"
    ]


@pytest.mark.slow
def test_counts_are_exact_although_the_controller_dies_in_between(
    control_plane: ControlPlane, namespace: str, installed: Path, ray_head: RayHead, tmp_path: Path
) -> None:
    watches = Watches(control_plane, namespace)
    raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=ray_head.node_ip)
    name, other = fresh(), fresh()
    job = ray_head.submit(SLOW.format(300, 0.05), submission_id=name)
    watches.apply(name, job, logs={"rules": [rule(condition="Oom")], "values": [PROGRESS]})
    override = f"{namespace}/shared={ray_head.dashboard_url}"
    with Controller(installed, tmp_path / "log", "--namespace", namespace, "--dashboard-override", override) as one:
        for lines in (1, 100, 200):
            watches.wait_until(name, lambda now, lines=lines: found(now).get("oom", {}).get("count", 0) >= lines, 60)  # type: ignore[misc]
            one.kill()
            if lines == 1:
                watches.apply(other, job, logs={"rules": [rule("nines", "^oom.*9")]})
            one.start()
        for watch in (name, other):
            watches.wait_until(watch, lambda now: first_log(now).get("complete"), 60)
        status, second = watches.status(name), watches.status(other)
        assert "Traceback" not in one.tail(500)
        one.stop()
    assert status["jobs"][0]["log"]["lines"] == second["jobs"][0]["log"]["lines"]
    assert (found(status)["oom"]["count"], found(status)["oom"]["fired"]) == (300, 1)
    assert found(second)["nines"]["count"] == sum("9" in f"oom {i} step {i + 1}/300" for i in range(300))
    assert status["progress"] == "100%"
    assert [event["count"] for event in watches.events(name) if event["reason"] == "LogRuleFired"] == [1]


def test_a_pattern_that_re2_refuses_is_told_and_mended(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    job = ray_head.submit(SLOW.format(200, 0.1), submission_id=name)
    watches.apply(name, job, logs={"rules": [rule("bad", "a("), rule(condition="Oom")], "redact": ["step"]})
    ready = watches.wait_reason(name, "Ready", "InvalidRule")
    assert "rule bad: missing ): a(" in ready["message"]
    status = watches.wait(name, "Oom")
    assert conditions(status)["Stalled"]["reason"] == "InvalidRule"
    assert not any("step" in line for line in status["jobs"][0]["log"]["tail"])
    watches.apply(name, job, logs={"rules": [rule("bad", "a"), rule(condition="Oom")]})
    watches.wait_reason(name, "Ready", "Watching")
    ray_head.stop_job(job)


def test_what_a_user_hides_is_shown_nowhere(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    code = "python -c \"print('for cust-17'); raise ValueError('no cust-18')\" cust-19"
    logs = {"redact": [r"cust-\d+"], "rules": [rule("cust", "^for cust", condition="Seen")]}
    watches.apply(name, ray_head.submit(code, submission_id=name), logs=logs)
    status = watches.wait_read(name)
    assert status["summary"].endswith("ValueError: no ***")
    assert conditions(status)["Seen"]["message"].endswith(": for ***")
    assert "for ***" in status["jobs"][0]["log"]["tail"]
    shown = json.dumps([status, watches.events(name)])
    assert not any(f"cust-{number}" in shown for number in (17, 18, 19))
    watches.apply(name, name, logs={**logs, "redact": [r"cust-\d+", "ValueError"]})
    status = watches.wait_until(name, lambda now: "ValueError" not in json.dumps(now))
    assert status["summary"].endswith("***: no ***")
