"""The objects that the watch streams tell: what is news, and what is only our own write coming back."""

from typing import Any

from rayjobwatch.engine.objects import Objects, cluster_part, watch_part
from rayjobwatch.kube.client import RAY_CLUSTERS, RAY_JOB_WATCHES, Body
from rayjobwatch.model.serve import owning_ray_service

KEY = ("ml", "train")


def watch(version: int, uid: str = "u1", generation: int = 1, **more: Any) -> Body:
    meta = {"name": "train", "namespace": "ml", "uid": uid, "generation": generation, "resourceVersion": str(version)}
    return {"metadata": meta | {"managedFields": [{"manager": "kubectl"}]}, "spec": {"jobs": {"ids": ["a"]}}, **more}


def watches() -> Objects:
    return Objects(RAY_JOB_WATCHES, "RayJobWatch", watch_part)


def test_a_new_object_is_news_and_is_kept_without_what_nobody_reads() -> None:
    objects = watches()
    assert objects.seen(watch(1))
    kept = objects.get(KEY)
    assert kept is not None
    assert (kept["apiVersion"], kept["kind"]) == ("rayjobwatch.dev/v1alpha1", "RayJobWatch")
    assert "managedFields" not in kept["metadata"]


def test_the_event_of_our_own_write_is_no_news_whichever_comes_first() -> None:
    objects = watches()
    objects.seen(watch(1))
    objects.seen(watch(2, status={"state": "Running"}))
    objects.seen(watch(3, status={"state": "Failed"}))
    assert not objects.seen(watch(2, status={"state": "Running"}))
    assert not objects.seen(watch(3, status={"state": "Failed"}))
    kept = objects.get(KEY)
    assert kept is not None
    assert kept["status"] == {"state": "Failed"}


def test_what_somebody_else_changed_is_news() -> None:
    objects = watches()
    objects.seen(watch(1))
    assert objects.seen(watch(2, generation=2))
    assert objects.seen(watch(3, generation=2, status={"state": "Succeeded"}))
    assert objects.seen(watch(4, generation=2, status={"state": "Succeeded"}, spec={"jobs": {"ids": ["b"]}}))


def test_a_change_of_what_nobody_reads_is_no_news() -> None:
    objects = watches()
    objects.seen(watch(1))
    body = watch(2)
    body["metadata"]["labels"] = {"team": "nlp"}
    assert not objects.seen(body)


def test_an_object_of_the_same_name_made_anew_is_another() -> None:
    objects = watches()
    objects.seen(watch(9, uid="u1"))
    assert objects.seen(watch(10, uid="u2"))
    assert not objects.gone(watch(11, uid="u1"))
    assert KEY in objects
    assert objects.gone(watch(12, uid="u2"))
    assert KEY not in objects
    assert not objects.gone(watch(12, uid="u2"))


def test_what_is_forgotten_is_news_again() -> None:
    objects = watches()
    objects.seen(watch(5))
    objects.forget(KEY)
    assert objects.get(KEY) is None
    assert objects.seen(watch(5))


def test_of_a_raycluster_only_what_leads_to_its_dashboard_counts() -> None:
    objects = Objects(RAY_CLUSTERS, "RayCluster", cluster_part)
    meta = {"name": "shared", "namespace": "ml", "uid": "u1"}
    status = {"state": "ready", "head": {"podIP": "10.0.0.1"}, "desiredWorkerReplicas": 1}
    spec = {"headGroupSpec": {"template": {"spec": {}}}, "workerGroupSpecs": [{}]}
    assert objects.seen({"metadata": {**meta, "resourceVersion": "1"}, "spec": spec, "status": status})
    scaled = status | {"desiredWorkerReplicas": 9}
    assert not objects.seen({"metadata": {**meta, "resourceVersion": "2"}, "spec": spec, "status": scaled})
    moved = status | {"head": {"podIP": "10.0.0.2"}}
    assert objects.seen({"metadata": {**meta, "resourceVersion": "3"}, "spec": spec, "status": moved})
    kept = objects.get(("ml", "shared"))
    assert kept is not None
    assert "workerGroupSpecs" not in kept["spec"]


def test_to_whom_a_cluster_belongs_is_kept_and_is_news() -> None:
    objects = Objects(RAY_CLUSTERS, "RayCluster", cluster_part)
    meta = {"name": "shared", "namespace": "ml", "uid": "u1", "labels": {"team": "nlp"}}
    assert objects.seen({"metadata": {**meta, "resourceVersion": "1"}})
    owned = {"labels": {"team": "nlp", "ray.io/originated-from-crd": "RayService"}}
    assert objects.seen({"metadata": {**meta, **owned, "resourceVersion": "2"}})
    owner = {"ownerReferences": [{"kind": "RayService", "name": "llm", "uid": "u2", "controller": True}]}
    assert objects.seen({"metadata": {**meta, **owned, **owner, "resourceVersion": "3"}})
    kept = objects.get(("ml", "shared"))
    assert kept is not None
    assert kept["metadata"]["labels"] == {"ray.io/originated-from-crd": "RayService"}
    assert owning_ray_service(kept) == "llm"
