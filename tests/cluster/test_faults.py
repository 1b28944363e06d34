"""Faults on real Ray, each with ten jobs in flight: no status that a user could have seen is false.

The controller is never restarted; after each fault it is as if there had been none.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import pytest

from tests.cluster.controller import Controller
from tests.cluster.heldjobs import HeldJobs
from tests.cluster.recorder import OVER, Recorder
from tests.cluster.watches import Json, Watches, conditions, first_job, first_log, log_of, manifest, polled
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead
from tests.ray.relay import Gate, Relay, http_answer

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.real_ray, pytest.mark.timeout(240)]

IN_FLIGHT = 10
FROZEN_SECONDS = 60
ANSWERED_SECONDS = 10
CUTS = 3
PROTOCOLS = ("Auto", "WebSocket", "HTTP")
FIRST_TOKEN, SECOND_TOKEN, SECRET = "first", "second", "ray"
EVERYTHING = "everything"
ALL_JOBS: Json = {"rayCluster": {"name": "shared"}, "logs": {"protocol": "None"}}


@dataclass
class Stage:
    """A head, a proxy in front of its dashboard that wants a token, one in front of its agent, and watches.

    There is one for each job, and one for all.
    """

    watches: Watches
    head: RayHead
    gate: Gate
    agent: Relay
    jobs: HeldJobs
    recorder: Recorder
    controller: Controller
    running: list[str] = field(default_factory=list)

    def fill(self, count: int = IN_FLIGHT) -> list[str]:
        """Have so many jobs in flight, each watched and said to run; return them."""
        wanted = self.jobs.submit(count - len(self.running))
        items = [manifest(job, watch_spec(job, protocol)) for job, protocol in zip(wanted, cycle(PROTOCOLS))]
        if items:
            self.watches.control_plane.apply(items, "-n", self.watches.namespace)
        self.running += wanted
        self.wait(self.running, lambda now: now.get("state") == "Running")
        return list(self.running)

    def end(self, job: str, code: int, *, perhaps: str = "") -> None:
        """Have a job end."""
        self.jobs.end(job, code, perhaps=perhaps)
        self.running.remove(job)

    def lose(self, reasons: set[str]) -> list[str]:
        """Kill the head, and wait until that is said and nothing else; return the jobs that are lost by it."""
        lost, self.running = self.running, []
        self.jobs.lose()
        self.head.kill()
        self.wait_said(lost, reasons)
        return lost

    def cut(self) -> None:
        """Reset every connection of the controller to the dashboard, at least one, and to the agent."""
        assert any(polled(self.gate.cut, 20))
        self.agent.cut()

    def wait(self, jobs: list[str], holds: Callable[[Json], object], timeout: float = 90) -> None:
        """Wait until the status of the watch of each of the jobs is as wanted."""
        until = time.monotonic() + timeout
        while not_yet := {job: now for job in jobs if not holds(now := self.recorder.now.get(job, {}))}:
            assert self.recorder.falsehoods == []
            if time.monotonic() > until:
                pytest.fail(f"not in {timeout} s: {json.dumps(not_yet, indent=1)}")
            time.sleep(0.1)

    def wait_said(self, jobs: list[str], reasons: set[str]) -> None:
        """Wait until the watches of the jobs say why they do not see them: the last state seen stays."""
        self.wait(jobs, lambda now: reachable(now) in reasons)
        assert {self.recorder.now[job]["state"] for job in jobs} == {"Running"}

    def check(self, ended: list[str]) -> None:
        """See that all is well again, that those that ended have their verdict, and that nothing false was said."""
        self.wait(self.running, lambda now: reachable(now) == "Answering")
        self.wait(ended, lambda now: now.get("state") in OVER and first_log(now).get("complete"))
        for job in ended:
            row = first_job(self.recorder.now[job])
            assert {row["state"]} == self.jobs.ends[job], self.head.job(job)
            assert row["log"]["lines"] == log_of(self.head, job).count(b"\n")
            assert row["log"]["tail"][-1] == f"told to end with {row.get('exitCode', 0)}"
        self._check_all()

    def check_lost(self, jobs: list[str]) -> None:
        """See that all of the jobs are over, those of a head that is gone, and that nothing false was said."""
        self.wait(jobs, lambda now: now.get("state") in OVER)
        self._check_all()

    def _check_all(self) -> None:
        counts = Counter(self.recorder.now[job]["state"].lower() for job in self.jobs.ends)
        self.wait([EVERYTHING], lambda now: _counts(now) == counts)
        self.recorder.wait_for_all()
        assert self.recorder.falsehoods == []
        assert self.controller.is_running


def watch_spec(job: str, protocol: str) -> Json:
    return {"rayCluster": {"name": "shared"}, "jobs": {"ids": [job]}, "logs": {"protocol": protocol}}


def reachable(status: Json) -> str:
    """Return the reason of `DashboardReachable`."""
    return str(conditions(status).get("DashboardReachable", {}).get("reason"))


def _counts(status: Json) -> dict[str, int]:
    counts: dict[str, int] = status.get("counts") or {}
    return {state: count for state, count in counts.items() if count and state != "total"}


@contextlib.contextmanager
def staged(
    plane: ControlPlane, kubeconfig: Path, directory: Path, head: RayHead, gate: Gate, agent: Relay
) -> Iterator[Stage]:
    """Run a controller for a RayCluster whose dashboard is behind a proxy, and record what it says."""
    with plane.namespace() as namespace:
        watches, jobs = Watches(plane, namespace), HeldJobs(head, directory)
        auth = {"mode": "token", "secretName": SECRET}
        raycluster.ready_cluster(plane, namespace, "shared", head_ip=head.node_ip, authOptions=auth)
        arguments = ["--namespace", namespace, "--dashboard-override", f"{namespace}/shared={gate.url}"]
        with Recorder(watches, jobs.ends) as recorder, Controller(kubeconfig, directory / "log", *arguments) as running:
            stage = Stage(watches, head, gate, agent, jobs, recorder, running)
            watches.kubectl("create", "secret", "generic", SECRET, f"--from-literal=auth_token={FIRST_TOKEN}")
            watches.kubectl("apply", "-f", "-", input=json.dumps(manifest(EVERYTHING, ALL_JOBS)))
            yield stage


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Stage a head that lives on, behind a proxy that wants a token."""
    directory = tmp_path_factory.mktemp("faults")
    with (
        RayHead(num_cpus=2) as head,
        Relay(head.agent_port, head.node_ip) as agent,
        Gate(head.ports.dashboard, FIRST_TOKEN, (agent.address, f"{head.node_ip}:{head.agent_port}")) as gate,
        staged(control_plane, installed, directory, head, gate, agent) as one,
    ):
        yield one


