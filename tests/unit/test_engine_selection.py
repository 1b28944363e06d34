"""Watches that select their jobs, reconciled against a dashboard on real sockets, by one controller after another."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from rayjobwatch.kube.client import Body, Resource
from rayjobwatch.model import pace
from tests.ray import faults
from tests.ray.fakedashboard import FakeDashboard
from tests.unit.test_engine_reconciler import KEY, Patient, _reconciler, _watch

CREATED = "2026-11-20T09:06:47Z"  # between the starts and the ends of FakeDashboard's jobs


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write and look without patience: what is told does not depend on the pace."""
    for name in ("LOG_WRITE", "LOOK_AGAIN"):
        monkeypatch.setattr(pace, name, 0.05)


def _selecting(url: str, **jobs: object) -> Body:
    body = _watch(url)
    return {
        **body,
        "metadata": body["metadata"] | {"creationTimestamp": CREATED},
        "spec": body["spec"] | {"jobs": jobs},
    }


class Counting(Patient):
    """Counts the Events that are posted."""

    posted = 0

    async def create(self, resource: Resource, namespace: str, body: Body) -> Body:
        self.posted += 1
        return await super().create(resource, namespace, body)


async def _reconciled(server: Patient, holds: Callable[[Body], bool]) -> Body:
    """Reconcile with a new controller until the status is as wanted."""
    reconciler = _reconciler(server, [])
    try:
        async with asyncio.timeout(20):
            while not holds(server.body.get("status") or {}):
                await reconciler.reconcile(KEY)
                await asyncio.sleep(0.02)
    finally:
        await reconciler.close()
    return cast("Body", server.body["status"])


async def test_a_selection_finds_its_jobs_and_their_logs_and_goes_on_with_another_controller() -> None:
    fake = FakeDashboard()
    server = Patient(_selecting(fake.url, entrypoint=r"job\.py$"))
    try:
        fake.add_job("past").row["end_time"] = 1795165606999
        fake.add_job("other", status="RUNNING").row["entrypoint"] = "python train.py"
        fake.add_job("a", b"one\n", "RUNNING", agent=True)
        fake.add_job("driver").row.update(type="DRIVER", submission_id=None, job_id="driver", end_time=1795165607000)
        status = await _reconciled(server, lambda now: now.get("finished") == "1/2")
        assert {one["id"]: one["state"] for one in status["jobs"]} == {"a": "Running", "driver": "Unknown"}
        fake.jobs["a"].append(b"two\n")
        fake.jobs["a"].finish("FAILED")
        fake.add_job("b", b"three\n", "RUNNING")
        status = await _reconciled(server, lambda now: now.get("finished") == "2/3")
        rows = {one["id"]: one for one in status["jobs"]}
        assert list(rows) == ["b", "a", "driver"]
        assert rows["a"]["log"]["tail"] == ["one", "two"]
        assert (status["state"], status["counts"]["total"]) == ("Running", 3)
    finally:
        fake.stop()


async def test_a_selection_of_past_jobs_too_reads_their_logs_once() -> None:
    fake = FakeDashboard()
    server = Counting(_selecting(fake.url, includeFinished=True))
    try:
        for number in range(30):
            fake.add_job(f"j{number:02}", b"one\n", agent=True).row["end_time"] = 1795160000000 + 1000 * number

        def read(status: Body) -> list[str]:
            return [one["id"] for one in status.get("jobs", []) if one.get("log", {}).get("complete")]

        status = await _reconciled(server, lambda now: len(read(now)) == 10)
        assert (status["finished"], status["state"]) == ("30/30", "Succeeded")
        assert read(status) == [f"j{number:02}" for number in range(29, 19, -1)]
        await _reconciled(server, lambda _: True)
        asked = [request.param("submission_id") for request in fake.requests if "/logs/" in request.path]
        assert len(asked) == len(set(asked)) == 10
        assert server.posted == 0
    finally:
        fake.stop()


async def test_a_run_under_an_id_that_was_used_before_is_another_job_with_a_log_of_its_own() -> None:
    fake = FakeDashboard()
    server = Patient(_selecting(fake.url))
    try:
        fake.add_job("nightly", b"first\n", "RUNNING")
        await _reconciled(server, lambda now: now.get("state") == "Running")
        fake.jobs["nightly"].finish()
        await _reconciled(server, lambda now: now["jobs"][0].get("log", {}).get("complete") is True)
        fake.add_job("nightly", b"second\n", "RUNNING").row["start_time"] = 1795165702000
        status = await _reconciled(server, lambda now: "second" in now["jobs"][0].get("log", {}).get("tail", ()))
        assert status["jobs"][0]["log"]["lines"] == 1
        assert (status["finished"], status["counts"]["succeeded"]) == ("1/2", 1)
    finally:
        fake.stop()


