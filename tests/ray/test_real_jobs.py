"""The life of a job on real Ray, both flavours, beside what Ray itself says."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from rayjobwatch.ray import JobType, RayClient, entrypoint_of
from tests.ray.flavours import Caller, error_of, in_thread, until
from tests.ray.test_pages import names_for, run, snippets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.localcluster.rayhead import RayHead

pytestmark = pytest.mark.real_ray


def fresh() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.mark.requirement("J-10", "J-11", "J-02", "J-03", "J-04", "J-18", "D-08", "D-09", "C-02", "J-17")
async def test_a_job_from_submit_to_delete(ray_head: RayHead, real: Caller) -> None:
    job_id = uuid.uuid4().hex
    assert await real.submit_job("echo hello; echo wörld", submission_id=job_id, metadata={"team": "x"}) == job_id
    job = await real.wait_job(job_id, 30)
    assert job.status == ray_head.job(job_id)["status"] == "SUCCEEDED"
    assert isinstance(job["start_time"], int)
    assert abs(job["start_time"] / 1000 - time.time()) < 60
    assert (job.metadata, job.driver_exit_code, job.type) == ({"team": "x"}, 0, JobType.SUBMISSION)
    assert await real.lines(job_id) == (await real.get_job_logs(job_id)).splitlines()
    assert {"hello", "wörld"} <= set(await real.lines(job_id))
    listed = {each["job_id"]: each for each in await real.list_jobs()}
    assert listed[job_id]["submission_id"] == job_id
    for key in ("job_id", "submission_id"):
        assert (await real.get_job(listed[job_id][key]))["submission_id"] == job_id
    error = await error_of(real.submit_job("true", submission_id=job_id))
    assert error.status_code == 400
    await asyncio.sleep(max(0.0, 3 - (time.time() - (job.end_time or 0) / 1000)))
    await real.delete_job(job_id)
    for call in (real.get_job(job_id), real.get_job_logs(job_id), real.stop_job(job_id), real.tail_job_logs(job_id)):
        assert (await error_of(call)).status_code == 404


@pytest.mark.requirement("J-06", "J-07", "D-11", "J-18", "J-04", "J-15", "J-14")
async def test_a_job_is_stopped_gracefully(real: Caller) -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('cleaned up', flush=True), sys.exit(0)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    job_id = await real.submit_job(entrypoint_of("python", "-c", script), submission_id=fresh())
    tail = await real.tail_job_logs(job_id)
    async for line in tail:
        if line == "ready":
            break
    error = await error_of(real.delete_job(job_id))
    assert (error.status_code, "RUNNING" in str(error)) == (400, True)
    result = await real.stop_job(job_id)
    assert result["stopped"] is True
    assert isinstance(result["status"], str)
    assert await real.wait_until_status(job_id, {"STOPPED"}, timeout_seconds=20, poll=0.2) == "STOPPED"
    assert "cleaned up" in await real.get_job_logs(job_id)
    error = await error_of(real.stop_job(job_id))
    assert (error.status_code, "STOPPED" in str(error)) == (400, True)


@pytest.mark.requirement("J-10", "J-12", "J-13", "J-21", "J-22")
async def test_files_modules_and_arguments_reach_a_driver_that_joins_its_cluster(real: Caller, tmp_path: Path) -> None:
    work, module = tmp_path / "work", tmp_path / "helper"
    work.mkdir()
    module.mkdir()
    (module / "__init__.py").write_text("ANSWER = 42\n")
    (work / "input.json").write_text(json.dumps({"numbers": [1, 2, 3]}))
    (work / "main.py").write_text(
        "import json, os, sys, helper, ray\n"
        "ray.init()\n"
        "numbers = json.load(open('input.json'))['numbers']\n"
        "double = ray.remote(num_cpus=0)(lambda x: 2 * x)\n"
        "result = {'sum': sum(ray.get([double.remote(n) for n in numbers])), 'answer': helper.ANSWER,\n"
        "          'argument': sys.argv[1], 'env': os.environ['KEY'], 'cpus': ray.cluster_resources()['CPU']}\n"
        "print('RESULT', json.dumps(result), flush=True)\n"
    )
    argument = "a key: with $pecial 'things'"
    job_id = await real.submit_job(
        entrypoint_of("python", "main.py", argument),
        {"working_dir": str(work), "py_modules": [str(module)], "env_vars": {"KEY": "välue"}},
        fresh(),
    )
    assert (await real.wait_job(job_id, 50)).status == "SUCCEEDED"
    (line,) = (line for line in await real.lines(job_id) if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))
    resources = await real.cluster_resources()
    assert result == {"sum": 12, "answer": 42, "argument": argument, "env": "välue", "cpus": resources["CPU"]}
    assert (await real.get_job(job_id)).ray_job_id


@pytest.mark.requirement("J-14", "J-02")
async def test_a_job_that_fails_at_once_is_seen(real: Caller) -> None:
    job_id = await real.submit_job("true", {"working_dir": "gcs://_ray_pkg_missing.zip"}, fresh())
    assert await real.wait_until_status(job_id, timeout_seconds=40) == "FAILED"
    assert await real.lines(job_id) == []
    assert await real.get_job_logs(job_id) == ""


@pytest.mark.requirement("J-01", "D-07", "J-20")
async def test_jobs_are_listed_as_ray_lists_them(ray_head: RayHead, real: Caller) -> None:
    before = {job["job_id"] for job in await real.list_jobs()}
    ids = [f"{fresh()}-{number}" for number in range(6)]
    await asyncio.gather(*(real.submit_job("true", submission_id=job_id) for job_id in ids))
    jobs = {job["job_id"]: job for job in await real.list_jobs()}
    assert set(ids) <= jobs.keys() - before
    ray_rows = await in_thread(ray_head.request, "GET", "/api/jobs/")
    assert set(jobs) == {row["submission_id"] or row["job_id"] for row in ray_rows}
    assert all({"status", "job_id", "submission_id", "entrypoint"} <= job.keys() for job in jobs.values())
    for job_id in ids:
        await real.wait_job(job_id, 40, poll=0.3)


@pytest.mark.requirement("J-01", "J-20", "D-08")
def test_a_driver_of_ones_own_is_listed_and_has_no_log(ray_head: RayHead) -> None:
    from tests.ray.rayscripts import run_in_ray

    run_in_ray(ray_head, "ray.init()\nprint(ray.cluster_resources()['CPU'])")
    with RayClient(ray_head.dashboard_url) as client:
        drivers = [job for job in client.list_jobs() if job.type is JobType.DRIVER]
        assert drivers
        assert client.get_job(drivers[-1].job_id).type is JobType.DRIVER
        assert drivers[-1].submission_id is None


@pytest.mark.requirement("J-19")
async def test_the_version_is_rays(ray_head: RayHead, real: Caller) -> None:
    version = await real.get_version()
    assert version == ray_head.request("GET", "/api/version")


@pytest.mark.requirement("J-08", "U-01")
def test_the_old_pages_usage_block_runs(
    ray_head: RayHead, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = ray_head.submit("echo started; sleep 60", submission_id=fresh())
    ray_head.wait_job(job_id, {"RUNNING"})
    usage = next(code for code in snippets("old") if "Stop a running job if needed" in code)
    code = usage.replace("job-12345", job_id).replace("http://ray-head:8265", ray_head.dashboard_url)
    names = names_for("old", ray_head.dashboard_url)
    with RayClient(ray_head.dashboard_url) as client:
        until_started: Callable[[], Any] = lambda: "started" in client.get_job_logs(job_id)  # noqa: E731
        asyncio.run(until(until_started, 20))
    run(code, names)
    said = capsys.readouterr().out
    assert "Job stop initiated: " in said
    assert "\nstarted" in said
    assert ray_head.job(job_id)["status"] == "STOPPED"
