"""What a scripted dashboard and its agent answer to a request: pure, the time is a parameter."""

import json
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.bench.scale.jobs import PENDING, RUNNING, STOPPED, Job
from tests.bench.scale.records import record, state_rows, version

JSON, TEXT = "application/json; charset=utf-8", "text/plain; charset=utf-8"
STOP_SECONDS = 0.1
_JOB = re.compile(r"/api/jobs/([\w-]+)(/stop)?")
_LOG = re.compile(r"/logs/job-driver-([\w-]+)\.log")
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")


class Request(NamedTuple):
    """A request: method, target and headers by lower-case name."""

    method: str
    target: str
    headers: dict[str, str]


class Answer(NamedTuple):
    """An answer. `route` is the name that it is counted under."""

    route: str
    status: int
    body: bytes
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Table:
    """The job table of one dashboard; what is asked of it (stop, delete) changes it."""

    number: int
    agent_url: str
    jobs: dict[str, Job] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=lambda: random.Random(0))
    _rows: dict[tuple[str, float, str], bytes] = field(default_factory=dict)

    def load(self, jobs: Iterable[Job]) -> None:
        """Forget all jobs and take these."""
        self._rows.clear()
        self.jobs = {job.id: job for job in jobs}

    def runs(self, now: float) -> Mapping[str, Job]:
        """Return the job that each id stands for."""
        return self.jobs

    def status(self, job: Job, now: float) -> str | None:
        """Return the state of a job, None where there is no such job here."""
        return job.status(now)

    def listed(self, job: Job, now: float) -> str | None:
        """Return the state that the dashboard lists of a job, None where it lists none."""
        return self.status(job, now)

    def log_at(self, job: Job, now: float) -> float:
        """Return as of when the agent serves the log of a job."""
        return now

    def head(self, request: Request, now: float) -> Answer:
        """Answer a request to the dashboard."""
        url = urlsplit(request.target)
        if url.path == "/api/jobs/" and request.method == "GET":
            return Answer("list", 200, self._list(now))
        if url.path in ("/api/version", "/api/ray/version"):
            return Answer("version", 200, json.dumps(version(self.number)).encode())
        if url.path in ("/api/v0/nodes", "/api/v0/tasks"):
            resource = url.path.rpartition("/")[2]
            return Answer(resource, 200, json.dumps(state_rows(self.number, resource)).encode())
        if url.path == "/api/v0/logs/file":
            return self._file(parse_qs(url.query).get("submission_id", [""])[0], now)
        if found := _JOB.fullmatch(url.path):
            return self._job_call(request.method + (found[2] or ""), found[1], now)
        return Answer("other", 404, b"404: Not Found", TEXT)

    def agent(self, request: Request, now: float) -> Answer:
        """Answer a request to the agent of the head node."""
        found = _LOG.fullmatch(urlsplit(request.target).path)
        job = self.runs(now).get(found[1]) if found else None
        if job is None or self.status(job, now) is None:
            return Answer("other", 404, b"404: Not Found", TEXT)
        return _log_file(job, request.headers.get("range"), self.log_at(job, now))

    def _list(self, now: float) -> bytes:
        """All jobs; their order changes from one answer to the next, as Ray's does."""
        rows = [self._row(job, status) for job in self.runs(now).values() if (status := self.listed(job, now))]
        self._chance.shuffle(rows)
        return b"[" + b", ".join(rows) + b"]"

    def _row(self, job: Job, status: str) -> bytes:
        key = (job.id, job.submitted, status)
        if key not in self._rows:
            self._rows[key] = json.dumps(record(job, status, self.agent_url)).encode()
        return self._rows[key]

    def _job_call(self, call: str, id_: str, now: float) -> Answer:
        job = self.runs(now).get(id_)
        status = self.listed(job, now) if job else None
        if job is None or status is None:
            return Answer("get" if call == "GET" else "other", 404, f"Job {id_} does not exist".encode(), TEXT)
        if call == "GET":
            return Answer("get", 200, self._row(job, status))
        if call == "POST/stop":
            return self._stop(job, status, now)
        if call == "DELETE":
            return self._delete(job, status)
        return Answer("other", 405, b"405: Method Not Allowed", TEXT)

    def _stop(self, job: Job, status: str, now: float) -> Answer:
        """Stop a job that runs; one that is pending is not stopped by it, as in Ray."""
        if status == RUNNING:
            self.jobs[job.id] = replace(job, end=STOPPED, ended=min(job.ended, now + STOP_SECONDS))
        is_open = status in (PENDING, RUNNING)
        return Answer("stop", 200, json.dumps({"stopped": is_open}).encode())

    def _delete(self, job: Job, status: str) -> Answer:
        if status in (PENDING, RUNNING):
            text = f"Attempted to delete job '{job.id}', but it is in a non-terminal state {status}."
            return Answer("delete", 500, f"Traceback (most recent call last):\nRuntimeError: {text}\n".encode(), TEXT)
        del self.jobs[job.id]
        return Answer("delete", 200, b'{"deleted": true}')

    def _file(self, id_: str, now: float) -> Answer:
        job = self.runs(now).get(id_)
        if job is None or self.status(job, now) in (None, PENDING):
            return Answer("file", 500, f"Job {id_} has no driver node id info.".encode(), TEXT)
        return Answer("file", 200, job.log(now).data, "text/plain")


def _log_file(job: Job, wanted: str | None, now: float) -> Answer:
    """Answer as aiohttp's static files do: 206 or 416 to a range, 200 with everything otherwise."""
    found = _RANGE.fullmatch(wanted or "")
    if found is None:
        return Answer("log", 200, job.log(now).data, "text/plain", (("Accept-Ranges", "bytes"),))
    first = int(found[1])
    part = job.log(now, first)
    if first >= part.size:
        return Answer("log", 416, b"", "text/plain", (("Content-Range", f"bytes */{part.size}"),))
    data = part.data[: int(found[2]) - first + 1] if found[2] else part.data
    where = f"bytes {first}-{first + len(data) - 1}/{part.size}"
    return Answer("log", 206, data, "text/plain", (("Content-Range", where), ("Accept-Ranges", "bytes")))
