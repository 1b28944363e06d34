"""What processes took, from /proc, and percentiles."""

import math
import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
QUIET_SHARE = 0.15
LOOK_SECONDS = 1.0


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU seconds that these processes have taken, user and system, all threads."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def memory_mib(pid: int) -> tuple[float, float]:
    """Return the resident memory of a process, now and at its highest, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, highest = (re.search(rf"{name}:\s+(\d+) kB", status) for name in ("VmRSS", "VmHWM"))
    assert now
    assert highest
    return int(now[1]) / 1024, int(highest[1]) / 1024


def wait_until_quiet(seconds: float) -> float:
    """Wait until all cores together were idle for a second, but for a small share; return the share of that second."""
    until = time.monotonic() + seconds
    while True:
        before = _machine()
        time.sleep(LOOK_SECONDS)
        busy, total = (after - first for after, first in zip(_machine(), before, strict=True))
        if busy / total < QUIET_SHARE or time.monotonic() > until:
            return busy / total


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share (0..1) of the values does not exceed; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _machine() -> tuple[int, int]:
    """Return the ticks of all cores since boot: those at work, and all."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)
