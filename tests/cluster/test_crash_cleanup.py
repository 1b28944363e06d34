"""Killed at every place of a clean-up: what was to be deleted is, nothing else, and each deletion is told once."""

import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.controller import Controller, Program
from tests.cluster.crashing import CLEAN_UP_PLACES, TAKEN_OVER
from tests.cluster.test_retention import is_known
from tests.cluster.test_stop import SLEEPING, STOP
from tests.cluster.watches import Json, Watches, first_job, polled
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


@pytest.mark.parametrize("place", [*CLEAN_UP_PLACES, TAKEN_OVER])
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
    serving.put(spared, *([] if place == TAKEN_OVER else [name]))
    if place == TAKEN_OVER:
        serving.run(name)
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
            status = watches.wait_until(name, _is_all_done, 60)
            assert status["serve"]["deleted"] == [name]
            assert status["state"] == "Succeeded"
    told = Counter(reason for reason in watches.reasons(name) if reason not in ("JobRunning", "JobSucceeded"))
    assert told == Counter(["ServeApplicationDeleted", "JobRecordDeleted"])
    assert all(event["count"] == 1 for event in watches.events(name))
    assert set(serving.states()) == {spared}
    assert (is_known(ray_head, name), is_known(ray_head, spared)) == (False, True)


def test_a_controller_that_is_killed_again_and_again_each_time_later_does_all_once(
    control_plane: ControlPlane,
    namespace: str,
    installed: Path,
    ray_head: RayHead,
    serving: Serving,
    tmp_path: Path,
) -> None:
    """So that it is killed between any read that verifies something and what is written of it, too."""
    watches = Watches(control_plane, namespace)
    raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=ray_head.node_ip)
    override = f"{namespace}/shared={ray_head.dashboard_url}"
    arguments = ["run", "--kubeconfig", str(installed), "--namespace", namespace, "--dashboard-override", override]
    name, spared = f"crash-{uuid4().hex[:8]}", f"crash-{uuid4().hex[:8]}"
    serving.put(name, spared)
    serving.wait(**{name: "RUNNING", spared: "RUNNING"})
    for job in (name, spared):
        ray_head.submit(SLEEPING, submission_id=job)
        ray_head.wait_job(job, ("RUNNING",))
    serve = {"applications": [name], "cleanup": "OnFinished"}
    retention = {"deleteRecordAfterSeconds": 10, "ttlSecondsAfterFinished": 10}
    watches.apply(name, name, **STOP, serve=serve, retention=retention)
    watches.apply(spared, spared)

    for number in itertools.count(1):
        command = [sys.executable, "-m", "tests.cluster.crashing", str(number), *arguments]
        with Program(command, tmp_path / f"crashing-{number}") as program:
            if any(not _is_there(watches, name) for _ in itertools.takewhile(bool, _polled_running(program, 60))):
                break
            assert not program.is_running, "neither killed nor done"
    assert number > 5
    told = Counter(watches.reasons(name))
    assert told == Counter(["JobRunning", "StopRequested", "JobStopped", "ServeApplicationDeleted", "JobRecordDeleted"])
    assert all(event["count"] == 1 for event in watches.events(name))
    assert set(serving.states()) == {spared}
    assert (is_known(ray_head, name), ray_head.job(spared)["status"]) == (False, "RUNNING")
    ray_head.stop_job(spared)


def _is_all_done(status: Json) -> bool:
    """Whether all is done and told: nobody tells what is pending when the controller has gone."""
    record = first_job(status).get("record", {})
    done = status["serve"]["state"] == "Done" and record.get("state") == "Deleted"
    return done and not status.get("eventsPending")


def _is_there(watches: Watches, name: str) -> bool:
    return bool(watches.kubectl("get", "rjw", name, "--ignore-not-found"))
