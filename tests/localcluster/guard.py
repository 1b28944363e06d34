"""Runs one command and ends with it everything that came of it; started as a program of its own.

`guard.py DIRECTORY COMMAND...`: the end of stdin (the owner died, or wants it so) is the sign to stop, unless the owner
wrote `DETACH` before; SIGTERM always is. Processes that leave their session or are orphaned still come back to the
guard, since it is their subreaper. `DIRECTORY` is removed last ("-" for none). Standard library only: it must start at
once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

DETACH = b"detach\n"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
REMOVE_TIMEOUT_SECONDS = 5.0
PRCTL = ctypes.CDLL(None, use_errno=True).prctl


def parents() -> dict[int, int]:
    """Every process of the machine with its parent's pid."""
    found = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                found[int(process.name)] = int((process / "stat").read_bytes().rpartition(b")")[2].split()[1])
    return found


def descendants(root: int) -> list[int]:
    """Return the pids below `root`, children before grandchildren."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found = list(children.get(root, []))
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def end_descendants(ended: dict[int, int]) -> None:
    """Kill until none is left: a process may fork while the others are being killed."""
    while below := descendants(os.getpid()):
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        reap(ended)
        time.sleep(0.01)


def reap(ended: dict[int, int]) -> bool:
    """Collect the dead into pid -> wait status; False when there is no child left, dead or alive."""
    try:
        while (dead := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            ended[dead[0]] = dead[1]
    except ChildProcessError:
        return False
    return True


def signal_pipe() -> tuple[int, int]:
    """Return a pipe into which the number of each signal that concerns us is written."""
    inbox, outbox = os.pipe()
    os.set_blocking(outbox, False)
    signal.set_wakeup_fd(outbox, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return inbox, outbox


def wait(inbox: int, ended: dict[int, int]) -> None:
    """Return when nothing is left to guard or the sign to stop came."""
    while reap(ended):
        if set(os.read(inbox, 64)) & {signal.SIGTERM, signal.SIGINT}:
            return


def watch_owner(outbox: int) -> None:
    """Turn the end of stdin into the sign to stop, unless the last word was `DETACH`."""

    def read_to_end() -> None:
        last = b""
        while word := os.read(0, 64):
            last = word
        if last != DETACH:
            os.write(outbox, bytes([signal.SIGTERM]))

    threading.Thread(target=read_to_end, daemon=True).start()


def die_with_parent() -> None:
    """Take the command along at least, should the guard itself be killed."""
    PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)


def remove(directory: str) -> None:
    """Remove it, also while another guard's process is just being killed and still writes there."""
    deadline = time.monotonic() + REMOVE_TIMEOUT_SECONDS
    while Path(directory).exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.01)


def main(directory: str, *command: str) -> int:
    """Guard the command and return its exit code (negative: the signal that ended it); then the directory is gone."""
    PRCTL(PR_SET_CHILD_SUBREAPER, 1)
    inbox, outbox = signal_pipe()
    ended: dict[int, int] = {}
    first = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)  # noqa: PLW1509 - no thread yet
    watch_owner(outbox)
    wait(inbox, ended)
    end_descendants(ended)
    first.returncode = os.waitstatus_to_exitcode(ended.get(first.pid, signal.SIGKILL))
    if directory != "-":
        remove(directory)
    return first.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
