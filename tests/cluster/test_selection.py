"""Watches that select their jobs, as people use them on a shared cluster: by kubectl, on real Ray."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.controller import Controller
from tests.cluster.watches import Json, Watches, conditions, manifest
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.real_ray, pytest.mark.timeout(300)]

NLP, CV = {"team": "nlp"}, {"team": "cv"}


@dataclass
class Shared:
    """A shared cluster of its own: its head, its controller, and the watches on it."""

    head: RayHead
    controller: Controller
    watches: Watches
    files: Path

    def select(self, name: str, jobs: Json | None, **spec: object) -> None:
        """Apply a watch that selects `jobs`."""
        body = {"rayCluster": {"name": "shared"}, **({} if jobs is None else {"jobs": jobs}), **spec}
        self.watches.kubectl("apply", "-f", "-", input=json.dumps(manifest(name, body)))

    def submit(self, job: str, metadata: Json, code: int = 0) -> None:
        """Submit a job that runs until `end`; it does when this returns, unless somebody was quick to stop it."""
        loop = f"while [ ! -e {self.files / job} ]; do sleep 0.1; done; echo end of {job}; exit {code}"
        self.head.submit(f"bash -c '{loop}'", submission_id=job, metadata=metadata)
        self.head.wait_job(job, {"RUNNING", "STOPPED"})

    def end(self, *jobs: str) -> None:
        """Let jobs end, and wait for that."""
        for job in jobs:
            (self.files / job).touch()
        for job in jobs:
            self.head.wait_job(job)

    def finished(self, name: str, wanted: str, timeout: float = 60) -> Json:
        """Wait for the JOBS column of a watch."""
        return self.watches.wait_until(name, lambda status: status.get("finished") == wanted, timeout)

    def messages(self, name: str) -> list[str]:
        """Return what the Events on a watch say, each once."""
        return sorted(event["message"] for event in self.watches.events(name))


@pytest.fixture
def shared(control_plane: ControlPlane, namespace: str, installed: Path, tmp_path: Path) -> Iterator[Shared]:
    """Start a head that no other test submits to, and a controller."""
    with RayHead(num_cpus=16) as head:
        raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=head.node_ip)
        override = f"{namespace}/shared={head.dashboard_url}"
        arguments = ("--namespace", namespace, "--dashboard-override", override)
        with Controller(installed, tmp_path / "log", *arguments) as controller:
            yield Shared(head, controller, Watches(control_plane, namespace), tmp_path)


def rows(status: Json) -> dict[str, str]:
    return {row["id"]: row["state"] for row in status.get("jobs") or []}


def counts(status: Json) -> Json:
    return {name: count for name, count in status["counts"].items() if count}


def four_watches(shared: Shared) -> None:
    """Apply watches when one job is over and another runs."""
    shared.submit("past", NLP)
    shared.end("past")
    shared.submit("early", NLP)
    time.sleep(1.5)  # times are whole seconds: a job that ends within the second of a watch's creation is its own
    shared.select("nlp", {"metadata": NLP})
    shared.select("loops", {"entrypoint": "^bash -c 'while", "metadata": CV})
    shared.select("ever", {"includeFinished": True})
    shared.select("all", None)
    for name, wanted in {"nlp": "0/1", "ever": "1/2", "all": "0/1"}.items():
        shared.finished(name, wanted)
    waiting = shared.watches.wait_reason("loops", "Finished", "JobNotFound")
    assert waiting["message"] == "no selected job was seen yet"


def test_jobs_are_selected_as_they_come_and_go_through_a_restart_of_the_controller(shared: Shared) -> None:
    four_watches(shared)
    shared.submit("good", NLP)
    shared.submit("bad", NLP, code=7)
    shared.submit("other", CV)
    shared.end("good")
    assert rows(shared.finished("nlp", "1/3")) == {"early": "Running", "bad": "Running", "good": "Succeeded"}
    shared.finished("ever", "2/5")
    shared.finished("all", "1/4")

    shared.controller.kill()
    shared.end("bad", "early")
    shared.submit("brief", NLP)
    shared.end("brief")
    driver = shared.head.run_driver("import ray; ray.init(log_to_driver=False); raise SystemExit(3)")
    shared.controller.start()

    status = shared.watches.wait("nlp")
    assert (status["finished"], status["state"]) == ("4/4", "Failed")
    assert counts(status) == {"total": 4, "succeeded": 3, "failed": 1}
    assert status["summary"] == "bad: exit code 7: end of bad"
    assert conditions(status)["Succeeded"]["reason"] == "JobFailed"
    assert conditions(status)["Ready"]["reason"] == "Watching"
    status = shared.finished("all", "5/6")
    assert counts(status) == {"total": 6, "running": 1, "succeeded": 3, "failed": 1, "unknown": 1}
    assert rows(status)[driver] == "Unknown"
    shared.end("other")
    assert counts(shared.watches.wait("all")) == {"total": 6, "succeeded": 4, "failed": 1, "unknown": 1}
    assert counts(shared.watches.wait("ever")) == {"total": 7, "succeeded": 5, "failed": 1, "unknown": 1}
    assert counts(shared.watches.wait("loops")) == {"total": 1, "succeeded": 1}
    what_people_see(shared)


def what_people_see(shared: Shared) -> None:
    """Check columns, Events and the log of a job that was over before."""
    table = shared.watches.kubectl("get", "rjw", "all", "nlp")
    assert [line.split()[:4] for line in table.splitlines()[1:]] == [
        ["all", "shared", "Failed", "6/6"],
        ["nlp", "shared", "Failed", "4/4"],
    ]
    assert shared.messages("nlp") == [
        "job bad failed: exit code 7: end of bad",
        *(f"job {job} {what}" for job, what in (("bad", "running"), ("brief", "succeeded"), ("early", "running"))),
        *(f"job {job} {what}" for job, what in (("early", "succeeded"), ("good", "running"), ("good", "succeeded"))),
    ]
    assert not [message for message in shared.messages("ever") if "past" in message]
    (past,) = (row for row in shared.watches.status("ever")["jobs"] if row["id"] == "past")
    assert past["log"]["tail"][-1] == "end of past"


def test_a_selection_that_is_finished_goes_on_with_the_next_job_and_the_next_head(shared: Shared) -> None:
    shared.select("all", None)
    shared.submit("first", NLP)
    shared.end("first")
    shared.watches.wait("all")
    shared.submit("second", NLP)
    status = shared.finished("all", "1/2")
    assert conditions(status)["Finished"]["status"] == "False"
    shared.head.kill()
    shared.head.start()
    assert counts(shared.finished("all", "2/2", 90)) == {"total": 2, "succeeded": 1, "lost": 1}
    (shared.files / "first").unlink()
    shared.submit("first", NLP)  # an id of the head before
    status = shared.finished("all", "2/3")
    assert rows(status) == {"first": "Running", "second": "Lost"}
    (shared.files / "first").touch()
    assert counts(shared.finished("all", "3/3")) == {"total": 3, "succeeded": 2, "lost": 1}


def test_a_stop_of_a_selection_stops_its_jobs_and_no_others(shared: Shared) -> None:
    for number in range(3):
        shared.submit(f"nlp-{number}", NLP)
    shared.submit("cv", CV)
    shared.select("nlp", {"metadata": NLP})
    shared.finished("nlp", "0/3")
    shared.watches.kubectl("patch", "rjw", "nlp", "--type=merge", "-p", '{"spec": {"stop": {"requested": true}}}')
    assert counts(shared.watches.wait("nlp")) == {"total": 3, "stopped": 3}
    shared.submit("late", NLP)
    assert counts(shared.finished("nlp", "4/4")) == {"total": 4, "stopped": 4}
    assert shared.head.job("cv")["status"] == "RUNNING"


def test_a_selection_that_is_edited_is_counted_anew_and_one_that_re2_refuses_says_so(shared: Shared) -> None:
    shared.submit("one", NLP)
    shared.submit("two", CV)
    shared.select("some", {"entrypoint": "(?=bash)"})
    ready = shared.watches.wait_reason("some", "Ready", "InvalidSpec")
    assert ready["message"].startswith("spec.jobs.entrypoint: ")
    shared.select("some", {"metadata": NLP})
    assert rows(shared.finished("some", "0/1")) == {"one": "Running"}
    shared.end("one", "two")
    shared.select("some", {"metadata": CV})
    status = shared.watches.wait_until("some", lambda status: rows(status) == {"two": "Succeeded"})
    assert counts(status) == {"total": 1, "succeeded": 1}
