"""Killed at every place between a decision and its verification: what was to be stopped is, nothing else, told once."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.conftest import ROOT
from tests.cluster.controller import Controller, Program
from tests.cluster.crashing import CLEAN_UP_PLACES
from tests.cluster.test_stop import SLEEPING, STOP, patch
from tests.cluster.watches import Json, Watches, polled
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.real_ray, pytest.mark.slow, pytest.mark.timeout(180)]

PLACES = [
    "before the finalizer is changed",
    "finalizer put on",
    "before the events",
    "before the events of what is written",
    "after the events of what is written",
    "before the write",
    "after the write",
    "before the ask",
    "after the ask",
    "finalizer taken off",
]
CRASHES = 2


def test_every_place_is_tried() -> None:
    sources = (ROOT / "operator" / "rayjobwatch").rglob("*.py")
    said = {place for source in sources for place in re.findall(r'reached\(f?"([^"]+)"\)', source.read_text())}
    assert said == {place for place in (*PLACES, *CLEAN_UP_PLACES) if not place.startswith("finalizer")} | {
        "finalizer {'put on' if present else 'taken off'}"
    }


def _polled_running(program: Program) -> Iterator[bool]:
    return polled(lambda: program.is_running, 15)


def _is_all_told(status: Json) -> bool:
    """Whether no Event is pending: nobody tells it when the controller has gone."""
    return not status.get("eventsPending")


@pytest.mark.parametrize("place", PLACES)
def test_a_crash_there_neither_loses_nor_doubles_anything(
    place: str, control_plane: ControlPlane, namespace: str, installed: Path, ray_head: RayHead, tmp_path: Path
) -> None:
    watches = Watches(control_plane, namespace)
    raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=ray_head.node_ip)
    override = f"{namespace}/shared={ray_head.dashboard_url}"
    arguments = ["run", "--kubeconfig", str(installed), "--namespace", namespace, "--dashboard-override", override]
    asked, late, deleted, spared = names = [f"crash-{uuid4().hex[:8]}" for _ in range(4)]
    with Controller(installed, tmp_path / "first", *arguments[3:]):
        for name in names:
            ray_head.submit(SLEEPING, submission_id=name)
            holding = {} if place == "finalizer put on" else {"onDeletion": True}
            watches.apply(name, name, stop=holding if name == deleted else {})
        for name in names:
            watches.wait_until(name, lambda status: status.get("state") == "Running", 60)
    patch(watches, asked, STOP)
    patch(watches, late, {"stop": {"activeDeadlineSeconds": 1}})
    if place == "finalizer put on":
        patch(watches, deleted, {"stop": {"onDeletion": True}})
    else:
        watches.kubectl("delete", "rjw", deleted, "--wait=false")

    crashing = [sys.executable, "-m", "tests.cluster.crashing", place, *arguments]
    for number in range(CRASHES):
        program = Program(crashing, tmp_path / f"crashing-{number}")
        program.start()
        # Later it may have nothing left to do there.
        assert not all(_polled_running(program)) or number
        program.kill()

    with Controller(installed, tmp_path / "last", *arguments[3:]):
        for name in (asked, late):
            assert watches.wait(name)["state"] == "Stopped"
        watches.kubectl("delete", "rjw", deleted, "--timeout=30s", "--ignore-not-found", timeout=40)
        watches.apply("probe", "nothing")
        watches.wait_reason("probe", "Finished", "JobNotFound")
        *_, status = (watches.wait_until(name, _is_all_told) for name in (asked, late, spared))
    assert [ray_head.job(name)["status"] for name in names] == ["STOPPED", "STOPPED", "STOPPED", "RUNNING"]
    assert (status["state"], "stop" in status["jobs"][0]) == ("Running", False)
    for name, told in ((asked, "StopRequested"), (late, "DeadlineExceeded"), (deleted, "StopRequested")):
        assert Counter(watches.reasons(name)) == Counter(["JobRunning", told, "JobStopped"]), name
    assert watches.reasons(spared) == ["JobRunning"]
    assert all(event["count"] == 1 for name in names for event in watches.events(name))
    ray_head.stop_job(spared)
