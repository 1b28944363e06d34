"""RayClusters as KubeRay's operator leaves them, step by step; no pod runs behind them."""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.localcluster.processes import wait_for

if TYPE_CHECKING:
    from tests.localcluster.kubectl import Cluster

CRD = Path(__file__).with_name("raycluster-crd.yaml")
REAL_CRD = "ray.io_rayclusters.yaml"
RAY_VERSION = "2.60.0"
PORTS = {"client": 10001, "dashboard": 8265, "gcs-server": 6379, "metrics": 8080, "serve": 8000}


def install_crd(cluster: Cluster) -> None:
    """Install our RayCluster CRD, or the real one from the folder `KUBERAY_CRDS`; on a foreign cluster keep its own."""
    real = os.environ.get("KUBERAY_CRDS")
    if cluster.is_foreign and cluster.kubectl("get", "crd", "rayclusters.ray.io", check=False).returncode == 0:
        return
    cluster.apply(Path(real) / REAL_CRD if real else CRD, "--server-side")


def manifest(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """Return a RayCluster as a user writes it. `spec` adds to its spec or replaces parts of it."""
    container = {"name": "ray-head", "image": f"rayproject/ray:{RAY_VERSION}"}
    head = {"rayStartParams": {}, "template": {"spec": {"containers": [container]}}}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"rayVersion": RAY_VERSION, "headGroupSpec": head} | spec,
    }


def head_service_manifest(namespace: str, name: str, uid: str, *, dashboard_port: bool = True) -> dict[str, Any]:
    """Return the headless head Service that the operator makes for the RayCluster with that uid, which owns it."""
    selector = _head_labels(name)
    ports = [
        {"name": port, "port": number, "targetPort": number, "protocol": "TCP", "appProtocol": "tcp"}
        for port, number in PORTS.items()
        if dashboard_port or port != "dashboard"
    ]
    reference = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": name, "uid": uid, "controller": True}
    reference["blockOwnerDeletion"] = True
    meta = {"name": _head_service_name(name), "namespace": namespace, "labels": selector}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta | {"ownerReferences": [reference]},
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": selector, "ports": ports},
    }


def ready_status(name: str, *, head_ip: str, pod_name: str | None = None) -> dict[str, Any]:
    """Return the status of a RayCluster whose head pod runs and is ready, at that address."""
    conditions = [
        _condition("HeadPodReady", "True", "HeadPodRunningAndReady", ""),
        _PROVISIONED,
        *_NOT_SUSPENDED,
    ]
    head = {"podIP": head_ip, "podName": pod_name or _pod_name(name)}
    head |= {"serviceIP": head_ip, "serviceName": _head_service_name(name)}
    return {"state": "ready", "conditions": conditions, "head": head, "endpoints": _ENDPOINTS}


def status_patch(status: dict[str, Any], generation: int) -> dict[str, Any]:
    """Return the merge patch by which the operator sets a status."""
    return {"status": status | {"observedGeneration": generation, "lastUpdateTime": _now()}}


def create(cluster: Cluster, namespace: str, name: str, **spec: Any) -> None:
    """Create a RayCluster as a user does: no status yet. `spec` adds to its spec or replaces parts of it."""
    cluster.kubectl("create", "-f", "-", input=json.dumps(manifest(namespace, name, **spec)))


def create_head_service(cluster: Cluster, namespace: str, name: str, *, dashboard_port: bool = True) -> str:
    """Create the headless head Service that the operator makes, owned by the RayCluster; returns its name.

    Without `dashboard_port` it is the Service of a head container that declares other ports only.
    """
    uid = cluster.get("raycluster", name, "-n", namespace)["metadata"]["uid"]
    service = head_service_manifest(namespace, name, uid, dashboard_port=dashboard_port)
    cluster.kubectl("create", "-f", "-", input=json.dumps(service))
    return _head_service_name(name)


def create_head_pod(cluster: Cluster, namespace: str, name: str, pod: str, *, ip: str) -> None:
    """Create a head Pod that the RayCluster owns, and say that it runs at that address; nothing does."""
    uid = cluster.get("raycluster", name, "-n", namespace)["metadata"]["uid"]
    owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": name, "uid": uid, "controller": True}
    container = {"name": "ray-head", "image": f"rayproject/ray:{RAY_VERSION}"}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod, "namespace": namespace, "labels": _head_labels(name), "ownerReferences": [owner]},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }
    account = ("get", "serviceaccount", "default", "-n", namespace)
    wait_for(
        "the namespace's ServiceAccount", lambda: not cluster.kubectl(*account, check=False).returncode, timeout=30
    )
    cluster.kubectl("create", "-f", "-", input=json.dumps(body))
    set_pod_address(cluster, namespace, pod, ip)


