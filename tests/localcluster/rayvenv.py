"""Ray itself, in a virtual environment of its own: the controller's stays free of it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.localcluster.venvs import ensure_venv

LOCKS = {"2.60.0": "ray-requirements.txt", "2.9.3": "ray-oldest-requirements.txt"}
RAY_VERSION = os.environ.get("RAYJOBWATCH_RAY_VERSION", "2.60.0")


def ensure_ray() -> Path:
    """Return the `bin` directory of a venv with Ray; installs it at the first call (627 MB).

    `RAYJOBWATCH_RAY_VERSION` chooses another version than the newest, of those that have a lock.
    """
    return ensure_venv(f"ray-{RAY_VERSION}", Path(__file__).with_name(LOCKS[RAY_VERSION]))
