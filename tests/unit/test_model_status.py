"""What `kubectl get -o yaml` shows of a watch, that it always fits, and what a new process reads back from it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings

from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.fields import Room
from rayjobwatch.model.findings import cut_findings, write_findings
from rayjobwatch.model.jobs import Failure, Job, JobState
from rayjobwatch.model.lens import Findings
from rayjobwatch.model.observation import Cluster, Observation, Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.records import Deletion, RecordState
from rayjobwatch.model.rules import MAX_RULES, RuleState
from rayjobwatch.model.serve import MOST_APPLICATIONS, NAME_BYTES
from rayjobwatch.model.servestate import Application, CleanUp, ServeState
from rayjobwatch.model.spec import RuleSpec
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.status import refused, restored, status_of
from rayjobwatch.model.times import rfc3339
from rayjobwatch.model.values import MAX_VALUES, Value
from tests.unit.observations import IDS, T0, at, folded, heard, histories, row, silent
from tests.unit.schema import faults, status_schema

DIGESTS = {"a": LogDigest(3, "b:10:0", tail=("x", "y", "z")), "b": LogDigest(1, "t:4:ff", complete=True)}


def _status(
    state: WatchState,
    digests: Mapping[str, LogDigest] | None = None,
    *,
    previous: Mapping[str, Any] | None = None,
    tail_lines: int = 20,
    generation: int = 1,
    now: datetime = T0,
) -> dict[str, Any]:
    return status_of(
        state, digests or {}, tail_lines=tail_lines, previous=previous or {}, generation=generation, now=now
    )


def _size(status: Mapping[str, Any]) -> int:
    return len(json.dumps(status, ensure_ascii=False, separators=(",", ":")).encode())


def _condition(status: Mapping[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in status["conditions"] if item["type"] == kind)
    return found


@settings(max_examples=40)
@given(histories())
def test_every_status_is_accepted_by_the_api_server(history: Sequence[Observation]) -> None:
    status: dict[str, Any] = {}
    state = WatchState()
    for seen in history:
        state = folded(seen, state=state, ids=IDS)
        status = _status(state, DIGESTS, previous=status, now=seen.now)
        assert not list(faults(status, status_schema()))
        assert all("\n" not in item["message"] for item in status["conditions"])


@settings(max_examples=40)
@given(histories())
def test_a_new_process_knows_what_the_old_one_wrote(history: Sequence[Observation]) -> None:
    state = folded(*history, ids=IDS)
    status = _status(state, DIGESTS)
    again, digests = restored(json.loads(json.dumps(status)))
    bare = {id_: replace(job, missing_since=None, ending_since=None, ending=None) for id_, job in state.jobs.items()}
    assert again.jobs == bare
    assert again.cluster == state.cluster
    assert digests == {id_: digest for id_, digest in DIGESTS.items() if id_ in state.jobs}
    seen = replace(again, problem=state.problem, unreachable=state.unreachable, reachable=state.reachable)
    since = replace(seen, last_contact=state.last_contact)
    assert _status(since, digests, previous=status, now=at(999)) == status


def test_a_new_watch_has_nothing_to_restore() -> None:
    assert restored({}) == (WatchState(), {})


def test_a_stale_status_stays_stale_through_a_restart() -> None:
    status = _status(folded(heard(5, row()), silent(9)))
    assert status["staleSince"] == "2026-11-21T10:00:05Z"
    again, _ = restored(status)
    assert _status(folded(silent(60), state=again))["staleSince"] == status["staleSince"]
    assert "staleSince" not in _status(folded(heard(61, row()), state=again))


def _worst_job(number: int, char: str) -> Job:
    return Job(
        id=f"{number:02}".ljust(100, "i"),
        state=JobState.FAILED,
        session="s" * 128,
        entrypoint=char * (200 // len(char.encode())),
        start_time=T0,
        end_time=T0,
        exit_code=-(2**31),
        failure=Failure(char * 10_000, char * 10_000),
        record=RecordState(Deletion.PENDING, T0, char * 500),
    )


def _worst_clean_up(char: str) -> ServeState:
    longest = (NAME_BYTES - 2) // len(json.dumps(char, ensure_ascii=False)[1:-1].encode())
    names = [f"{number:02}"[:longest].ljust(longest, char) for number in range(MOST_APPLICATIONS)]
    applications = tuple(Application(name, char * 100, T0, T0, "m" * 500) for name in names)
    return ServeState(CleanUp.FAILED, T0, T0, "s" * 128, applications, (), char * 5000)


@pytest.mark.parametrize("count", [1, 7, 50])
@pytest.mark.parametrize("char", ["x", "😀", "é", '"', "\\", "日"], ids=["ascii", "4", "2", "quote", "slash", "3"])
def test_no_status_is_too_big_for_its_object(char: str, count: int) -> None:
    jobs = [_worst_job(number, char) for number in range(count)]
    digest = LogDigest(10**15, "b:" + "9" * 18 + ":" + "f" * 15, message=char * 512).fed([char * 150] * 100, "t:1:1")
    digest = replace(digest, message=char * 512)
    problem = Problem(Reason.RAY_CLUSTER_NOT_READY, char * 5000)
    state = WatchState({job.id: job for job in jobs}, Cluster("u" * 1024, "u" * 64, "s" * 128, char * 999), problem)
    state = replace(state, serve=_worst_clean_up(char))
    for one in (state, replace(state, jobs={**state.jobs, jobs[0].id: replace(jobs[0], state=JobState.RUNNING)})):
        status = _status(one, {job.id: digest for job in jobs}, tail_lines=100)
        assert not list(faults(status, status_schema()))
        assert _size(status) <= 64_000
        assert all(_size({"tail": item["log"].get("tail", [])}) <= 4096 + 16 for item in status["jobs"])


def _worst_findings(char: str) -> Findings:
    recent = tuple((at(1440 * part), 10**6 // 61) for part in range(61))
    state = RuleState(10**18, 10**18, True, T0, char * 64, recent)
    value = Value(char * (64 // len(char.encode())), char * (64 // len(char.encode())), T0)
    names = [f"{number:02}".ljust(63, "n") for number in range(MAX_RULES)]
    return Findings(dict.fromkeys(names, state), dict.fromkeys(names[:MAX_VALUES], value))


@pytest.mark.parametrize("count", [1, 7, 50])
@pytest.mark.parametrize("char", ["x", "😀", '"'], ids=["ascii", "4", "quote"])
def test_no_number_of_rules_and_values_makes_a_status_too_big(char: str, count: int) -> None:
    jobs = [_worst_job(number, char) for number in range(count)]
    found = _worst_findings(char)
    rules = [
        RuleSpec.model_validate({"name": name, "pattern": "x", "condition": f"C{name}"[:63]}) for name in found.rules
    ]
    digest = LogDigest(10**15, "b:" + "9" * 18 + ":" + "f" * 15, message=char * 512).fed([char * 150] * 100, "t:1:1")
    state = WatchState({job.id: job for job in jobs}, findings={job.id: found for job in jobs})
    status = status_of(
        state, {job.id: digest for job in jobs}, tail_lines=100, previous={}, generation=1, now=T0, rules=rules
    )
    assert not list(faults(status, status_schema()))
    assert _size(status) <= 64_000
    for row_ in status["jobs"]:
        shown = len(row_.get("rules", [])) + len(row_.get("values", []))
        assert shown + row_.get("omitted", 0) == MAX_RULES + MAX_VALUES
    if count == 1:
        assert "omitted" not in status["jobs"][0]


def test_of_what_is_left_out_rules_that_fire_go_last() -> None:
    rules = {f"r{number:02}": RuleState(number, 1, number == 63, T0, "x" * 200) for number in range(64)}
    written = write_findings(Findings(rules, {"v": Value("1")}), Room(600))
    cut = cut_findings(written, 1000)
    names = [item["name"] for item in cut["rules"]]
    assert names == sorted(names)
    assert names[-1] == "r63"
    assert len(names) + len(cut["values"]) + cut["omitted"] == 65
    assert len(json.dumps(cut)) <= 1000


def test_long_texts_are_only_shortened_when_the_status_would_be_too_big() -> None:
    state = WatchState({"a": Job("a", JobState.FAILED, failure=Failure("x" * 590))})
    assert _status(state)["jobs"][0]["failure"]["message"] == "x" * 590


def test_the_newest_lines_are_kept_and_as_many_as_were_asked_for() -> None:
    state = folded(heard(0, row()))
    digests = {"a": LogDigest().fed([str(number) for number in range(150)], "b:1:0")}
    assert _status(state, digests, tail_lines=3)["jobs"][0]["log"]["tail"] == ["147", "148", "149"]
    assert "tail" not in _status(state, digests, tail_lines=0)["jobs"][0]["log"]
    assert _status(state, digests, tail_lines=0)["jobs"][0]["log"]["lines"] == 150


def test_counts_and_the_jobs_column_add_up() -> None:
    rows = row("SUCCEEDED"), row(id_="b"), row("PENDING", "c")
    status = _status(folded(heard(0, *rows), ids=("a", "b", "c", "d")))
    assert status["finished"] == "1/4"
    assert status["counts"] == {
        "total": 4, "waiting": 1, "pending": 1, "running": 1, "succeeded": 1, "failed": 0, "stopped": 0, "lost": 0,
        "unknown": 0,
    }  # fmt: skip
    assert [item["id"] for item in status["jobs"]] == ["a", "b", "c", "d"]


def test_a_refused_spec_stalls_the_watch_and_forgets_nothing_of_its_jobs() -> None:
    before = _status(folded(heard(0, row())), DIGESTS)
    after = refused("spec.jobs: too\nmany", before, 2, at(5))
    assert not list(faults(after, status_schema()))
    assert after["jobs"] == before["jobs"]
    assert _condition(after, "Stalled")["status"] == "True"
    assert _condition(after, "Ready")["message"] == "spec.jobs: toomany"
    assert _condition(after, "Finished") == _condition(before, "Finished")
    assert _condition(after, "DashboardReachable")["status"] == "Unknown"
    assert (after["summary"], after["staleSince"]) == ("spec.jobs: toomany", rfc3339(at(5)))
    assert refused("spec.jobs: too\nmany", after, 2, at(99)) == after


def test_ends_are_final_under_a_refused_spec_too() -> None:
    assert "staleSince" not in refused("bad", _status(folded(heard(0, row("FAILED")))), 2, at(5))


def test_a_mended_spec_is_stalled_no_more() -> None:
    stalled = refused("bad", {}, 1, T0)
    assert stalled["summary"] == "bad"
    status = _status(folded(heard(0, row())), previous=stalled, generation=2)
    assert {item["type"] for item in status["conditions"]} == {"Ready", "DashboardReachable", "Finished", "Succeeded"}
