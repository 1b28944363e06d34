"""What our image holds, without a container: the locked dependencies and the package, and nothing of development."""

import functools
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.run import ROOT
from tests.localcluster.venvs import ensure_venv

INSTALL_SECONDS = 120


@functools.cache
def python() -> Path:
    """Return an interpreter with the dependencies of the image; a development's would load more (httpx: rich)."""
    # Compiled, as pip leaves them in the image: there nothing can be written at the start.
    return ensure_venv("operator", ROOT / "requirements" / "operator.txt", "--compile-bytecode") / "python"


def environment() -> dict[str, str]:
    """Return our environment with what the image sets, and the package where `python` finds it."""
    return {**os.environ, **settings((ROOT / "Dockerfile").read_text()), "PYTHONPATH": _package().name}


def settings(dockerfile: str) -> dict[str, str]:
    """Return the variables that the last stage of a Dockerfile sets, but for PATH."""
    stage = dockerfile.rpartition("\nFROM ")[2].replace("\\\n", " ")
    words = [word for line in stage.splitlines() if line.startswith("ENV ") for word in shlex.split(line)[1:]]
    return {name: value for name, _, value in (word.partition("=") for word in words) if name != "PATH"}


@functools.cache
def _package() -> tempfile.TemporaryDirectory[str]:
    """Install the package as it is now; it is removed with our end."""
    directory = tempfile.TemporaryDirectory(prefix="rjw-package-")
    options = ["--quiet", "--disable-pip-version-check", "--no-build-isolation", "--no-deps"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", directory.name, str(ROOT)]
    subprocess.run(command, check=True, timeout=INSTALL_SECONDS)
    return directory
