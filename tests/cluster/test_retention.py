"""How long jobs' records and watches are kept, on a real API server and real Ray."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.controller import Controller
from tests.cluster.watches import Json, Watches, manifest, polled
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.kubectl import KubectlError
from tests.localcluster.rayhead import RayHead, RayHTTPError

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.real_ray, pytest.mark.timeout(150)]

SOON = {"deleteRecordAfterSeconds": 10}
GONE = ["Deleted"] * 3
CRD = Path(raycluster.__file__).with_name("rayjob-crd.yaml")


def fresh() -> str:
    """Return a name that no test has used."""
    return f"keep-{uuid4().hex[:8]}"


def is_known(head: RayHead, job: str) -> bool:
    """Whether Ray has a record of a job."""
    try:
        return bool(head.job(job)["submission_id"] == job)
    except RayHTTPError as error:
        if error.status != 404:
            raise
        return False


def record(status: Json, number: int = 0) -> Json:
    """Return what became of a job's record."""
    found: Json = status["jobs"][number].get("record", {}) if status.get("jobs") else {}
    return found


def wait_record(watches: Watches, name: str, state: str, timeout: float = 60) -> Json:
    """Wait until the record of a watch's first job is in that state; return the watch's status."""
    return watches.wait_until(name, lambda status: record(status).get("state") == state, timeout)


