"""Every recorded job: its cause is the one that a reader of its sources names."""

from typing import Any

import pytest

from rayjobwatch.model.cause.tasks import FailedTask
from rayjobwatch.model.cause.window import LogWindow
from rayjobwatch.model.failure import failure_of, wants_tasks
from rayjobwatch.model.jobs import Failure, JobRow
from tests.failures.cases import Case, all_cases

CASES = all_cases()
FAILING = [case for case in CASES if case.expect is not None]


def row_of(row: dict[str, Any]) -> JobRow:
    """Return a recorded row in the model's words."""
    return JobRow(
        "a",
        row["status"],
        entrypoint=row["entrypoint"],
        message=row["message"] or "",
        error_type=row["error_type"],
        exit_code=row["driver_exit_code"],
    )


def window(log: bytes) -> LogWindow:
    """Return what is kept of a log that was read whole."""
    return LogWindow().fed(log.decode(errors="replace").splitlines())


def agrees(message: str, expect: dict[str, Any]) -> bool:
    """Whether a message is the expected one, or begins, ends or goes on as expected where it names pids and paths."""
    return (
        message == expect.get("message", message)
        and message.startswith(expect.get("message_starts", ""))
        and message.endswith(expect.get("message_ends", ""))
        and expect.get("message_contains", "") in message
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_recorded_job_ended_as_its_sources_say(case: Case) -> None:
    assert case.row["status"] == case.status


@pytest.mark.parametrize("case", FAILING, ids=lambda case: case.id)
def test_the_cause_is_the_one_in_the_sources(case: Case) -> None:
    expect = case.expect or {}
    failure = failure_of(row_of(case.row), window(case.log))
    assert (failure.type, failure.location) == (expect.get("type", ""), expect.get("location", "")), failure.text
    assert agrees(failure.message, expect), failure.message


@pytest.mark.parametrize("case", FAILING, ids=lambda case: case.id)
def test_the_row_alone_says_something_and_no_line_of_rays_own_set_up(case: Case) -> None:
    failure: Failure = failure_of(row_of(case.row))
    assert failure.text
    assert "job_manager.py" not in failure.text


TASKS = [
    FailedTask("WORKER_DIED", "load", 3), FailedTask("OUT_OF_MEMORY", "train", 9), FailedTask("OUT_OF_MEMORY", "x", 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "log", "said"),
    [
        pytest.param(
            {"exit_code": 3}, [], "exit code 3: failed tasks: OUT_OF_MEMORY (train), WORKER_DIED (load)", id="silent"
        ),
        pytest.param({"exit_code": 3}, ["no space left"], "exit code 3: no space left", id="last words"),
        pytest.param({"exit_code": 137}, [], "SIGKILL: killed, for example for lack of memory (exit code 137)", id="9"),
        pytest.param(
            {"error_type": "JOB_SUPERVISOR_ACTOR_DIED"},
            [],
            "the job's supervisor died, for example with its node; "
            "failed tasks: OUT_OF_MEMORY (train), WORKER_DIED (load)",
            id="supervisor",
        ),
    ],
)
def test_failed_tasks_are_named_where_the_log_tells_nothing(row: dict[str, Any], log: list[str], said: str) -> None:
    fields = {"error_type": "JOB_ENTRYPOINT_COMMAND_ERROR", "ray_job_id": "01000000", **row}
    failed = JobRow("a", "FAILED", **fields)
    failure = failure_of(failed, LogWindow().fed(log), tasks=TASKS)
    assert failure.text == said
    assert wants_tasks(failed, LogWindow().fed(log)) == ("failed tasks" in said)
    assert not wants_tasks(JobRow("a", "FAILED", **{**fields, "ray_job_id": ""}), LogWindow().fed(log))
    assert "failed tasks" not in failure_of(failed, LogWindow().fed(log)).text


def test_the_code_of_an_entrypoint_of_several_lines_is_not_what_the_job_said() -> None:
    entrypoint = 'python -c "\nraise ValueError(1)\n" 2>/dev/null'
    log = f"2026-11-21 10:00:00,000\tINFO job_manager.py:568 -- Running entrypoint for job a: {entrypoint}".split("\n")
    row = JobRow(
        "a", "FAILED", entrypoint=entrypoint, exit_code=3, error_type="JOB_ENTRYPOINT_COMMAND_ERROR",
        message="\n".join(["Job entrypoint command failed with exit code 3, last available logs:", *log]),
    )  # fmt: skip
    assert failure_of(row, LogWindow().fed(log)).text == failure_of(row).text == "exit code 3"
    assert failure_of(row, LogWindow().fed([*log, "no space"])).text == "exit code 3: no space"
