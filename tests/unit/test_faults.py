"""The campaigns of `make faults`: the same for the same seed, with what they hold to be true of their jobs."""

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from tests.bench.scale.jobs import Job
from tests.bench.scale.kube import connect
from tests.bench.scale.routes import Request
from tests.bench.scale.seen import Sight
from tests.faults.__main__ import HEAD, Result, rows
from tests.faults.door import door, seconds_held
from tests.faults.plan import FAULTS, FROZEN, JOBS, Campaign, Fault, Kind, campaign, frozen
from tests.faults.runs import runs_of
from tests.faults.tables import FaultyTable, Way
from tests.faults.truth import Score, score, truth_of
from tests.localcluster.kubectl import write_kubeconfig
from tests.ray.tls import authority_pem, server_context

JOB = Job("raysubmit_000010000000000f", 0, submitted=0.0, started=1.0, ended=50.0, end="SUCCEEDED")
LIST = Request("GET", "/api/jobs/", {})
VERSION = Request("GET", "/api/version", {})


def fault(kind: Kind, begin: float, end: float | None = None, dashboard: int = 0) -> Fault:
    return Fault(kind, dashboard, begin, begin if end is None else end)


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_gives_one_campaign_with_faults_of_all_kinds(seed: int) -> None:
    plan = campaign(seed, 1000.0)
    assert plan == campaign(seed, 1000.0) != campaign(seed + 1, 1000.0)
    assert (len(plan.jobs), len(plan.faults)) == (JOBS, FAULTS)
    assert {each.kind for each in plan.faults} == set(Kind)
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
        ([fault(Kind.EVENTS_HANG, 45.0, 60.0), fault(Kind.TABLE_TRIMMED, 61.0)], {"Succeeded"}, 50.0),
        ([fault(Kind.EMPTY_TABLE, 30.0, 32.0)], {"Succeeded"}, 50.0),
        ([fault(Kind.NEW_HEAD_IDS_AGAIN, 30.0, 33.0)], {"Lost"}, 30.0),
        ([fault(Kind.IDS_AGAIN, 30.0, 33.0)], {"Succeeded"}, 50.0),
        ([fault(Kind.IDS_AGAIN, 52.0, 53.0)], {"Succeeded", "Lost", "Unknown"}, 50.0),
        ([fault(Kind.IDS_AGAIN, 60.0, 61.0), fault(Kind.NEW_HEAD, 70.0, 73.0)], {"Succeeded"}, 50.0),
        ([fault(Kind.CONTROLLER_KILLED, 51.0, dashboard=3), fault(Kind.TABLE_TRIMMED, 60.0)],
         {"Succeeded", "Lost", "Unknown"}, 50.0),
    ],
)  # fmt: skip
def test_what_is_true_of_a_job(faults: list[Fault], verdicts: set[str], since: float) -> None:
    truth = truth_of(JOB, faults)
    assert (set(truth.verdicts), truth.since, truth.is_known) == (verdicts, since, True)


def test_a_job_that_nobody_heard_of_needs_no_verdict() -> None:
    assert not truth_of(JOB, [fault(Kind.HANGS, 0.5, 29.0), fault(Kind.NEW_HEAD, 30.0, 33.0)]).is_known


def test_whoever_has_not_seen_the_first_run_of_an_id_may_take_the_next_one_for_it() -> None:
    truth = truth_of(JOB, [fault(Kind.HANGS, 0.5, 29.0), fault(Kind.NEW_HEAD_IDS_AGAIN, 30.0, 33.0)])
    assert (set(truth.verdicts), truth.is_known) == ({"Lost", "Failed"}, False)


def test_a_verdict_must_come_at_once_where_nothing_keeps_us_from_hearing_the_end() -> None:
    faults = [fault(Kind.EVENTS_HANG, 45.0, 60.0), fault(Kind.AGENT_AWAY, 45.0, 60.0)]
    assert truth_of(JOB, faults).is_prompt
    for begin, end in ((48.0, 49.0), (51.0, 52.0), (40.0, 60.0)):
        assert not truth_of(JOB, [*faults, fault(Kind.REFUSED, begin, end)]).is_prompt


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
        (sight(None, "Lost"), [], ("false", "missed", "stuck")),
        (sight(51.0, "Succeeded"), [event("JobLost")], ("false",)),
        (sight(51.0, "Succeeded"), [event("JobSucceeded", 2)], ("doubled",)),
        (sight(51.0, "Succeeded", taken_back=1), [event("JobSucceeded")], ("doubled",)),
        (sight(51.0, "Succeeded"), [event("JobSucceeded"), event("JobFailed")], ("false", "doubled")),
        (sight(51.0, "Succeeded"), [], ("missed",)),
        (sight(None, "Running"), [event("JobSucceeded")], ("stuck",)),
        (sight(None, "Running"), [], ("missed", "stuck")),
        (Sight(), [], ("missed", "stuck")),
        (sight(60.0, "Succeeded", at=60.0), [event("JobSucceeded")], ("late",)),
    ],
)
def test_what_is_told_wrong_is_found(seen: Sight, events: list[dict[str, object]], wrong: Sequence[str]) -> None:
    found = score(Campaign({"w": JOB}, ()), {"w": seen}, events)
    assert tuple(part for part in Score.__slots__ if getattr(found, part)) == wrong
    assert found.is_right is not bool(wrong)


