"""Our controller as an administrator runs it, and RayJobWatches."""

from tests.bench.run import ROOT
from tests.bench.scale import image
from tests.bench.scale.contenders import Contender, Shown, Start
from tests.bench.scale.kube import Json
from tests.cluster.conftest import SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from tests.cluster.controller import Program
from tests.cluster.watches import conditions, manifest
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane


def _install(plane: ControlPlane) -> None:
    raycluster.install_crd(plane)
    plane.apply(ROOT / "manifests" / "rbac", "--server-side")
    image.python()  # made now, not while the start is timed
    image.environment()


def _program(start: Start) -> Program:
    overrides = [f"--dashboard-override={where}={url}" for where, url in start.dashboards.items()]
    command = [str(image.python()), "-m", "rayjobwatch", "run", "--kubeconfig", str(start.kubeconfig)]
    return Program([*command, *overrides, *start.arguments], start.log, image.environment())


def _body(name: str, cluster: str, job_id: str) -> Json:
    return manifest(name, {"rayCluster": {"name": cluster}, "jobs": {"ids": [job_id]}})


def _shown(status: Json) -> Shown:
    finished = conditions(status).get("Finished", {})
    return Shown(status.get("state") or "", finished.get("status") == "True")


OURS = Contender(
    name="rayjobwatch",
    account=(SYSTEM_NAMESPACE, SERVICE_ACCOUNT),
    api="rayjobwatch.dev/v1alpha1",
    resource="rayjobwatches",
    install=_install,
    program=_program,
    body=_body,
    shown=_shown,
    tells_all=True,
)
