"""A cluster that goes on when the command that started it has ended: one per user, known by its state file."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.processes import ClusterError, Guarded, command_line, wait_for
from tests.localcluster.rayhead import RayHead

DOWN_TIMEOUT_SECONDS = 30.0


def state_directory() -> Path:
    """`$XDG_STATE_HOME/rayjobwatch`."""
    base = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(base).absolute() / "rayjobwatch"


def state_file() -> Path:
    """`$XDG_STATE_HOME/rayjobwatch/up.json`."""
    return state_directory() / "up.json"


@dataclass(frozen=True)
class Detached:
    """What was started: `guards` are pids with their command lines, so that no reused pid is ever killed."""

    exports: dict[str, str] = field(default_factory=dict)
    guards: dict[int, str] = field(default_factory=dict)

    @classmethod
    def load(cls) -> Self:
        """Return what the state file says; nothing when there is none."""
        with contextlib.suppress(FileNotFoundError):
            state = json.loads(state_file().read_text())
            return cls(state["exports"], {int(pid): line for pid, line in state["guards"].items()})
        return cls()

    def save(self) -> None:
        """Write the state file."""
        state_file().parent.mkdir(parents=True, exist_ok=True)
        state_file().write_text(json.dumps(asdict(self), indent=1))

    def running(self) -> list[int]:
        """Return the guards that still live."""
        return [pid for pid, line in self.guards.items() if command_line(pid) == line]

    def end(self) -> None:
        """End what was started, and return when it is gone."""
        for pid in self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_for("the end of the local cluster", lambda: not self.running(), timeout=DOWN_TIMEOUT_SECONDS)
        state_file().unlink(missing_ok=True)


def up(*, with_ray: bool = True) -> Detached:
    """Start a control plane, and a Ray head, that go on after us; ClusterError when one is up already."""
    if Detached.load().running():
        raise ClusterError("a local cluster is up already: `python -m tests.localcluster down` ends it")
    with contextlib.ExitStack() as undo:
        control_plane = undo.enter_context(ControlPlane.from_environment())
        ray_head = undo.enter_context(RayHead()) if with_ray else None
        made = detach(control_plane, ray_head)
        undo.pop_all()
    return made


def detach(control_plane: ControlPlane, ray_head: RayHead | None, *more: Guarded) -> Detached:
    """Let these go on after us, and note in the state file what they are."""
    exports = {"KUBECONFIG": str(control_plane.kubeconfig), "PATH": f"{control_plane.kubectl_path.parent}:$PATH"}
    pids = control_plane.pids + [part.pid for part in more]
    if ray_head:
        exports |= {"PATH": f"{exports['PATH']}:{ray_head.bin}", "RAY_API_SERVER_ADDRESS": ray_head.dashboard_url}
        pids.append(ray_head.pid)
    made = Detached(exports, {pid: command_line(pid) for pid in pids})
    made.save()
    control_plane.detach()
    if ray_head:
        ray_head.detach()
    for part in more:
        part.detach()
    return made
