"""`python -m tests.bench.verdict`: how long after Ray shows a job's end `kubectl wait` returns.

Runs the controller as in `make demo`, on a real API server and real Ray. The peer is `kubectl`'s own way without a
controller: a loop that asks Ray's dashboard once a second.
"""

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from tests.cluster.conftest import ROOT, SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from tests.cluster.controller import Controller
from tests.cluster.watches import Watches
from tests.localcluster import raycluster
from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.rayhead import TERMINAL, RayHead

JOBS = 10
LOOK_SECONDS = 0.02


def main() -> int:
    """Print the table."""
    with ControlPlane.from_environment() as plane, RayHead() as head, plane.namespace("bench") as namespace:
        raycluster.install_crd(plane)
        plane.apply(ROOT / "manifests" / "rbac", "--server-side")
        raycluster.ready_cluster(plane, namespace, "shared", head_ip=head.node_ip)
        kubeconfig = plane.service_account_kubeconfig(SYSTEM_NAMESPACE, SERVICE_ACCOUNT)
        log = Path(tempfile.mkdtemp()) / "log"
        override = f"{namespace}/shared={head.dashboard_url}"
        with Controller(kubeconfig, log, "--namespace", namespace, "--dashboard-override", override):
            watches = Watches(plane, namespace)
            rows = [measured(watches, head, protocol) for protocol in ("Auto", "WebSocket", "HTTP")]
            polled = [delay(head, head.submit("sleep 1.3"), lambda job: poll(head, job)) for _ in range(JOBS)]
    print("\nSeconds from Ray showing a job's end to `kubectl wait --for=condition=Finished` returning")
    print(f"{'logs.protocol':24} {'median':>7} {'max':>7}   ({JOBS} jobs each, one after the other)")
    for name, delays in [*rows, ("peer: poll once a second", polled)]:
        print(f"{name:24} {statistics.median(delays):7.2f} {max(delays):7.2f}")
    return 0


def measured(watches: Watches, head: RayHead, protocol: str) -> tuple[str, list[float]]:
    """Return the delays of jobs that are watched over one protocol."""
    delays = []
    for _ in range(JOBS):
        name = f"job-{uuid4().hex[:8]}"
        job = head.submit("python -uc 'import time; print(1); time.sleep(1.3); print(2)'", submission_id=name)
        watches.apply(name, job, logs={"protocol": protocol})
        delays.append(delay(head, job, watches.wait))
    return protocol, delays


def delay(head: RayHead, job: str, wait: Callable[[str], object]) -> float:
    """Return the seconds between Ray's own dashboard showing the end and the return of `wait`."""
    ended: list[float] = []
    thread = threading.Thread(target=lambda: ended.append(end_of(head, job)))
    thread.start()
    wait(job)
    returned = time.monotonic()
    thread.join()
    return returned - ended[0]


def end_of(head: RayHead, job: str) -> float:
    """Return when Ray shows that the job is over."""
    while head.job(job)["status"] not in TERMINAL:
        time.sleep(LOOK_SECONDS)
    return time.monotonic()


def poll(head: RayHead, job: str) -> None:
    """Wait as scripts without a controller do."""
    while head.job(job)["status"] not in TERMINAL:
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
