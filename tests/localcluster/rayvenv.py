"""Ray itself, in a virtual environment of its own: the controller's stays free of it."""

from __future__ import annotations

from pathlib import Path

from tests.localcluster.venvs import ensure_venv

RAY_VERSION = "2.60.0"
LOCK = Path(__file__).with_name("ray-requirements.txt")


def ensure_ray() -> Path:
    """Return the `bin` directory of a venv with Ray; installs it at the first call (627 MB)."""
    return ensure_venv(f"ray-{RAY_VERSION}", LOCK)
