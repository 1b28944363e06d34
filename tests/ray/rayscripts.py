"""Python that runs in Ray's own venv, against a head of ours."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.localcluster.rayvenv import ensure_ray

if TYPE_CHECKING:
    from tests.localcluster.rayhead import RayHead


def run_in_ray(head: RayHead, code: str, *, timeout: float = 60) -> str:
    """Run `import ray` and this code, with `RAY_ADDRESS` set to the head; return what it printed."""
    address = f"{head.node_ip}:{head.ports.gcs}"
    done = subprocess.run(
        [ensure_ray() / "python", "-c", f"import ray\n{code}"],
        env=head.cli_environment() | {"RAY_ADDRESS": address, "RAY_DEDUP_LOGS": "0"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
