"""Serve applications that a watch deletes, while clients never stop asking the others; on real Ray Serve."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.controller import Controller
from tests.cluster.watches import Json, Watches, polled
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.kubectl import KubectlError
from tests.localcluster.rayhead import RayHead
from tests.localcluster.serving import Serving

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.real_ray, pytest.mark.timeout(180)]

KEPT = ("kept", "kept-imperative")


@pytest.fixture(scope="module")
def serving(ray_head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Run Serve on the shared head, with two applications that nobody may disturb."""
    running = Serving(ray_head, tmp_path_factory.mktemp("serve"))
    running.run("kept-imperative")
    running.put("kept")
    running.wait(**dict.fromkeys(KEPT, "RUNNING"))
    yield running
    running.stop()


@contextmanager
def undisturbed(serving: Serving) -> Iterator[None]:
    """Ask the other applications all the time; every single answer must be right."""
    with ExitStack() as stack:
        asking = [stack.enter_context(serving.asking(name)) for name in KEPT]
        before = [one.answers for one in asking]
        yield
        assert all(one.answers > start for one, start in zip(asking, before, strict=True))
    assert [one.wrong for one in asking] == [[], []]


def deploy(serving: Serving, how: str, *names: str) -> None:
    """Deploy applications beside those that are kept."""
    if how == "declarative":
        serving.put("kept", *names)
    else:
        for name in names:
            serving.run(name)
    serving.wait(**dict.fromkeys(names, "RUNNING"))


def there(serving: Serving, *names: str) -> set[str]:
    """Return which of these applications Serve has; those that are kept must be among what it has."""
    states = serving.states()
    assert set(KEPT) <= states.keys()
    return states.keys() & set(names)


def fresh() -> str:
    """Return a name that no test has used."""
    return f"serve-{uuid4().hex[:8]}"


def cleaned(watches: Watches, name: str, state: str = "Done", timeout: float = 60) -> Json:
    """Wait for the end of a clean-up; return `status.serve`."""
    status = watches.wait_until(name, lambda now: now.get("serve", {}).get("state") == state, timeout)
    serve: Json = status["serve"]
    return serve


@pytest.mark.parametrize("how", ["declarative", "imperative"])
def test_an_application_goes_with_its_job_and_no_request_to_the_others_is_lost(
    watches: Watches, ray_head: RayHead, serving: Serving, how: str
) -> None:
    name = fresh()
    deploy(serving, how, name, f"{name}-canary", f"other-{name}")
    patterns = [name, f"{name}-c*", "absent-*"]
    watches.apply(name, name, serve={"applications": patterns, "cleanup": "OnFinished"})
    with undisturbed(serving):
        ray_head.submit("true", submission_id=name)
        serve = cleaned(watches, name)
    assert there(serving, name, f"{name}-canary", f"other-{name}") == {f"other-{name}"}
    assert serve["deleted"] == [name, f"{name}-canary"]
    assert serve["message"] == f"deleted {name}, {name}-canary; no application matched absent-*"
    assert "applications" not in serve
    assert watches.reasons(name).count("ServeApplicationDeleted") == 2
    assert watches.status(name)["state"] == "Succeeded"
    deploy(serving, how, name)
    assert cleaned(watches, name) == serve
    assert serving.states()[name] == "RUNNING"


def test_on_failed_waits_for_a_failure(watches: Watches, ray_head: RayHead, serving: Serving) -> None:
    good, bad = fresh(), fresh()
    deploy(serving, "declarative", good, bad)
    for name, entrypoint in ((good, "true"), (bad, "exit 7")):
        ray_head.submit(entrypoint, submission_id=name)
        watches.apply(name, name, serve={"applications": [name], "cleanup": "OnFailed"})
    cleaned(watches, bad)
    assert watches.wait(good)["state"] == "Succeeded"
    assert "serve" not in watches.status(good)
    assert there(serving, good, bad) == {good}


def test_what_failed_to_deploy_is_deleted_too(watches: Watches, ray_head: RayHead, serving: Serving) -> None:
    name = fresh()
    serving.put("kept", broken=(name,))
    serving.wait(**{name: "DEPLOY_FAILED"})
    ray_head.submit("true", submission_id=name)
    with undisturbed(serving):
        watches.apply(name, name, serve={"applications": [name], "cleanup": "OnFinished"})
        assert cleaned(watches, name)["deleted"] == [name]
    assert not there(serving, name)


def test_on_deletion_the_applications_go_before_the_watch(
    watches: Watches, ray_head: RayHead, serving: Serving
) -> None:
    name = fresh()
    deploy(serving, "declarative", name)
    ray_head.submit("sleep 600", submission_id=name)
    watches.apply(name, name, serve={"applications": [name], "cleanup": "OnDeletion"})
    watches.wait_until(name, lambda status: status.get("state") == "Running", 60)
    with undisturbed(serving):
        watches.kubectl("delete", "rjw", name, "--timeout=50s")
        assert not there(serving, name)
    assert ray_head.job(name)["status"] == "RUNNING"
    ray_head.stop_job(name)


