"""What a user sees of log rules: which fires for which job, conditions and Events."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import yaml

from rayjobwatch.model.conditions import conditions_of, refusal
from rayjobwatch.model.firing import firing, rule_events
from rayjobwatch.model.jobs import Job, JobState
from rayjobwatch.model.lens import NOTHING, Findings
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.spec import EventLevel, LogsSpec
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.status import restored, status_of
from rayjobwatch.model.values import Value
from tests.unit.observations import T0, at
from tests.unit.schema import CRD, faults, status_schema

LOGS = LogsSpec.model_validate(
    {
        "rules": [
            {"name": "oom", "pattern": "oom", "condition": "GPUMemoryExhausted", "resetPattern": "freed"},
            {"name": "slow", "pattern": "slow", "event": "Normal", "resetAfterSeconds": 60},
            {"name": "quiet", "pattern": "oom", "event": "None", "condition": "Quiet"},
        ]
    }
)


def found(*lines: str, known: Findings = NOTHING, seconds: float = 0) -> Findings:
    return LOGS.lens.read(lines, known, at(seconds))


def state_of(**findings: Findings) -> WatchState:
    return WatchState({id_: Job(id_, JobState.RUNNING, "s") for id_ in findings}, findings=findings)


def shown(state: WatchState, logs: LogsSpec = LOGS) -> dict[str, Any]:
    status = status_of(
        state, {}, tail_lines=0, previous={}, generation=1, now=T0, rules=logs.rules, refused=logs.lens.refused
    )
    assert not list(faults(status, status_schema()))
    return {item["type"]: item for item in status["conditions"]}


def notes(old: WatchState, new: WatchState) -> list[tuple[str, bool, str, int]]:
    return [(note.reason, note.is_warning, note.message, note.count) for note in rule_events(old, new, LOGS.rules)]


def test_which_rules_fire_for_which_job_can_be_asked() -> None:
    state = state_of(a=found("oom 1"), b=found("slow"), c=found("fine"))
    assert set(firing(state.findings)) == {("a", "oom"), ("a", "quiet"), ("b", "slow")}


def test_a_condition_is_true_while_its_rule_fires_for_any_job() -> None:
    state = state_of(a=found("fine"), b=found("oom 2 GiB"))
    condition = shown(state)["GPUMemoryExhausted"]
    assert (condition["status"], condition["reason"]) == ("True", "LogRuleFiring")
    assert condition["message"] == "rule oom fires for job b: oom 2 GiB"
    state = state_of(b=found("freed", known=state.findings["b"], seconds=1))
    condition = shown(state)["GPUMemoryExhausted"]
    assert (condition["status"], condition["reason"]) == ("False", "LogRuleResting")
    assert set(shown(state_of())) >= {"GPUMemoryExhausted", "Quiet"}


def test_a_rule_that_cannot_be_used_is_told_by_its_name_and_the_watch_is_not_ready() -> None:
    bad = [{"name": "bad", "pattern": "a(b", "condition": "Bad"}, {"name": "good", "pattern": "a"}]
    conditions = shown(state_of(), LogsSpec.model_validate({"rules": bad}))
    assert conditions["Bad"]["status"] == "Unknown"
    for kind, status in (("Ready", "False"), ("Stalled", "True")):
        assert (conditions[kind]["status"], conditions[kind]["reason"]) == (status, "InvalidRule")
        assert "rule bad: missing ): a(b" in conditions[kind]["message"]


def test_no_rule_can_have_a_condition_of_the_controllers_own() -> None:
    state = replace(state_of(a=found("fine")), problem=Problem(Reason.RAY_CLUSTER_NOT_FOUND, "gone"))
    own = {one.type for one in [*conditions_of(state, {"rule bad": "("}), *refusal("no")]}
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    rule = schema["properties"]["spec"]["properties"]["logs"]["properties"]["rules"]["items"]["properties"]["condition"]
    refused = next(one["rule"] for one in rule["x-kubernetes-validations"] if "self in" in one["rule"])
    assert set(re.findall(r"'(\w+)'", refused)) == own


def test_a_finished_watch_does_not_hide_that_a_rule_was_never_followed() -> None:
    state = WatchState({"a": Job("a", JobState.SUCCEEDED, "s")})
    conditions = shown(state, LogsSpec.model_validate({"rules": [{"name": "bad", "pattern": "("}]}))
    assert conditions["Ready"]["reason"] == "InvalidRule"
    assert conditions["Finished"]["status"] == "True"


def test_firing_and_resting_are_told_with_how_often_they_happened() -> None:
    first = state_of(a=found("oom 1", "slow"))
    assert notes(state_of(), first) == [
        ("LogRuleFired", True, "rule oom fired for job a: oom 1", 1),
        ("LogRuleFired", False, "rule slow fired for job a: slow", 1),
    ]
    then = state_of(a=found(*["freed", "oom 2"] * 5, known=first.findings["a"]))
    assert notes(first, then) == [
        ("LogRuleFired", True, "rule oom fired for job a: oom 2", 6),
        ("LogRuleReset", False, "rule oom rests for job a", 5),
    ]
    later = state_of(a=LOGS.lens.rested(then.findings["a"], at(60)))
    assert notes(then, later) == [("LogRuleReset", False, "rule slow rests for job a", 1)]
    assert not notes(later, later)


def _identities(state: WatchState) -> list[str]:
    return [note.identity for note in rule_events(state_of(), state, LOGS.rules)]


def test_the_event_of_a_rule_has_one_name_a_job_whoever_tells_it() -> None:
    once, often = state_of(a=found("oom")), state_of(a=found(*["oom", "freed"] * 9, "oom"))
    assert _identities(once)[0] == _identities(often)[0]
    both = [*_identities(state_of(a=found("oom", "slow"), b=found("oom"))), *_identities(often)[1:]]
    assert len(set(both)) == len(both)


def test_a_new_process_tells_nothing_again() -> None:
    state = state_of(a=found("oom 1", "slow", "freed"))
    status = status_of(state, {}, tail_lines=0, previous={}, generation=1, now=T0, rules=LOGS.rules)
    again, _ = restored(json.loads(json.dumps(status)))
    assert not list(rule_events(again, state, LOGS.rules))
    assert again.findings == state.findings


def test_a_threshold_is_remembered_through_a_restart() -> None:
    threshold = {"count": 3, "withinSeconds": 60}
    logs = LogsSpec.model_validate({"rules": [{"name": "oom", "pattern": "oom", "threshold": threshold}]})
    half = logs.lens.read(["oom", "oom"], NOTHING, T0)
    status = status_of(state_of(a=half), {}, tail_lines=0, previous={}, generation=1, now=T0)
    known = restored(status)[0].findings["a"]
    assert logs.lens.read(["oom"], known, at(59)).rules["oom"].firing
    assert not logs.lens.read(["oom"], known, at(61)).rules["oom"].firing


def test_a_rule_without_events_tells_none() -> None:
    assert LOGS.rules[2].event is EventLevel.NONE
    assert not list(rule_events(state_of(), state_of(a=found("oom")), LOGS.rules[2:]))


def test_progress_and_values_are_shown() -> None:
    values = {"progress": Value("3", "4", T0), "loss": Value("0.5", "", T0)}
    status = status_of(state_of(a=Findings({}, values)), {}, tail_lines=0, previous={}, generation=1, now=T0)
    assert status["progress"] == "75%"
    assert status["jobs"][0]["values"] == [
        {"name": "loss", "value": "0.5", "time": "2026-11-21T10:00:00Z"},
        {"name": "progress", "value": "3", "of": "4", "time": "2026-11-21T10:00:00Z"},
    ]


@pytest.mark.parametrize("seconds", [0, 59])
def test_what_fires_is_not_forgotten_before_its_time(seconds: float) -> None:
    state = found("slow")
    assert LOGS.lens.rested(state, T0 + timedelta(seconds=seconds)) == state
