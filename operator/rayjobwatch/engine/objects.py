"""The objects of one kind as the watch streams and our own writes last told: nothing is asked that was told."""

import sys
from collections.abc import Callable, Collection
from typing import Any

from rayjobwatch.kube.client import Body, Resource
from rayjobwatch.model.annotation import ANNOTATION, MANAGED_BY
from rayjobwatch.model.serve import ORIGIN_LABELS

Key = tuple[str, str]


class Objects:
    """The newest body of each object, by (namespace, name), without what nobody here reads.

    part: the part of a body that is kept; an event that does not change it is no news.
    """

    def __init__(self, resource: Resource, kind: str, part: Callable[[Body], Body]) -> None:
        self._head = {"apiVersion": f"{resource.group}/{resource.version}", "kind": kind}
        self._part = part
        self._bodies: dict[Key, Body] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._bodies

    def get(self, key: Key) -> Body | None:
        """Return an object, None where none is known."""
        return self._bodies.get(key)

    def keys(self) -> set[Key]:
        """Return which objects are known."""
        return set(self._bodies)

    def seen(self, body: Body) -> bool:
        """Take an object that was listed, watched, read or written; return whether it is news.

        It is none where this version or a later one is known: events of our own writes come after their answers.
        """
        key = key_of(body)
        known = self._bodies.get(key)
        if known and 0 < _version(body) <= _version(known):
            return False
        kept = self._head | _with_shared_keys(self._part(body))
        self._bodies[key] = kept
        return known is None or _without_version(known) != _without_version(kept)

    def gone(self, body: Body) -> bool:
        """Take note that an object was deleted; return whether it was known."""
        known = self._bodies.get(key_of(body))
        if known is None or _uid(known) != _uid(body):
            return False
        del self._bodies[key_of(body)]
        return True

    def forget(self, key: Key) -> None:
        """Know nothing of an object any more: it is to be read anew."""
        self._bodies.pop(key, None)


def watch_part(body: Body) -> Body:
    """Return what is read of a RayJobWatch."""
    return {
        "metadata": _metadata(body, "generation", "finalizers", "creationTimestamp") | _maker(body["metadata"]),
        "spec": body.get("spec"),
        "status": body.get("status"),
    }


def cluster_part(body: Body) -> Body:
    """Return what is read of a RayCluster; see `model.raycluster`, `.dashboard`, `.access` and `.annotation`."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    head = {"headService": (spec.get("headGroupSpec") or {}).get("headService")}
    return {
        "metadata": _metadata(body) | _origin(body["metadata"]) | _of(body["metadata"], "annotations", (ANNOTATION,)),
        "spec": {"headGroupSpec": head} | {name: spec.get(name) for name in ("suspend", "managedBy", "authOptions")},
        "status": {name: status[name] for name in ("state", "head", "conditions") if name in status},
    }


def _origin(meta: Body) -> Body:
    """Return what says to whom a RayCluster belongs; see `model.serve`."""
    owners = [{"kind": owner.get("kind"), "name": owner.get("name")} for owner in meta.get("ownerReferences") or []]
    return ({"ownerReferences": owners} if owners else {}) | _of(meta, "labels", ORIGIN_LABELS)


def _maker(meta: Body) -> Body:
    """Return what says that a RayJobWatch was made for a RayCluster; see `model.annotation`."""
    owners = [{"uid": owner.get("uid")} for owner in meta.get("ownerReferences") or []]
    return ({"ownerReferences": owners} if owners else {}) | _of(meta, "labels", (MANAGED_BY,))


def _of(meta: Body, field: str, names: Collection[str]) -> Body:
    """Return of the labels or annotations those that are read, nothing where there are none."""
    kept = {name: value for name, value in (meta.get(field) or {}).items() if name in names}
    return {field: kept} if kept else {}


def _metadata(body: Body, *more: str) -> Body:
    names = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp", *more)
    return {name: body["metadata"][name] for name in names if name in body["metadata"]}


def key_of(body: Body) -> Key:
    """Return an object's namespace and name."""
    return body["metadata"].get("namespace", ""), body["metadata"]["name"]


def _with_shared_keys(value: Any) -> Any:
    """Return a JSON value whose field names are the same strings as in all others: half the memory of small ones."""
    if isinstance(value, dict):
        return {sys.intern(key): _with_shared_keys(each) for key, each in value.items()}
    return [_with_shared_keys(each) for each in value] if isinstance(value, list) else value


def _uid(body: Body) -> Any:
    return body["metadata"].get("uid")


def _version(body: Body) -> int:
    """Read a resourceVersion: within one kind they grow (Kubernetes 1.35 says so; etcd's have always done)."""
    text = str(body["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0


def _without_version(body: Body) -> Body:
    return {**body, "metadata": {**body["metadata"], "resourceVersion": ""}}