@pytest.mark.parametrize(
    ("seen", "events", "wrong"),
    [
        (Sight(), [], ()),
        (sight(51.0, "Lost"), [event("JobLost")], ()),
        (sight(51.0, "Lost"), [], ("missed",)),
    ],
)
def test_of_a_job_that_nobody_heard_of_only_what_is_told_is_judged(
    seen: Sight, events: list[dict[str, object]], wrong: Sequence[str]
) -> None:
    plan = Campaign({"w": JOB}, (fault(Kind.HANGS, 0.5, 29.0), fault(Kind.NEW_HEAD, 30.0, 33.0)))
    found = score(plan, {"w": seen}, events)
    assert tuple(part for part in Score.__slots__ if getattr(found, part)) == wrong


def test_the_table_has_a_column_for_all_that_can_be_told_wrong_and_says_of_whom() -> None:
    plan = Campaign({"w": JOB}, ())
    line, *said = rows(Result(7, plan, score(plan, {}, []), 0, 0.0))
    columns = dict(zip(HEAD.split(), line.split(), strict=False))
    assert {part: columns[part] for part in Score.__slots__} == dict.fromkeys(Score.__slots__, "0") | {
        "missed": "1",
        "stuck": "1",
    }
    assert [text.strip() for text in said] == ["missed: w on 0, no Event", "stuck: w on 0, no verdict"]


def test_a_log_with_another_number_of_lines_is_found() -> None:
    lines = JOB.lines(JOB.ended)
    for told, wrong in ((lines, {}), (lines - 1, {"w": f"{lines - 1} lines, not {lines}"})):
        seen = replace(sight(51.0, "Succeeded"), status={"jobs": [{"log": {"complete": True, "lines": told}}]})
        for faults in ((), (fault(Kind.IDS_AGAIN, 60.0, 61.0),)):
            assert score(Campaign({"w": JOB}, faults), {"w": seen}, [event("JobSucceeded")]).lines == wrong


def test_a_log_that_another_run_may_have_written_to_before_it_was_read_is_not_judged() -> None:
    seen = replace(sight(55.0, "Succeeded"), status={"jobs": [{"log": {"complete": True, "lines": 99}}]})
    plan = Campaign({"w": JOB}, (fault(Kind.IDS_AGAIN, 52.0, 53.0),))
    assert not score(plan, {"w": seen}, [event("JobSucceeded")]).lines


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


def listed(made: FaultyTable, now: float) -> dict[str, dict[str, object]]:
    return {row["submission_id"]: row for row in json.loads(made.head(LIST, now).body)}


def test_a_table_that_is_empty_for_a_moment_is_of_the_same_head() -> None:
    made = table(fault(Kind.EMPTY_TABLE, 30.0, 32.0))
    assert [list(listed(made, now)) for now in (29.0, 31.0, 32.0)] == [[JOB.id], [], [JOB.id]]
    assert made.head(Request("GET", f"/api/jobs/{JOB.id}", {}), 31.0).status == 404
    assert made.head(VERSION, 29.0).body == made.head(VERSION, 31.0).body


def test_a_table_that_is_empty_for_a_moment_is_told_late_and_nothing_else_is() -> None:
    made = table(fault(Kind.EMPTY_THEN_LATE, 30.0, 40.0))
    assert [list(listed(made, now)) for now in (29.0, 31.0, 32.0)] == [[JOB.id], [], [JOB.id]]
    assert {made.way("head", 35.0, one.target) for one in (VERSION, Request("GET", f"/api/jobs/{JOB.id}", {}))} == {
        Way.SENT
    }
    assert [made.way("head", now, LIST.target) for now in (31.0, 35.0, 40.0)] == [Way.LATE, Way.LATE, Way.SENT]


def log(made: FaultyTable, now: float, start: int = 0) -> bytes:
    wanted = Request("GET", f"/logs/job-driver-{JOB.id}.log", {"range": f"bytes={start}-"})
    return made.agent(wanted, now).body


