"""Virtual environments of their own, made once from a lock with hashes and kept in the cache."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import uv

from tests.localcluster.cache import cache_dir, fingerprint, locked, say

if TYPE_CHECKING:
    from pathlib import Path

INSTALL_TIMEOUT_SECONDS = 900
PIP_SETTINGS = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "cert": "SSL_CERT_FILE"}


class InstallError(RuntimeError):
    """A virtual environment could not be made; the text ends with what the installer said."""


def ensure_venv(name: str, lock: Path, *options: str) -> Path:
    """Return the `bin` directory of a venv with exactly what `lock` names, made when it is not there yet.

    options: of `uv pip install`.
    """
    venv = cache_dir() / f"{name}-py{platform.python_version()}-{fingerprint(lock)}"
    if _complete(venv):
        return venv / "bin"
    with locked(venv.name):
        if not _complete(venv):
            _make(venv, lock, *options)
    return venv / "bin"


def _complete(venv: Path) -> bool:
    return (venv / ".complete").exists()


def _make(venv: Path, lock: Path, *options: str) -> None:
    started = time.monotonic()
    say(f"installing {venv.name}")
    shutil.rmtree(venv, ignore_errors=True)
    _uv("venv", "--quiet", "--python", sys.executable, str(venv))
    python = str(venv / "bin/python")
    _uv("pip", "install", "--quiet", "--python", python, *options, "--require-hashes", "-r", str(lock))
    (venv / ".complete").touch()
    say(f"installed {venv.name} in {time.monotonic() - started:.0f} s")


def _uv(*args: str) -> None:
    command = [uv.find_uv_bin(), *args]
    try:
        done = subprocess.run(
            command,
            env=_uv_environment(),
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"uv {args[0]}: not done within {INSTALL_TIMEOUT_SECONDS} s") from error
    if done.returncode:
        raise InstallError(f"uv {' '.join(args)}: exit {done.returncode}\n{done.stderr.strip()[-4000:]}")


def _uv_environment() -> dict[str, str]:
    """Whoever told pip about an index or a certificate means uv too, unless uv was told otherwise."""
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    for setting, variable in PIP_SETTINGS.items():
        if value := _pip_setting(setting):
            environment.setdefault(variable, value.replace("\n", " "))
    return environment


def _pip_setting(name: str) -> str:
    if given := os.environ.get(f"PIP_{name.upper().replace('-', '_')}"):
        return given
    command = [sys.executable, "-m", "pip", "config", "get", f"global.{name}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()
