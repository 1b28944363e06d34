"""The README tells every reason that a user may meet, and none that there is not."""

import re
from dataclasses import replace
from itertools import combinations_with_replacement, product

from rayjobwatch.model.conditions import conditions_of
from rayjobwatch.model.jobs import JobState
from rayjobwatch.model.reasons import EventReason, Reason
from tests.unit.observations import in_states
from tests.unit.test_house import ROOT

README = (ROOT / "README.md").read_text()


def _reasons_without_trouble() -> set[str]:
    """Return the reasons of all conditions of every watch on up to two jobs that nothing keeps from working."""
    several = [states for count in range(3) for states in combinations_with_replacement(JobState, count)]
    watches = [replace(in_states(*states), reachable=asked) for states, asked in product(several, (True, None))]
    return {one.reason for watch in watches for one in conditions_of(watch)}


def test_the_table_of_ready_false_has_every_reason_that_keeps_a_watch_from_working() -> None:
    table = README.split("| reason of `Ready=False` |")[1].split("\n\n")[0]
    told = [word for line in table.splitlines() for word in re.findall(r"`(\w+)`", line.partition(" | ")[0])]
    of_rules = {Reason.LOG_RULE_FIRING, Reason.LOG_RULE_RESTING}
    assert sorted(told) == sorted(set(Reason) - _reasons_without_trouble() - of_rules)


def test_every_reason_of_an_event_is_told() -> None:
    told = README.split("\nEvents: ")[1].split("\n\n")[0]
    assert sorted(set(re.findall(r"`(\w+)`", told))) == sorted(EventReason)
