"""The programs of a control plane: from `KUBEBUILDER_ASSETS`, or built once from Kubernetes' own Go modules."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster.cache import PROGRESS_SECONDS, cache_dir, fingerprint, locked, say, say_progress
from tests.localcluster.gotoolchain import drop_build_cache, ensure_go, go_environment
from tests.localcluster.processes import Guarded, tail

KUBERNETES_VERSION = "1.37.1"
SOURCES = Path(__file__).with_name("go")
# A third less to compile for: no debug information, which is stripped anyway, and no inlining, which tests can spare.
QUICK_COMPILE = "all=-l -dwarf=false"
TEMPORARY = "building-kubernetes-"
NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
LIST_TIMEOUT_SECONDS = 600
BUILD_TIMEOUT_SECONDS = 3600


class BuildError(RuntimeError):
    """The programs could not be built; the text ends with what Go said."""


@dataclass(frozen=True)
class Binaries:
    """Where the programs are; without a controller-manager namespaces stay Terminating and nothing is collected."""

    etcd: Path
    kube_apiserver: Path
    kubectl: Path
    kube_controller_manager: Path | None


def ensure_binaries() -> Binaries:
    """Return the programs; the first call builds them, which takes minutes and says how far it is."""
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        return _from_assets(Path(assets))
    directory = cache_dir() / f"kubernetes-{KUBERNETES_VERSION}-{_key()}"
    if not directory.exists():
        with locked(directory.name):
            if not directory.exists():
                _build(directory)
    return _in_directory(directory)


def _key() -> str:
    flags = " ".join(map(str, _build_arguments(Path())))
    return fingerprint(*(SOURCES / name for name in ("main.go", "go.mod", "go.sum")), text=flags)


def _in_directory(directory: Path) -> Binaries:
    etcd, apiserver, controller_manager, kubectl = (directory / name for name in NAMES)
    return Binaries(etcd, apiserver, kubectl, controller_manager if controller_manager.exists() else None)


def _from_assets(directory: Path) -> Binaries:
    found = _in_directory(directory)
    if missing := [path.name for path in (found.etcd, found.kube_apiserver, found.kubectl) if not path.exists()]:
        raise BuildError(f"KUBEBUILDER_ASSETS={directory} has no {', '.join(missing)}: unset it to build them")
    if found.kube_controller_manager is None:
        say(f"{directory} has no kube-controller-manager: namespaces stay Terminating, owned objects are not collected")
    return found


def _build(directory: Path) -> None:
    started = time.monotonic()
    go = ensure_go()
    say(f"building Kubernetes {KUBERNETES_VERSION}: downloading its Go modules")
    total = _count_packages(go)
    for left_over in cache_dir().glob(f"{TEMPORARY}*"):  # of a builder that was killed: the lock is ours
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix=TEMPORARY) as temporary:
        made = Path(temporary) / "bin"
        made.mkdir()
        _compile(go, made / "localcluster", Path(temporary) / "log", total)
        for name in NAMES:
            (made / name).symlink_to("localcluster")
        made.rename(directory)
    drop_build_cache()
    say(f"built Kubernetes {KUBERNETES_VERSION} in {_minutes(started)}: {directory}")


def _count_packages(go: Path) -> int:
    done = subprocess.run(
        [go, "list", "-modcacherw", "-deps", "."],
        cwd=SOURCES,
        env=go_environment(),
        capture_output=True,
        text=True,
        timeout=LIST_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"go list: exit {done.returncode}\n{done.stderr[-4000:]}")
    return len(done.stdout.splitlines())


def _compile(go: Path, target: Path, log: Path, total: int) -> None:
    started = time.monotonic()
    build = Guarded([go, "-C", SOURCES, *_build_arguments(target)], log=log, environment=go_environment())
    while build.exit_code() is None:
        done = len(log.read_text(errors="replace").splitlines())
        step = f"{done} of {total} packages" if done < total - 1 else "linking"
        say_progress(f"building Kubernetes {KUBERNETES_VERSION}: {step}, {_minutes(started)}")
        build.wait(PROGRESS_SECONDS)
        if time.monotonic() - started > BUILD_TIMEOUT_SECONDS:
            build.end()
    if build.exit_code():
        raise BuildError(f"go build: exit {build.exit_code()} after {_minutes(started)}\n{tail(log)}")


def _build_arguments(target: Path) -> list[str | Path]:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    stamp = {"gitVersion": f"v{KUBERNETES_VERSION}", "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamp.items())
    return [
        *("build", "-v", "-modcacherw", "-trimpath", "-buildvcs=false"),
        *("-gcflags", QUICK_COMPILE, "-ldflags", f"-s -w {flags}", "-o", target, "."),
    ]


def _minutes(started: float) -> str:
    seconds = int(time.monotonic() - started)
    return f"{seconds // 60}m{seconds % 60:02}s"
