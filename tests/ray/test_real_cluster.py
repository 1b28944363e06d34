"""Nodes, resources, tasks, actors and Serve applications of real Ray."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from rayjobwatch.ray import AsyncRayClient, ClientError, RayClient, entrypoint_of
from tests.localcluster.processes import Guarded, free_ports
from tests.localcluster.rayhead import RayHead
from tests.localcluster.rayvenv import ensure_ray
from tests.ray.flavours import Caller, error_of, in_thread, make_client
from tests.ray.rayscripts import run_in_ray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.real_ray, pytest.mark.slow]


def wait_until(condition: Callable[[], bool], seconds: float) -> float:
    """Return how long the condition took to come true; fail when it does not."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        time.sleep(0.2)
    return time.monotonic() - started


class MonitoredHead(RayHead):
    """A head with Ray's monitor, which alone knows what is free (`/api/cluster_status`)."""

    def _command(self) -> list[str | Path]:
        return [word for word in super()._command() if word != "--no-monitor"]


def reports_usage(client: RayClient) -> bool:
    """Whether the head has heard of all nodes' use yet; for some seconds after their start it has not."""
    try:
        return len(client.node_resources()) == 3
    except ClientError:
        return False


class Worker(Guarded):
    """One more node of a head, on a loopback address of its own."""

    def __init__(self, head: RayHead, address: str, directory: Path) -> None:
        agent, grpc, env, metrics = free_ports(4)
        command: list[str | Path] = [
            *(ensure_ray() / "ray", "start", "--block", f"--address={head.node_ip}:{head.ports.gcs}"),
            *(f"--node-ip-address={address}", "--num-cpus=1", "--object-store-memory=80000000"),
            *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={grpc}"),
            *(f"--runtime-env-agent-port={env}", f"--metrics-export-port={metrics}"),
            *("--min-worker-port=0", "--max-worker-port=0"),
        ]
        super().__init__(command, log=directory / f"{address}.log", environment=head.cli_environment())


@pytest.mark.requirement("N-01", "N-02", "N-05", "N-06", "U-08", "V-01")
@pytest.mark.timeout(120)
async def test_nodes_come_and_go_and_resources_are_rays(tmp_path: Path) -> None:
    with ExitStack() as stack:
        head = stack.enter_context(MonitoredHead(num_cpus=3))
        client = stack.enter_context(RayClient(head.dashboard_url))
        assert client.list_serve_applications() == []  # Serve does not run here
        (only,) = client.list_nodes()
        assert (only["state"], only["alive"], only["is_head_node"]) == ("ALIVE", True, True)
        workers = []
        for number in (3, 4):  # one after the other: two at once get in each other's way
            workers.append(Worker(head, f"127.0.0.{number}", tmp_path))
            stack.callback(workers[-1].end)
            wait_until(lambda: len(client.list_nodes()) == len(workers) + 1, 40)
        said = run_in_ray(head, "import json; ray.init(); print(json.dumps(ray.cluster_resources()))")
        theirs = json.loads(said.splitlines()[-1])
        async with AsyncRayClient(head.dashboard_url) as twin:
            for ours in (client.cluster_resources(), await twin.cluster_resources()):
                assert ours == theirs
            wait_until(lambda: reports_usage(client), 20)
            assert (await twin.available_resources())["CPU"] <= 5
            per_node = await twin.node_resources()
        assert sorted(node["total"]["CPU"] for node in per_node.values()) == [1, 1, 3]
        assert all(node["available"]["CPU"] <= node["total"]["CPU"] for node in per_node.values())
        workers[0].end()
        took = wait_until(lambda: [node["alive"] for node in client.list_nodes()].count(False) == 1, 40)
        assert took < 40
        dead = next(node for node in client.list_nodes() if not node["alive"])
        assert (client.get_node(dead["node_id"])["state"], client.get_node(dead["node_id"])["alive"]) == ("DEAD", False)
        alive = client.list_nodes(filters=[("state", "=", "ALIVE")])
        assert len(alive) == 2


