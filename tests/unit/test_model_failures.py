"""Every recorded job: its cause is the one that a reader of its sources names."""

from typing import Any

import pytest

from rayjobwatch.model.cause.window import LogWindow
from rayjobwatch.model.failure import failure_of
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
