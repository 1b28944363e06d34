"""RUNNING is not believed of a job whose driver's node is not there, and nobody is called failed or lost for that."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from rayjobwatch.model.conditions import conditions_of
from rayjobwatch.model.observation import Nodes, Observation
from rayjobwatch.model.summary import summary_of
from tests.unit.observations import at, folded, heard, row, silent

HERE, OLD = "a" * 56, "b" * 56
RUNNING, PENDING = row(node_id=OLD), row("PENDING")


def _on(seen: Observation, *, alive: str = HERE, dead: str = OLD, since: float | None = None) -> Observation:
    """Return `seen` with these nodes, as they were listed at that time or `since`."""
    time = seen.now if since is None else at(since)
    return replace(seen, nodes=Nodes(time, frozenset({alive}), frozenset({dead})))


def _doubtful(seen: Observation) -> Observation:
    """Return `seen` by a head that has not told its nodes yet."""
    return replace(seen, is_head_in_doubt=True)


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        ([heard(0, RUNNING)], "Running"),
        ([_doubtful(heard(0, RUNNING))], "Running"),
        ([heard(0, PENDING), _doubtful(heard(60, RUNNING))], "Pending"),
        ([heard(0, PENDING), _doubtful(heard(60, row(node_id=HERE))), _on(heard(61, row(node_id=HERE)))], "Running"),
        ([heard(0, PENDING), _doubtful(heard(60, RUNNING)), heard(121, RUNNING)], "Running"),
        ([heard(0, PENDING), _doubtful(heard(60, row()))], "Running"),
        ([_on(heard(0, RUNNING))], "Pending"),
        ([heard(0, PENDING), _on(heard(60, RUNNING))], "Pending"),
        ([heard(0, RUNNING), _on(heard(60, RUNNING)), _on(heard(119, RUNNING))], "Running"),
        ([heard(0, RUNNING), _on(heard(60, RUNNING)), _on(heard(120, RUNNING))], "Unknown"),
        ([heard(0, RUNNING), _on(heard(60, RUNNING)), _on(heard(121, RUNNING, took=2))], "Running"),
        ([heard(0, RUNNING), _on(heard(60, RUNNING)), _on(heard(500, RUNNING), since=100)], "Running"),
        ([heard(0, RUNNING), _on(heard(60, RUNNING)), silent(500)], "Running"),
        ([heard(0, RUNNING), _on(heard(60, RUNNING)), heard(300, RUNNING), _on(heard(301, RUNNING))], "Running"),
        ([heard(0, RUNNING), _on(heard(60, RUNNING)), _on(heard(90, row("SUCCEEDED", node_id=OLD)))], "Succeeded"),
        ([heard(0, RUNNING), _on(heard(60, RUNNING), dead="c" * 56)], "Running"),
        ([heard(0, RUNNING), _on(heard(60, RUNNING)), _on(heard(-3600, RUNNING)), _on(heard(-3541, RUNNING))],
         "Running"),
        ([heard(0, RUNNING), _on(heard(60, RUNNING, session="s2")), _on(heard(120, RUNNING, session="s2"))], "Unknown"),
        ([heard(0, RUNNING), _on(heard(60, RUNNING, session="s2"), alive=OLD, dead=HERE)], "Running"),
    ],
    ids=["no head in doubt", "nothing known before", "keeps its last state", "its node is alive", "no answer for long",
         "Ray names no node", "first seen on a dead node", "dead", "dead, not for long", "dead for long",
         "asked before that", "listed long ago", "silence is no verdict", "doubted anew", "ended meanwhile",
         "no word of its node", "a clock set back", "another session", "another session, its node alive"],
)  # fmt: skip
def test_running_is_believed_where_the_driver_can_be_running(seen: Sequence[Observation], state: str) -> None:
    assert folded(*seen).jobs["a"].state == state


def test_a_job_that_is_doubted_says_so() -> None:
    state = folded(heard(0, RUNNING), _on(heard(60, RUNNING)))
    words = "verifying a: Ray says RUNNING, but has not shown the node of its driver alive"
    assert summary_of(state) == words
    finished = {one.type: one.message for one in conditions_of(state)}["Finished"]
    assert finished == f"not over yet: a; {words}"
    again = folded(_on(heard(61, RUNNING), alive=OLD, dead=HERE), state=state)
    assert summary_of(again) == ""
    assert "verifying" not in {one.type: one.message for one in conditions_of(again)}["Finished"]
