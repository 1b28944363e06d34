"""RayClusters as KubeRay's operator leaves them, step by step; no pod runs behind them."""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def create(cluster: Cluster, namespace: str, name: str, **spec: Any) -> None:
    """Create a RayCluster as a user does: no status yet. `spec` adds to its spec or replaces parts of it."""
    container = {"name": "ray-head", "image": f"rayproject/ray:{RAY_VERSION}"}
    head = {"rayStartParams": {}, "template": {"spec": {"containers": [container]}}}
    manifest = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"rayVersion": RAY_VERSION, "headGroupSpec": head} | spec,
    }
    cluster.kubectl("create", "-f", "-", input=json.dumps(manifest))


def create_head_service(cluster: Cluster, namespace: str, name: str, *, dashboard_port: bool = True) -> str:
    """Create the headless head Service that the operator makes, owned by the RayCluster; returns its name.

    Without `dashboard_port` it is the Service of a head container that declares other ports only.
    """
    owner = cluster.get("raycluster", name, "-n", namespace)["metadata"]
    selector = {"ray.io/cluster": name, "ray.io/identifier": f"{name}-head", "ray.io/node-type": "head"}
    selector |= {"app.kubernetes.io/created-by": "kuberay-operator", "app.kubernetes.io/name": "kuberay"}
    ports = [
        {"name": port, "port": number, "targetPort": number, "protocol": "TCP", "appProtocol": "tcp"}
        for port, number in PORTS.items()
        if dashboard_port or port != "dashboard"
    ]
    reference = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": name, "uid": owner["uid"], "controller": True}
    reference["blockOwnerDeletion"] = True
    service = _head_service_name(name)
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service, "namespace": namespace, "labels": selector, "ownerReferences": [reference]},
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": selector, "ports": ports},
    }
    cluster.kubectl("create", "-f", "-", input=json.dumps(manifest))
    return service


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
    conditions = [
        _condition("HeadPodReady", "True", "HeadPodRunningAndReady", ""),
        _condition(
            "RayClusterProvisioned",
            "True",
            "AllPodRunningAndReadyFirstTime",
            "All Ray Pods are ready for the first time",
        ),
        *_NOT_SUSPENDED,
    ]
    head = {"podIP": head_ip, "podName": pod_name or _pod_name(name)}
    head |= {"serviceIP": head_ip, "serviceName": _head_service_name(name)}
    _set_status(
        cluster, namespace, name, {"state": "ready", "conditions": conditions, "head": head, "endpoints": _ENDPOINTS}
    )


def replace_head(cluster: Cluster, namespace: str, name: str, *, head_ip: str) -> None:
    """Lose the head pod, then have a new one of another name: the status in between, then the one after."""
    conditions = [_condition("HeadPodReady", "False", "HeadPodNotFound", "Head Pod not found"), *_NOT_SUSPENDED]
    _set_status(cluster, namespace, name, {"conditions": conditions, "head": _lost_head(name)})
    set_head_ready(cluster, namespace, name, head_ip=head_ip, pod_name=_pod_name(name))


def suspend(cluster: Cluster, namespace: str, name: str) -> None:
    """Suspend it as a user does, and set the status as the operator does once all pods are gone."""
    cluster.kubectl("patch", "raycluster", name, "-n", namespace, "--type=merge", "-p", '{"spec":{"suspend":true}}')
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


def _set_status(cluster: Cluster, namespace: str, name: str, status: dict[str, Any]) -> None:
    generation = cluster.get("raycluster", name, "-n", namespace)["metadata"]["generation"]
    patch = {"status": status | {"observedGeneration": generation, "lastUpdateTime": _now()}}
    cluster.kubectl(
        *("patch", "raycluster", name, "-n", namespace, "--subresource=status", "--type=merge"), "-p", json.dumps(patch)
    )


def _condition(kind: str, status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": _now()}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _lost_head(name: str) -> dict[str, str | None]:
    """Return the head's part of a status without a running head pod: a merge patch takes the rest away."""
    return {"serviceName": _head_service_name(name), "podIP": None, "podName": None, "serviceIP": None}


def _head_service_name(name: str) -> str:
    return f"{name}-head-svc"


def _pod_name(name: str) -> str:
    return f"{name}-head-{secrets.token_hex(3)[:5]}"


_ENDPOINTS = {port: str(number) for port, number in PORTS.items()}
# From the first status on, each with its own name as the reason.
_NOT_SUSPENDED = [_condition(kind, "False", kind, "") for kind in ("RayClusterSuspending", "RayClusterSuspended")]
