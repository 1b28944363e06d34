"""Ray Serve on a real head: applications, declarative and imperative, and clients that never stop asking them."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any, Self

from tests.localcluster.processes import LOOPBACK, ClusterError, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.localcluster.rayhead import RayHead

PATH = "/api/serve/applications/"
START_SECONDS = 90.0

CODE = """
from ray import serve

@serve.deployment(ray_actor_options={"num_cpus": 0})
class Echo:
    def __init__(self, text):
        self.text = text
    async def __call__(self, request):
        return self.text

def build(args):
    return Echo.bind(args["text"])
"""


class Serving:
    """Serve on a head, its proxy on a port of its own. Every application `name` answers `name` at `/name`."""

    def __init__(self, head: RayHead, folder: Path) -> None:
        """Start Serve; `folder` takes the applications' code."""
        self.head = head
        (self.port,) = free_ports(1)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "echoing.py").write_text(CODE)
        self._runtime_env = {"env_vars": {"PYTHONPATH": str(folder)}}
        self.put()

    def put(self, *names: str, broken: tuple[str, ...] = ()) -> None:
        """Make these the declarative applications, as `serve deploy` does; the code of the `broken` is not there."""
        configs = [self._config(name, "echoing:build") for name in names]
        configs += [self._config(name, "echoing:nothing") for name in broken]
        http_options = {"host": LOOPBACK, "port": self.port}
        self._send("PUT", {"applications": configs, "http_options": http_options})

    def run(self, name: str) -> None:
        """Deploy an application imperatively, as a script that calls `serve.run` does."""
        code = (
            "import echoing; from ray import serve; "
            f"serve.run(echoing.build({{'text': '{name}'}}), name='{name}', route_prefix='/{name}')"
        )
        job = self.head.submit(
            f'python -c "{code}"', submission_id=f"serve-{uuid.uuid4().hex[:10]}", runtime_env=self._runtime_env
        )
        row = self.head.wait_job(job, timeout=START_SECONDS)
        if row["status"] != "SUCCEEDED":
            raise ClusterError(f"application {name} was not deployed: {row['message']}")

    def states(self) -> dict[str, str]:
        """Return the state of each application, by name."""
        applications: Mapping[str, Any] = self.head.request("GET", PATH)["applications"]
        return {name: str(app["status"]) for name, app in applications.items()}

    def wait(self, **wanted: str) -> None:
        """Return when each of these applications is in that state."""
        deadline = time.monotonic() + START_SECONDS
        while (states := self.states()) | wanted != states:
            if time.monotonic() > deadline:
                raise ClusterError(f"Serve's applications are {states}, not {wanted}")
            time.sleep(0.2)

    def asking(self, name: str) -> Asking:
        """Return a client of an application that asks as fast as it is answered while its context is open."""
        return Asking(self.port, name)

    def stop(self) -> None:
        """End Serve and all its applications."""
        self._send("DELETE")

    def _config(self, name: str, import_path: str) -> dict[str, Any]:
        config = {"name": name, "route_prefix": f"/{name}", "import_path": import_path, "args": {"text": name}}
        return config | {"runtime_env": self._runtime_env}

    def _send(self, method: str, body: Any = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.head.dashboard_url + PATH, data, method=method)
        with urllib.request.urlopen(request, timeout=START_SECONDS):
            pass


class Asking:
    """Asks an application over one connection again and again: the number of right answers, and some of the `wrong`."""

    def __init__(self, port: int, name: str) -> None:
        self.answers = 0
        self.wrong: list[str] = []
        self.longest = 0.0
        self._port = port
        self._name = name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, name=f"ask {name}")

    def __enter__(self) -> Self:
        """Return when the first answer came."""
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self.answers and not self.wrong and time.monotonic() < deadline:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop asking."""
        self._stop.set()
        self._thread.join(START_SECONDS)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=20)
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                connection.request("GET", f"/{self._name}")
                answer = connection.getresponse()
                said = f"{answer.status} {answer.read(200).decode()}"
            except (OSError, http.client.HTTPException) as error:
                said = repr(error)
                connection.close()
            self.longest = max(self.longest, time.monotonic() - started)
            if said == f"200 {self._name}":
                self.answers += 1
            else:
                self.wrong = [*self.wrong[:9], said]
        connection.close()
