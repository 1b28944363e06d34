"""A real Ray head on the loopback interface, with what tests do to it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.localcluster.cache import say
from tests.localcluster.guard import descendants
from tests.localcluster.processes import (
    LOOPBACK,
    ClusterError,
    Guarded,
    clean_environment,
    free_ports,
    tail,
    wait_for,
)
from tests.localcluster.rayvenv import ensure_ray

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# Ray replaces 127.0.0.1 by the machine's outer address; any other loopback address it leaves alone.
NODE_IP = "127.0.0.2"
START_ATTEMPTS = 3
START_TIMEOUT_SECONDS = 90.0
REQUEST_TIMEOUT_SECONDS = 20.0
TERMINAL = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})


class RayHTTPError(ClusterError):
    """The dashboard answered with an error status."""

    def __init__(self, call: str, status: int, body: str) -> None:
        """Keep status and body; the message has the body's end, where Ray puts the reason."""
        super().__init__(f"{call}: HTTP {status}: {body.strip()[-500:]}")
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Ports:
    """The ports of one head; a head that comes back keeps them."""

    gcs: int
    node_manager: int
    object_manager: int
    dashboard: int
    agent: int
    agent_grpc: int
    runtime_env_agent: int
    metrics: int
    client: int
    dashboard_metrics: int

    @classmethod
    def free(cls) -> Self:
        return cls(*free_ports(len(cls.__dataclass_fields__)))