@pytest.mark.parametrize(("kind", "keeps_log"), [(Kind.IDS_AGAIN, True), (Kind.NEW_HEAD_IDS_AGAIN, False)])
def test_an_id_that_is_used_again_is_another_run_of_another_end(kind: Kind, keeps_log: bool) -> None:
    again = fault(kind, 60.0, 63.0)
    made = table(again)
    seen = [listed(made, now).get(JOB.id) for now in (59.0, 61.0, 63.0, 65.0, again.over)]
    assert [row and row["status"] for row in seen] == ["SUCCEEDED", None, "PENDING", "RUNNING", "FAILED"]
    assert [row and row["start_time"] for row in seen] == [0, None, 63000, 63000, 63000]
    first, whole = log(made, 59.0), log(made, again.over)
    assert whole.startswith(first)
    assert whole.count(b"Running entrypoint") == 1 + keeps_log
    assert runs_of(JOB, [again])[1].log(again.over).size == len(whole)
    assert (made.head(VERSION, 59.0).body == made.head(VERSION, 65.0).body) is keeps_log
    assert [log(made, again.over, start) for start in (9, len(first))] == [whole[9:], whole[len(first) :]]


def test_an_id_is_not_used_again_while_its_job_goes_on_and_may_be_more_than_once() -> None:
    faults = [
        *(fault(Kind.IDS_AGAIN, begin) for begin in (30.0, 60.0, 64.0)),
        fault(Kind.NEW_HEAD_IDS_AGAIN, 70.0, 73.0),
    ]
    assert [run.submitted for run in runs_of(JOB, faults)] == [0.0, 60.0, 73.0]
    assert [run.end for run in runs_of(JOB, faults)] == ["SUCCEEDED", "FAILED", "FAILED"]


def test_a_campaign_lasts_until_something_wrong_of_a_further_run_could_be_told() -> None:
    again = fault(Kind.IDS_AGAIN, 60.0, 63.0)
    assert Campaign({"w": JOB}, (again,)).end > runs_of(JOB, [again])[1].ended + 3.0


@pytest.mark.parametrize(
    ("method", "path", "now", "seconds"),
    [
        ("POST", "/api/v1/namespaces/bench/events", 12.0, 8.0),
        ("PATCH", "/api/v1/namespaces/bench/events/w.1", 19.0, 1.0),
        ("POST", "/api/v1/namespaces/bench/events", 20.0, 0.0),
        ("POST", "/api/v1/namespaces/bench/events", 9.0, 0.0),
        ("GET", "/api/v1/namespaces/bench/events", 12.0, 0.0),
        ("PATCH", "/apis/rayjobwatch.dev/v1alpha1/namespaces/bench/rayjobwatches/w/status", 12.0, 0.0),
    ],
)
def test_of_what_the_api_server_is_asked_only_writes_of_events_hang(
    method: str, path: str, now: float, seconds: float
) -> None:
    faults = [fault(Kind.EVENTS_HANG, 10.0, 20.0), fault(Kind.HANGS, 10.0, 90.0)]
    assert seconds_held(faults, method, path, now) == seconds


async def test_an_event_that_nobody_waits_for_any_more_is_written_all_the_same(tmp_path: Path) -> None:
    taken: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def take(request: web.BaseRequest) -> web.Response:
        taken.put_nowait((f"{request.method} {request.raw_path}", await request.read()))
        return web.json_response({"token": request.headers["Authorization"]}, status=201)

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context()).start()
    authority = {"certificate-authority-data": base64.b64encode(authority_pem()).decode()}
    server = {"server": f"https://127.0.0.1:{runner.addresses[0][1]}", **authority}
    write_kubeconfig(tmp_path / "kubeconfig", server, "me", "t")
    async with door() as way, connect(way.lead(tmp_path / "kubeconfig")) as client:
        way.faults = (fault(Kind.EVENTS_HANG, 0.0, time.time() + 0.5),)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.create("api/v1/namespaces/bench/events", {"n": 1})
        assert await client.create("apis/x?y=a%26b", {"n": 2}) == {"token": "Bearer t"}
        async with asyncio.timeout(5):
            seen = [await taken.get(), await taken.get()]
    await runner.cleanup()
    assert seen == [("POST /apis/x?y=a%26b", b'{"n": 2}'), ("POST /api/v1/namespaces/bench/events", b'{"n": 1}')]


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
        (Kind.NEW_HEAD_IDS_AGAIN, Way.RESET, Way.RESET),
        (Kind.EVENTS_HANG, Way.SENT, Way.SENT),
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
