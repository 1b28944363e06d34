"""The watch that a RayCluster's annotation asks for: made once, removed again, and never anybody else's."""

from typing import Any

import pytest

from rayjobwatch.model.annotation import ANNOTATION, MANAGED_BY, Step, decide, watch_for
from rayjobwatch.model.events import EventNote
from rayjobwatch.model.reasons import EventReason
from rayjobwatch.model.spec import parse_spec

Body = dict[str, Any]
LABELS = {MANAGED_BY: "rayjobwatch"}
GOING = "2026-11-25T00:00:00Z"


def cluster(value: str | None = None, **meta: Any) -> Body:
    annotations = {"annotations": {"other": "all"} | ({} if value is None else {ANNOTATION: value})}
    return {"metadata": {"name": "shared", "namespace": "ml", "uid": "c1"} | annotations | meta}


def watch(*owners: str, **meta: Any) -> Body:
    references = [{"kind": "RayCluster", "uid": uid} for uid in owners]
    return {"metadata": {"name": "shared", "namespace": "ml", "uid": "w1", "ownerReferences": references} | meta}


@pytest.mark.parametrize(
    ("there", "known", "step"),
    [
        (None, None, Step.NONE),
        (None, watch("c1", labels=LABELS), Step.NONE),
        (cluster(), None, Step.NONE),
        (cluster("all"), None, Step.CREATE),
        (cluster("all"), watch("c1", labels=LABELS), Step.NONE),
        (cluster(), watch("c1", labels=LABELS), Step.DELETE),
        (cluster(), watch("c1", labels=LABELS, deletionTimestamp=GOING), Step.NONE),
        # What is not ours is never deleted, and told where it is in the way.
        (cluster(), watch(), Step.NONE),
        (cluster(), watch(labels=LABELS), Step.NONE),
        (cluster(), watch("c1"), Step.NONE),
        (cluster(), watch("c0", labels=LABELS), Step.NONE),
        (cluster("all"), watch(), Step.TELL),
        (cluster("all"), watch(labels=LABELS), Step.TELL),
        (cluster("all"), watch("c1"), Step.TELL),
        (cluster("all"), watch("c1", labels={MANAGED_BY: "Helm"}), Step.TELL),
        # That of an earlier RayCluster is collected by Kubernetes; then the next is made.
        (cluster("all"), watch("c0", labels=LABELS), Step.NONE),
        (cluster("all"), watch(deletionTimestamp=GOING), Step.NONE),
        # A value that says nothing changes nothing.
        (cluster("al"), None, Step.TELL),
        (cluster("al"), watch("c1", labels=LABELS), Step.TELL),
        (cluster(""), None, Step.TELL),
        # A RayCluster that goes takes its watch with it, and gets no new one.
        (cluster("all", deletionTimestamp=GOING), None, Step.NONE),
        (cluster(deletionTimestamp=GOING), watch("c1", labels=LABELS), Step.NONE),
    ],
)
def test_what_is_done(there: Body | None, known: Body | None, step: Step) -> None:
    assert decide(there, known).step is step


def test_the_watch_that_is_made_is_recognised_and_selects_all_jobs() -> None:
    made = watch_for(cluster("all"))
    assert decide(cluster("all"), made).step is Step.NONE
    assert decide(cluster(), made).step is Step.DELETE
    spec = parse_spec(made)
    assert spec.ray_cluster
    assert spec.ray_cluster.name == "shared"
    assert not spec.jobs.ids
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "shared", "uid": "c1"}
    ]


def told(there: Body, known: Body | None) -> EventNote:
    note = decide(there, known).note
    assert note
    assert note.reason is EventReason.WATCH_NOT_CREATED
    assert note.is_warning
    return note


def test_what_is_told_names_the_remedy() -> None:
    assert "set it to 'all' or remove it" in told(cluster("yes"), None).message
    assert "delete or rename it, or remove the annotation" in told(cluster("all"), watch()).message


def test_a_value_of_any_length_and_content_is_shown_in_one_short_line() -> None:
    message = told(cluster("x\n\x1b[1m" * 9999), None).message
    assert len(message) < 300
    assert message.isprintable()


def test_another_mistake_is_another_event() -> None:
    notes = [told(cluster("yes"), None), told(cluster("no"), None), told(cluster("all"), watch())]
    notes.append(told(cluster("all"), watch(uid="w2")))
    assert len({note.identity for note in notes}) == 4