def test_a_glob_that_matches_nothing_is_said(watches: Watches, ray_head: RayHead, serving: Serving) -> None:
    name = fresh()
    ray_head.submit("true", submission_id=name)
    watches.apply(name, name, serve={"applications": ["nobody-*"], "cleanup": "OnFinished"})
    serve = cleaned(watches, name)
    assert serve["message"] == "no application matched nobody-*"


def test_two_watches_that_name_the_same_application_do_not_get_in_each_other_s_way(
    watches: Watches, ray_head: RayHead, serving: Serving
) -> None:
    name = fresh()
    deploy(serving, "imperative", name)
    spec = {"applications": [name], "cleanup": "OnFinished"}
    for watch in (name, f"{name}-too"):
        watches.apply(watch, name, serve=spec)
    with undisturbed(serving):
        ray_head.submit("true", submission_id=name)
        for watch in (name, f"{name}-too"):
            assert cleaned(watches, watch)["state"] == "Done"
    assert not there(serving, name)


def serve_controller(head: RayHead) -> int:
    """Return the pid of Serve's controller."""
    return next(pid for pid, line in head.processes().items() if line.startswith("ray::ServeController"))


def test_a_serve_controller_that_hangs_is_said_and_tried_again(
    watches: Watches, ray_head: RayHead, serving: Serving
) -> None:
    name = fresh()
    deploy(serving, "declarative", name)
    pid = serve_controller(ray_head)
    os.kill(pid, signal.SIGSTOP)
    try:
        ray_head.submit("true", submission_id=name)
        watches.apply(name, name, serve={"applications": [name], "cleanup": "OnFinished"})
        status = watches.wait_until(name, lambda now: "tried again" in now.get("serve", {}).get("message", ""), 90)
        assert status["serve"]["state"] == "Pending"
        assert status["state"] == "Succeeded"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert cleaned(watches, name, timeout=90)["deleted"] == [name]


@contextmanager
def own(
    control_plane: ControlPlane, namespace: str, installed: Path, head: RayHead, folder: Path
) -> Iterator[tuple[Watches, Controller]]:
    """Run a controller of our own on a RayCluster of our own."""
    raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=head.node_ip)
    override = f"{namespace}/shared={head.dashboard_url}"
    with Controller(installed, folder / "log", "--namespace", namespace, "--dashboard-override", override) as one:
        yield Watches(control_plane, namespace), one


def test_a_cluster_of_a_ray_service_is_left_alone(
    control_plane: ControlPlane, namespace: str, installed: Path, ray_head: RayHead, serving: Serving, tmp_path: Path
) -> None:
    name = fresh()
    deploy(serving, "declarative", name)
    with own(control_plane, namespace, installed, ray_head, tmp_path) as (watches, _):
        labels = ("ray.io/originated-from-crd=RayService", "ray.io/originated-from-cr-name=llm")
        watches.kubectl("label", "raycluster", "shared", *labels)
        ray_head.submit("true", submission_id=name)
        watches.apply(name, name, serve={"applications": ["*"], "cleanup": "OnFinished"})
        serve = cleaned(watches, name, "Refused")
        assert "belongs to RayService llm" in serve["message"]
        assert "ServeApplicationDeleteFailed" in watches.reasons(name)
    assert there(serving, name) == {name}


def test_a_controller_that_dies_meanwhile_goes_on_and_tells_each_deletion_once(
    control_plane: ControlPlane, namespace: str, installed: Path, ray_head: RayHead, serving: Serving, tmp_path: Path
) -> None:
    name = fresh()
    names = [f"{name}-{number}" for number in range(3)]
    deploy(serving, "imperative", *names)
    with own(control_plane, namespace, installed, ray_head, tmp_path) as (watches, controller), undisturbed(serving):
        ray_head.submit("true", submission_id=name)
        watches.apply(name, name, serve={"applications": [f"{name}-*"], "cleanup": "OnFinished"})
        watches.wait_until(name, lambda status: bool(status.get("serve", {}).get("applications")), 60)
        for _ in range(3):
            controller.kill()
            controller.start()
            next(polled(lambda: watches.status(name), 5))
        serve = cleaned(watches, name)
        reasons = watches.reasons(name)
        controller.stop()
    assert serve["deleted"] == names
    assert reasons.count("ServeApplicationDeleted") == 3
    assert not there(serving, *names)


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ({"cleanup": "OnFinished"}, "name the applications that may be deleted"),
        ({"cleanup": "OnFinished", "applications": []}, "should have at least 1 items"),
        ({"cleanup": "OnFinished", "applications": ["/llm"]}, "not the route prefix"),
        ({"cleanup": "Always", "applications": ["llm"]}, "supported values"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_remedy(watches: Watches, spec: Json, remedy: str) -> None:
    with pytest.raises(KubectlError, match=remedy):
        watches.apply(fresh(), "raysubmit_1", serve=spec)
