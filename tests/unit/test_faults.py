"""The campaigns of `make faults`: the same for the same seed, with what they hold to be true of their jobs."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.bench.scale.jobs import Job
from tests.bench.scale.routes import Request
from tests.bench.scale.seen import Sight
from tests.faults.plan import FAULTS, FROZEN, JOBS, Campaign, Fault, Kind, campaign, frozen
from tests.faults.tables import FaultyTable, Way
from tests.faults.truth import Score, score, truth_of

JOB = Job("raysubmit_000010000000000f", 0, submitted=0.0, started=1.0, ended=50.0, end="SUCCEEDED")
LIST = Request("GET", "/api/jobs/", {})
VERSION = Request("GET", "/api/version", {})


def fault(kind: Kind, begin: float, end: float | None = None, dashboard: int = 0) -> Fault:
    return Fault(kind, dashboard, begin, begin if end is None else end)


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_gives_one_campaign_with_faults_of_many_kinds(seed: int) -> None:
    plan = campaign(seed, 1000.0)
    assert plan == campaign(seed, 1000.0) != campaign(seed + 1, 1000.0)
    assert (len(plan.jobs), len(plan.faults)) == (JOBS, FAULTS)
    assert len({each.kind for each in plan.faults}) >= 15
    assert all(1000.0 < each.begin <= each.end <= plan.end for each in plan.faults)


def test_of_two_waves_of_jobs_the_second_ends_while_dashboards_are_frozen() -> None:
    plan = frozen(1, 1000.0)
    assert {each.dashboard for each in plan.faults} == set(range(FROZEN))
    assert len(plan.jobs) == 2 * JOBS
    first, second = list(plan.jobs.values())[:JOBS], list(plan.jobs.values())[JOBS:]
    assert all(job.ended < min(each.begin for each in plan.faults) for job in first)
    assert all(min(each.begin for each in plan.faults) < job.ended < plan.faults[0].end for job in second)


@pytest.mark.parametrize(
    ("faults", "verdicts", "since"),
    [
        ([], {"Succeeded"}, 50.0),
        ([fault(Kind.HANGS, 40.0, 60.0)], {"Succeeded"}, 50.0),
        ([fault(Kind.LIE_THEN_HANG, 5.0, 49.0)], {"Succeeded"}, 50.0),
        ([fault(Kind.NEW_HEAD, 30.0, 33.0)], {"Lost"}, 30.0),
        ([fault(Kind.NEW_HEAD, 30.0, 33.0, dashboard=1)], {"Succeeded"}, 50.0),
        ([fault(Kind.NEW_HEAD_SAME_TABLE, 30.0, 33.0)], {"Succeeded"}, 50.0),
        ([fault(Kind.NEW_HEAD, 61.0, 64.0)], {"Succeeded"}, 50.0),
        ([fault(Kind.NEW_HEAD, 52.0, 57.0)], {"Succeeded", "Lost", "Unknown"}, 50.0),
        ([fault(Kind.REFUSED, 45.0, 48.0), fault(Kind.TABLE_TRIMMED, 60.0)], {"Succeeded", "Lost", "Unknown"}, 50.0),
        ([fault(Kind.LOG_RESET, 45.0, 60.0), fault(Kind.TABLE_TRIMMED, 61.0)], {"Succeeded"}, 50.0),
        ([fault(Kind.CONTROLLER_KILLED, 51.0, dashboard=3), fault(Kind.TABLE_TRIMMED, 60.0)],
         {"Succeeded", "Lost", "Unknown"}, 50.0),
    ],
)  # fmt: skip
def test_what_is_true_of_a_job(faults: list[Fault], verdicts: set[str], since: float) -> None:
    truth = truth_of(JOB, faults)
    assert (set(truth.verdicts), truth.since, truth.is_known) == (verdicts, since, True)


def test_a_job_that_nobody_heard_of_needs_no_verdict() -> None:
    assert not truth_of(JOB, [fault(Kind.HANGS, 0.5, 29.0), fault(Kind.NEW_HEAD, 30.0, 33.0)]).is_known


def sight(finished: float | None, *states: str, at: float = 51.0, taken_back: int = 0) -> Sight:
    return Sight({}, dict.fromkeys(states, at), states[-1] if states else "", finished, set(), taken_back)


def event(reason: str, count: int = 1) -> dict[str, object]:
    return {"involvedObject": {"kind": "RayJobWatch", "name": "w"}, "reason": reason, "count": count}


@pytest.mark.parametrize(
    ("seen", "events", "wrong"),
    [
        (sight(51.0, "Running", "Succeeded"), [event("JobSucceeded")], ()),
        (sight(51.0, "Running", "Failed"), [event("JobSucceeded")], ("false",)),
        (sight(49.0, "Succeeded", at=49.0), [event("JobSucceeded")], ("false",)),
        (sight(None, "Lost"), [], ("false", "missed")),
        (sight(51.0, "Succeeded"), [event("JobLost")], ("false",)),
        (sight(51.0, "Succeeded"), [event("JobSucceeded", 2)], ("doubled",)),
        (sight(51.0, "Succeeded", taken_back=1), [event("JobSucceeded")], ("doubled",)),
        (sight(None, "Running"), [], ("missed",)),
        (Sight(), [], ("missed",)),
    ],
)
def test_what_is_told_wrong_is_found(seen: Sight, events: list[dict[str, object]], wrong: Sequence[str]) -> None:
    found = score(Campaign({"w": JOB}, ()), {"w": seen}, events)
    assert tuple(part for part in Score.__slots__ if getattr(found, part)) == wrong
    assert found.is_right is not bool(wrong)


def test_a_log_with_another_number_of_lines_is_found() -> None:
    lines = JOB.lines(JOB.ended)
    for told, wrong in ((lines, []), (lines - 1, ["w"])):
        seen = replace(sight(51.0, "Succeeded"), status={"jobs": [{"log": {"complete": True, "lines": told}}]})
        assert score(Campaign({"w": JOB}, ()), {"w": seen}, [event("JobSucceeded")]).lines == wrong


def table(*faults: Fault) -> FaultyTable:
    made = FaultyTable(0, "http://127.0.0.1:1")
    made.begin([JOB, replace(JOB, id="raysubmit_0000200000000001", submitted=40.0, started=41.0)], faults)
    return made


def test_a_new_head_has_another_session_and_none_of_the_old_jobs() -> None:
    made = table(fault(Kind.NEW_HEAD, 30.0, 33.0))
    before, after = ((json.loads(made.head(VERSION, now).body), made.head(LIST, now).body) for now in (29.0, 45.0))
    assert before[0]["session_name"] != after[0]["session_name"]
    assert [row["submission_id"] for row in json.loads(before[1])] == [JOB.id]
    assert [row["submission_id"] for row in json.loads(after[1])] == ["raysubmit_0000200000000001"]


def test_a_lie_is_told_only_of_jobs_that_run_and_only_for_its_time() -> None:
    made = table(fault(Kind.LIE, 10.0, 13.0), fault(Kind.LIE, 49.0, 60.0))
    states = [json.loads(made.head(LIST, now).body)[0]["status"] for now in (9.0, 11.0, 14.0)]
    assert states == ["RUNNING", "FAILED", "RUNNING"]
    assert {row["status"] for row in json.loads(made.head(LIST, 51.0).body)} == {"SUCCEEDED"}


@pytest.mark.parametrize(
    ("kind", "head", "agent"),
    [
        (Kind.REFUSED, Way.RESET, Way.SENT),
        (Kind.HANGS, Way.NEVER, Way.SENT),
        (Kind.SLOW, Way.LATE, Way.SENT),
        (Kind.RESET_MID_ANSWER, Way.HALF, Way.SENT),
        (Kind.NEW_HEAD, Way.RESET, Way.RESET),
        (Kind.LIE_THEN_HANG, Way.NEVER, Way.SENT),
        (Kind.LOG_RESET, Way.SENT, Way.HALF),
        (Kind.AGENT_AWAY, Way.SENT, Way.RESET),
        (Kind.ERROR_500, Way.SENT, Way.SENT),
    ],
)
def test_what_becomes_of_answers(kind: Kind, head: Way, agent: Way) -> None:
    made = table(fault(kind, 10.0, 20.0))
    assert (made.way("head", 15.0), made.way("agent", 15.0)) == (head, agent)
    assert {made.way(side, now) for side in ("head", "agent") for now in (9.0, 20.0)} == {Way.SENT}
