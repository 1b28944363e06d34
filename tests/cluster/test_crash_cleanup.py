"""Killed at every place of a clean-up: what was to be deleted is, nothing else, and each deletion is told once."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.controller import Controller, Program
from tests.cluster.crashing import CLEAN_UP_PLACES
from tests.cluster.test_retention import is_known
from tests.cluster.watches import Watches, polled
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead
from tests.localcluster.serving import Serving

pytestmark = [pytest.mark.cluster, pytest.mark.real_ray, pytest.mark.slow, pytest.mark.timeout(180)]

CRASHES = 2


@pytest.fixture(scope="module")
def serving(ray_head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Run Serve on the shared head."""
    running = Serving(ray_head, tmp_path_factory.mktemp("serve"))
    yield running
    running.stop()


def _polled_running(program: Program, seconds: float) -> Iterator[bool]:
    return polled(lambda: program.is_running, seconds)


@pytest.mark.parametrize("place", CLEAN_UP_PLACES)
def test_a_crash_there_neither_loses_nor_doubles_anything(
    place: str,
    control_plane: ControlPlane,
    namespace: str,
    installed: Path,
    ray_head: RayHead,
    serving: Serving,
    tmp_path: Path,
) -> None:
    watches = Watches(control_plane, namespace)
    raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=ray_head.node_ip)
    override = f"{namespace}/shared={ray_head.dashboard_url}"
    arguments = ["--kubeconfig", str(installed), "--namespace", namespace, "--dashboard-override", override]
    name, spared = f"crash-{uuid4().hex[:8]}", f"crash-{uuid4().hex[:8]}"
    serving.put(name, spared)
    serving.wait(**{name: "RUNNING", spared: "RUNNING"})
    ray_head.submit("true", submission_id=spared)
    ray_head.submit("true", submission_id=name)
    retention = {"deleteRecordAfterSeconds": 10} | ({"ttlSecondsAfterFinished": 10} if "watch" in place else {})
    watches.apply(name, name, retention=retention, serve={"applications": [f"{name}*"], "cleanup": "OnFinished"})

    crashing = [sys.executable, "-m", "tests.cluster.crashing", place, "run", *arguments]
    for number in range(CRASHES):
        program = Program(crashing, tmp_path / f"crashing-{number}")
        program.start()
        # Later it may have nothing left to do there.
        assert not all(_polled_running(program, 10 if number else 40)) or number
        program.kill()

    with Controller(installed, tmp_path / "last", *arguments[2:]):
        watches.apply("probe", "nothing")
        watches.wait_reason("probe", "Finished", "JobNotFound")
        if "watch" in place:
            watches.kubectl("wait", "--for=delete", f"rjw/{name}", "--timeout=60s", timeout=70)
        else:
            status = watches.wait_until(
                name,
                lambda now: (
                    now["serve"]["state"] == "Done" and now["jobs"][0].get("record", {}).get("state") == "Deleted"
                ),
                60,
            )
            assert status["serve"]["deleted"] == [name]
            assert status["state"] == "Succeeded"
    told = Counter(reason for reason in watches.reasons(name) if reason not in ("JobRunning", "JobSucceeded"))
    assert told == Counter(["ServeApplicationDeleted", "JobRecordDeleted"])
    assert all(event["count"] == 1 for event in watches.events(name))
    assert set(serving.states()) == {spared}
    assert (is_known(ray_head, name), is_known(ray_head, spared)) == (False, True)
