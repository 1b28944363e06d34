"""Stopping jobs by kubectl, on a real API server and real Ray."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.cluster.watches import Json, Watches, conditions, first_job, first_log, log_of, polled
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.real_ray, pytest.mark.timeout(180)]

SLEEPING = "sleep 600"
TRAPPING = """bash -c 'trap "echo saved; exit 0" TERM; echo ready; while :; do sleep 0.1; done'"""
STUBBORN = """bash -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'"""
STOP = {"stop": {"requested": True}}


def fresh() -> str:
    """Return a name that no test has used."""
    return f"stop-{uuid4().hex[:10]}"


@contextlib.contextmanager
def driver_that_sleeps(head: RayHead) -> Iterator[str]:
    """Run a driver outside the Jobs API; give its job id."""
    address = f"{head.node_ip}:{head.ports.gcs}"
    code = f"import ray, time; ray.init('{address}', log_to_driver=False); "
    code += "print('id', ray.get_runtime_context().get_job_id(), flush=True); time.sleep(600)"
    command = ["python", "-c", code]
    environment = head.cli_environment()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as driver:
        assert driver.stdout is not None
        try:
            yield next(line.split()[1] for line in driver.stdout if line.startswith(b"id ")).decode()
        finally:
            driver.kill()


def patch(watches: Watches, name: str, spec: Json) -> None:
    """Change a watch's spec as a user does."""
    watches.kubectl("patch", "rjw", name, "--type=merge", "-p", json.dumps({"spec": spec}))


def running(watches: Watches, head: RayHead, entrypoint: str, **spec: object) -> str:
    """Submit a job and apply a watch of the same name; return it when the job is seen to run."""
    name = fresh()
    head.submit(entrypoint, submission_id=name)
    watches.apply(name, name, **spec)
    watches.wait_until(name, lambda status: status.get("state") == "Running", 60)
    return name


@pytest.mark.parametrize(
    "entrypoint",
    [
        pytest.param(SLEEPING, id="plain"),
        pytest.param(TRAPPING, id="traps", marks=pytest.mark.slow),
        pytest.param(STUBBORN, id="ignores", marks=pytest.mark.slow),
    ],
)
def test_a_job_is_stopped_when_that_is_requested(watches: Watches, ray_head: RayHead, entrypoint: str) -> None:
    name = running(watches, ray_head, entrypoint)
    if entrypoint != SLEEPING:
        watches.wait_until(name, lambda status: "ready" in first_log(status).get("tail", []), 30)
    patch(watches, name, STOP)
    status = watches.wait(name)
    assert status["state"] == "Stopped"
    assert status["summary"] == "stopped: spec.stop.requested is true"
    stop = status["jobs"][0]["stop"]
    assert (stop["reason"], stop["attempts"] >= 1) == ("Requested", True)
    assert stop["requestedTime"] <= stop["stoppedTime"]
    assert ray_head.job(name)["status"] == "STOPPED"
    assert watches.reasons(name) == ["JobRunning", "StopRequested", "JobStopped"]
    if entrypoint == TRAPPING:
        status = watches.wait_until(name, lambda now: first_log(now).get("complete"), 30)
        assert status["jobs"][0]["log"]["tail"][-1] == "saved"
        assert status["jobs"][0]["log"]["lines"] == log_of(ray_head, name).count(b"\n")


def test_other_jobs_are_left_alone(watches: Watches, ray_head: RayHead) -> None:
    other = running(watches, ray_head, SLEEPING)
    name = running(watches, ray_head, SLEEPING)
    patch(watches, name, STOP)
    watches.wait(name)
    assert ray_head.job(other)["status"] == "RUNNING"
    assert "stop" not in watches.status(other)["jobs"][0]
    ray_head.stop_job(other)


def test_a_job_that_runs_for_too_long_is_stopped(watches: Watches, ray_head: RayHead) -> None:
    name = running(watches, ray_head, SLEEPING, stop={"activeDeadlineSeconds": 4})
    status = watches.wait(name)
    assert status["state"] == "Stopped"
    assert status["summary"] == "stopped: it ran for longer than spec.stop.activeDeadlineSeconds"
    assert watches.reasons(name) == ["JobRunning", "DeadlineExceeded", "JobStopped"]
    row = ray_head.job(name)
    assert row["end_time"] - row["start_time"] >= 4_000


