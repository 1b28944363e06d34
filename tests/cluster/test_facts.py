"""What a status says of the cluster itself, beside its jobs."""

from pathlib import Path

import pytest

from tests.cluster.controller import Controller
from tests.cluster.test_journey import fresh
from tests.cluster.watches import Watches
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.real_ray, pytest.mark.timeout(180)]

FAILING = """
import ray
ray.init()
@ray.remote(max_retries=0)
def fail():
    raise ValueError
for task in [fail.remote() for _ in range(3)]:
    try:
        ray.get(task)
    except ValueError:
        pass
"""


def test_a_status_tells_the_nodes_and_the_failed_tasks_of_its_cluster(
    control_plane: ControlPlane, namespace: str, installed: Path, ray_head: RayHead, tmp_path: Path
) -> None:
    ray_head.run_driver(FAILING)
    raycluster.ready_cluster(control_plane, namespace, "shared", head_ip=ray_head.node_ip)
    override = f"{namespace}/shared={ray_head.dashboard_url}"
    with Controller(installed, tmp_path / "log", "--namespace", namespace, "--dashboard-override", override):
        watches, name = Watches(control_plane, namespace), fresh()
        watches.apply(name, ray_head.submit("sleep 25", submission_id=name))
        cluster = watches.wait(name, timeout=90)["cluster"]
    assert cluster["nodes"] == {"alive": 1, "dead": 0}
    assert cluster["failedTasks"] >= 3
    assert cluster["rayVersion"] == ray_head.request("GET", "/api/version")["ray_version"]
