"""What a dashboard with faults answers, and what becomes of the answer on its way."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import Enum
from typing import Any

from tests.bench.scale.jobs import RUNNING, Job
from tests.bench.scale.records import version
from tests.bench.scale.routes import JSON, TEXT, Answer, Request, Table
from tests.faults.plan import EMPTY_HEADS, LIE_SECONDS, NEW_HEADS, Fault, Kind
from tests.faults.runs import runs_of

HTML = "text/html; charset=utf-8"
PAGE = b"<html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
TRACEBACK = b'Traceback (most recent call last):\n  File "job_head.py", line 400, in list_jobs\nRuntimeError: GCS\n'
TABLE = "/api/jobs/"
SLOW_SECONDS = 8.0
EMPTY_SECONDS = 2.0
CLOCK_SECONDS = 600.0
OLD_SECONDS = 5.0
LIE = {
    "status": "FAILED",
    "error_type": "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE",
    "message": "Unexpected error occurred: failed to get job supervisor.",
    "driver_exit_code": None,
}
_INSTEAD = {
    Kind.ERROR_500: Answer("fault", 500, TRACEBACK, TEXT),
    Kind.PROXY_PAGE: Answer("fault", 200, PAGE, HTML),
    Kind.BAD_GATEWAY: Answer("fault", 502, PAGE, HTML),
    Kind.EMPTY_BODY: Answer("fault", 200, b"", JSON),
    Kind.WRONG_JSON: Answer("fault", 200, b'{"result": null}', JSON),
    Kind.UNAUTHORIZED: Answer("fault", 401, b"Unauthorized: Missing authentication token", TEXT),
}


class Way(Enum):
    """What becomes of an answer on its way."""

    SENT = 1
    LATE = 2
    NEVER = 3
    RESET = 4
    HALF = 5


@dataclass
class FaultyTable(Table):
    """A dashboard's table with the faults of a campaign."""

    faults: tuple[Fault, ...] = ()
    _runs: dict[str, list[Job]] = field(default_factory=dict)
    _now: float = 0.0

    def begin(self, jobs: Iterable[Job], faults: Iterable[Fault]) -> None:
        """Take these jobs, and have these faults."""
        self.load(jobs)
        self.faults = tuple(faults)
        self._runs = {id_: runs_of(job, self.faults) for id_, job in self.jobs.items()}

    def way(self, side: str, now: float, path: str = "") -> Way:
        """Return what becomes of an answer of a side, "head" or "agent", to a request for `path`."""
        kinds = {fault.kind for fault in self.faults if _is_on(fault, now)}
        if side == "agent":
            away = kinds & {Kind.AGENT_AWAY, *NEW_HEADS}
            return Way.RESET if away else Way.HALF if Kind.LOG_RESET in kinds else Way.SENT
        if kinds & {Kind.REFUSED, *EMPTY_HEADS}:
            return Way.RESET
        if Kind.HANGS in kinds or any(_is_hanging(fault, now) for fault in self.faults):
            return Way.NEVER
        if Kind.RESET_MID_ANSWER in kinds:
            return Way.HALF
        is_late = Kind.SLOW in kinds or (Kind.EMPTY_THEN_LATE in kinds and path == TABLE)
        return Way.LATE if is_late else Way.SENT

    def head(self, request: Request, now: float) -> Answer:
        """Answer a request to the dashboard."""
        self._now = now
        answer = next((_INSTEAD[kind] for kind in _INSTEAD if self._has(kind)), None) or super().head(request, now)
        if answer.route == "version":
            answer = answer._replace(body=self._version())
            if self._has(Kind.VERSION_FAILS):
                answer = answer._replace(status=500, body=TRACEBACK, kind=TEXT)
        if answer.route == "get" and self._has(Kind.SINGLE_404):
            answer = answer._replace(status=404, body=b"Job does not exist", kind=TEXT)
        if answer.kind == JSON and self._has(Kind.CUT_JSON):
            answer = answer._replace(body=answer.body[: len(answer.body) // 2])
        return answer._replace(headers=(*answer.headers, ("Date", self._date())))

    def agent(self, request: Request, now: float) -> Answer:
        """Answer a request to the agent of the head node."""
        self._now = now
        return super().agent(request, now)

    def log_at(self, job: Job, now: float) -> float:
        """Return as of when the agent serves the log of a job."""
        lags = self._has(Kind.LOG_SHORT) and job.status(now) == RUNNING
        return max(job.started, now - OLD_SECONDS) if lags else now

    def runs(self, now: float) -> Mapping[str, Job]:
        """Return the newest run of each id."""
        return {
            id_: next((run for run in reversed(runs) if run.submitted <= now), runs[0])
            for id_, runs in self._runs.items()
        }

    def status(self, job: Job, now: float) -> str | None:
        """Return the state of a job that is on this head: none of a head that is gone, or whose record is."""
        is_gone = any(fault.begin <= now and fault.takes(job) for fault in self.faults)
        return None if is_gone else job.status(now)

    def listed(self, job: Job, now: float) -> str | None:
        """Return the state that the dashboard lists of a job."""
        is_missing = self._has(Kind.ROWS_MISSING) and int(job.id[-1], 16) % 3 == 0
        return None if is_missing or self._is_empty() else self.status(job, now)

    def _is_empty(self) -> bool:
        began = [
            fault.begin for fault in self.faults if fault.kind is Kind.EMPTY_THEN_LATE and _is_on(fault, self._now)
        ]
        return self._has(Kind.EMPTY_TABLE) or any(self._now < begin + EMPTY_SECONDS for begin in began)

    def _row(self, job: Job, status: str) -> bytes:
        if status == RUNNING and self._is_lying():
            row: dict[str, Any] = json.loads(super()._row(job, status))
            return json.dumps({**row, **LIE, "end_time": int(self._now * 1000)}).encode()
        return super()._row(job, status)

    def _is_lying(self) -> bool:
        lies = (Kind.LIE, Kind.LIE_THEN_HANG, Kind.NEW_HEAD_SAME_TABLE)
        return any(self._has(kind) for kind in lies)

    def _version(self) -> bytes:
        heads = sum(fault.kind in NEW_HEADS and fault.begin <= self._now for fault in self.faults)
        said = version(self.number)
        return json.dumps({**said, "session_name": f"{said['session_name']}{heads or ''}"}).encode()

    def _date(self) -> str:
        ahead = self._has(Kind.CLOCK_AHEAD) - self._has(Kind.CLOCK_BACK)
        return format_datetime(datetime.fromtimestamp(self._now + ahead * CLOCK_SECONDS, UTC), usegmt=True)

    def _has(self, kind: Kind) -> bool:
        return any(fault.kind is kind and _is_on(fault, self._now) for fault in self.faults)


def _is_on(fault: Fault, now: float) -> bool:
    return fault.begin <= now < fault.end


def _is_hanging(fault: Fault, now: float) -> bool:
    return fault.kind is Kind.LIE_THEN_HANG and fault.begin + LIE_SECONDS <= now < fault.end
