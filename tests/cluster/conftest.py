"""A namespace with a RayCluster whose dashboard is the real Ray head's, and a controller that watches it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.controller import Controller
from tests.cluster.watches import Watches
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead

ROOT = Path(__file__).parents[2]
SYSTEM_NAMESPACE = "rayjobwatch-system"
SERVICE_ACCOUNT = "rayjobwatch"


@pytest.fixture(scope="session")
def installed(control_plane: ControlPlane) -> Path:
    """Install what `make demo` and an administrator install; return a kubeconfig of the controller's account."""
    raycluster.install_crd(control_plane)
    control_plane.apply(ROOT / "manifests" / "rbac", "--server-side")
    return control_plane.service_account_kubeconfig(SYSTEM_NAMESPACE, SERVICE_ACCOUNT)


@pytest.fixture(scope="session")
def shared_namespace(control_plane: ControlPlane, installed: Path, ray_head: RayHead) -> Iterator[str]:
    """Make a namespace with the RayCluster `shared`, whose head is the real one."""
    with control_plane.namespace() as namespace:
        raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=ray_head.node_ip)
        yield namespace


@pytest.fixture(scope="session")
def controller(
    shared_namespace: str, installed: Path, ray_head: RayHead, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Controller]:
    """Run a controller for the whole session."""
    log = tmp_path_factory.mktemp("controller") / "log"
    arguments = ["--namespace", shared_namespace, "--allow-dashboard-url", "*"]
    arguments += ["--dashboard-override", f"{shared_namespace}/shared={ray_head.dashboard_url}"]
    with Controller(installed, log, *arguments) as running:
        yield running


@pytest.fixture
def watches(control_plane: ControlPlane, shared_namespace: str, controller: Controller) -> Watches:
    """Return the watches of the namespace that the controller serves."""
    return Watches(control_plane, shared_namespace)


@pytest.fixture
def head() -> Iterator[RayHead]:
    """Start a head that may be broken."""
    with RayHead(num_cpus=2) as running:
        yield running
