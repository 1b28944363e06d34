"""What a user sees of jobs that run to their end, on a real API server and real Ray."""

import subprocess
from uuid import uuid4

import pytest

from tests.cluster.watches import Watches, conditions, log_of
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.real_ray, pytest.mark.timeout(120)]

FAILING = """python -c "
print('step 1')
print('step 2')
raise ValueError('no such shard: 7')
" """


def printing(lines: int, pause: float = 0.0) -> str:
    """Return an entrypoint that prints `line 0`, `line 1`, ..."""
    return f"python -uc \"import time\nfor i in range({lines}): print('line', i); time.sleep({pause})\""


def fresh() -> str:
    """Return a name that no test has used."""
    return f"job-{uuid4().hex[:10]}"


def driver_that_fails(head: RayHead) -> str:
    """Run a driver outside the Jobs API that ends with code 3; return its job id."""
    address = f"{head.node_ip}:{head.ports.gcs}"
    code = f"import ray, sys; ray.init('{address}', log_to_driver=False); "
    code += "print('id', ray.get_runtime_context().get_job_id()); sys.exit(3)"
    command = ["python", "-c", code]
    done = subprocess.run(command, env=head.cli_environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr
    return done.stdout.split()[-1]


def test_a_job_that_succeeds_is_finished_and_succeeded(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    job = ray_head.submit(printing(30, 0.1), submission_id=name)
    watches.apply(name, job, logs={"tailLines": 3})
    status = watches.wait_read(name)
    assert (status["state"], status["finished"]) == ("Succeeded", "1/1")
    assert status["counts"] | {"total": 1, "succeeded": 1} == status["counts"]
    assert status["cluster"]["rayVersion"] == "2.60.0"
    assert conditions(status)["Succeeded"]["status"] == "True"
    (row,) = status["jobs"]
    assert (row["state"], row["exitCode"]) == ("Succeeded", 0)
    assert row["log"]["tail"] == ["line 27", "line 28", "line 29"]
    assert watches.reasons(name) in (["JobRunning", "JobSucceeded"], ["JobSucceeded"])


def test_a_job_that_raises_is_finished_and_not_succeeded(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    watches.apply(name, ray_head.submit(FAILING, submission_id=name))
    status = watches.wait_read(name)
    assert status["state"] == "Failed"
    assert status["summary"] == "<string>:4 ValueError: no such shard: 7"
    (row,) = status["jobs"]
    assert (row["failure"]["type"], row["failure"]["location"]) == ("ValueError", "<string>:4")
    assert row["failure"]["errorType"] == "JOB_ENTRYPOINT_COMMAND_ERROR"
    assert row["log"]["tail"][-1] == "ValueError: no such shard: 7"
    succeeded = conditions(status)["Succeeded"]
    assert (succeeded["status"], succeeded["reason"]) == ("False", "JobFailed")
    shown = watches.kubectl("describe", "rjw", name)
    assert "ValueError: no such shard: 7" in shown
    assert "JobFailed" in shown.partition("Events:")[2]


def test_a_stopped_job_is_stopped_and_neither_failed_nor_succeeded(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    job = ray_head.submit("sleep 600", submission_id=name)
    watches.apply(name, job)
    watches.wait_until(name, lambda status: status.get("state") == "Running", 60)
    ray_head.stop_job(job)
    status = watches.wait(name)
    assert status["state"] == "Stopped"
    assert conditions(status)["Succeeded"]["reason"] == "JobStopped"
    assert watches.reasons(name) == ["JobRunning", "JobStopped"]


@pytest.mark.parametrize("protocol", ["Auto", pytest.param("WebSocket", marks=pytest.mark.slow), "HTTP"])
def test_every_line_is_counted_once_over_each_protocol(watches: Watches, ray_head: RayHead, protocol: str) -> None:
    name = fresh()
    job = ray_head.submit(printing(500, 0.002), submission_id=name)
    watches.apply(name, job, logs={"protocol": protocol})
    status = watches.wait_read(name)
    written = log_of(ray_head, job)
    assert status["jobs"][0]["log"]["lines"] == written.count(b"\n")
    assert status["jobs"][0]["log"]["tail"][-1] == "line 499"


def test_without_a_protocol_only_the_state_is_followed(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    watches.apply(name, ray_head.submit(printing(3), submission_id=name), logs={"protocol": "None"})
    status = watches.wait(name)
    assert status["state"] == "Succeeded"
    assert "log" not in status["jobs"][0]


def test_hostile_output_does_not_reach_the_terminal_nor_do_secrets(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    noise = r"""python -c "
import sys
sys.stdout.buffer.write(b'\x1b[31mred\x1b[0m\x00\xff\n\xf0\x9f\x9a\x80\n10%\r20%\rdone\nHF_TOKEN=hunter2\n')
" """
    watches.apply(name, ray_head.submit(noise, submission_id=name), logs={"tailLines": 4})
    status = watches.wait_read(name)
    assert status["jobs"][0]["log"]["tail"] == ["red\ufffd", "\U0001f680", "done", "HF_TOKEN=***"]


def test_several_jobs_are_told_apart_and_the_gravest_end_counts(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    good, bad = (ray_head.submit(line, submission_id=f"{name}-{n}") for n, line in enumerate(["true", "exit 7"]))
    watches.apply(name, good, bad)
    status = watches.wait(name)
    assert [row["state"] for row in status["jobs"]] == ["Succeeded", "Failed"]
    assert (status["state"], status["finished"]) == ("Failed", "2/2")
    assert status["summary"].startswith(f"{bad}: exit code 7")


def test_a_job_named_before_it_is_submitted_is_waited_for(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    watches.apply(name, name)
    reason = watches.wait_reason(name, "Finished", "JobNotFound")
    assert name in reason["message"]
    ray_head.submit("true", submission_id=name)
    assert watches.wait(name)["state"] == "Succeeded"


def test_a_job_added_to_a_finished_watch_is_watched(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    watches.apply(name, ray_head.submit("true", submission_id=name))
    watches.wait(name)
    watches.apply(name, name, ray_head.submit("exit 3", submission_id=f"{name}-2"))
    status = watches.wait_until(name, lambda now: now.get("finished") == "2/2", 60)
    assert [row["state"] for row in status["jobs"]] == ["Succeeded", "Failed"]


def test_a_driver_that_is_over_has_an_unknown_outcome(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    watches.apply(name, driver_that_fails(ray_head))
    status = watches.wait(name)
    assert (status["state"], conditions(status)["Succeeded"]["status"]) == ("Unknown", "Unknown")


def test_the_columns_are_those_people_read(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    watches.apply(name, ray_head.submit(FAILING, submission_id=name))
    watches.wait(name)
    header, row = watches.kubectl("get", "rjw", name).splitlines()
    assert header.split() == ["NAME", "CLUSTER", "STATE", "JOBS", "PROGRESS", "SUMMARY", "AGE"]
    assert row.startswith(f"{name}   shared    Failed   1/1    ")
    assert row[header.index("SUMMARY") :].startswith("<string>:4 ValueError: no such shard: 7")
