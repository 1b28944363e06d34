"""What a RayCluster's own object says of its head: up, or why not and what helps. Pure.

KubeRay's conditions are asked, not `status.state`, which stays `ready` once it was. That a head is up is only a reason
to look for it: an operator that is stuck (two head Services stop it) says so of a head that is long gone.
"""

from collections.abc import Mapping
from typing import Any

from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.text import clean_line

KUBERAY = "ray.io/kuberay-operator"
Conditions = Mapping[str, Mapping[str, str]]


def manager_problem(cluster: Mapping[str, Any]) -> Problem | None:
    """Say where a RayCluster's head is that KubeRay does not run in this Kubernetes cluster."""
    manager = (cluster.get("spec") or {}).get("managedBy") or KUBERAY
    if manager == KUBERAY:
        return None
    message = (
        f"RayCluster {_name(cluster)} is run by {clean_line(manager, 64)}, in another Kubernetes cluster: watch it "
        "there, or have an administrator start the controller with --dashboard-override for it"
    )
    return Problem(Reason.RAY_CLUSTER_MANAGED_ELSEWHERE, message, stalled=True)


def cluster_problem(cluster: Mapping[str, Any]) -> Problem | None:
    """Return why a RayCluster's dashboard cannot be asked now, None when its head is up."""
    name, conditions = _name(cluster), _conditions(cluster)
    if cluster["metadata"].get("deletionTimestamp"):
        message = f"RayCluster {name} is being deleted: jobs that are not over when it is gone are Lost"
        return Problem(Reason.RAY_CLUSTER_DELETING, message)
    if problem := _suspension(name, cluster, conditions):
        return problem
    status = cluster.get("status") or {}
    head = conditions.get("HeadPodReady")
    if head["status"] == "True" if head else status.get("state") == "ready":
        return None
    return _headless(name, status, conditions)


def _suspension(name: str, cluster: Mapping[str, Any], conditions: Conditions) -> Problem | None:
    wanted = (cluster.get("spec") or {}).get("suspend")
    if _is_true(conditions, "RayClusterSuspending") or (wanted and _has_pods(cluster, conditions)):
        message = f"RayCluster {name} is being suspended: its Pods are deleted, and with them its jobs"
        return Problem(Reason.RAY_CLUSTER_SUSPENDING, message)
    if wanted:
        message = f"RayCluster {name} is suspended: waiting for it to be resumed, which is `suspend: false` in its spec"
        return Problem(Reason.RAY_CLUSTER_SUSPENDED, message)
    if _is_true(conditions, "RayClusterSuspended"):
        return Problem(Reason.RAY_CLUSTER_PROVISIONING, f"waiting for KubeRay to resume RayCluster {name}{_look(name)}")
    return None


def _has_pods(cluster: Mapping[str, Any], conditions: Conditions) -> bool:
    """Whether a RayCluster that is to be suspended had Pods when KubeRay looked last."""
    status = cluster.get("status") or {}
    return bool(status) and status.get("state") != "suspended" and not _is_true(conditions, "RayClusterSuspended")


def _headless(name: str, status: Mapping[str, Any], conditions: Conditions) -> Problem:
    head = conditions.get("HeadPodReady")
    provisioned = conditions.get("RayClusterProvisioned")
    failure = _failure(conditions)
    if not status:
        message = f"waiting for KubeRay to take up RayCluster {name}, which has no status yet: does KubeRay run?"
        return Problem(Reason.RAY_CLUSTER_PROVISIONING, f"{message}{_look(name)}")
    if provisioned and provisioned["status"] != "True":
        message = f"waiting for the head of RayCluster {name} to come up: {_said(status, head)}"
        return Problem(Reason.RAY_CLUSTER_PROVISIONING, f"{message}{failure or _look_at_head(name)}")
    if head and head.get("reason") == Reason.HEAD_POD_NOT_FOUND:
        message = f"the head Pod of RayCluster {name} is gone: waiting for KubeRay to make another"
        return Problem(Reason.HEAD_POD_NOT_FOUND, f"{message}{failure or _look(name)}")
    message = f"waiting for the head of RayCluster {name} to be ready: {_said(status, head)}"
    return Problem(Reason.RAY_CLUSTER_NOT_READY, f"{message}{failure or _look_at_head(name)}")


def _said(status: Mapping[str, Any], head: Mapping[str, str] | None) -> str:
    if head:
        said = ": ".join(part for part in (head.get("reason"), clean_line(head.get("message", ""), 200)) if part)
        return f"HeadPodReady is {head['status']} ({said})"
    return f"its state is {clean_line(str(status.get('state') or 'not said'), 64)}"


def _failure(conditions: Conditions) -> str:
    """Say what KubeRay could not do: a quota, most often."""
    failure = conditions.get("ReplicaFailure", {})
    if failure.get("status") != "True":
        return ""
    reason = failure.get("reason", "")
    message = failure.get("message", "").removeprefix(f"{reason}\n").replace("\n", " ")
    return f"; KubeRay says {reason}: {clean_line(message, 300)}"


def _look(name: str) -> str:
    return f" (`kubectl describe raycluster {name}` shows what it waits for)"


def _look_at_head(name: str) -> str:
    return f" (`kubectl describe pod -l ray.io/cluster={name},ray.io/node-type=head` shows more)"


def _is_true(conditions: Conditions, kind: str) -> bool:
    return conditions.get(kind, {}).get("status") == "True"


def _conditions(cluster: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    items = (cluster.get("status") or {}).get("conditions") or []
    return {item.get("type", ""): {"status": "", **item} for item in items}


def _name(cluster: Mapping[str, Any]) -> str:
    return str(cluster["metadata"]["name"])
