"""Starting what is measured, and printing tables."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.localcluster.rayvenv import ensure_ray

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).parents[2]
READER_SECONDS = 180


@dataclass(frozen=True)
class Result:
    """What one reader took."""

    lines: int
    seconds: float
    cpu: float
    grown: int
    delays: list[float]
    failure: str | None


def python_for(kind: str) -> str:
    """Return the interpreter that a reader of this kind needs."""
    return str(ensure_ray() / "python") if kind.startswith("ray") else sys.executable


def environment() -> dict[str, str]:
    """Nothing of the caller's Ray; the tests importable."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return clean | {"PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)), "RAY_AUTH_MODE": "disabled"}


def start_reader(kind: str, url: str, job: str, count: int, *warm: str) -> subprocess.Popen[str]:
    command = [python_for(kind), "-m", "tests.bench.reader", kind, url, job, str(count), *warm]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=ROOT
    )


def result_of(reader: subprocess.Popen[str]) -> Result:
    """Wait for a reader; one that does not end is killed and told as a failure."""
    try:
        out, err = reader.communicate(timeout=READER_SECONDS)
    except subprocess.TimeoutExpired:
        reader.kill()
        reader.communicate()
        return Result(0, READER_SECONDS, 0, 0, [], f"not done after {READER_SECONDS} s")
    if not out.strip():
        return Result(0, 0, 0, 0, [], (err.strip().splitlines() or ["died"])[-1][:200])
    return Result(**json.loads(out.splitlines()[-1]))


def read(kind: str, url: str, job: str, count: int = 0, *warm: str) -> Result:
    return result_of(start_reader(kind, url, job, count, *warm))


@contextlib.contextmanager
def stub(*jobs: str) -> Iterator[str]:
    """Run the stub dashboard with these jobs ready; yields its URL."""
    command = [sys.executable, "-m", "tests.bench.stub", *jobs]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
            process.wait(20)


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")


def p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))] if values else float("nan")


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table, row by row as it comes."""
    print(f"\n{title}\n")
    widths = [max(len(name), 12) for name in header]
    widths[0] = 44
    print("  ".join(f"{name:<{width}}" for name, width in zip(header, widths, strict=True)))
    for row in rows:
        print("  ".join(f"{cell!s:<{width}}" for cell, width in zip(row, widths, strict=True)), flush=True)


def machine() -> str:
    """Say what this was measured on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load average before {load}"
    )