@pytest.mark.slow
def test_a_log_rule_stops_the_job_that_it_fires_for(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    ray_head.submit("bash -c 'sleep 3; echo CUDA out of memory; sleep 600'", submission_id=name)
    rule = {"name": "oom", "pattern": "^CUDA out of memory", "action": "StopJob"}
    watches.apply(name, name, logs={"rules": [rule]})
    status = watches.wait(name)
    assert status["state"] == "Stopped"
    assert status["summary"] == "stopped: a rule of spec.logs.rules with the action StopJob fired"
    assert watches.reasons(name)[-1] == "JobStopped"
    assert {"LogRuleFired", "StopRequested"} <= set(watches.reasons(name))


def test_a_job_that_is_fast_enough_is_not_stopped(watches: Watches, ray_head: RayHead) -> None:
    name = running(watches, ray_head, "sleep 2", stop={"activeDeadlineSeconds": 60})
    assert watches.wait(name)["state"] == "Succeeded"


@contextlib.contextmanager
def blocked(head: RayHead) -> Iterator[None]:
    """Have no CPU left for other jobs that want all of them."""
    blocker = fresh()
    head.submit(SLEEPING, submission_id=blocker, num_cpus=head.num_cpus)
    head.wait_job(blocker, ("RUNNING",))
    try:
        yield
    finally:
        head.stop_job(blocker)


@pytest.mark.slow
def test_a_pending_job_is_stopped_once_it_can_run(watches: Watches, ray_head: RayHead) -> None:
    name, spared = fresh(), fresh()
    with blocked(ray_head):
        for job, entrypoint in ((name, SLEEPING), (spared, "echo spared")):
            ray_head.submit(entrypoint, submission_id=job, num_cpus=ray_head.num_cpus)
            watches.apply(job, job, stop={"pendingDeadlineSeconds": 2} if job == name else STOP["stop"])
        status = watches.wait_until(name, lambda now: first_job(now).get("stop", {}).get("message"), 30)
        row = status["jobs"][0]
        assert (row["state"], row["stop"]["reason"]) == ("Pending", "PendingDeadlineExceeded")
        assert status["summary"].startswith(f"{name} not stopped: Ray cannot stop a PENDING job")
        watches.wait_until(spared, lambda now: first_job(now).get("stop"))
        patch(watches, spared, {"stop": {"requested": False}})
        watches.wait_until(spared, lambda now: "stop" not in first_job(now))
    assert watches.wait(name)["state"] == "Stopped"
    assert watches.reasons(name)[0] == "DeadlineExceeded"
    assert watches.reasons(name)[-1] == "JobStopped"
    assert "StopFailed" not in watches.reasons(name)
    assert watches.wait(spared)["state"] == "Succeeded"
    assert ray_head.job(spared)["status"] == "SUCCEEDED"


@pytest.mark.slow
def test_a_job_that_succeeds_in_the_same_moment_has_succeeded(watches: Watches, ray_head: RayHead) -> None:
    """The job ends by itself about when Ray is asked: whatever Ray's table says in the end is what is told."""
    name = fresh()
    ray_head.submit(f"sleep {3 + time.time() % 1}", submission_id=name)
    watches.apply(name, name, stop={"activeDeadlineSeconds": 3})
    status = watches.wait(name)
    truth = ray_head.job(name)["status"]
    assert status["state"] == {"SUCCEEDED": "Succeeded", "STOPPED": "Stopped", "FAILED": "Failed"}[truth]
    assert [reason for reason in watches.reasons(name) if reason.startswith("Job")][-1] == f"Job{status['state']}"


@pytest.mark.slow
def test_a_driver_is_said_to_be_not_stoppable(watches: Watches, ray_head: RayHead) -> None:
    with driver_that_sleeps(ray_head) as job:
        name = fresh()
        watches.apply(name, job, **STOP)
        status = watches.wait_until(name, lambda now: first_job(now).get("stop"), 60)
        assert status["jobs"][0]["type"] == "DRIVER"
        assert status["jobs"][0]["stop"]["message"].startswith("NotStoppable")
        assert conditions(status)["Finished"]["status"] == "False"
        assert "StopFailed" in watches.reasons(name)


def test_two_watches_that_want_the_same_stop_it_once(watches: Watches, ray_head: RayHead) -> None:
    job, both = fresh(), (fresh(), fresh())
    for name in both:
        watches.apply(name, job, **STOP)
        watches.wait_reason(name, "Finished", "JobNotFound")
    ray_head.submit(SLEEPING, submission_id=job)
    for name in both:
        assert watches.wait(name)["state"] == "Stopped"
        told = [reason for reason in watches.reasons(name) if reason != "JobRunning"]
        assert told == ["StopRequested", "JobStopped"]


def test_deleting_the_watch_stops_its_job_first(watches: Watches, ray_head: RayHead) -> None:
    name = running(watches, ray_head, SLEEPING, stop={"onDeletion": True})
    assert watches.get(name)["metadata"]["finalizers"] == ["rayjobwatch.dev/cleanup"]
    watches.kubectl("delete", "rjw", name, "--timeout=30s", timeout=40)
    assert ray_head.job(name)["status"] == "STOPPED"
    assert watches.reasons(name) == ["JobRunning", "StopRequested", "JobStopped"]


def test_deleting_a_watch_without_that_wish_stops_nothing(watches: Watches, ray_head: RayHead) -> None:
    name = running(watches, ray_head, SLEEPING, stop={"onDeletion": True})
    patch(watches, name, {"stop": {"onDeletion": False}})
    for found in polled(lambda: watches.get(name), 30):
        if "finalizers" not in found["metadata"]:
            break
    watches.kubectl("delete", "rjw", name, "--timeout=30s", timeout=40)
    assert ray_head.job(name)["status"] == "RUNNING"
    ray_head.stop_job(name)
