"""Everything that takes minutes once: Kubernetes is built while Ray is installed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.localcluster.binaries import Binaries, ensure_binaries
from tests.localcluster.rayvenv import ensure_ray

if TYPE_CHECKING:
    from pathlib import Path


def prepare() -> tuple[Binaries, Path]:
    """Return the control plane's programs and the `bin` directory of Ray's venv, both made where missing."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        ray = pool.submit(ensure_ray)
        binaries = pool.submit(ensure_binaries)
        return binaries.result(), ray.result()