async def test_a_rule_that_stopped_a_run_does_not_stop_the_next_one_under_its_id() -> None:
    fake = FakeDashboard()
    body = _selecting(fake.url, entrypoint="job")
    body["spec"]["logs"] = {"rules": [{"name": "nan", "pattern": "nan", "action": "StopJob"}]}
    server = Patient(body)
    try:
        fake.add_job("nightly", b"loss: nan\n", "RUNNING", agent=True)
        await _reconciled(server, lambda now: (now.get("jobs") or [{}])[0].get("state") == "Stopped")
        await _reconciled(server, lambda now: now["jobs"][0]["log"]["complete"] is True)
        fake.add_job("nightly", b"fine\n", "RUNNING", agent=True).row["start_time"] = 1795165702000
        status = await _reconciled(server, lambda now: "fine" in now["jobs"][0].get("log", {}).get("tail", ()))
        assert "stop" not in status["jobs"][0]
        assert fake.jobs["nightly"].status == "RUNNING"
    finally:
        fake.stop()


async def test_the_log_of_a_run_is_read_from_its_start_though_that_of_the_one_before_was_not_read_to_its_end() -> None:
    fake = FakeDashboard()
    server = Patient(_selecting(fake.url))
    reconciler = _reconciler(server, [])

    async def until(holds: Callable[[Body], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds((server.body.get("status") or {"jobs": [{}]})["jobs"][0]):
                await reconciler.reconcile(KEY)
                await asyncio.sleep(0.02)

    try:
        fake.add_job("nightly", b"first\n", "RUNNING", agent=True)
        await until(lambda row: "first" in row.get("log", {}).get("tail", ()))
        for path in ("/logs/job-driver-nightly.log", "/api/v0/logs/file"):
            fake.on("GET", path, faults.answer(503, "later"))
        fake.jobs["nightly"].finish()
        await until(lambda row: row["state"] == "Succeeded" and bool(row["log"].get("message")))
        fake.rules.clear()
        fake.add_job("nightly", b"second\nthird\n", "RUNNING", agent=True).row["start_time"] = 1795165702000
        await until(lambda row: "third" in row.get("log", {}).get("tail", ()))
        log = server.body["status"]["jobs"][0]["log"]
        assert (log["lines"], log["tail"]) == (2, ["second", "third"])
    finally:
        await reconciler.close()
        fake.stop()


async def test_a_pattern_that_re2_refuses_is_an_invalid_spec_and_a_mended_one_is_followed() -> None:
    fake = FakeDashboard()
    server = Patient(_selecting(fake.url, entrypoint="(?=x)"))
    try:
        status = await _reconciled(server, bool)
        ready = next(one for one in status["conditions"] if one["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
        assert ready["message"].startswith("spec.jobs.entrypoint: ")
        assert "(?" in ready["message"]
        fake.add_job("a", status="RUNNING")
        server.body = _selecting(fake.url, entrypoint="job") | {"status": status}
        server.body["metadata"]["generation"] = 2
        status = await _reconciled(server, lambda now: now.get("state") == "Running")
        assert "Stalled" not in {one["type"] for one in status["conditions"]}
    finally:
        fake.stop()


class Editable(Patient):
    """Takes every write, and lets the spec be edited in between."""

    async def apply_status(self, _resource: Resource, _namespace: str, _name: str, body: Body) -> Body:
        return self._changed(status=body["status"])

    def edit(self, jobs: Body) -> Body:
        generation = self.body["metadata"]["generation"] + 1
        return self._changed(generation=generation, spec=self.body["spec"] | {"jobs": jobs})

    def _changed(self, generation: int = 0, **parts: Body) -> Body:
        self.version += 1
        meta = self.body["metadata"] | {"resourceVersion": str(self.version)}
        self.body = self.body | {"metadata": meta | ({"generation": generation} if generation else {})} | parts
        return self.body


@pytest.mark.parametrize(
    ("jobs", "wanted"),
    [
        ({"metadata": {"team": "cv"}}, {"b"}),
        ({"ids": ["b", "c"]}, {"b", "c"}),
        ({}, {"a", "b"}),
    ],
)
async def test_an_edited_selection_has_none_of_the_jobs_of_the_one_before(jobs: Body, wanted: set[str]) -> None:
    fake = FakeDashboard()
    server = Editable(_selecting(fake.url, metadata={"team": "nlp"}))
    reconciler = _reconciler(server, [])
    seen = list[set[str]]()

    async def reconcile_until(ids: set[str]) -> None:
        seen.clear()
        async with asyncio.timeout(20):
            while ids not in seen:
                await reconciler.reconcile(KEY)
                if (status := server.body.get("status") or {}).get("observedGeneration") == _generation(server):
                    seen.append({row["id"] for row in status["jobs"]})
                await asyncio.sleep(0.02)

    try:
        for id_, team in (("a", "nlp"), ("b", "cv")):
            fake.add_job(id_).row["metadata"] = {"team": team}
        await reconcile_until({"a"})
        reconciler._objects.seen(server.edit(jobs))
        await reconcile_until(wanted)
        assert all(ids in (set(), wanted) for ids in seen)
    finally:
        await reconciler.close()
        fake.stop()


def _generation(server: Patient) -> int:
    return int(server.body["metadata"]["generation"])
