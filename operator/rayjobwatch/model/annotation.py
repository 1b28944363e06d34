"""The watch that a RayCluster's annotation asks for, without a manifest of its user's. Pure.

    annotation   its RayJobWatch       another of that name    none
    all          stays as it is        is left alone, told     is made
    other        stays as it is        is left alone           is told
    none         is deleted            is left alone           -

Its own is the one that carries our label and is owned by this very RayCluster. What users change in it is theirs, and
one whose label or owner they take away is no longer ours to delete. A RayCluster that is being deleted gets none;
Kubernetes deletes the one that it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rayjobwatch.model.events import EventNote
from rayjobwatch.model.reasons import EventReason
from rayjobwatch.model.text import clean_line

ANNOTATION = "rayjobwatch.dev/watch"
WANTED = "all"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "rayjobwatch"

Body = Mapping[str, Any]


class Step(StrEnum):
    """What is to be done about the watch of one RayCluster."""

    NONE = "none"
    CREATE = "create"
    DELETE = "delete"
    TELL = "tell"


@dataclass(frozen=True, slots=True)
class Decision:
    """A step; with TELL also what to tell on the RayCluster."""

    step: Step = Step.NONE
    note: EventNote | None = None


def decide(cluster: Body | None, watch: Body | None) -> Decision:
    """Return what a RayCluster's annotation asks for, where `watch` is the RayJobWatch of the same name."""
    if cluster is None or cluster["metadata"].get("deletionTimestamp"):
        return Decision()
    value = asked(cluster)
    if value is None:
        is_own = watch is not None and is_made_for(watch, cluster) and not watch["metadata"].get("deletionTimestamp")
        return Decision(Step.DELETE if is_own else Step.NONE)
    if value != WANTED:
        return Decision(Step.TELL, _unknown(value))
    if watch is None:
        return Decision(Step.CREATE)
    if is_made_for(watch, cluster) or _is_passing(watch):
        return Decision()
    return Decision(Step.TELL, _taken(cluster, watch))


def asked(cluster: Body) -> str | None:
    """Return the annotation's value, None where there is none."""
    value = (cluster["metadata"].get("annotations") or {}).get(ANNOTATION)
    return None if value is None else str(value)


def is_made_for(watch: Body, cluster: Body) -> bool:
    """Whether a watch is the one that was made for this very RayCluster."""
    owners = {owner.get("uid") for owner in watch["metadata"].get("ownerReferences") or []}
    return _is_labelled(watch) and cluster["metadata"]["uid"] in owners


def _is_labelled(watch: Body) -> bool:
    return (watch["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER


def _is_passing(watch: Body) -> bool:
    """Whether a watch goes by itself: it is being deleted, or was made for an earlier RayCluster of that name."""
    meta = watch["metadata"]
    return bool(meta.get("deletionTimestamp") or (_is_labelled(watch) and meta.get("ownerReferences")))


def watch_for(cluster: Body) -> dict[str, Any]:
    """Return the RayJobWatch of all jobs of a RayCluster. It does not hold back its owner's deletion."""
    meta = cluster["metadata"]
    owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "rayjobwatch.dev/v1alpha1",
        "kind": "RayJobWatch",
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "labels": {MANAGED_BY: MANAGER},
            "ownerReferences": [owner],
        },
        "spec": {"rayCluster": {"name": meta["name"]}},
    }


def created(watch: Body) -> EventNote:
    """Tell that a watch was made."""
    name, uid = watch["metadata"]["name"], watch["metadata"].get("uid", "")
    message = f"RayJobWatch {name} follows all jobs of this RayCluster, as its annotation {ANNOTATION} asks"
    return EventNote(EventReason.WATCH_CREATED, message, f"{uid}\n{EventReason.WATCH_CREATED}")


def deleted(watch: Body) -> EventNote:
    """Tell that the watch was deleted."""
    name, uid = watch["metadata"]["name"], watch["metadata"].get("uid", "")
    message = f"RayJobWatch {name} is deleted: the annotation {ANNOTATION}, which asked for it, was removed"
    return EventNote(EventReason.WATCH_DELETED, message, f"{uid}\n{EventReason.WATCH_DELETED}")


def refused(cluster: Body, why: str) -> EventNote:
    """Tell that the API server refuses to make the watch, and in its own words why."""
    return _not_created(
        f"the API server refuses RayJobWatch {cluster['metadata']['name']}: {clean_line(why, 600)}", why
    )


def _unknown(value: str) -> EventNote:
    shown = clean_line(value, 64)
    message = f"the annotation {ANNOTATION} is {shown!r}, which asks for nothing: set it to {WANTED!r} or remove it"
    return _not_created(message, value)


def _taken(cluster: Body, watch: Body) -> EventNote:
    name = cluster["metadata"]["name"]
    message = (
        f"RayJobWatch {name} was not made for the annotation {ANNOTATION} and is left as it is: delete or rename it, "
        "or remove the annotation"
    )
    return _not_created(message, str(watch["metadata"].get("uid", "")))


def _not_created(message: str, identity: str) -> EventNote:
    reason = EventReason.WATCH_NOT_CREATED
    return EventNote(reason, message, f"{identity}\n{reason}", is_warning=True)
