"""`python -m tests.localcluster.demo [--keep]`: the main job, end to end, on a real API server and a real Ray head.

Three real Ray jobs, one RayJobWatch each; ends 0 only when everything that is expected of them was seen.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.localcluster import raycluster
from tests.localcluster.binaries import BuildError
from tests.localcluster.cache import say
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.detached import Detached, detach
from tests.localcluster.prepare import prepare
from tests.localcluster.processes import ClusterError, Guarded, tail
from tests.localcluster.rayhead import RayHead
from tests.localcluster.venvs import InstallError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
JOBS = Path(__file__).with_name("demojobs")
NAMESPACE, CLUSTER = "ml", "shared"
SYSTEM_NAMESPACE, SERVICE_ACCOUNT = "rayjobwatch-system", "rayjobwatch"
FINISH_TIMEOUT_SECONDS = 120
GOOD, BAD, ENDLESS = "train", "broken", "endless"
LAST_LINES = {GOOD: "training done", BAD: "ValueError: loss is not a number at step 6"}
COLUMNS = {
    GOOD: {"progress": "100%"},
    BAD: {"progress": "12%", "summary": "broken.py:8 ValueError: loss is not a number at step 6"},
}
STOP = '{"spec":{"stop":{"requested":true}}}'
SUBMIT_FLAGS = ("--no-wait", "--working-dir", ".", *(() if sys.stdout.isatty() else ("--log-color=false",)))
WATCH = """\
apiVersion: rayjobwatch.dev/v1alpha1
kind: RayJobWatch
metadata:
  name: {name}
spec:
  rayCluster:
    name: {cluster}
  jobs:
    ids: [{job}]
  logs:
    tailLines: 10
    values:
    - name: progress
      pattern: 'step (?P<value>\\d+)/(?P<of>\\d+)'