TASKS = """
import os, tempfile, time
ray.init()
work = ray.remote(num_cpus=16)(lambda n: n)
assert sum(ray.get([work.options(name="counted").remote(n) for n in range(1000)])) == 499500
marker = tempfile.mktemp()
@ray.remote(num_cpus=16, max_retries=3, retry_exceptions=True)
def flaky():
    with open(marker, "a") as file:
        file.write("x")
    if os.path.getsize(marker) < 3:
        raise ValueError("not yet")
ray.get(flaky.remote())
@ray.remote(num_cpus=1)
class Counter:
    def count(self):
        return 1
actor = Counter.remote()
ray.get(actor.count.remote())
group = ray.util.placement_group([{"CPU": 1}])
ray.get(group.ready())
time.sleep(1.5)
print(ray.get_runtime_context().get_job_id())
"""


@pytest.mark.requirement("N-03", "N-04", "N-07")
async def test_a_thousand_tasks_their_attempts_actors_and_groups(ray_head: RayHead, flavour: str) -> None:
    if not hasattr(ray_head, "tasks_job"):
        ray_head.tasks_job = (await in_thread(run_in_ray, ray_head, TASKS)).split()[-1]  # type: ignore[attr-defined]
    job_filter = ("job_id", "=", ray_head.tasks_job)  # type: ignore[attr-defined]
    client = make_client(flavour, ray_head.dashboard_url)
    try:
        counted = await client.list_tasks(filters=[job_filter, ("name", "=", "counted")])
        assert len({task["task_id"] for task in counted}) == 1_000
        assert not counted.truncated
        few = await client.list_tasks(filters=[job_filter, ("name", "=", "counted")], limit=10)
        assert (len(few), few.truncated) == (10, True)
        attempts = await client.list_tasks(filters=[job_filter, ("name", "=", "flaky")])
        task_id = attempts[0]["task_id"]
        assert sorted(row["attempt_number"] for row in attempts) == [0, 1, 2]
        assert (await client.get_task(task_id))["attempt_number"] == 2
        assert [(await client.get_task(task_id, attempt=n))["state"] for n in range(3)] == [
            "FAILED",
            "FAILED",
            "FINISHED",
        ]
        assert (await error_of(client.get_task("0" * len(task_id)))).status_code == 404
        actors = await client.list_actors(filters=[job_filter, ("class_name", "=", "Counter")])
        assert len(actors) == 1
        assert (await client.get_actor(actors[0]["actor_id"]))["class_name"] == "Counter"
        assert await client.list_placement_groups()
    finally:
        await client.shut()


APP = """
from ray import serve

@serve.deployment(ray_actor_options={"num_cpus": 0})
class Model:
    def __init__(self, path, text):
        self.text = open(path).read() if path else text
    async def __call__(self, request):
        return self.text

def build(args):
    return Model.bind(args.get("path", ""), args.get("text", ""))
"""


class Serving:
    """Serve on the shared head, on a port of its own, and the uploaded code of its applications."""

    def __init__(self, head: RayHead, folder: Path) -> None:
        self.head = head
        (self.port,) = free_ports(1)
        folder.mkdir()
        (folder / "sapp.py").write_text(APP)
        self.client = RayClient(head.dashboard_url)
        job_id = self.client.submit_job("true", {"working_dir": str(folder)}, f"t-{uuid.uuid4().hex[:12]}")
        self.code = self.client.get_job(job_id).runtime_env["working_dir"]
        self.client.wait_job(job_id, 40)
        self._put(f'{{"applications": [], "http_options": {{"host": "127.0.0.1", "port": {self.port}}}}}')

    def _put(self, body: str) -> None:
        url = f"{self.head.dashboard_url}/api/serve/applications/"
        request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"}, method="PUT")
        with urllib.request.urlopen(request, timeout=40):
            pass

    def config(self, name: str, **args: str) -> dict[str, Any]:
        return {
            "name": name,
            "route_prefix": f"/{uuid.uuid5(uuid.NAMESPACE_DNS, name).hex}",
            "import_path": "sapp:build",
            "runtime_env": {"working_dir": self.code},
            "args": args,
        }

    def ask(self, config: dict[str, Any]) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{config['route_prefix']}", timeout=20) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def serving(ray_head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    head = Serving(ray_head, tmp_path_factory.mktemp("serve") / "code")
    yield head
    head.client.close()
    url = f"{ray_head.dashboard_url}/api/serve/applications/"
    with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=60):
        pass


