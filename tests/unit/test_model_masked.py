"""What a user hides is hidden in every text, also in those that were there before."""

import json
from dataclasses import replace

from rayjobwatch.kube.recorder import event_body
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.events import events_of
from rayjobwatch.model.firing import rule_events
from rayjobwatch.model.jobs import Failure, Job, JobState
from rayjobwatch.model.lens import NOTHING
from rayjobwatch.model.masked import masked_digest, masked_state
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.redaction.patterns import EVERYTHING, NO_PATTERNS
from rayjobwatch.model.spec import LogsSpec
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.status import status_of
from tests.unit.observations import T0, folded, heard, row
from tests.unit.test_model_events import WATCH

SECRET = "cust-4711"
RULES = [{"name": "r", "pattern": "cust", "condition": "Seen"}]
VALUES = [{"name": "v", "pattern": "(?P<value>cust.*)/(?P<of>.*)"}]
PLAIN = LogsSpec.model_validate({"rules": RULES, "values": VALUES})
HIDING = LogsSpec.model_validate({"rules": RULES, "values": VALUES, "redact": [r"cust-\d+"]})
LINE = f"for {SECRET}/{SECRET}"


def told(state: WatchState, digest: LogDigest, logs: LogsSpec) -> str:
    """Return all that users can read of a watch."""
    patterns = logs.lens.patterns
    shown = masked_state(state, patterns)
    status = status_of(
        shown,
        {"a": masked_digest(digest, patterns)},
        tail_lines=20, previous={}, generation=1, now=T0, rules=logs.rules,
    )  # fmt: skip
    notes = [*events_of(WatchState(), shown), *rule_events(WatchState(), shown, logs.rules)]
    return json.dumps([status, *(event_body(WATCH, note, "pod", T0) for note in notes)])


def _state() -> WatchState:
    failure = Failure(f"no {SECRET}", None, f"{SECRET}Error", f"{SECRET}.py:1")
    job = Job("a", JobState.FAILED, "s", f"python {SECRET}.py", failure=failure)
    return WatchState(
        {"a": job, "b": Job("b")},
        problem=Problem(Reason.DASHBOARD_ERROR, f"it says {SECRET}"),
        findings={"a": PLAIN.lens.read([LINE], NOTHING, T0)},
    )


def test_a_pattern_hides_its_matches_in_every_text_that_was_there_before() -> None:
    digest = LogDigest().fed([LINE], "b:1:0")
    assert told(_state(), digest, PLAIN).count(SECRET) >= 8
    shown = told(_state(), digest, HIDING)
    assert SECRET not in shown
    assert "for ***/***" in shown


def test_a_pattern_hides_its_matches_before_a_text_is_cut() -> None:
    # The cut goes through the name: what is left of it would not match.
    message = "x" * 503 + SECRET
    lens = HIDING.lens
    failed = row("FAILED", entrypoint="y" * 193 + SECRET, message=message, exit_code=None, error_type=None)
    state = folded(replace(heard(0, failed), patterns=lens.patterns))
    digest = LogDigest(tail=tuple(lens.clean(line, 512) for line in ["z" * 505 + SECRET]))
    assert "cust" not in told(state, digest, HIDING)
    assert "cust" in told(folded(heard(0, failed)), LogDigest(), PLAIN)


def test_while_everything_is_hidden_the_controllers_own_words_are_not() -> None:
    state = masked_state(_state(), EVERYTHING)
    assert state.problem == _state().problem
    assert state.jobs["a"].entrypoint == "***"
    assert state.jobs["a"].id == "a"


def test_without_patterns_nothing_is_done() -> None:
    state = _state()
    assert masked_state(state, NO_PATTERNS) is state
