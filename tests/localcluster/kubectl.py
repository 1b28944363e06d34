"""What tests and the demo do to a Kubernetes cluster, whoever runs it: kubectl, and a little on top."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.localcluster.processes import ClusterError, clean_environment, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

CRD_TIMEOUT_SECONDS = 30.0
TOKEN_DURATION = "8h"

Manifest = Path | str | dict[str, Any] | list[dict[str, Any]]


class KubectlError(ClusterError):
    """kubectl ended with an error; `stderr` is what it said."""

    def __init__(self, args: tuple[str, ...], code: int, stderr: str) -> None:
        """Name the command and its last words."""
        super().__init__(f"kubectl {' '.join(args)}: exit {code}\n{stderr.strip()[-3000:]}")
        self.stderr = stderr


class Cluster:
    """A cluster that can be reached; `directory` takes our files (kubeconfigs, kubectl's cache)."""

    is_foreign = False

    def __init__(self) -> None:
        """Say nothing yet about where it is: `kubeconfig`, `directory` and `kubectl_path` come with its start."""
        self.kubeconfig = Path()
        self.directory = Path()
        self.kubectl_path = Path()

    def environment(self) -> dict[str, str]:
        """Return the environment in which kubectl talks to this cluster as its administrator."""
        path = f"{self.kubectl_path.parent}:{os.environ.get('PATH', '')}"
        cache = str(self.directory / "kubectl-cache")
        return clean_environment("KUBE", KUBECONFIG=str(self.kubeconfig), KUBECACHEDIR=cache, PATH=path)

    def kubectl(
        self,
        *args: str,
        input: str | None = None,  # noqa: A002 - subprocess's own name
        timeout: float = 60.0,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator; KubectlError when it fails and `check`, ClusterError after `timeout` s."""
        command = [str(self.kubectl_path), *args]
        try:
            done = subprocess.run(
                command,
                input=input,
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"kubectl {' '.join(args)}: not done within {timeout:.0f} s") from error
        if check and done.returncode:
            raise KubectlError(args, done.returncode, done.stderr)
        return done

    def get(self, *args: str) -> dict[str, Any]:
        """`kubectl get ARGS -o json`, decoded."""
        decoded: dict[str, Any] = json.loads(self.kubectl("get", *args, "-o", "json").stdout)
        return decoded

    def apply(self, manifest: Manifest, *flags: str) -> list[str]:
        """Apply a file, a kustomization's directory, an object or a list of objects; returns `kind/name` of each.

        Where there are CustomResourceDefinitions among them, returns only when their kinds can be listed.
        """
        source, text = _source(manifest)
        applied = self.kubectl("apply", *source, *flags, "-o", "name", input=text).stdout.split()
        for name in applied:
            if name.startswith("customresourcedefinition"):
                self.wait_established(name.partition("/")[2])
        return applied

    @contextlib.contextmanager
    def namespace(self, prefix: str = "test") -> Iterator[str]:
        """Make a namespace of a random name; its deletion is begun at the end, not waited for."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        self.kubectl("create", "namespace", name)
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig with a token of that ServiceAccount, good for eight hours, and nothing else."""
        token = self.kubectl("create", "token", name, "-n", namespace, f"--duration={TOKEN_DURATION}").stdout.strip()
        view = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json").stdout)
        path = self.directory / f"kubeconfig-{namespace}-{name}-{secrets.token_hex(3)}"
        write_kubeconfig(path, view["clusters"][0]["cluster"], name, token)
        return path

    def wait_established(self, crd: str) -> None:
        """Return when the kind of that CustomResourceDefinition (`plural.group`) can be listed.

        The condition Established would not do: lists may answer 429 "storage is (re)initializing" for a moment after
        it, and `kubectl wait` fails at once where there are no conditions yet.
        """
        wait_for(
            f"the API of {crd}",
            lambda: self.kubectl("get", crd, "-A", check=False).returncode == 0,
            timeout=CRD_TIMEOUT_SECONDS,
        )


def write_kubeconfig(path: Path, cluster: dict[str, Any], user: str, token: str, namespace: str = "default") -> None:
    """Write a kubeconfig (JSON is YAML) that only we can read."""
    context = {"cluster": "local", "user": user, "namespace": namespace}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "local", "context": context}],
        "current-context": "local",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))


def _source(manifest: Manifest) -> tuple[list[str], str | None]:
    if isinstance(manifest, dict):
        return ["-f", "-"], json.dumps(manifest)
    if isinstance(manifest, list):
        return ["-f", "-"], json.dumps({"apiVersion": "v1", "kind": "List", "items": manifest})
    is_kustomization = (Path(manifest) / "kustomization.yaml").exists()
    return ["-k" if is_kustomization else "-f", str(manifest)], None