@pytest.mark.requirement("V-01", "V-02", "V-03", "V-04", "V-05", "U-09", "C-08")
@pytest.mark.timeout(120)
async def test_applications_are_deployed_and_deleted_one_by_one(serving: Serving, real: Caller) -> None:
    first, second = (
        serving.config(f"one app {real.flavour}", text="one"),
        serving.config(f"two-{real.flavour}", text="two"),
    )
    for config in (first, second):
        deployed = await real.deploy_serve_application(config, wait=60)
        assert deployed["status"] == "RUNNING"
    assert {first["name"], second["name"]} <= {app["name"] for app in await real.list_serve_applications()}
    assert serving.ask(first) == "one"
    served: list[str] = []
    stop = False

    def keep_asking() -> None:
        while not stop:
            served.append(serving.ask(second))

    task = asyncio.ensure_future(in_thread(keep_asking))
    await real.delete_serve_application(first["name"])
    assert (await error_of(real.get_serve_application(first["name"]))).status_code == 404
    assert (await error_of(real.delete_serve_application(first["name"]))).status_code == 404
    assert (await real.get_serve_application(second["name"]))["status"] == "RUNNING"
    stop = True
    await task  # raises if any request failed
    assert set(served) == {"two"}
    await real.delete_serve_application(second["name"])


@pytest.mark.requirement("V-03")
@pytest.mark.timeout(120)
async def test_an_imperative_application_is_deleted_while_another_serves(
    ray_head: RayHead, serving: Serving, real: Caller
) -> None:
    kept = serving.config(f"kept-{real.flavour}", text="kept")
    await real.deploy_serve_application(kept, wait=60)
    name = f"imperative-{real.flavour}"
    code = (
        "from ray import serve; import sapp\n"
        f"serve.run(sapp.build({{'text': 'x'}}), name={name!r}, route_prefix='/{name}')"
    )
    job_id = await real.submit_job(
        entrypoint_of("python", "-c", code), {"working_dir": serving.code}, f"t-{uuid.uuid4().hex[:12]}"
    )
    assert (await real.wait_job(job_id, 60)).status == "SUCCEEDED"
    assert (await real.get_serve_application(name))["deployed_app_config"] is None  # `source` is newer
    await real.delete_serve_application(name)
    assert name not in {app["name"] for app in await real.list_serve_applications()}
    assert serving.ask(kept) == "kept"
    await real.delete_serve_application(kept["name"])


@pytest.mark.requirement("V-05")
@pytest.mark.timeout(120)
async def test_a_config_that_ray_refuses_is_400_and_one_that_fails_says_so(serving: Serving, real: Caller) -> None:
    config = serving.config(f"bad-{real.flavour}")
    error = await error_of(real.deploy_serve_application({**config, "deployments": "none"}))
    assert error.status_code == 400
    assert "list" in str(error)
    error = await error_of(real.deploy_serve_application({**config, "import_path": "sapp:nothing"}, wait=60))
    assert "no attribute 'nothing'" in str(error)
    await real.delete_serve_application(config["name"])


@pytest.mark.requirement("V-06", "J-21")
@pytest.mark.timeout(120)
def test_train_deploy_query_delete(serving: Serving, tmp_path: Path) -> None:
    """The example of the last step: a job trains a model, an application serves it."""
    client, model = serving.client, tmp_path / "model.txt"
    train = (
        "xs = [1, 2, 3]; ys = [2, 4, 6]\n"
        f"open({str(model)!r}, 'w').write(str(sum(x * y for x, y in zip(xs, ys)) / sum(x * x for x in xs)))"
    )
    job_id = client.submit_job(entrypoint_of("python", "-c", train), submission_id=f"t-{uuid.uuid4().hex[:12]}")
    assert client.wait_job(job_id, 40).status == "SUCCEEDED"
    config = serving.config("predictor", path=str(model))
    client.deploy_serve_application(config, wait=60)
    assert serving.ask(config) == "2.0"
    client.delete_serve_application("predictor")
    assert "predictor" not in {app["name"] for app in client.list_serve_applications()}
