"""The controller may die at any line: what users see ends up the same."""

from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.controller import Controller
from tests.cluster.watches import Watches, conditions, log_of, polled
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.real_ray, pytest.mark.timeout(300)]

JOBS = 20
ENDS = ("JobSucceeded", "JobFailed")
ENTRYPOINT = """python -uc "
import sys, time
for i in range({lines}):
    print('line', i)
    time.sleep({pause})
sys.exit({code})
" """


def test_twenty_jobs_and_three_kills_end_in_twenty_right_verdicts(
    control_plane: ControlPlane, namespace: str, installed: Path, ray_head: RayHead, tmp_path: Path
) -> None:
    watches = Watches(control_plane, namespace)
    raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=ray_head.node_ip)
    override = f"{namespace}/shared={ray_head.dashboard_url}"
    names = {f"job-{uuid4().hex[:8]}-{code}": code for code in (n % 2 for n in range(JOBS))}
    with Controller(installed, tmp_path / "log", "--namespace", namespace, "--dashboard-override", override) as one:
        for number, (name, code) in enumerate(names.items()):
            lines = 150 + 7 * number
            ray_head.submit(ENTRYPOINT.format(lines=lines, pause=0.1, code=code), submission_id=name)
            watches.apply(name, name)
        for wanted in (1, JOBS // 2, JOBS):
            _wait_for_lines(watches, wanted)
            one.kill()
            one.start()
        for name in names:
            watches.wait(name, timeout=120)
        _wait_for_logs(watches)
        statuses = watches.all()
        one.stop()
    for name, code in names.items():
        status = statuses[name]
        assert status["state"] == ("Failed" if code else "Succeeded")
        assert conditions(status)["Succeeded"]["status"] == ("False" if code else "True")
        assert status["jobs"][0]["log"]["lines"] == log_of(ray_head, name).count(b"\n"), name
    ends = Counter(_ends(watches, names))
    assert ends == Counter((name, ENDS[code]) for name, code in names.items())


def _wait_for_lines(watches: Watches, count: int) -> None:
    """Wait until `count` watches have read some lines."""
    for statuses in polled(watches.all, 120):
        logs = [row.get("log", {}) for status in statuses.values() for row in status.get("jobs", [])]
        if sum(log.get("lines", 0) > 3 for log in logs) >= count:
            return
    pytest.fail(f"{count} logs were not read from")


def _wait_for_logs(watches: Watches) -> None:
    for statuses in polled(watches.all, 30):
        if all(row["log"]["complete"] for status in statuses.values() for row in status["jobs"]):
            return
    pytest.fail("not every log was read to its end")


def _ends(watches: Watches, names: dict[str, int]) -> list[tuple[str, str]]:
    return [(name, reason) for name in names for reason in watches.reasons(name) if reason in ENDS]


def test_sigterm_ends_the_controller_quickly_while_it_follows_logs(
    control_plane: ControlPlane, namespace: str, installed: Path, ray_head: RayHead, tmp_path: Path
) -> None:
    watches = Watches(control_plane, namespace)
    raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=ray_head.node_ip)
    name = f"job-{uuid4().hex[:8]}"
    ray_head.submit(ENTRYPOINT.format(lines=600, pause=0.1, code=0), submission_id=name)
    watches.apply(name, name)
    override = f"{namespace}/shared={ray_head.dashboard_url}"
    with Controller(installed, tmp_path / "log", "--namespace", namespace, "--dashboard-override", override) as one:
        _wait_for_lines(watches, 1)
        took = one.stop()
    ray_head.stop_job(name)
    assert took < 5
    assert "Traceback" not in one.tail(200)


FAILS_EARLY = """python -c "raise ValueError('no such shard: 7')"; for i in $(seq 300); do
echo cleaning up $i, and saying so in so many words that Ray does not quote what came before them; done
WAIT; exit 1"""


def test_the_cause_of_a_failure_is_found_although_it_was_logged_before_a_restart(
    control_plane: ControlPlane, namespace: str, installed: Path, ray_head: RayHead, tmp_path: Path
) -> None:
    watches = Watches(control_plane, namespace)
    raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=ray_head.node_ip)
    name = f"job-{uuid4().hex[:8]}"
    entrypoint = FAILS_EARLY.replace("WAIT", f"while [ ! -e {tmp_path}/go ]; do sleep 0.1; done")
    watches.apply(name, ray_head.submit(entrypoint, submission_id=name))
    override = f"{namespace}/shared={ray_head.dashboard_url}"
    with Controller(installed, tmp_path / "log", "--namespace", namespace, "--dashboard-override", override) as one:
        watches.wait_until(name, lambda now: "cleaning up 300," in str(now.get("jobs")), 60)
        one.kill()
        one.start()
        (tmp_path / "go").touch()
        status = watches.wait(name)
        one.stop()
    assert status["summary"] == "<string>:1 ValueError: no such shard: 7"
