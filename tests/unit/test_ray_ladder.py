"""The ladder's table, row by row, and the pace at which it is climbed again."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from rayjobwatch.ray.api.records import job_of
from rayjobwatch.ray.errors import NotFoundError, TailEndedError, UnavailableError
from rayjobwatch.ray.plan import backoff
from rayjobwatch.ray.tail.ladder import Ladder, Then
from rayjobwatch.ray.tail.progress import Progress
from rayjobwatch.ray.tail.spec import Rung, TailSpec

if TYPE_CHECKING:
    from rayjobwatch.ray.inputs import AgentFilter

AGENT, SOCKET, FILE = Rung
FAILURE = UnavailableError("refused")


def ladder(
    protocol: Any = "auto", status: str = "RUNNING", agents: AgentFilter | None = lambda _: True
) -> tuple[Ladder, Progress]:
    progress = Progress(TailSpec(job_id="j", protocol=protocol, agents=agents), lambda: 0.0)
    row = {"type": "SUBMISSION", "submission_id": "j", "driver_agent_http_address": "http://192.0.2.2:1"}
    progress.job = job_of({**row, "status": status}, "job")
    return Ladder(progress), progress


@pytest.mark.parametrize(
    ("protocol", "status", "rungs"),
    [
        ("auto", "PENDING", []),
        ("auto", "RUNNING", [AGENT, SOCKET, FILE]),
        ("auto", "SUCCEEDED", [AGENT, FILE, SOCKET]),
        ("http", "PENDING", []),
        ("http", "RUNNING", [AGENT, FILE]),
        ("http", "FAILED", [AGENT, FILE]),
        ("websocket", "PENDING", [SOCKET]),
        ("websocket", "RUNNING", [SOCKET]),
        ("websocket", "STOPPED", [SOCKET]),
    ],
)
def test_the_next_source_is_asked_at_once_when_one_never_worked(protocol: str, status: str, rungs: list[Rung]) -> None:
    climbed, _ = ladder(protocol, status)
    assert climbed.best() == (rungs[0] if rungs else None)
    for rung, following in pairwise(rungs):
        assert climbed.failed(rung, FAILURE) is Then.SWITCH
        assert climbed.best() is following
    if rungs:
        with pytest.raises(UnavailableError):
            climbed.failed(rungs[-1], FAILURE)


def test_an_agent_that_may_not_be_asked_is_no_rung() -> None:
    assert ladder(agents=None)[0].best() is SOCKET
    assert ladder(agents=lambda _: False)[0].best() is SOCKET


def test_a_log_that_its_agent_does_not_have_yet_is_waited_for_once() -> None:
    climbed, _ = ladder("http")
    assert climbed.failed(AGENT, NotFoundError("no such file")) is Then.SWITCH
    assert (climbed.failed(FILE, FAILURE), climbed.best()) == (Then.RETRY, AGENT)
    assert climbed.failed(AGENT, NotFoundError("no such file")) is Then.SWITCH
    with pytest.raises(UnavailableError):
        climbed.failed(FILE, FAILURE)


def test_what_worked_is_tried_twice_and_then_the_next_one() -> None:
    climbed, progress = ladder()
    progress.worked.add(AGENT)
    assert (climbed.failed(AGENT, FAILURE), climbed.best()) == (Then.RETRY, AGENT)
    progress.progressed()
    assert (climbed.failed(AGENT, FAILURE), climbed.best()) == (Then.RETRY, AGENT)
    assert (climbed.failed(AGENT, FAILURE), climbed.best()) == (Then.RETRY, SOCKET)
    assert (climbed.failed(SOCKET, FAILURE), climbed.best()) == (Then.SWITCH, FILE)
    assert (climbed.failed(FILE, FAILURE), climbed.best()) == (Then.RETRY, AGENT)


def test_a_record_that_is_gone_ends_the_log_when_no_source_is_left() -> None:
    climbed, progress = ladder("http", agents=None)
    progress.worked.add(FILE)
    progress.gone = True
    assert climbed.failed(FILE, NotFoundError("gone")) is Then.RETRY
    assert climbed.failed(FILE, NotFoundError("gone")) is Then.END


def test_a_text_that_ends_early_at_the_same_place_is_given_up() -> None:
    climbed, progress = ladder("websocket")
    progress.worked.add(SOCKET)
    assert [climbed.failed(SOCKET, TailEndedError("early")) for _ in range(2)] == [Then.RETRY, Then.RETRY]
    with pytest.raises(TailEndedError):
        climbed.failed(SOCKET, TailEndedError("early"))


def test_back_offs_grow_to_a_bound_and_are_spread() -> None:
    assert [backoff(failures, 0.5) for failures in (1, 2, 3, 4, 5, 6)] == [0.5, 1, 2, 4, 8, 8]
    assert backoff(5_000, 1.0) == pytest.approx(8 * 1.3)  # a dashboard that is away for a day
    assert backoff(1, 0.0) == pytest.approx(0.35)