"""


class Demo:
    """The parts that run, and how commands are shown like a shell session."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self.control_plane = ControlPlane.from_environment()
        self.ray_head = RayHead()
        self.controller: Guarded | None = None

    @property
    def controller_log(self) -> Path:
        """What the controller says."""
        return self.control_plane.directory / "controller.log"

    def start_cluster(self) -> None:
        """Start the control plane and Ray, and install what a cluster's administrator installs."""
        title("A Kubernetes control plane and a Ray head, both real, both on this machine only")
        self.control_plane.start()
        say("the API server is ready")
        self.ray_head.start()
        say(f"Ray is ready: {self.ray_head.dashboard_url}")
        title("What an administrator installs: KubeRay's RayCluster CRD, and RayJobWatch")
        raycluster.install_crd(self.control_plane)
        self.kubectl("apply", "--server-side", "-k", "manifests/rbac")
        self.control_plane.wait_established("rayjobwatches.rayjobwatch.dev")

    def start_controller(self) -> None:
        """Set the RayCluster's status as KubeRay would, and start the controller under its ServiceAccount."""
        title(f"RayCluster `{CLUSTER}` in namespace `{NAMESPACE}`, its status set as KubeRay does; then the controller")
        self.kubectl("create", "namespace", NAMESPACE)
        raycluster.ready_cluster(self.control_plane, NAMESPACE, CLUSTER, head_ip=self.ray_head.node_ip)
        self.kubectl("get", "raycluster,service", "-n", NAMESPACE)
        kubeconfig = self.control_plane.service_account_kubeconfig(SYSTEM_NAMESPACE, SERVICE_ACCOUNT)
        override = f"{NAMESPACE}/{CLUSTER}={self.ray_head.dashboard_url}"
        command = ["rayjobwatch", "run", "--kubeconfig", str(kubeconfig), "--dashboard-override", override]
        show([*command, "&"])
        command[0] = str(Path(sys.executable).with_name("rayjobwatch"))
        self.controller = Guarded(command, log=self.controller_log)

    def submit_jobs(self) -> None:
        """Submit the jobs by Ray's own command line and apply one watch each."""
        title("Three jobs by Ray's own command line, and a RayJobWatch for each")
        show(["export", f"RAY_API_SERVER_ADDRESS={self.ray_head.dashboard_url}"])
        show(["cd", str(JOBS.relative_to(ROOT))])
        for name in (GOOD, BAD, ENDLESS):
            self.ray("job", "submit", *SUBMIT_FLAGS, "--submission-id", f"{name}-1", "--", "python", f"{name}.py")
            watch = WATCH.format(name=name, cluster=CLUSTER, job=f"{name}-1")
            self.kubectl("apply", "-n", NAMESPACE, "-f", "-", input=watch)

    def await_ends(self) -> None:
        """Wait as a script would; meanwhile show what `kubectl get --watch` sees."""
        title("Waiting for their ends, as a script does")
        with self.watching():
            for name in (BAD, GOOD):
                self.await_end(name)

    def stop_one(self) -> None:
        """Stop the job that does not end by itself, as a user does."""
        title("Stopping the job that does not end by itself")
        self.kubectl("patch", f"rjw/{ENDLESS}", "-n", NAMESPACE, "--type=merge", "-p", STOP)
        self.await_end(ENDLESS)

    def await_end(self, name: str) -> None:
        """Wait until a watch is Finished."""
        limit = f"--timeout={FINISH_TIMEOUT_SECONDS}s"
        wait = ("wait", "-n", NAMESPACE, "--for=condition=Finished", f"rjw/{name}", limit)
        self.kubectl(*wait, timeout=FINISH_TIMEOUT_SECONDS + 10)

    def show_results(self) -> None:
        """Show what a user sees afterwards."""
        title("What Kubernetes knows now")
        self.kubectl("get", "rjw", "-n", NAMESPACE)
        for name in (GOOD, BAD, ENDLESS):
            self.kubectl("describe", f"rjw/{name}", "-n", NAMESPACE)

    def kubectl(self, *args: str, input: str | None = None, timeout: float = 60.0) -> None:  # noqa: A002
        """Run kubectl, shown."""
        show(["kubectl", *args], input)
        print(self.control_plane.kubectl(*args, input=input, timeout=timeout).stdout.rstrip(), flush=True)

    def ray(self, *args: str) -> None:
        """Run Ray's own command line in the jobs' directory, shown."""
        show(["ray", *args])
        print(self.ray_head.cli(*args, directory=JOBS).stdout.strip(), flush=True)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Print the changes that the API server tells meanwhile."""
        command = ["kubectl", "get", "rjw", "-n", NAMESPACE, "--watch"]
        show([*command, "&"])
        command[0] = str(self.control_plane.kubectl_path)
        with subprocess.Popen(command, env=self.control_plane.environment()) as watching:
            try:
                yield
            finally:
                watching.terminate()

    def stop(self) -> None:
        """End all parts."""
        title("Taking everything down")
        if self.controller:
            self.controller.end()
        self.ray_head.stop()
        self.control_plane.stop()
        if self.control_plane.is_foreign:
            say(f"left in the cluster of KUBECONFIG: namespace {NAMESPACE}, and what manifests/rbac installs")

    def leave(self) -> None:
        """Let it all go on, and say how to use and end it."""
        made = detach(self.control_plane, self.ray_head, *filter(None, [self.controller]))
        title("Everything is left running")
        print("\n".join(f"export {name}={value}" for name, value in made.exports.items()))
        print(f"kubectl get rjw -n {NAMESPACE}\ntail -f {self.controller_log}")
        print(f"{sys.executable} -m tests.localcluster down   # ends it", flush=True)


def title(text: str) -> None:
    """Begin a part of the output."""
    print(f"\n## {text}", flush=True)


def show(command: list[str], text: str | None = None) -> None:
    """Print a command as if it had been typed."""
    typed = " ".join(word if word == "&" else shlex.quote(word) for word in command)
    print(f"\n$ {typed}" + (f" <<EOF\n{text}EOF" if text else ""), flush=True)


def check(control_plane: ControlPlane) -> bool:
    """Print what was expected of the watches and whether it is so."""
    results = [*expectations(control_plane, GOOD, "True"), *expectations(control_plane, BAD, "False")]
    results += [*expectations(control_plane, ENDLESS, "False")]
    for name, reason in ((BAD, "JobFailed"), (ENDLESS, "StopRequested"), (ENDLESS, "JobStopped")):
        told = [event for event in events(control_plane, name) if event["reason"] == reason]
        results.append((f"rjw/{name} has one {reason} Event", len(told) == 1))
    title("Expected")
    for text, seen in results:
        print(f"{'seen   ' if seen else 'MISSING'} {text}", flush=True)
    return all(seen for _, seen in results)


def expectations(control_plane: ControlPlane, name: str, succeeded: str) -> list[tuple[str, bool]]:
    """Return what is expected of one watch, each with whether it is so."""
    status = control_plane.get("rjw", name, "-n", NAMESPACE).get("status", {})
    conditions = {item["type"]: item["status"] for item in status.get("conditions", [])}
    lines = [line for job in status.get("jobs", []) for line in job.get("log", {}).get("tail", [])]
    found = [
        (f"rjw/{name} has Finished=True", conditions.get("Finished") == "True"),
        (f"rjw/{name} has Succeeded={succeeded}", conditions.get("Succeeded") == succeeded),
    ]
    if last := LAST_LINES.get(name):
        found.append((f"rjw/{name} has {last!r} in its log tail", last in lines))
    for column, text in COLUMNS.get(name, {}).items():
        found.append((f"rjw/{name} has {text!r} as {column.upper()}", status.get(column) == text))
    return found


def events(control_plane: ControlPlane, name: str) -> list[dict[str, Any]]:
    """Return the Events on one watch."""
    selector = f"involvedObject.kind=RayJobWatch,involvedObject.name={name}"
    found: list[dict[str, Any]] = control_plane.get("events", "-n", NAMESPACE, "--field-selector", selector)["items"]
    return found


def perform(demo: Demo) -> bool:
    """Do all of it; whether everything expected was seen."""
    try:
        demo.start_cluster()
        demo.start_controller()
        demo.submit_jobs()
        demo.await_ends()
        demo.stop_one()
        demo.show_results()
        if check(demo.control_plane):
            return True
    except ClusterError as error:
        say(str(error))
    say(f"the end of the controller's log:\n{tail(demo.controller_log)}")
    return False


def main() -> int:
    """Run the demo: 0 when all that was expected was seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.localcluster.demo")
    parser.add_argument("--keep", action="store_true", help="leave everything running afterwards")
    keep = parser.parse_args().keep
    if keep and Detached.load().running():
        say("a local cluster is up already: `python -m tests.localcluster down` ends it")
        return 1
    try:
        prepare()
    except (BuildError, InstallError) as error:
        say(str(error))
        return 1
    return run(Demo(), keep=keep)


def run(demo: Demo, *, keep: bool) -> int:
    """Perform it, then leave everything up or nothing."""
    started = time.monotonic()
    done = False
    try:
        done = perform(demo)
    finally:
        if done and keep:
            demo.leave()
        else:
            demo.stop()
    say(f"{'all as expected' if done else 'NOT as expected'}, {time.monotonic() - started:.0f} s")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
