"""One measurement in a process of its own: follow a job's log and tell what it took, as JSON.

`python -m tests.bench.reader KIND URL JOB COUNT [WARM]`. It runs in our venv and, for kind `ray-sdk`, in Ray's; so it
imports nothing but what KIND needs. COUNT ends the reading after that many numbered or other lines, 0 reads to the
end. With WARM another job is read first, and the memory is what came on top of that.

A line `START t` sets the clock (real Ray: when the job began to write), a line `T t` is one sample of latency.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

Take = Callable[[Any], bool]


class Meter:
    """Counts lines; remembers the job's start and each line's latency."""

    def __init__(self, count: int) -> None:
        self.wanted = count
        self.lines = 0
        self.started = time.time()
        self.delays: list[float] = []

    def line(self, line: str) -> bool:
        """Count a line; return whether that is enough."""
        if line[:6] == "START ":
            self.started = float(line[6:])
        elif line[:2] == "T ":
            self.delays.append(time.time() - float(line[2:]))
        else:
            self.lines += 1
        return self.lines == self.wanted

    def batch(self, lines: Sequence[str]) -> bool:
        """Count lines by the batch; return whether that is enough."""
        self.lines += len(lines)
        return self.wanted > 0 and self.lines >= self.wanted


def read_sync(url: str, job: str, protocol: str, take: Take, *, batches: bool) -> None:
    from rayjobwatch.ray import RayClient, StreamLimits

    with RayClient(url, stream_limits=StreamLimits.unbounded()) as client:
        if batches:
            any(take(batch.lines) for batch in client.tail_job_log_batches(job, protocol=protocol))  # type: ignore[arg-type]
        else:
            any(map(take, client.tail_job_logs(job, protocol=protocol)))  # type: ignore[arg-type]


async def read_async(url: str, job: str, protocol: str, take: Take, *, batches: bool) -> None:
    from rayjobwatch.ray import AsyncRayClient, StreamLimits

    async with AsyncRayClient(url, stream_limits=StreamLimits.unbounded()) as client:
        if batches:
            async for batch in client.tail_job_log_batches(job, protocol=protocol):  # type: ignore[arg-type]
                if take(batch.lines):
                    return
        else:
            async for line in client.tail_job_logs(job, protocol=protocol):  # type: ignore[arg-type]
                if take(line):
                    return


async def read_ray_sdk(url: str, job: str, _: str, take: Take, *, batches: bool) -> None:
    from ray.job_submission import JobSubmissionClient  # type: ignore[import-not-found,unused-ignore]

    async for chunk in JobSubmissionClient(url).tail_job_logs(job):
        if _take_all(chunk.split("\n")[:-1], take, batches=batches):
            return


async def read_aiohttp(url: str, job: str, _: str, take: Take, *, batches: bool) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        address = f"{url}/api/jobs/{job}/logs/tail"
        async with session.ws_connect(address, compress=0, autoping=False, max_msg_size=1 << 27) as tail:
            async for message in tail:
                if _take_all(message.data.split("\n")[:-1], take, batches=batches):
                    return


def _take_all(lines: list[str], take: Take, *, batches: bool) -> bool:
    return take(lines) if batches else any(map(take, lines))


def follow(kind: str, url: str, job: str, meter: Meter) -> None:
    """Read with that kind of client until the end, or until the meter has enough."""
    name, _, protocol = kind.partition(":")
    name, _, mode = name.partition("/")
    batches = mode == "batches"
    take: Take = meter.batch if batches else meter.line
    if name == "sync":
        read_sync(url, job, protocol, take, batches=batches)
    else:
        readers = {"async": read_async, "ray-sdk": read_ray_sdk, "aiohttp": read_aiohttp}
        asyncio.run(readers[name](url, job, protocol, take, batches=batches))


def main() -> None:
    """Print what it took: lines, seconds, CPU seconds, KiB of peak memory on top of the start, latencies."""
    kind, url, job, count, *warm = sys.argv[1:]
    for other in warm:
        follow(kind, url, other, Meter(0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    meter, cpu, began = Meter(int(count)), time.process_time(), time.time()
    failure = None
    try:
        follow(kind, url, job, meter)
    except Exception as error:  # noqa: BLE001 - how a client fails is a result
        failure = f"{type(error).__name__}: {error}"[:200]
    ended = time.time()
    result = {
        "lines": meter.lines,
        "seconds": ended - max(meter.started, began),
        "cpu": time.process_time() - cpu,
        "grown": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak,
        "delays": meter.delays,
        "failure": failure,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
