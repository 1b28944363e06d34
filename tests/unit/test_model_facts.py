"""What a status says of the cluster beside its jobs."""

from dataclasses import replace

import pytest

from rayjobwatch.model.facts import NO_FACTS, Facts, NodeCount, Served, served
from rayjobwatch.model.observation import Cluster
from rayjobwatch.model.status import restored, status_of
from tests.unit.observations import at, folded, heard, row, silent

FACTS = Facts(NodeCount(3, 1), 7, (Served("llm", "RUNNING"),), at(0))


def _cluster(session: str = "s1", facts: Facts = NO_FACTS) -> Cluster:
    return Cluster("http://ray:8265", "u1", session, "2.60.0", facts)


def test_status_tells_the_facts_beside_what_says_which_cluster_it_is() -> None:
    state = folded(replace(heard(0, row()), cluster=_cluster(facts=FACTS)))
    status = status_of(state, {}, tail_lines=0, previous={}, generation=1, now=at(0))
    assert status["cluster"] == {
        "dashboardURL": "http://ray:8265",
        "rayVersion": "2.60.0",
        "session": "s1",
        "uid": "u1",
        "nodes": {"alive": 3, "dead": 1},
        "failedTasks": 7,
        "applications": [{"name": "llm", "state": "RUNNING"}],
        "idleSince": "2026-11-21T10:00:00Z",
    }
    assert restored(status)[0].cluster == state.cluster


@pytest.mark.parametrize(
    ("later", "facts"),
    [
        (silent(1), FACTS),
        (silent(1, cluster_gone=True), FACTS),
        (heard(1, row()), FACTS),
        (replace(heard(1, row()), cluster=_cluster(facts=Facts(NodeCount(1)))), Facts(NodeCount(1))),
        (heard(1, session="s2"), NO_FACTS),
    ],
    ids=["silent", "gone", "not asked again yet", "asked again", "another session"],
)
def test_the_last_facts_of_a_cluster_stay(later: object, facts: Facts) -> None:
    known = replace(heard(0, row()), cluster=_cluster(facts=FACTS))
    assert folded(known, later).cluster.facts == facts  # type: ignore[arg-type]


def test_of_many_applications_those_are_told_that_do_not_run() -> None:
    many = [*((f"a{number:02}", "RUNNING") for number in range(30)), ("z" * 200, "UNHEALTHY")]
    told = served(many)
    assert len(told) == 10
    assert (told[0].state, len(told[0].name)) == ("UNHEALTHY", 62)
    assert [one.name for one in told[1:3]] == ["a00", "a01"]