def test_a_record_is_deleted_at_its_age_and_the_watch_keeps_the_verdict(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    running = ray_head.submit("sleep 600", submission_id=f"{name}-running")
    watches.apply(name, ray_head.submit("exit 7", submission_id=name), running, retention=SOON)
    watches.wait_until(name, lambda status: status.get("finished") == "1/2", 60)
    assert is_known(ray_head, name)
    status = wait_record(watches, name, "Deleted")
    assert not is_known(ray_head, name)
    assert ray_head.job(running)["status"] == "RUNNING"
    assert (status["jobs"][0]["state"], status["jobs"][0]["exitCode"]) == ("Failed", 7)
    assert "record" not in status["jobs"][1]
    assert watches.reasons(name).count("JobRecordDeleted") == 1
    ray_head.stop_job(running)
    watches.wait(name)
    status = watches.wait_until(name, lambda now: record(now, 1).get("state") == "Deleted", 60)
    assert [row["state"] for row in status["jobs"]] == ["Failed", "Stopped"]
    assert not is_known(ray_head, running)


def test_without_retention_records_stay(watches: Watches, ray_head: RayHead) -> None:
    kept, deleted = fresh(), fresh()
    for name, retention in ((kept, {}), (deleted, SOON)):
        watches.apply(name, ray_head.submit("true", submission_id=name), retention=retention)
    wait_record(watches, deleted, "Deleted")
    assert is_known(ray_head, kept)
    assert "record" not in watches.status(kept)["jobs"][0]


def test_two_watches_of_one_job_get_along(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    for watch in (name, f"{name}-too"):
        watches.apply(watch, name, retention=SOON)
    ray_head.submit("true", submission_id=name)
    for watch in (name, f"{name}-too"):
        assert wait_record(watches, watch, "Deleted")["state"] == "Succeeded"
        assert watches.reasons(watch).count("JobRecordDeleted") == 1


def test_a_record_that_somebody_else_deleted_is_no_loss(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    watches.apply(name, ray_head.submit("true", submission_id=name), retention=SOON)
    watches.wait(name)
    ray_head.delete_job(name)
    assert wait_record(watches, name, "Deleted")["state"] == "Succeeded"


def test_of_a_selection_the_records_go_and_the_counts_stay(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    metadata = {"team": name}
    spec = {"rayCluster": {"name": "shared"}, "jobs": {"metadata": metadata}, "retention": SOON}
    watches.kubectl("apply", "-f", "-", input=json.dumps(manifest(name, spec)))
    jobs = [ray_head.submit("true", submission_id=f"{name}-{number}", metadata=metadata) for number in range(3)]
    status = watches.wait_until(
        name, lambda now: [record(now, number).get("state") for number in range(len(now.get("jobs", [])))] == GONE, 90
    )
    assert not any(is_known(ray_head, job) for job in jobs)
    assert (status["finished"], status["counts"]["succeeded"], status["counts"]["total"]) == ("3/3", 3, 3)
    assert watches.reasons(name).count("JobRecordDeleted") == 3


@pytest.fixture
def ray_jobs(control_plane: ControlPlane) -> Iterator[None]:
    """Have the API server know RayJobs, as KubeRay does."""
    if control_plane.kubectl("get", "crd", "rayjobs.ray.io", check=False).returncode == 0:
        yield
        return
    control_plane.apply(CRD, "--server-side")
    yield
    control_plane.kubectl("delete", "crd", "rayjobs.ray.io")


@pytest.mark.usefixtures("ray_jobs")
def test_the_record_of_a_ray_job_that_is_not_over_stays_until_it_is(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    ray_job = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": name}, "spec": {"jobId": name}}
    watches.kubectl("create", "-f", "-", input=json.dumps(ray_job))
    set_status(watches, name, {"jobId": name, "jobStatus": "RUNNING", "jobDeploymentStatus": "Running"})
    watches.apply(name, ray_head.submit("true", submission_id=name), retention=SOON)
    status = watches.wait_until(name, lambda now: "RayJob" in record(now).get("message", ""), 60)
    assert record(status)["message"] == f"RayJob {name} names it and is not over"
    assert (record(status)["state"], is_known(ray_head, name)) == ("Pending", True)
    set_status(watches, name, {"jobStatus": "SUCCEEDED", "jobDeploymentStatus": "Complete"})
    wait_record(watches, name, "Deleted", 60)
    assert not is_known(ray_head, name)


def set_status(watches: Watches, name: str, status: Json) -> None:
    """Set the status of a RayJob as KubeRay does."""
    patch = json.dumps({"status": status})
    watches.kubectl("patch", "rayjob", name, "--subresource=status", "--type=merge", "-p", patch)


def test_a_driver_s_record_is_left_and_that_is_said(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    driver = ray_head.run_driver("import ray; ray.init()")
    watches.apply(name, driver, retention=SOON)
    assert "without the Jobs API" in record(wait_record(watches, name, "Left"))["message"]
    assert is_listed(ray_head, driver)


def is_listed(head: RayHead, driver: str) -> bool:
    """Whether Ray lists a driver."""
    return any(row["job_id"] == driver for row in head.request("GET", "/api/jobs/"))


def test_a_watch_is_deleted_when_its_time_is_over_and_what_changes_its_mind_is_heeded(
    watches: Watches, ray_head: RayHead
) -> None:
    gone, kept = fresh(), fresh()
    for name in (gone, kept):
        job = ray_head.submit("true", submission_id=name)
        watches.apply(name, job, retention={"ttlSecondsAfterFinished": 5})
    watches.wait(kept)
    watches.kubectl(
        "patch", "rjw", kept, "--type=merge", "-p", '{"spec":{"retention":{"ttlSecondsAfterFinished":null}}}'
    )
    watches.kubectl("wait", "--for=delete", f"rjw/{gone}", "--timeout=30s")
    assert watches.status(kept)["state"] == "Succeeded"
    assert is_known(ray_head, gone)


def test_a_watch_goes_only_after_its_records(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    retention = {"deleteRecordAfterSeconds": 10, "ttlSecondsAfterFinished": 10}
    watches.apply(name, ray_head.submit("true", submission_id=name), retention=retention)
    watches.kubectl("wait", "--for=delete", f"rjw/{name}", "--timeout=60s", timeout=70)
    assert not is_known(ray_head, name)


def test_a_job_that_is_not_over_keeps_its_watch(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    job = ray_head.submit("sleep 600", submission_id=name)
    watches.apply(name, job, retention={"ttlSecondsAfterFinished": 0})
    watches.wait_until(name, lambda status: status.get("state") == "Running", 60)
    ray_head.stop_job(job)
    watches.kubectl("wait", "--for=delete", f"rjw/{name}", "--timeout=30s")


@pytest.mark.parametrize(
    ("retention", "remedy"),
    [
        ({"deleteRecordAfterSeconds": 60, "ttlSecondsAfterFinished": 59}, "raise the one or lower the other"),
        ({"deleteRecordAfterSeconds": 9}, "should be greater than or equal to 10"),
        ({"ttlSecondsAfterFinished": -1}, "should be greater than or equal to 0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_remedy(watches: Watches, retention: Json, remedy: str) -> None:
    with pytest.raises(KubectlError, match=remedy):
        watches.apply(fresh(), "raysubmit_1", retention=retention)


def test_a_controller_that_starts_anew_goes_on_where_the_old_one_stopped(
    control_plane: ControlPlane, namespace: str, installed: Path, ray_head: RayHead, tmp_path: Path
) -> None:
    name = fresh()
    watches = Watches(control_plane, namespace)
    raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=ray_head.node_ip)
    override = f"{namespace}/shared={ray_head.dashboard_url}"
    retention = {"deleteRecordAfterSeconds": 12, "ttlSecondsAfterFinished": 40}
    with Controller(installed, tmp_path / "log", "--namespace", namespace, "--dashboard-override", override) as one:
        watches.apply(name, ray_head.submit("true", submission_id=name), retention=retention)
        watches.wait(name)
        one.kill()
        one.start()
        for status in polled(lambda: watches.status(name), 60):
            if record(status).get("state"):
                break
        one.kill()
        one.start()
        wait_record(watches, name, "Deleted")
        assert watches.reasons(name).count("JobRecordDeleted") == 1
        watches.kubectl("wait", "--for=delete", f"rjw/{name}", "--timeout=60s", timeout=70)
        one.stop()
