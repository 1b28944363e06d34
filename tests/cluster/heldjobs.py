"""Jobs of a real head that write a line now and then until they are told how to end."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from tests.localcluster.rayhead import RayHead

# Without a process for each line: ten of them leave the machine to others. Nobody writes to the pipe that it waits at:
# a `read` whose time is up just then loses what was written.
ENTRYPOINT = """bash -c '
exec 3<>"$0"
until [ -e "$0.code" ]; do read -t 0.5 -u 3; echo "line $((number++))"; done
read code <"$0.code"
echo "told to end with $code"
exit "$code"' """


class HeldJobs:
    """The jobs of one head; `ends` has, for each, how it may be said to have ended: no way while it goes on."""

    def __init__(self, head: RayHead, directory: Path) -> None:
        self.ends: dict[str, set[str]] = {}
        self._head = head
        self._directory = directory

    def submit(self, count: int) -> list[str]:
        """Submit so many, and return their ids once Ray has taken them."""
        names = [f"job-{uuid4().hex[:8]}" for _ in range(count)]
        for name in names:
            os.mkfifo(self._directory / name)
            self.ends[name] = set()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._submit, names))
        return names

    def _submit(self, name: str) -> None:
        self._head.submit(f"{ENTRYPOINT}{self._directory / name}", submission_id=name)

    def end(self, job: str, code: int, *, perhaps: str = "") -> None:
        """Have a job that runs end with an exit code; `perhaps`: what may be said of it instead."""
        self.ends[job] = {"Failed" if code else "Succeeded", perhaps} - {""}
        written = self._directory / f"{job}.part"
        written.write_text(f"{code}\n")
        written.rename(self._directory / f"{job}.code")

    def lose(self) -> list[str]:
        """Take it that those that go on are lost; return them."""
        lost = [job for job, ends in self.ends.items() if not ends]
        self.ends |= {job: {"Lost"} for job in lost}
        return lost
