"""`make requirements`: which test checks which row of the Ray client's requirements.

A test names its rows with `@pytest.mark.requirement("S-02", …)`. The command prints the table id → tests and exits 1
when a row has no test, or a test names a row that does not exist.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections import defaultdict

import pytest

ROWS = {
    "D-01": "job_id=/node_id=/task_id=/name= and pk= are the same argument; two of them are a TypeError",
    "D-02": "timeout defaults to 30.0; stream_timeout is its alias; both given is 400",
    "D-03": "protocol is taken as third positional and as keyword",
    "D-04": "protocols auto, websocket, http, and stream for http; any other is 400 with no request",
    "D-05": "auto falls back by itself; the caller's own try/except fall-back prints the same lines",
    "D-06": "get_job_logs is text whatever the text says; list_job_logs is its alias",
    "D-07": "lists are plain lists; the old envelope's ['results'] and ['count'] answer too",
    "D-08": "each listed job has id, job_id and submission_id that find it again",
    "D-09": "raysubmit_…, job-12345 and 32-digit hex ids are valid",
    "D-10": "status and status_code of an error are the same int",
    "D-11": "400 also means: the job was over already",
    "D-12": "408 is a connection or a read timeout",
    "D-13": "500 is a missing WebSocket library or an internal error",
    "D-14": "503 is a connection that failed or was closed",
    "D-15": "mixin with and without a base, and ready clients, all construct",
    "D-16": "constructor: URL, token, timeout as dict or number; the token shows nowhere",
    "D-17": "stream limits as attribute, in the constructor, per call; queue_size enforced",
    "D-18": "bounded background work, tracked connections, close and context managers",
    "D-19": "lines come without their line end, blank ones included",
    "D-20": "the reference pages' snippets run with only their imports changed",
    "C-01": "mixin plus base has the public names of the ready client",
    "C-02": "the dashboard's URL is enough: slash, prefix, https, IPv6; a wrong scheme is 400",
    "C-03": "connect and read timeouts hold against a silent server",
    "C-04": "sync and async have the same methods, arguments and defaults",
    "C-05": "the token goes with HTTP and WebSocket, never to another origin; agents= limits who is asked",
    "C-06": "no id changes a request's path",
    "C-07": "no secret in an error's text",
    "C-08": "create, monitor, manage, stop; deploy and manage Serve",
    "C-09": "StreamLimits, validation, URL conversion and sanitizing are public",
    "C-10": "two clients never mix hosts, tokens or limits",
    "J-01": "all jobs are listed, drivers too; 5,000 in reasonable time and memory",
    "J-02": "get_job's status is Ray's; unknown is 404",
    "J-03": "start_time in ms, None before the start",
    "J-04": "get_job_logs: the bytes written, decoded with replacement, bounded",
    "J-05": "list_job_logs equals get_job_logs",
    "J-06": "stop_job is graceful and answers status and stopped",
    "J-07": "stopping a finished job is 400 that names its state",
    "J-08": "list, look up, stop if running, tail: on real Ray",
    "J-09": "stop_job's errors are ClientErrors: 404, 503",
    "J-10": "submit_job with working_dir, py_modules, env_vars, own id, resources, metadata",
    "J-11": "a uuid4().hex id works everywhere",
    "J-12": "uploads are content-addressed, honour excludes and the size limit, follow no link out",
    "J-13": "entrypoint arguments arrive unchanged",
    "J-14": "wait_until_status: returns the state, 408 at its deadline, tolerates 503",
    "J-15": "get_job_status: a str with is_terminal",
    "J-16": "get_job_info is get_job",
    "J-17": "job objects answer attributes, items and .json",
    "J-18": "delete_job: gone when terminal, 400 when running",
    "J-19": "get_version; on another server a clear error",
    "J-20": "JobDetails, JobInfo, JobType, JobStatus are exported",
    "J-21": "inputs go to a job and outputs come back after its end, without Redis",
    "J-22": "an entrypoint that calls ray.init() joins its own cluster",
    "S-01": "lines of a real job: soon, in order, each once, to the end",
    "S-02": "auto survives refusal, drops and error frames; 401/403 and unknown jobs do not fall back",
    "S-03": "the call itself raises for bad arguments, and for a refused connection where asked",
    "S-04": "WebSocket latency and throughput are measured",
    "S-05": "HTTP works through a plain proxy; chunk borders change nothing",
    "S-06": "a silent server is 408 at the timeout",
    "S-07": "a silent running job is never reported as finished",
    "S-08": "breaking off is quick and leaves nothing behind",
    "S-09": "websocket_tail_job_logs",
    "S-10": "stream_tail_job_logs",
    "S-11": "without the WebSocket library: websocket is 500 naming it, auto works",
    "S-12": "a slow consumer loses nothing and memory stays bounded",
    "S-13": "a dropped tail resumes without repeating a line",
    "S-14": "a tail ends when its job does, and not on a mere close",
    "S-15": "tailing an unknown job is 404",
    "S-16": "any bytes become the lines a splitter on LF gives, however they are cut",
    "S-17": "log lines that look like protocol are lines",
    "S-18": "async generators; cancellation closes; 200 at once",
    "L-01": "max_messages 10,000 counts WebSocket messages",
    "L-02": "max_lines 50,000: the line after is 429",
    "L-03": "max_bytes 50 MiB counts received bytes, before a line is whole",
    "L-04": "max_message_size 10,240 bytes a line: cut with a marker, skip, or error",
    "L-05": "the queue never holds more than queue_size and slows the sender",
    "L-06": "assigning stream_limits holds for the next tail only",
    "L-07": "a limit is a 429 of its own type with its name and counts",
    "L-08": "the pages' production limits pass 100,000 lines",
    "L-09": "the pages' small limits stop exactly there",
    "L-10": "memory is bounded and time linear in bytes",
    "L-11": "senseless limits are 400 at construction",
    "N-01": "list_nodes: ids and states, more than a page",
    "N-02": "get_node: alive is a bool; unknown is 404",
    "N-03": "list_tasks: all of them, truncation told, filters",
    "N-04": "get_task: every attempt; unknown is 404",
    "N-05": "total and free resources per node and cluster",
    "N-06": "cluster_resources equals ray.cluster_resources()",
    "N-07": "actors and placement groups can be listed",
    "V-01": "list_serve_applications, also where Serve does not run",
    "V-02": "get_serve_application by name; unknown is 404",
    "V-03": "deleting one application leaves the others serving",
    "V-04": "application names are free text and cannot change the path",
    "V-05": "deploy_serve_application adds one; a wrong config is 400; waits for RUNNING",
    "V-06": "train, deploy, query, delete through the client",
    "E-01": "whatever a server sends, only ClientError leaves the client",
    "E-02": "400 for bad arguments, without a request",
    "E-03": "404 in get, logs, stop, delete and each tail",
    "E-04": "408 for a connection that does not come",
    "E-05": "408 for stalled headers, stalled bodies, and idle tails where asked",
    "E-06": "a server's 429 is told apart and carries Retry-After",
    "E-07": "a server's 500 keeps its number and a clean text",
    "E-08": "refused, DNS, TLS, reset: 503, soon",
    "E-09": "an abrupt end in the middle of a stream is 503",
    "E-10": "the pages' if-chains on the number run",
    "E-11": "str(error): one line, bounded, operation and id, no secret",
    "E-12": "401 and 403 keep their numbers everywhere",
    "R-01": "threads per client are bounded; the 50th tail progresses",
    "R-02": "close ends running tails from another thread within 200 ms",
    "R-03": "a client that is dropped leaves nothing behind",
    "R-04": "context managers, and the page's own wrapper",
    "R-05": "many threads may share a client",
    "R-06": "async with closes, also on errors and cancellation",
    "R-07": "connections are reused; a stale one is replaced silently",
    "U-01": "operator's usage block",
    "U-02": "watcher that stops at the first match",
    "U-03": "forwarder with large limits and retries over a restarting dashboard",
    "U-04": "interactive monitoring over WebSocket",
    "U-05": "HTTP only, behind a proxy",
    "U-06": "small limits on a small box",
    "U-07": "advice by error number",
    "U-08": "node overview",
    "U-09": "Serve clean-up",
}

# What a row asks and a test-suite cannot give, and what is shown in its place.
NOTES = {
    "S-04": "numbers are published by `make bench`; the test checks that a line passes without a wait of ours",
    "U-03": "scaled: two restarts, three reconnects and 200,000 lines instead of one hour and 10 million lines",
    "R-05": "no native code of ours, hence no thread sanitizer",
}


class Collector:
    """A pytest plugin that notes which collected test names which rows."""

    def __init__(self) -> None:
        self.tests: dict[str, set[str]] = defaultdict(set)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            name = re.sub(r"\[.*\]$", "", item.nodeid)
            for mark in item.iter_markers("requirement"):
                for row in mark.args:
                    self.tests[row].add(name)


def collect() -> tuple[dict[str, set[str]], int, str]:
    """Return the tests of each row, pytest's exit code, and what it said."""
    collector, said = Collector(), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(["--collect-only", "-q", "-p", "no:randomly", "tests/ray", "tests/unit"], [collector])
    return collector.tests, int(code), said.getvalue()


def report(tests: dict[str, set[str]]) -> list[str]:
    """Print the table; return what is wrong with it."""
    for row, wording in ROWS.items():
        print(f"{row}  {wording}")
        for name in sorted(tests.get(row, ())):
            print(f"      {name}")
        if row in NOTES:
            print(f"      note: {NOTES[row]}")
    missing = [f"{row} has no test" for row in ROWS if not tests.get(row)]
    unknown = [f"{row} is no row, but {name} names it" for row in tests if row not in ROWS for name in tests[row]]
    return missing + unknown


def main() -> int:
    """Print the table and return the exit code."""
    tests, code, said = collect()
    if code:
        print(said, file=sys.stderr)
        return code
    wrong = report(tests)
    print(f"\n{len(ROWS)} rows, {len({name for names in tests.values() for name in names})} tests")
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
