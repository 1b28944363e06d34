"""`make bench`: our client beside Ray's own, in one run, on real Ray and on a stub that sends as fast as it can."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

from tests.bench import run
from tests.localcluster.rayhead import RayHead
from tests.localcluster.rayvenv import RAY_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = 200_000
STUB_LINES = 2_000_000
RUNS = 3
PROTOCOLS = ("auto", "websocket", "http")
OURS = [f"{flavour}:{protocol}" for protocol in PROTOCOLS for flavour in ("sync", "async")]
SDK = "ray-sdk"
FLOOD = (
    "import sys, time; print('READY', flush=True); time.sleep(5); "
    f"text = ''.join('%08d ' % n + 'x' * 90 + '\\n' for n in range({LINES})); "
    "print('START', time.time(), flush=True); sys.stdout.write(text); sys.stdout.flush(); time.sleep(3)"
)
TICKS = "import time\nfor n in range(30):\n    time.sleep(0.63)\n    print('T', time.time(), flush=True)"
IMPORTS = {
    "import rayjobwatch.ray; RayClient": (sys.executable, "from rayjobwatch.ray import RayClient"),
    "import rayjobwatch.ray; AsyncRayClient": (sys.executable, "from rayjobwatch.ray import AsyncRayClient"),
    "ray.job_submission.JobSubmissionClient": ("ray", "from ray.job_submission import JobSubmissionClient"),
    "import ray": ("ray", "import ray"),
}
FAIL = {
    "ours": "from rayjobwatch.ray import RayClient; RayClient({url!r}{options}).list_jobs()",
    "ray": "from ray.job_submission import JobSubmissionClient; JobSubmissionClient({url!r}).list_jobs()",
}
PATIENCE = 45


def name_of(kind: str) -> str:
    name, _, protocol = kind.partition(":")
    name, _, mode = name.partition("/")
    client = {"ray-sdk": "Ray's SDK", "aiohttp": "bare aiohttp WebSocket"}.get(name, f"ours, {name}, {protocol}")
    return f"{client}, {mode}" if mode else client


def submit(head: RayHead, code: str) -> str:
    import shlex

    job_id = f"bench-{uuid.uuid4().hex[:12]}"
    return head.submit(f"python -c {shlex.quote(code)}", submission_id=job_id)


def flood_once(head: RayHead, kind: str) -> run.Result:
    """Write all lines at once while one reader follows: seconds from the first write to the last line."""
    job_id = submit(head, FLOOD)
    head.wait_job(job_id, {"RUNNING"})
    result = run.read(kind, head.dashboard_url, job_id, LINES)
    head.wait_job(job_id)
    return result


def floods(head: RayHead) -> Iterator[list[Any]]:
    for kind in (SDK, *OURS):
        results = [flood_once(head, kind) for _ in range(RUNS)]
        seconds = " ".join(f"{result.seconds:.2f}" for result in results)
        cpu = run.median([result.cpu for result in results])
        lost = max(LINES - min(LINES, result.lines) for result in results)
        best = run.median([result.seconds for result in results])
        yield [name_of(kind), seconds, f"{LINES / best / 1e6:.2f} M", f"{cpu / LINES * 1e6:.2f}", lost]


def stub_rows(url: str) -> Iterator[list[Any]]:
    kinds = [
        SDK,
        f"{SDK}/batches",
        "aiohttp",
        "aiohttp/batches",
        *OURS,
        *(f"{flavour}/batches:{protocol}" for protocol in PROTOCOLS for flavour in ("sync", "async")),
    ]
    for kind in kinds:
        results = [run.read(kind, url, f"short-{STUB_LINES}", 0, "short-2000") for _ in range(RUNS)]
        best = min(results, key=lambda result: result.seconds)
        if best.failure:
            yield [name_of(kind), best.failure, "", "", ""]
            continue
        cpu = run.median([result.cpu for result in results])
        rate = STUB_LINES / run.median([result.seconds for result in results])
        yield [
            name_of(kind),
            f"{rate / 1e6:.2f} M",
            f"{STUB_LINES / cpu / 1e6:.2f} M",
            f"{cpu / STUB_LINES * 1e6:.2f}",
            best.lines,
        ]


def memory_rows(url: str) -> Iterator[list[Any]]:
    for kind in (SDK, *OURS):
        cells = []
        for job in ("short-500000", "oneline-50000000"):
            result = run.read(kind, url, job, 0, "short-20000")
            cells += [
                f"{result.grown / 1024:.1f} MiB",
                f"{result.cpu:.2f} s",
                result.failure or f"{result.lines} lines",
            ]
        yield [name_of(kind), *cells]


def latencies(head: RayHead) -> Iterator[list[Any]]:
    """All follow the same job, which prints the time now and then."""
    job_id = submit(head, TICKS)
    head.wait_job(job_id, {"RUNNING"})
    readers = {kind: run.start_reader(kind, head.dashboard_url, job_id, 0) for kind in (SDK, *OURS)}
    for kind, reader in readers.items():
        delays = run.result_of(reader).delays[5:]  # the first ones came before every reader was there
        yield [name_of(kind), f"{run.median(delays):.2f} s", f"{run.p95(delays):.2f} s", len(delays)]


def imports() -> Iterator[list[Any]]:
    measure = (
        "import resource, time; t = time.perf_counter(); {code}; "
        "print(time.perf_counter() - t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    for name, (python, code) in IMPORTS.items():
        command = [run.python_for(python), "-c", measure.format(code=code)]
        said = [
            subprocess.run(
                command, capture_output=True, text=True, env=run.environment(), check=True, timeout=120
            ).stdout.split()
            for _ in range(RUNS)
        ]
        seconds, kib = min(float(each[0]) for each in said), min(int(each[1]) for each in said)
        yield [name, f"{seconds:.3f} s", f"{kib / 1024:.0f} MiB"]


def failures() -> Iterator[list[Any]]:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        urls = {"dead port": "http://127.0.0.1:1", "silent server": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        for client, options in (("ours", ""), ("ours", ", timeout=2"), ("ray", "")):
            cells = [time_to_fail(client, url, options) for url in urls.values()]
            yield [f"{'ours' if client == 'ours' else 'Ray SDK'}{options or ', default'}", *cells]


def time_to_fail(client: str, url: str, options: str) -> str:
    """Return how long one call takes to fail, its imports not counted."""
    code = FAIL[client].format(url=url, options=options)
    imported, _, call = code.partition("; ")
    script = (
        f"{imported}\nimport time, json\nt = time.perf_counter()\ntry:\n    {call}\n"
        "except Exception as e:\n    print(json.dumps([time.perf_counter() - t, type(e).__name__]))"
    )
    command = [run.python_for(client), "-c", script]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=run.environment(), timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"> {PATIENCE} s"
    seconds, kind = json.loads(done.stdout)
    return f"{seconds:.2f} s {kind}"


def main() -> None:
    """Print every table."""
    started = time.monotonic()
    print(f"Machine: {run.machine()}\nRay {RAY_VERSION}; {RUNS} runs each; CPU is the client's process alone.")
    run.table("Import: time and resident memory (best)", ["", "seconds", "memory"], imports())
    run.table("Time to fail of one call", ["", "dead port", "silent server"], failures())
    with run.stub(f"short-{STUB_LINES}", "short-2000", "short-20000", "short-500000", "oneline-50000000") as url:
        header = ["", "lines/s", "lines/s/core", "CPU us/line", "lines"]
        run.table(f"Stub that sends {STUB_LINES} lines of 100 bytes as fast as it can", header, stub_rows(url))
        header = ["", "500k lines", "CPU", "end", "one line", "CPU", "end"]
        run.table(
            "Stub: peak memory on top of a warm client, 50 MB in short lines and in one line", header, memory_rows(url)
        )
    with RayHead(num_cpus=8) as head:
        header = ["", "seconds, each run", "lines/s", "CPU us/line", "lost"]
        run.table(f"Real Ray: {LINES} lines of 100 bytes at once, first write to last line", header, floods(head))
        run.table("Real Ray: print to line", ["", "median", "p95", "samples"], latencies(head))
    print(f"\n{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()
