"""What a user sees when something is wrong, and that it mends itself when the world does."""

import http.server
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from uuid import uuid4

import pytest

from tests.cluster.watches import Watches, conditions
from tests.localcluster.processes import free_ports
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.real_ray, pytest.mark.timeout(120)]


class _Garbage(http.server.BaseHTTPRequestHandler):
    """Answers everything as it was told to."""

    answer: ClassVar[tuple[int, str, bytes]] = (200, "text/html", b"<html>Sign in to continue</html>")

    def do_GET(self) -> None:
        status, kind, body = self.answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(status: int, kind: str, body: bytes, port: int = 0) -> Iterator[str]:
    """Serve one and the same answer; yield the URL."""
    handler = type("Handler", (_Garbage,), {"answer": (status, kind, body)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def fresh() -> str:
    """Return a name that no test has used."""
    return f"bad-{uuid4().hex[:10]}"


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        pytest.param((200, "text/html", b"<html>Sign in</html>"), {"NotARayDashboard", "DashboardError"}, id="HTML"),
        pytest.param((200, "application/json", b'{"ray_version":'), {"DashboardError"}, id="cut JSON"),
        pytest.param((200, "application/json", b"[" * 100_000), {"DashboardError"}, id="deep JSON"),
        pytest.param((404, "text/plain", b"no"), {"NotARayDashboard"}, id="not Ray"),
        pytest.param((500, "text/plain", b"Traceback ...\nboom"), {"DashboardError"}, id="500"),
        pytest.param((401, "text/plain", b"who are you"), {"Unauthorized"}, id="401"),
    ],
)
def test_a_url_that_is_no_ray_dashboard_has_its_own_reason(
    watches: Watches, answer: tuple[int, str, bytes], reasons: set[str]
) -> None:
    name = fresh()
    with serving(*answer) as url:
        watches.apply(name, "raysubmit_1", dashboard={"url": url})
        status = watches.wait_until(name, lambda now: conditions(now).get("Ready", {}).get("status") == "False")
    ready = conditions(status)["Ready"]
    assert ready["reason"] in reasons
    assert url in ready["message"]
    assert status["state"] == "Waiting"
    assert conditions(status)["DashboardReachable"]["status"] == "False"


def test_an_unreachable_dashboard_is_said_and_recovers_by_itself(watches: Watches) -> None:
    name = fresh()
    (port,) = free_ports(1)
    watches.apply(name, "raysubmit_1", dashboard={"url": f"http://127.0.0.1:{port}"})
    ready = watches.wait_reason(name, "Ready", "DashboardUnreachable")
    assert f"127.0.0.1:{port}" in ready["message"]
    with serving(404, "text/plain", b"not Ray", port):
        watches.wait_reason(name, "Ready", "NotARayDashboard", timeout=40)


def forget(head: RayHead, job: str) -> None:
    """Take the record of a running job out of Ray's job table, as a partly lost store does."""
    code = (
        "import sys; from ray._raylet import GcsClient; key = ('_ray_internal_job_info_' + sys.argv[2]).encode(); "
        "sys.exit(GcsClient(address=sys.argv[1]).internal_kv_del(key, False, namespace=b'job') != 1)"
    )
    command = ["python", "-c", code, f"{head.node_ip}:{head.ports.gcs}", job]
    subprocess.run(command, env=head.cli_environment(), check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("protocol", ["Auto", pytest.param("WebSocket", marks=pytest.mark.slow)])
def test_a_job_deleted_from_ray_mid_tail_ends_with_an_unknown_outcome(
    watches: Watches, ray_head: RayHead, protocol: str
) -> None:
    name = fresh()
    ray_head.submit("python -uc 'import time; print(1); time.sleep(20)'", submission_id=name)
    watches.apply(name, name, logs={"protocol": protocol})
    watches.wait_until(name, lambda now: now.get("state") == "Running", 60)
    forget(ray_head, name)
    status = watches.wait(name)
    assert status["state"] == "Unknown"
    succeeded = conditions(status)["Succeeded"]
    assert (succeeded["status"], succeeded["reason"]) == ("Unknown", "OutcomeUnknown")
    assert watches.reasons(name) == ["JobRunning", "JobOutcomeUnknown"]


def test_a_verdict_outlives_the_record_in_ray(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    watches.apply(name, ray_head.submit("true", submission_id=name), name + "-later")
    watches.wait_until(name, lambda now: now.get("finished") == "1/2", 60)
    forget(ray_head, name)
    ray_head.submit("true", submission_id=name + "-later")
    assert watches.wait(name)["state"] == "Succeeded"


def test_trouble_of_one_watch_is_not_trouble_of_the_others(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    with serving(200, "text/html", b"<html>") as url:
        for number in range(5):
            watches.apply(f"{name}-{number}", "raysubmit_1", dashboard={"url": url})
        watches.apply(name, ray_head.submit("true", submission_id=name))
        assert watches.wait(name)["state"] == "Succeeded"
