"""Processes that end with us: each is run by a guard (see `guard.py`) that outlives even our SIGKILL long enough."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.localcluster import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GUARD = Path(guard.__file__)
LOOPBACK = "127.0.0.1"
# Below the range that the kernel takes outgoing ports from, so that no client connection can sit on a server's port.
PORTS = range(15000, 32000)
END_TIMEOUT_SECONDS = 20.0


class ClusterError(RuntimeError):
    """A part of the local cluster did not do what it should; the text says which and shows the end of its log."""


class Guarded:
    """A running command together with everything that comes of it, whatever session it flees to."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        owned_directory: Path | None = None,
    ) -> None:
        """Start it; `log` gets stdout and stderr, `owned_directory` is removed at its end, however we end."""
        self.log = log
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-ISE", GUARD, owned_directory or "-", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The guard's pid."""
        return self._guard.pid

    def alive(self) -> bool:
        """Whether anything of it is left."""
        return self._guard.poll() is None

    def exit_code(self) -> int | None:
        """Exit code of the command once all of it is over, else None; 256 - N when signal N ended it."""
        return self._guard.poll()

    def wait(self, seconds: float) -> None:
        """Return when all of it is over, or after that many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(seconds)

    def processes(self) -> dict[int, str]:
        """Pid and command line of everything that came of the command and lives."""
        return {pid: line for pid in guard.descendants(self.pid) if (line := command_line(pid))}

    def detach(self) -> None:
        """Let it go on after us, until its guard (`pid`) gets SIGTERM."""
        assert self._guard.stdin
        self._guard.stdin.write(guard.DETACH)
        self._guard.stdin.flush()

    def end(self) -> None:
        """Kill all of it and return when nothing is left."""
        if self._guard.stdin:
            self._guard.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            self._guard.send_signal(signal.SIGTERM)
        self._guard.wait(END_TIMEOUT_SECONDS)


def command_line(pid: int) -> str:
    """Return the command line of a process with blanks between its words; empty when it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def free_ports(count: int) -> list[int]:
    """Return that many different ports on which nobody listens now; another process may still be faster."""
    with contextlib.ExitStack() as held:
        return [_hold_free_port(held) for _ in range(count)]


def _hold_free_port(held: contextlib.ExitStack) -> int:
    for port in random.sample(PORTS, 200):
        taken = held.enter_context(socket.socket())
        with contextlib.suppress(OSError):
            taken.bind(("", port))
            return port
    raise ClusterError(f"no free port among 200 tried between {PORTS.start} and {PORTS.stop}")


def wait_for(what: str, check: Callable[[], bool], *, timeout: float, guarded: Guarded | None = None) -> None:
    """Return when `check` is true; ClusterError after `timeout` seconds, or at once when the process is gone."""
    deadline = time.monotonic() + timeout
    while not check():
        if guarded and not guarded.alive():
            raise ClusterError(f"{what}: the process ended\n{tail(guarded.log)}")
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {timeout:.0f} s\n{tail(guarded.log) if guarded else ''}")
        time.sleep(0.05)


def tail(log: Path, lines: int = 25) -> str:
    """Return the last lines of a log file, for an error message."""
    with contextlib.suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return f"(no {log})"


def clean_environment(*dropped_prefixes: str, **added: str) -> dict[str, str]:
    """Our environment without the variables of those prefixes and with no proxy before the loopback addresses."""
    dropped = (*dropped_prefixes, "PYTEST_", "COV_", "PYTHON", "VIRTUAL_ENV")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    no_proxy = ",".join(filter(None, [kept.get("NO_PROXY") or kept.get("no_proxy"), "localhost,127.0.0.1,127.0.0.2"]))
    return kept | {"NO_PROXY": no_proxy, "no_proxy": no_proxy} | added
