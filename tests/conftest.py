"""The local cluster as fixtures: each part is started when the first test wants it and stopped at the session's end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.guard import descendants
from tests.localcluster.processes import command_line
from tests.localcluster.rayhead import RayHead

if TYPE_CHECKING:
    from collections.abc import Iterator


# A machine that is busy makes single examples slow; what hangs is ended by the tests' own time limits.
settings.register_profile("rayjobwatch", deadline=None)
settings.load_profile("rayjobwatch")


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """One API server for the whole session: the one of `KUBECONFIG`, else a local one."""
    with ControlPlane.from_environment() as running:
        yield running


@pytest.fixture(scope="session")
def ray_head() -> Iterator[RayHead]:
    """One Ray head for the whole session; a test that breaks its head makes its own."""
    with RayHead(num_cpus=32) as running:
        yield running


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """Make a fresh namespace, deleted after the test."""
    with control_plane.namespace() as name:
        yield name


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session that leaves a process behind."""
    left = {pid: line for pid in descendants(os.getpid()) if (line := command_line(pid))}
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\n".join(["", "ERROR: these processes were left behind:", *(f"{pid} {left[pid]}" for pid in left)]))
