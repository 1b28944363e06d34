"""KubeRay's operator and RayJobs, where `KUBERAY_OPERATOR` names a binary and `KUBERAY_CRDS` the folder of its CRDs.

The RayClusters belong to another manager, as with MultiKueue, so that the operator leaves them as they are and makes no
pods. A RayJob takes up a job that was submitted under its `spec.jobId` just before: the operator asks for the job first
and submits only what is not there. It asks by the name of the head Service in DNS, here through an HTTP proxy.
"""

import os
from pathlib import Path

from tests.bench.scale.contenders import Contender, Shown, Start
from tests.bench.scale.kube import Json
from tests.bench.scale.records import ENTRYPOINT
from tests.cluster.controller import Program
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.processes import LOOPBACK, free_ports

NAMESPACE, ACCOUNT = "kuberay-system", "kuberay-operator"
STATES = {"RUNNING": "Running", "SUCCEEDED": "Succeeded", "FAILED": "Failed", "STOPPED": "Stopped"}


def _install(plane: ControlPlane) -> None:
    for crd in sorted(Path(os.environ["KUBERAY_CRDS"]).glob("ray.io_*.yaml")):
        plane.apply(crd, "--server-side")
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("create", "serviceaccount", ACCOUNT, "-n", NAMESPACE)
    account = f"--serviceaccount={NAMESPACE}:{ACCOUNT}"
    plane.kubectl("create", "clusterrolebinding", ACCOUNT, "--clusterrole=cluster-admin", account)


def _program(start: Start) -> Program:
    metrics, probes = (f"{LOOPBACK}:{port}" for port in free_ports(2))
    flags = [f"--metrics-addr={metrics}", f"--health-probe-bind-address={probes}"]
    flags += [f"--leader-election-namespace={NAMESPACE}", *start.arguments]
    environment = [f"KUBECONFIG={start.kubeconfig}", f"HTTP_PROXY={start.proxy}"]
    return Program(["env", *environment, os.environ["KUBERAY_OPERATOR"], *flags], start.log)


def _body(name: str, cluster: str, job_id: str) -> Json:
    selector = {"ray.io/cluster": cluster}
    spec = {"submissionMode": "HTTPMode", "entrypoint": ENTRYPOINT, "jobId": job_id, "clusterSelector": selector}
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": name}, "spec": spec}


def _shown(status: Json) -> Shown:
    deployment = status.get("jobDeploymentStatus") or ""
    state = STATES.get(status.get("jobStatus") or "", "Waiting")
    return Shown(state if deployment else "", deployment in ("Complete", "Failed"))


KUBERAY = Contender(
    name="KubeRay",
    account=(NAMESPACE, ACCOUNT),
    api="ray.io/v1",
    resource="rayjobs",
    install=_install,
    program=_program,
    body=_body,
    shown=_shown,
    cluster={"managedBy": "kueue.x-k8s.io/multikueue"},
)