class RayHead:
    """`ray start --head`, several side by side; a context manager.

    Without `--block`, so that the head lives on when a test kills its dashboard. After `kill()` a `start()` gives what
    a replaced head pod gives without GCS fault tolerance: same addresses, new session, empty job table.
    """

    def __init__(self, *, num_cpus: int = 8, token: str | None = None) -> None:
        """Give it `num_cpus` logical CPUs; a `token` switches Ray's token auth on."""
        self.num_cpus = num_cpus
        self.token = token
        self.ports = Ports.free()
        self.node_ip = NODE_IP
        self.bin = Path()
        self._guarded: Guarded | None = None
        self._dashboard: Guarded | None = None
        self._directory = Path()
        self._log = Path()
        self._dashboard_command: list[str] = []

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def dashboard_url(self) -> str:
        """Base URL of the dashboard, without a slash at its end."""
        return f"http://{LOOPBACK}:{self.ports.dashboard}"

    @property
    def agent_port(self) -> int:
        """Port of the dashboard agent's HTTP server, on `node_ip`."""
        return self.ports.agent

    @property
    def pid(self) -> int:
        """Pid of the guard."""
        return self._running().pid

    @property
    def session_directory(self) -> Path:
        """Where Ray keeps the logs of the running session."""
        return (self._directory / "session_latest").resolve()

    def start(self) -> None:
        """Return when the dashboard answers and a job can be submitted; ClusterError after three attempts."""
        self.bin = ensure_ray()
        for attempt in range(START_ATTEMPTS):
            try:
                return self._start_once()
            except ClusterError as error:
                self.stop()
                if attempt == START_ATTEMPTS - 1:
                    raise
                say(f"Ray did not start, once more: {error}")
            if not self._dashboard_command:  # never ran: nobody knows its addresses yet
                self.ports = Ports.free()
        return None

    def stop(self) -> None:
        """End all of its processes and remove its directory."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def detach(self) -> None:
        """Let it go on after us, until its guard (`pid`) gets SIGTERM."""
        self._running().detach()

    def kill(self) -> None:
        """SIGKILL everything at once, jobs too, as a lost pod does; `start()` brings a new head on the same ports."""
        for guarded in (self._dashboard, self._guarded):
            if guarded:
                guarded.end()
        self._guarded = self._dashboard = None

    def processes(self) -> dict[int, str]:
        """Pid and command line of everything that runs in this head, drivers of jobs included."""
        return self._running().processes() | (self._dashboard.processes() if self._dashboard else {})

    def kill_dashboard(self) -> None:
        """SIGKILL the dashboard and its module processes; the rest of the head and its jobs live on."""
        for dashboard in self._dashboard_pids():
            for pid in (dashboard, *descendants(dashboard)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        wait_for("the dashboard's end", self._is_refused, timeout=10)

    @contextlib.contextmanager
    def frozen_dashboard(self) -> Iterator[None]:
        """Stop the dashboard and its module processes meanwhile, without an end: connections stand, nothing answers."""
        frozen = [pid for dashboard in self._dashboard_pids() for pid in (dashboard, *descendants(dashboard))]
        try:
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)

    def restart_dashboard(self) -> None:
        """Kill the dashboard if it runs and start it again as Ray did, on the same port; returns when it answers."""
        command = self._dashboard_command
        self.kill_dashboard()
        self._dashboard = Guarded(command, log=self._log, environment=self._environment())
        self._wait_until_ready(self._dashboard)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the dashboard; the decoded JSON answer, or RayHTTPError, or OSError when it is not there."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.dashboard_url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise RayHTTPError(f"{method} {path}", error.code, error.read().decode(errors="replace")) from None

    def submit(
        self,
        entrypoint: str,
        *,
        submission_id: str | None = None,
        runtime_env: dict[str, Any] | None = None,
        metadata: dict[str, str] | None = None,
        num_cpus: int | None = None,
    ) -> str:
        """Submit a job and return its submission id."""
        fields: dict[str, Any] = {"submission_id": submission_id, "runtime_env": runtime_env, "metadata": metadata}
        fields["entrypoint_num_cpus"] = num_cpus
        body = {"entrypoint": entrypoint} | {key: value for key, value in fields.items() if value is not None}
        return str(self.request("POST", "/api/jobs/", body)["submission_id"])

    def job(self, submission_id: str) -> dict[str, Any]:
        """Ray's own row of that job."""
        row: dict[str, Any] = self.request("GET", f"/api/jobs/{submission_id}")
        return row

    def wait_job(self, submission_id: str, states: Collection[str] = TERMINAL, timeout: float = 60.0) -> dict[str, Any]:
        """Return the job's row once its status is one of `states`; ClusterError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (row := self.job(submission_id))["status"] not in states:
            if time.monotonic() > deadline:
                raise ClusterError(f"job {submission_id} is {row['status']}, not one of {sorted(states)}: {row}")
            time.sleep(0.1)
        return row

    def stop_job(self, submission_id: str) -> bool:
        """Ask for the job's stop; whether there was something to stop."""
        return bool(self.request("POST", f"/api/jobs/{submission_id}/stop")["stopped"])

    def delete_job(self, submission_id: str) -> None:
        """Delete the record of a job that is over; within ~3 s of its end Ray may bring the record back."""
        self.request("DELETE", f"/api/jobs/{submission_id}")

    def driver_log(self, submission_id: str) -> Path:
        """Return the file that takes stdout and stderr of that job."""
        return self.session_directory / "logs" / f"job-driver-{submission_id}.log"

    def run_driver(self, code: str, timeout: float = 60.0) -> str:
        """Run Python that calls `ray.init()` itself, outside the jobs API, to its end; returns its (DRIVER) job id."""
        before = self._driver_ids()
        command = [str(self.bin / "python"), "-c", code]
        environment = self._environment() | {"RAY_ADDRESS": f"{self.node_ip}:{self.ports.gcs}"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
        if new := self._driver_ids() - before:
            return new.pop()
        raise ClusterError(f"no new DRIVER job; the driver ended with {done.returncode}\n{done.stderr[-2000:]}")

    def _driver_ids(self) -> set[str]:
        return {row["job_id"] for row in self.request("GET", "/api/jobs/") if row["type"] == "DRIVER"}

    def cli(self, *args: str, directory: Path | None = None, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run Ray's own command line against this head, say `cli("job", "list")`; ClusterError if it fails."""
        done = subprocess.run(
            [self.bin / "ray", *args],
            cwd=directory,
            env=self.cli_environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise ClusterError(f"ray {' '.join(args)}: exit {done.returncode}\n{done.stderr[-2000:]}")
        return done

    def cli_environment(self) -> dict[str, str]:
        """Return the environment in which Ray's own `ray` is this head's."""
        return self._environment() | {"RAY_API_SERVER_ADDRESS": self.dashboard_url}

    def _start_once(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="rjw-", dir="/tmp"))  # short: socket paths end at 107 bytes
        self._log = self._directory / "start.log"
        self._guarded = Guarded(
            self._command(),
            log=self._log,
            environment=self._environment(),
            owned_directory=self._directory,
        )
        self._wait_until_ready(self._guarded)
        self._dashboard_command = self._find_dashboard_command()

    def _wait_until_ready(self, guarded: Guarded) -> None:
        started = time.monotonic()
        wait_for("Ray's dashboard", self._answers, timeout=START_TIMEOUT_SECONDS, guarded=guarded)
        left = START_TIMEOUT_SECONDS - (time.monotonic() - started)
        wait_for("Ray's job agent", self._takes_jobs, timeout=left, guarded=guarded)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, ClusterError):
            return "ray_version" in self.request("GET", "/api/version")
        return False

    def _takes_jobs(self) -> bool:
        """Send what only the agent can refuse, without leaving a record: then it came through to the agent."""
        if not self._agent_listens():
            return False
        try:
            self.request("POST", "/api/jobs/", {"entrypoint": "true", "entrypoint_label_selector": {"not valid": ""}})
        except RayHTTPError as error:
            return "Invalid label key" in error.body or "unexpected keyword argument" in error.body  # before 2.49
        except OSError:
            return False
        raise ClusterError("Ray took a job with an invalid label selector: the readiness probe is out of date")

    def _agent_listens(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.node_ip}:{self.ports.agent}/api/healthz", timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 404  # an older agent, which has no such route
        except OSError:
            return False
        return True

    def _find_dashboard_command(self) -> list[str]:
        for pid in self._dashboard_pids():
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
        raise ClusterError(f"no dashboard process in this Ray head\n{tail(self._log)}")

    def _dashboard_pids(self) -> list[int]:
        return [pid for pid, line in self.processes().items() if "/dashboard/dashboard.py" in line]

    def _is_refused(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, self.ports.dashboard)) == errno.ECONNREFUSED

    def _running(self) -> Guarded:
        if self._guarded is None:
            raise ClusterError("this Ray head does not run")
        return self._guarded

    def _environment(self) -> dict[str, str]:
        """Nothing of the caller's Ray, and the venv's `python` for the jobs."""
        auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token} if self.token else {"RAY_AUTH_MODE": "disabled"}
        return clean_environment(
            "RAY_",
            PATH=f"{self.bin}:{os.environ['PATH']}",
            TMPDIR=str(self._directory),
            DASHBOARD_METRIC_PORT=str(self.ports.dashboard_metrics),
            **auth,
        )

    def _command(self) -> list[str | Path]:
        return [
            *(self.bin / "ray", "start", "--head", "--disable-usage-stats", "--no-monitor"),
            *(f"--node-ip-address={self.node_ip}", f"--temp-dir={self._directory}"),
            *("--include-dashboard=true", f"--dashboard-host={LOOPBACK}", f"--dashboard-port={self.ports.dashboard}"),
            *(f"--num-cpus={self.num_cpus}", "--object-store-memory=80000000"),
            *("--min-worker-port=0", "--max-worker-port=0", f"--port={self.ports.gcs}"),
            f"--node-manager-port={self.ports.node_manager}",
            f"--object-manager-port={self.ports.object_manager}",
            f"--dashboard-agent-listen-port={self.ports.agent}",
            f"--dashboard-agent-grpc-port={self.ports.agent_grpc}",
            f"--runtime-env-agent-port={self.ports.runtime_env_agent}",
            f"--metrics-export-port={self.ports.metrics}",
            f"--ray-client-server-port={self.ports.client}",
        ]