def set_pod_address(cluster: Cluster, namespace: str, pod: str, ip: str) -> None:
    """Say of a Pod that it runs at an address, as its kubelet would."""
    patch = json.dumps({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}})
    cluster.kubectl("patch", "pod", pod, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


def set_provisioning(cluster: Cluster, namespace: str, name: str) -> None:
    """Set the status of a RayCluster whose head pod does not run yet."""
    conditions = [
        _condition("HeadPodReady", "False", "ContainersNotReady", "containers with unready status: [ray-head]"),
        _condition(
            "RayClusterProvisioned",
            "False",
            "RayClusterPodsProvisioning",
            "RayCluster Pods are being provisioned for first time",
        ),
        *_NOT_SUSPENDED,
    ]
    _set_status(cluster, namespace, name, {"conditions": conditions, "head": _lost_head(name), "endpoints": _ENDPOINTS})


def set_head_ready(cluster: Cluster, namespace: str, name: str, *, head_ip: str, pod_name: str | None = None) -> None:
    """Set the status of a RayCluster whose head pod runs and is ready, at that address."""
    _set_status(cluster, namespace, name, ready_status(name, head_ip=head_ip, pod_name=pod_name))


def set_head_not_ready(cluster: Cluster, namespace: str, name: str) -> None:
    """Set the status of a RayCluster whose head pod runs, but is not ready any more."""
    status = cluster.get("raycluster", name, "-n", namespace)["status"]
    head = _condition("HeadPodReady", "False", "ContainersNotReady", "containers with unready status: [ray-head]")
    kept = [item for item in status["conditions"] if item["type"] != "HeadPodReady"]
    _set_status(cluster, namespace, name, {"conditions": [head, *kept]})


def lose_head(cluster: Cluster, namespace: str, name: str) -> None:
    """Set the status of a RayCluster whose head pod is gone."""
    conditions = [_condition("HeadPodReady", "False", "HeadPodNotFound", "Head Pod not found"), _PROVISIONED]
    _set_status(cluster, namespace, name, {"conditions": [*conditions, *_NOT_SUSPENDED], "head": _lost_head(name)})


def replace_head(cluster: Cluster, namespace: str, name: str, *, head_ip: str) -> None:
    """Lose the head pod, then have a new one of another name: the status in between, then the one after."""
    lose_head(cluster, namespace, name)
    set_head_ready(cluster, namespace, name, head_ip=head_ip, pod_name=_pod_name(name))


def begin_to_suspend(cluster: Cluster, namespace: str, name: str) -> None:
    """Suspend it as a user does, and set the status as the operator does before its pods are gone."""
    _set_suspend(cluster, namespace, name, suspend=True)
    found = cluster.get("raycluster", name, "-n", namespace).get("status", {}).get("conditions", [])
    kept = [item for item in found if item["type"] != "RayClusterSuspending"]
    suspending = _condition("RayClusterSuspending", "True", "RayClusterSuspending", "")
    _set_status(cluster, namespace, name, {"conditions": [*kept, suspending]})


def resume(cluster: Cluster, namespace: str, name: str) -> None:
    """Resume it as a user does, and set the status as the operator does while its new pods come up."""
    _set_suspend(cluster, namespace, name, suspend=False)
    set_provisioning(cluster, namespace, name)


def suspend(cluster: Cluster, namespace: str, name: str) -> None:
    """Suspend it as a user does, and set the status as the operator does once all pods are gone."""
    _set_suspend(cluster, namespace, name, suspend=True)
    conditions = [
        _condition("HeadPodReady", "False", "HeadPodNotFound", "Head Pod not found"),
        _condition("RayClusterProvisioned", "False", "RayClusterPodsProvisioning", "RayCluster has been suspended"),
        _condition("RayClusterSuspending", "False", "RayClusterSuspending", ""),
        _condition("RayClusterSuspended", "True", "RayClusterSuspended", ""),
    ]
    _set_status(cluster, namespace, name, {"state": "suspended", "conditions": conditions, "head": _lost_head(name)})


def delete(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete it; its Service follows by garbage collection."""
    cluster.kubectl("delete", "raycluster", name, "-n", namespace)


def ready_cluster(cluster: Cluster, namespace: str, name: str, *, head_ip: str, **spec: Any) -> None:
    """Create a RayCluster and take it all the way to ready."""
    create(cluster, namespace, name, **spec)
    create_head_service(cluster, namespace, name)
    set_provisioning(cluster, namespace, name)
    set_head_ready(cluster, namespace, name, head_ip=head_ip)


def _set_suspend(cluster: Cluster, namespace: str, name: str, *, suspend: bool) -> None:
    patch = json.dumps({"spec": {"suspend": suspend}})
    cluster.kubectl("patch", "raycluster", name, "-n", namespace, "--type=merge", "-p", patch)


def _set_status(cluster: Cluster, namespace: str, name: str, status: dict[str, Any]) -> None:
    generation = cluster.get("raycluster", name, "-n", namespace)["metadata"]["generation"]
    patch = json.dumps(status_patch(status, generation))
    cluster.kubectl("patch", "raycluster", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


def _condition(kind: str, status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": _now()}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _lost_head(name: str) -> dict[str, str | None]:
    """Return the head's part of a status without a running head pod: a merge patch takes the rest away."""
    return {"serviceName": _head_service_name(name), "podIP": None, "podName": None, "serviceIP": None}


def _head_labels(name: str) -> dict[str, str]:
    """Return the labels of the head Pod, all of which the head Service selects by."""
    labels = {"ray.io/cluster": name, "ray.io/identifier": f"{name}-head", "ray.io/node-type": "head"}
    return labels | {"app.kubernetes.io/created-by": "kuberay-operator", "app.kubernetes.io/name": "kuberay"}


def _head_service_name(name: str) -> str:
    return f"{name}-head-svc"


def _pod_name(name: str) -> str:
    return f"{name}-head-{secrets.token_hex(3)[:5]}"


_ENDPOINTS = {port: str(number) for port, number in PORTS.items()}
# From the first status on, each with its own name as the reason.
_NOT_SUSPENDED = [_condition(kind, "False", kind, "") for kind in ("RayClusterSuspending", "RayClusterSuspended")]
# It stays, whatever becomes of the head, until the cluster is suspended.
_PROVISIONED = _condition(
    "RayClusterProvisioned", "True", "AllPodRunningAndReadyFirstTime", "All Ray Pods are ready for the first time"
)
