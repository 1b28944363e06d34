"""Runs one command and ends with it everything that came of it; started as a program of its own.

`guard.py OWNED|DETACHED DIRECTORY COMMAND...`: when OWNED, the end of stdin (the owner died or said so) is the sign to
stop; SIGTERM always is. Processes that leave their session or are orphaned still come back to the guard, since it is
their subreaper. `DIRECTORY` is removed last ("-" for none). Standard library only: it must start at once.
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

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
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


def end_descendants() -> None:
    """Kill until none is left: a process may fork while the others are being killed."""
    while below := descendants(os.getpid()):
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        reap()
        time.sleep(0.01)


def reap() -> bool:
    """Collect the dead; False when there is no child left, dead or alive."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def wait(owned: bool) -> None:
    """Return when nothing is left to guard or the sign to stop came."""
    inbox, outbox = os.pipe()
    os.set_blocking(outbox, False)
    signal.set_wakeup_fd(outbox, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if owned:
        watch_owner(outbox)
    while reap():
        if set(os.read(inbox, 64)) & {signal.SIGTERM, signal.SIGINT}:
            return


def watch_owner(outbox: int) -> None:
    """Turn the end of stdin into the sign to stop."""

    def read_to_end() -> None:
        while os.read(0, 64):
            pass
        os.write(outbox, bytes([signal.SIGTERM]))

    threading.Thread(target=read_to_end, daemon=True).start()


def die_with_parent() -> None:
    """Take the command along at least, should the guard itself be killed."""
    PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(mode: str, directory: str, *command: str) -> int:
    """Guard the command; the directory is gone at the end."""
    PRCTL(PR_SET_CHILD_SUBREAPER, 1)
    subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)  # noqa: PLW1509 - no thread yet
    wait(mode == "OWNED")
    end_descendants()
    if directory != "-":
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
