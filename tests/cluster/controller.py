"""The controller as a user runs it: its own process, under its own ServiceAccount."""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

START_SECONDS = 30


class Program:
    """A program that runs until SIGTERM; what it logs goes to `log`. `environment`: None for ours."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = command
        self._environment = environment
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; it is at work as soon as it has found the API server."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )

    def kill(self) -> None:
        """End the process at once, as an evicted node does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> float:
        """Ask the process to end; return how many seconds it took. It must end by itself, with code 0."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return 0.0
        self._wait_for_handler(process)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            raise AssertionError(f"the controller did not end:\n{self.tail()}") from None
        assert code == 0, f"the controller ended with {code}:\n{self.tail()}"
        return time.monotonic() - started

    @staticmethod
    def _wait_for_handler(process: subprocess.Popen[bytes]) -> None:
        """Wait until a process that was just started has set up what it does at SIGTERM."""
        status = Path(f"/proc/{process.pid}/status")
        until = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < until:
            caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
            if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
                return
            time.sleep(0.05)

    def tail(self, lines: int = 60) -> str:
        """Return the end of the log, for messages."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Controller(Program):
    """`rayjobwatch run` in a process of its own."""

    def __init__(self, kubeconfig: Path, log: Path, *arguments: str) -> None:
        command = [sys.executable, "-W", "error::ResourceWarning", "-m", "rayjobwatch", "run"]
        super().__init__([*command, "--kubeconfig", str(kubeconfig), *arguments], log)
