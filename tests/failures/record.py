"""Run the jobs on a real Ray head and keep their rows and logs: python -m tests.failures.record [PART-OF-ID …]."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rayjobwatch.ray import ClientError, RayClient
from tests.failures.cases import HERE, RECORDED, Case, all_cases, fakes
from tests.localcluster.processes import ClusterError, wait_for
from tests.localcluster.rayhead import RayHead
from tests.localcluster.rayvenv import ensure_ray
from tests.localcluster.venvs import ensure_venv

AT_ONCE = 4
JOB_SECONDS = 90.0
KEPT = ("status", "type", "entrypoint", "message", "error_type", "driver_exit_code", "start_time", "end_time")
LONG = "x" * 140_000


class Recorder:
    """Records cases on one head."""

    def __init__(self, head: RayHead, scratch: Path, packages: Path) -> None:
        self._head = head
        self._scratch = scratch
        self._packages = packages
        self._client = RayClient(head.dashboard_url)

    def record(self, case: Case) -> str:
        """Run one case to its end and write down its row and log; returns what happened."""
        try:
            return self._record(case)
        except (ClusterError, ClientError) as error:
            return f"{case.id}: NOT RECORDED: {error}"

    def _record(self, case: Case) -> str:
        job = self._client.submit_job(_entrypoint(case), self._runtime_env(case))
        if case.stop:
            log = self._head.driver_log(job)
            wait_for(case.stop, lambda: log.exists() and case.stop in log.read_text(), timeout=JOB_SECONDS)
            self._head.stop_job(job)
        row = self._head.wait_job(job, timeout=JOB_SECONDS)
        self._write(case, job, row)
        return f"{case.id}: {row['status']} {row['driver_exit_code']} {row['error_type']}"

    def _runtime_env(self, case: Case) -> dict[str, Any]:
        folder = self._scratch / "sources" / case.id
        write_files(folder, case.files or {"README": case.id})
        env: dict[str, Any] = {"working_dir": str(folder), **case.runtime_env}
        paths = [str(self._scratch / "site-packages")] if case.extras.get("fakes") else []
        paths += [str(self._packages)] if case.extras.get("packages") else []
        return env | ({"env_vars": {"PYTHONPATH": ":".join(paths)}} if paths else {})

    def _write(self, case: Case, job: str, row: dict[str, Any]) -> None:
        log = self._head.driver_log(job)
        kept = {key: row.get(key) for key in KEPT}
        kept["entrypoint"] = row["entrypoint"][:200]
        text = self._neutral(json.dumps(kept, indent=1, ensure_ascii=False))
        (RECORDED / f"{case.id}.json").write_text(text + "\n")
        (RECORDED / f"{case.id}.log").write_text(
            self._neutral(log.read_text(errors="surrogateescape")) if log.exists() else "",
            errors="surrogateescape",
        )

    def _neutral(self, text: str) -> str:
        """Replace the paths of this machine by those of a usual Ray image."""
        session = self._head.session_directory
        venv = ensure_ray().parent
        for path, shown in (
            (str(session.parent), "/tmp/ray"),
            (str(self._packages), "/home/ray/venv/lib/python3.11/site-packages"),
            (str(self._scratch), "/home/ray/venv/lib/python3.11"),
            (str(venv), "/home/ray/venv"),
            (sys.base_prefix, "/usr/local"),
            (str(Path.home()), "/home/ray"),
            (LONG, "x" * 100),
        ):
            text = text.replace(path, shown)
        return text


def _entrypoint(case: Case) -> str:
    run = case.run.replace("LONG", LONG)
    return f"{case.shell} -c {shlex.quote(run)}" if case.shell else run


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write the texts of `files` below `folder`."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main(wanted: list[str]) -> int:
    """Record the cases whose id has one of the `wanted` parts; all without one."""
    cases = [case for case in all_cases() if not wanted or any(part in case.id for part in wanted)]
    RECORDED.mkdir(exist_ok=True)
    packages = ensure_venv("failures", HERE / "requirements.txt").parent / "lib"
    packages = next(packages.glob("python*")) / "site-packages"
    scratch = Path(tempfile.mkdtemp(prefix="rjw-failures-"))
    for files in fakes().values():
        write_files(scratch / "site-packages", files)
    try:
        with RayHead(num_cpus=16) as head, ThreadPoolExecutor(AT_ONCE) as pool:
            recorder = Recorder(head, scratch, packages)
            for told in pool.map(recorder.record, cases):
                print(told, flush=True)
    finally:
        shutil.rmtree(scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
