"""Which Serve applications a watch deletes, when, and what it says of them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayjobwatch.model.events import events_of
from rayjobwatch.model.jobs import Job, JobState
from rayjobwatch.model.moment import Moment
from rayjobwatch.model.observation import Cluster
from rayjobwatch.model.serve import (
    GIVE_UP,
    LONGEST_RETRY,
    MOST_APPLICATIONS,
    Delete,
    Look,
    asked,
    begun,
    failed,
    is_time,
    looked,
    next_step,
    owning_ray_service,
    refused,
    with_clean_up,
)
from rayjobwatch.model.servestate import NO_CLEAN_UP, Application, CleanUp, ServeAnswer, ServeState
from rayjobwatch.model.spec import ServeCleanup, ServeSpec
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.status import restored, status_of
from tests.unit.observations import T0, at
from tests.unit.schema import faults, status_schema


def spec(*applications: str) -> ServeSpec:
    return ServeSpec(applications=applications, cleanup=ServeCleanup.ON_FINISHED)


def app(name: str, state: str = "RUNNING", deployed: datetime = T0) -> Application:
    return Application(name, state, deployed)


def pending(*names: str, patterns: ServeSpec | None = None) -> ServeState:
    """Return a clean-up whose applications were read just now."""
    begin = begun(NO_CLEAN_UP, "s1", T0, is_time=True)
    return looked(begin, patterns or spec(*names), [app(name) for name in (*names, "other")], "s1", T0)


S, F, R = JobState.SUCCEEDED, JobState.FAILED, JobState.RUNNING


@pytest.mark.parametrize(
    ("cleanup", "states", "deleting", "expected"),
    [
        ("OnFinished", [S], False, True),
        ("OnFinished", [S, F, JobState.LOST, JobState.UNKNOWN], False, True),
        ("OnFinished", [S, R], False, False),
        ("OnFinished", [], False, False),
        ("OnFinished", [R], True, False),
        ("OnFailed", [S, F], False, True),
        ("OnFailed", [R, F], False, False),
        ("OnFailed", [S, JobState.STOPPED, JobState.LOST], False, False),
        ("OnDeletion", [S, F], False, False),
        ("OnDeletion", [R], True, True),
        ("OnDeletion", [], True, True),
        ("Never", [S, F], True, False),
    ],
)
def test_when_it_is_time(cleanup: str, states: list[JobState], deleting: bool, expected: bool) -> None:
    assert is_time(ServeCleanup(cleanup), states, deleting=deleting) is expected


@pytest.mark.parametrize(
    ("pattern", "name", "meant"),
    [
        ("llm", "llm", True),
        ("llm", "llm-2", False),
        ("LLM", "llm", False),
        ("canary-*", "canary-1", True),
        ("canary-*", "canary-", True),
        ("canary-*", "my-canary-1", False),
        ("v?", "v1", True),
        ("v?", "v10", False),
        ("*", "any thing at all", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a.c", "abc", False),
        ("a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", "a" * 120, False),
    ],
)
def test_names_and_globs(pattern: str, name: str, meant: bool) -> None:
    serve = looked(begun(NO_CLEAN_UP, "s1", T0, is_time=True), spec(pattern), [app(name)], "s1", T0)
    assert [one.name for one in serve.applications] == [name] * meant
    assert serve.is_pending is meant


def deletes(serve: ServeState, now: datetime) -> tuple[str, ...]:
    """Return what is to be deleted now."""
    step = next_step(serve, now)
    return step.names if isinstance(step, Delete) else ()


def test_a_clean_up_from_its_beginning_to_its_end() -> None:
    wanted = spec("llm", "canary-*", "absent")
    serve = begun(NO_CLEAN_UP, "s1", T0, is_time=True)
    assert next_step(serve, T0) == Look()
    seen = [app("llm", "DEPLOY_FAILED"), app("canary-1"), app("other")]
    serve = looked(serve, wanted, seen, "s1", T0)
    assert deletes(serve, T0) == ("canary-1", "llm")
    serve = asked(serve, ["canary-1", "llm"], T0)
    assert next_step(serve, T0) is None
    assert next_step(serve, at(1)) == Look()
    serve = looked(serve, wanted, [app("llm", "DELETING"), app("other")], "s1", at(1))
    assert (serve.deleted, serve.message) == (("canary-1",), "deleting llm")
    assert next_step(serve, at(1.5)) is None
    serve = looked(serve, wanted, [app("other")], "s1", at(3))
    assert (serve.state, serve.completed) == (CleanUp.DONE, at(3))
    assert serve.message == "deleted canary-1, llm; no application matched absent"
    assert next_step(serve, at(999)) is None
    assert begun(serve, "s1", at(999), is_time=True) == serve
    assert begun(serve, "s1", at(999), is_time=False) == NO_CLEAN_UP


def test_what_is_named_but_not_there_is_said() -> None:
    serve = looked(begun(NO_CLEAN_UP, "s1", T0, is_time=True), spec("llm", "canary-*"), [app("x")], "s1", T0)
    assert (serve.state, serve.message) == (CleanUp.DONE, "no application matched llm, canary-*")


def test_an_application_that_is_being_deleted_already_is_only_waited_for() -> None:
    serve = looked(begun(NO_CLEAN_UP, "s1", T0, is_time=True), spec("a"), [app("a", "DELETING")], "s1", T0)
    assert next_step(serve, T0) == Look()
    serve = looked(serve, spec("a"), [app("a", "DELETING")], "s1", T0)
    assert next_step(serve, T0) is None
    assert looked(serve, spec("a"), [app("b")], "s1", at(2)).deleted == ("a",)


@pytest.mark.parametrize("already_asked", [True, False])
def test_what_is_deployed_after_it_was_found_to_be_meant_is_left(already_asked: bool) -> None:
    serve = asked(pending("a", "b"), ["a", "b"] if already_asked else [], T0)
    serve = looked(serve, spec("a", "b"), [app("a", deployed=at(5)), app("b", "DELETING")], "s1", at(6))
    assert [one.name for one in serve.still_there] == ["b"]
    serve = looked(serve, spec("a", "b"), [app("a", deployed=at(5))], "s1", at(8))
    assert (serve.state, serve.deleted) == (CleanUp.DONE, ("b",))
    assert serve.message == "deleted b; left a"
    assert serve.applications[0].message == "left: it was deployed anew"


def test_what_comes_later_is_not_meant() -> None:
    serve = asked(pending("a-1", patterns=spec("a-*")), ["a-1"], T0)
    serve = looked(serve, spec("a-*"), [app("a-2", deployed=at(1))], "s1", at(4))
    assert (serve.state, serve.deleted) == (CleanUp.DONE, ("a-1",))
    assert "1 that match are there" in serve.message


def test_a_request_without_effect_is_made_again_with_a_growing_pause() -> None:
    serve, now, pauses = pending("a"), T0, []
    for _ in range(12):
        assert deletes(serve, now) == ("a",)
        serve = looked(asked(serve, ["a"], now), spec("a"), [app("a")], "s1", now + timedelta(seconds=1))
        assert serve.due is not None
        pauses.append((serve.due - now).total_seconds() - 1)
        now = serve.due
    assert all(longest / 2 <= pause <= longest for pause, longest in zip(pauses, [2, 4, 8, 16], strict=False))
    assert LONGEST_RETRY / 2 <= max(pauses) <= LONGEST_RETRY
    assert serve.is_failing
    assert "Ray took the request, but did not do it" in serve.message


def test_a_serve_controller_that_is_down_is_said_and_given_up_after_an_hour() -> None:
    serve = begun(NO_CLEAN_UP, "s1", T0, is_time=True)
    tries = 0
    now = T0
    while serve.is_pending:
        assert next_step(serve, now) == Look()
        serve = failed(serve, "list_serve_applications: no answer", now)
        tries += 1
        assert serve.is_failing == (tries >= 3 or not serve.is_pending)
        now = serve.due or now
    assert (serve.state, 15 < tries < 40) == (CleanUp.FAILED, True)
    assert serve.message == "given up: list_serve_applications: no answer"
    assert serve.completed is not None
    assert GIVE_UP <= serve.completed - T0 <= GIVE_UP + timedelta(seconds=LONGEST_RETRY)


def test_an_application_that_will_not_go_is_given_up_after_an_hour() -> None:
    serve, now = asked(pending("a"), ["a"], T0), at(1)
    looks = 0
    while serve.is_pending:
        serve = looked(serve, spec("a"), [app("a", "DELETING")], "s1", now)
        looks, now = looks + 1, serve.due or now
    assert (serve.state, serve.message) == (CleanUp.FAILED, "given up: a not gone after an hour")
    assert looks < 140
    assert serve.is_failing


@pytest.mark.parametrize("settled", [True, False])
def test_that_there_is_no_application_at_all_is_believed_the_second_time(settled: bool) -> None:
    begin = begun(NO_CLEAN_UP, "s1", T0, is_time=True)
    serve = asked(pending("a"), ["a"], T0) if settled else begin
    once = looked(serve, spec("a"), [], "s1", at(1))
    assert (once.is_pending, once.deleted, next_step(once, at(2))) == (True, (), None)
    assert next_step(once, at(4)) == Look()
    twice = looked(once, spec("a"), [], "s1", at(4))
    assert (twice.state, twice.deleted) == (CleanUp.DONE, ("a",) if settled else ())
    back = looked(once, spec("a"), [app("a")], "s1", at(4))
    assert back.is_pending
    assert looked(back, spec("a"), [], "s1", at(5)).is_pending


def test_a_new_head_has_other_applications() -> None:
    serve = looked(pending("a"), spec("a"), [app("a")], "s2", at(60))
    assert (serve.state, serve.applications) == (CleanUp.DONE, ())
    assert "the Ray head was replaced" in serve.message


@pytest.mark.parametrize(("cleanup", "meant"), [(ServeCleanup.ON_FINISHED, ()), (ServeCleanup.ON_DELETION, ("a",))])
def test_applications_of_a_head_that_came_after_the_job_are_meant_by_a_deletion_only(
    cleanup: ServeCleanup, meant: tuple[str, ...]
) -> None:
    wanted = ServeSpec(applications=("a",), cleanup=cleanup)
    lost = Job("a", JobState.LOST, "s1", start_time=T0)
    state = WatchState({"a": lost}, cluster=Cluster(session="s2"))
    state = with_clean_up(state, wanted, Moment(T0, deleted=True))
    answer = ServeAnswer("s2", (app("a"), app("other")))
    state = with_clean_up(state, wanted, Moment(at(1), deleted=True, serve=answer))
    assert deletes(state.serve, at(1)) == meant


def test_what_the_spec_does_not_name_any_more_is_not_deleted() -> None:
    serve = looked(asked(pending("a", "b"), [], T0), spec("b"), [app("a"), app("b")], "s1", at(1))
    assert deletes(replace(serve, due=None), at(1)) == ("b",)
    assert serve.applications[0].message == "left: spec.serve.applications does not name it any more"


def test_no_more_than_status_can_hold_and_the_rest_is_counted() -> None:
    names = [f"a-{number:03}" for number in range(70)]
    seen = [*map(app, names), app("a" * 127), app("a\nb")]
    serve = looked(begun(NO_CLEAN_UP, "s1", T0, is_time=True), spec("a*"), seen, "s1", T0)
    assert [one.name for one in serve.applications] == names[:MOST_APPLICATIONS]
    serve = looked(asked(serve, names, T0), spec("a*"), seen[MOST_APPLICATIONS:], "s1", at(3))
    assert (len(serve.deleted), serve.message.partition("; ")[2][:21]) == (50, "22 that match are the")


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ({"name": "c"}, ""),
        ({"labels": {"ray.io/originated-from-crd": "RayJob", "ray.io/originated-from-cr-name": "j"}}, ""),
        ({"labels": {"ray.io/originated-from-crd": "RayService", "ray.io/originated-from-cr-name": "s"}}, "s"),
        ({"labels": {"ray.io/originated-from-crd": "RayService"}}, "without a name"),
        ({"labels": None, "ownerReferences": [{"kind": "RayService", "name": "s"}]}, "s"),
        ({"ownerReferences": [{"kind": "RayJob", "name": "s"}]}, ""),
        ({"ownerReferences": None}, ""),
    ],
)
def test_whose_a_cluster_is(metadata: Mapping[str, Any], owner: str) -> None:
    assert owning_ray_service({"metadata": metadata}) == owner


def test_nothing_is_deleted_on_the_cluster_of_a_ray_service() -> None:
    serve = refused(begun(NO_CLEAN_UP, "s1", T0, is_time=True), "llm", T0)
    assert (serve.state, next_step(serve, at(9))) == (CleanUp.REFUSED, None)
    assert "belongs to RayService llm" in serve.message
    (note,) = events_of(WatchState(), WatchState(serve=serve))
    assert (note.reason, note.is_warning) == ("ServeApplicationDeleteFailed", True)


def test_each_deletion_is_one_event_also_after_a_restart() -> None:
    serve = asked(pending("a", "b"), ["a", "b"], T0)
    half = WatchState(serve=looked(serve, spec("a", "b"), [app("b", "DELETING")], "s1", at(1)))
    done = WatchState(serve=looked(half.serve, spec("a", "b"), [app("x")], "s1", at(3)))
    assert [note.message for note in events_of(WatchState(), half)] == ["Serve application a is deleted"]
    assert [note.message for note in events_of(half, done)] == ["Serve application b is deleted"]
    status = status_of(half, {}, tail_lines=0, previous={}, generation=1, now=T0)
    again, _ = restored(json.loads(json.dumps(status)))
    assert not list(events_of(again, half))
    assert list(events_of(again, done)) == list(events_of(half, done))
    later = begun(NO_CLEAN_UP, "s1", at(60), is_time=True)
    later = looked(looked(later, spec("a"), [app("a")], "s1", at(60)), spec("a"), [app("x")], "s1", at(61))
    first, second = (
        [note.identity for note in events_of(WatchState(), WatchState(serve=one))] for one in (serve, later)
    )
    assert not set(first) & set(second)


NAMES = ("a", "b", "c", "x")
STATES = st.sampled_from(["RUNNING", "DELETING", "DEPLOY_FAILED", "DEPLOYING"])
WORLDS = st.dictionaries(st.sampled_from(NAMES), st.tuples(STATES, st.integers(0, 3)), max_size=4)
STEPS = st.lists(
    st.tuples(st.integers(0, 400), st.one_of(WORLDS, st.just("fails"), st.just("restart"), st.just("new head"))),
    max_size=25,
)


@settings(max_examples=200)
@given(STEPS)
def test_whatever_happens_only_what_is_named_and_stands_in_status_is_deleted(steps: list[tuple[int, Any]]) -> None:
    wanted, serve, now, session = spec("a", "b"), begun(NO_CLEAN_UP, "s1", T0, is_time=True), T0, "s1"
    for seconds, event in steps:
        now += timedelta(seconds=seconds)
        step = next_step(serve, now)
        status = status_of(WatchState(serve=serve), {}, tail_lines=0, previous={}, generation=1, now=now)
        assert not list(faults(status, status_schema()))
        if isinstance(step, Delete):
            assert set(step.names) <= {"a", "b"} & {one["name"] for one in status["serve"]["applications"]}
            assert serve.session == session
        before = serve
        if event == "restart":
            serve = restored(json.loads(json.dumps(status)))[0].serve
        elif event == "new head":
            session += "'"
            serve = looked(serve, wanted, [], session, now)
        elif event == "fails" or step is None:
            serve = failed(serve, "no answer", now)
        elif isinstance(step, Delete):
            serve = asked(serve, step.names, now)
        else:
            seen = [app(name, state, at(deployed)) for name, (state, deployed) in event.items()]
            serve = looked(serve, wanted, seen, session, now)
        assert set(before.deleted) <= set(serve.deleted) <= {"a", "b"}
        if not before.is_pending:
            assert serve == before or event == "restart"
        if serve.is_pending:
            assert now - T0 < GIVE_UP + timedelta(seconds=LONGEST_RETRY + 400)


@pytest.mark.parametrize(
    ("serve", "message"),
    [
        (begun(NO_CLEAN_UP, "s1", T0, is_time=True), "Serve applications are not deleted: refused"),
        (pending("a", "b"), "Serve applications are not deleted (a, b): refused"),
    ],
)
def test_an_event_that_nothing_is_deleted_names_the_applications_that_are_known(
    serve: ServeState, message: str
) -> None:
    (note,) = events_of(WatchState(), WatchState(serve=refused(serve, "llm", at(1))))
    assert note.message.startswith(message)