@contextlib.contextmanager
def killed(stage: Stage) -> Iterator[None]:
    stage.head.kill_dashboard()
    yield
    stage.head.restart_dashboard()


@contextlib.contextmanager
def frozen(stage: Stage) -> Iterator[None]:
    with stage.head.frozen_dashboard(), lasting(FROZEN_SECONDS):
        yield


@contextlib.contextmanager
def failing(stage: Stage) -> Iterator[None]:
    with answering(stage, http_answer("500 Internal Server Error", "text/plain", b"Traceback (most recent call last)")):
        yield


@contextlib.contextmanager
def paged(stage: Stage) -> Iterator[None]:
    with answering(stage, http_answer("200 OK", "text/html", b"<html><body>We will be right back</body></html>")):
        yield


@contextlib.contextmanager
def answering(stage: Stage, answer: bytes) -> Iterator[None]:
    stage.gate.change(answer=answer)
    with lasting(ANSWERED_SECONDS):
        yield
    stage.gate.change()


@contextlib.contextmanager
def rotated(stage: Stage) -> Iterator[None]:
    stage.gate.change(token=SECOND_TOKEN)
    yield
    patch = json.dumps({"stringData": {"auth_token": SECOND_TOKEN}})
    stage.watches.kubectl("patch", "secret", SECRET, "-p", patch)


@contextlib.contextmanager
def lasting(seconds: float) -> Iterator[None]:
    """Have what is done meanwhile take so long at least: this is how long the fault is."""
    ends = time.monotonic() + seconds
    yield
    time.sleep(max(0.0, ends - time.monotonic()))


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        pytest.param(killed, {"DashboardUnreachable"}, id="the dashboard is killed and comes back"),
        pytest.param(failing, {"DashboardError"}, id="a proxy answers 500"),
        pytest.param(paged, {"DashboardError"}, id="a proxy answers with a page"),
        pytest.param(rotated, {"Unauthorized"}, id="the token is changed"),
        pytest.param(frozen, {"DashboardTimeout"}, id="the dashboard is frozen"),
    ],
)
def test_a_fault_of_the_dashboard_is_no_verdict_on_ten_jobs_in_flight(
    stage: Stage, fault: Callable[[Stage], contextlib.AbstractContextManager[None]], reasons: set[str]
) -> None:
    good, bad, *_ = stage.fill()
    with fault(stage):
        stage.wait_said(stage.running, reasons)
        stage.end(good, 0)
        stage.end(bad, 3)
    stage.check([good, bad])


def test_connections_that_are_reset_mid_tail_lose_no_line(stage: Stage) -> None:
    good, bad, *_ = stage.fill()
    assert any(polled(stage.agent.cut, 20))  # an agent whose connections break again and again is asked no more
    for _ in range(CUTS):
        stage.cut()
    stage.end(good, 0)
    stage.end(bad, 3)
    for _ in range(CUTS):
        stage.cut()
    stage.check([good, bad])


def test_jobs_of_a_head_that_is_killed_are_lost_and_others_keep_their_verdict(stage: Stage) -> None:
    good, bad, late, *_ = stage.fill()
    stage.end(good, 0)
    stage.end(bad, 3)
    stage.wait([good, bad], lambda now: now.get("state") in OVER)
    stage.end(late, 3, perhaps="Lost")
    lost = stage.lose({"DashboardUnreachable"})
    stage.head.start()
    stage.check_lost([good, bad, late, *lost])
    [another] = stage.fill(1)
    stage.end(another, 0)
    stage.check([another])


def test_jobs_of_a_cluster_that_is_suspended_are_lost_when_it_is_resumed(stage: Stage) -> None:
    plane, namespace = stage.watches.control_plane, stage.watches.namespace
    stage.fill()
    raycluster.begin_to_suspend(plane, namespace, "shared")
    stage.wait_said(stage.running, {"RayClusterSuspending"})
    lost = stage.lose({"RayClusterSuspending"})
    raycluster.suspend(plane, namespace, "shared")
    stage.wait_said(lost, {"RayClusterSuspended"})
    raycluster.resume(plane, namespace, "shared")
    stage.wait_said(lost, {"RayClusterProvisioning"})
    stage.head.start()
    raycluster.set_head_ready(plane, namespace, "shared", head_ip=stage.head.node_ip)
    stage.check_lost(lost)
    [another] = stage.fill(1)
    stage.end(another, 0)
    stage.check([another])
