"""Where built and downloaded things live, one builder at a time, and how progress is said."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CLEAR = "\r\x1b[K" if sys.stderr.isatty() else ""
PROGRESS_SECONDS = 3 if CLEAR else 20
LOCK_TIMEOUT_SECONDS = 4000


def say(text: str) -> None:
    """Tell the user, on stderr, what is being done."""
    print(f"{CLEAR}[localcluster] {text}", file=sys.stderr, flush=True)


def say_progress(text: str) -> None:
    """Like `say`; on a terminal the next line takes its place."""
    print(f"{CLEAR}[localcluster] {text}", end="" if CLEAR else "\n", file=sys.stderr, flush=True)


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/rayjobwatch`, made when missing; it may be removed at any time when nothing runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    directory = Path(base).absolute() / "rayjobwatch"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def fingerprint(*files: Path, text: str = "") -> str:
    """Twelve hex digits that change when any byte of the files or of the text does."""
    digest = hashlib.sha256(text.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the machine-wide lock of that name; says so when another process has it, and waits an hour at most."""
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    with (cache_dir() / f"{name}.lock").open("w") as file:
        while not _is_mine(file):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{file.name} is still held by another process after {LOCK_TIMEOUT_SECONDS} s")
            say_progress(f"{name}: another process is at it; waiting for its end")
            time.sleep(PROGRESS_SECONDS)
        yield


def _is_mine(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
