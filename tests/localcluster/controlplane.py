"""A real Kubernetes control plane on 127.0.0.1: etcd, kube-apiserver, kube-controller-manager; no nodes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import ssl
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.localcluster.binaries import Binaries, ensure_binaries
from tests.localcluster.cache import say
from tests.localcluster.egress import PodNetwork, configuration
from tests.localcluster.kubectl import Cluster, write_kubeconfig
from tests.localcluster.processes import LOOPBACK, ClusterError, Guarded, clean_environment, free_ports, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START_ATTEMPTS = 3
READY_TIMEOUT_SECONDS = 60.0
ADMIN = "admin"
ISSUER = "https://kubernetes.default.svc"
CONTROLLER_USER = "system:serviceaccount:rayjobwatch-system:rayjobwatch"
# The default is to go on with a new file after 100 MB.
AUDIT_LOG_MEGABYTES = 10_000


class ControlPlane(Cluster):
    """A control plane of our own with its own data, RBAC and audit log; a context manager."""

    def __init__(self, readers: Sequence[str] = (CONTROLLER_USER,)) -> None:
        """Start nothing yet. The audit log will have the reads of the users `readers`."""
        super().__init__()
        self._readers = readers
        self._guarded: dict[str, Guarded] = {}
        self._ports: tuple[int, int] = (0, 0)

    @staticmethod
    def from_environment() -> ControlPlane:
        """Return the cluster that `KUBECONFIG` names, else one of our own; neither is started yet."""
        if kubeconfig := os.environ.get("KUBECONFIG"):
            return ExistingCluster(Path(kubeconfig))
        return ControlPlane()

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def pids(self) -> list[int]:
        """Pids of the guards."""
        return [guarded.pid for guarded in self._guarded.values()]

    def start(self) -> None:
        """Return when the API server is ready; ClusterError after three attempts."""
        binaries = ensure_binaries()
        for attempt in range(START_ATTEMPTS):
            try:
                return self._start_once(binaries)
            except ClusterError as error:
                self.stop()
                if attempt == START_ATTEMPTS - 1:
                    raise
                say(f"the control plane did not start, once more: {error}")
        return None

    def stop(self) -> None:
        """End what was started, wait for its end and remove its data."""
        for guarded in reversed(self._guarded.values()):
            guarded.end()
        self._guarded = {}
        shutil.rmtree(self.directory, ignore_errors=True)

    def detach(self) -> None:
        """Let it go on after us, until its guards (`pids`) get SIGTERM."""
        for guarded in self._guarded.values():
            guarded.detach()

    def kill_apiserver(self) -> None:
        """SIGKILL the API server: connections break and none is taken until `start_apiserver`."""
        self._guarded.pop("kube-apiserver").end()

    def start_apiserver(self) -> None:
        """Start it again, on the same port with the same data; returns when it is ready."""
        binaries = ensure_binaries()
        self._run("kube-apiserver", binaries.kube_apiserver, *self._apiserver_flags())
        self._wait_until_ready()

    def audit_events(self, where: Callable[[dict[str, Any]], bool] = lambda _: True) -> list[dict[str, Any]]:
        """Return the audit log so far, in order: what was asked of objects (`user.username`, `verb`, `objectRef`).

        It has every write of every user, and every read (get, list, watch) of those who were to be recorded: without
        further word the controller's ServiceAccount.
        """
        with (self.directory / "audit.log").open("rb") as lines:
            return [event for line in lines if line.endswith(b"\n") and where(event := json.loads(line))]

    def pod_network(self) -> PodNetwork:
        """Return what leads to the addresses of Pods when this API server proxies to them; still to be entered."""
        return PodNetwork(self._egress)

    @property
    def _egress(self) -> Path:
        return self.directory / "egress.sock"

    def _start_once(self, binaries: Binaries) -> None:
        etcd, apiserver = free_ports(2)
        self._ports = etcd, apiserver
        self.directory = Path(tempfile.mkdtemp(prefix="rjw-k8s-"))
        self.kubeconfig = self.directory / "kubeconfig"
        self.kubectl_path = binaries.kubectl
        token = self._write_files()
        self._run("etcd", binaries.etcd, *self._etcd_flags())
        self._run("kube-apiserver", binaries.kube_apiserver, *self._apiserver_flags())
        self._wait_until_ready()
        self._write_kubeconfig(token)
        if binaries.kube_controller_manager:
            self._run("kube-controller-manager", binaries.kube_controller_manager, *self._controller_manager_flags())

    def _run(self, name: str, program: Path, *flags: str) -> None:
        self._guarded[name] = Guarded(
            [program, *flags],
            log=self.directory / f"{name}.log",
            environment=clean_environment("KUBE", "ETCD_"),
            owned_directory=self.directory if name == "etcd" else None,
        )

    def _write_files(self) -> str:
        token = secrets.token_hex(16)
        (self.directory / "tokens.csv").write_text(f"{token},{ADMIN},{ADMIN},system:masters\n")
        (self.directory / "audit-policy.json").write_text(json.dumps(_audit_policy(self._readers)))
        (self.directory / "egress.json").write_text(configuration(self._egress))
        (self.directory / "service-account.key").write_text(_private_key())
        return token

    def _write_kubeconfig(self, token: str) -> None:
        authority = base64.b64encode((self.directory / "certs/apiserver.crt").read_bytes()).decode()
        server = f"https://{LOOPBACK}:{self._ports[1]}"
        write_kubeconfig(self.kubeconfig, {"server": server, "certificate-authority-data": authority}, ADMIN, token)

    def _wait_until_ready(self) -> None:
        guarded = self._guarded["kube-apiserver"]
        wait_for("kube-apiserver's /readyz", self._is_ready, timeout=READY_TIMEOUT_SECONDS, guarded=guarded)

    def _is_ready(self) -> bool:
        if not self._guarded["etcd"].alive():
            raise ClusterError(f"etcd ended\n{(self.directory / 'etcd.log').read_text()[-3000:]}")
        trusting = ssl._create_unverified_context()  # its certificate is being made just now
        url = f"https://{LOOPBACK}:{self._ports[1]}/readyz"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2, context=trusting):
            return True
        return False

    def _etcd_flags(self) -> list[str]:
        client, peer = f"http://{LOOPBACK}:{self._ports[0]}", f"http://{LOOPBACK}:0"
        return [
            *(f"--data-dir={self.directory / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn"),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}"),
            *(f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"),
        ]

    def _apiserver_flags(self) -> list[str]:
        directory, key = self.directory, self.directory / "service-account.key"
        return [
            *(f"--etcd-servers=http://{LOOPBACK}:{self._ports[0]}", f"--bind-address={LOOPBACK}"),
            *(f"--secure-port={self._ports[1]}", f"--cert-dir={directory / 'certs'}"),
            *(f"--service-account-issuer={ISSUER}", f"--service-account-key-file={key}"),
            f"--service-account-signing-key-file={key}",
            *(f"--token-auth-file={directory / 'tokens.csv'}", "--authorization-mode=RBAC"),
            "--service-cluster-ip-range=10.96.0.0/16",
            *(f"--audit-policy-file={directory / 'audit-policy.json'}", f"--audit-log-path={directory / 'audit.log'}"),
            f"--audit-log-maxsize={AUDIT_LOG_MEGABYTES}",
            f"--egress-selector-config-file={directory / 'egress.json'}",
        ]

    def _controller_manager_flags(self) -> list[str]:
        return [
            *(f"--kubeconfig={self.kubeconfig}", "--use-service-account-credentials", "--leader-elect=false"),
            f"--service-account-private-key-file={self.directory / 'service-account.key'}",
            *(f"--root-ca-file={self.directory / 'certs/apiserver.crt'}", "--secure-port=0"),
        ]


class ExistingCluster(ControlPlane):
    """The cluster of the user's `KUBECONFIG`: nothing of it is started, stopped or removed."""

    is_foreign = True

    def __init__(self, kubeconfig: Path) -> None:
        """Use the kubeconfig as it is."""
        super().__init__()
        self._given = kubeconfig

    def start(self) -> None:
        """Make sure that it answers."""
        self.directory = Path(tempfile.mkdtemp(prefix="rjw-k8s-"))
        self.kubeconfig = self._given
        self.kubectl_path = Path(shutil.which("kubectl") or ensure_binaries().kubectl)
        self.kubectl("get", "--raw", "/readyz")

    def detach(self) -> None:
        """Let it go on after us, until its guards (`pids`) get SIGTERM."""
        for guarded in self._guarded.values():
            guarded.detach()

    def kill_apiserver(self) -> None:
        """Refuse."""
        raise ClusterError("the API server of KUBECONFIG is not ours to kill")

    def pod_network(self) -> PodNetwork:
        """Refuse: its Pods' network is its own."""
        raise ClusterError("the cluster in KUBECONFIG has Pods of its own: unset it to use a control plane of our own")

    def audit_events(self, where: Callable[[dict[str, Any]], bool] = lambda _: True) -> list[dict[str, Any]]:
        """Refuse: nobody says where an existing cluster keeps its audit log, or whether it has one."""
        raise ClusterError("no audit log of the cluster in KUBECONFIG: unset it to use a control plane of our own")


def _audit_policy(readers: Sequence[str]) -> dict[str, Any]:
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "nonResourceURLs": ["*"]},
            {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
            {"level": "Metadata", "verbs": ["get", "list", "watch"], "users": list(readers)},
        ],
    }


def _private_key() -> str:
    """Return a fresh P-256 key as PEM (SEC 1 without the optional public part, which Go derives)."""
    curve = bytes.fromhex("a00a06082a8648ce3d030107")
    der = bytes.fromhex("30310201010420") + secrets.token_bytes(32) + curve
    return f"-----BEGIN EC PRIVATE KEY-----\n{base64.b64encode(der).decode()}\n-----END EC PRIVATE KEY-----\n"
