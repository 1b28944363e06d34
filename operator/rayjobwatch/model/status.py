"""`status` of a RayJobWatch, from what is known; and back, after a restart."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rayjobwatch.model.conditions import Condition, merge
from rayjobwatch.model.digest import JOB_TAIL_BYTES, LogDigest, kept_tail
from rayjobwatch.model.jobs import Failure, Job, JobState
from rayjobwatch.model.observation import Cluster
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.text import clean_line, cut
from rayjobwatch.model.times import parse_rfc3339, rfc3339
from rayjobwatch.model.verdict import conditions_of, overall, stale_since, summary_of

OBJECT_BYTES = 60_000
# Longest text of a job's row: the first with which the status keeps to its budget.
_TEXT_BYTES = (600, 160, 60)

Digests = Mapping[str, LogDigest]


def status_of(
    state: WatchState,
    digests: Digests,
    *,
    tail_lines: int,
    previous: Mapping[str, Any],
    generation: int,
    now: datetime,
) -> dict[str, Any]:
    """Return the whole status. `previous` is the status to keep transition times from."""
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "state": overall(state).value,
        "summary": clean_line(summary_of(state), 300),
        "finished": f"{sum(job.state.is_over for job in state.jobs.values())}/{len(state.jobs)}",
        "counts": _counts(state),
        "cluster": _cluster(state.cluster),
        "conditions": merge(conditions_of(state), previous.get("conditions") or [], generation, now),
    }
    if since := stale_since(state):
        status["staleSince"] = rfc3339(since)
    _add_rows(status, state, digests)
    _add_tails(status, digests, tail_lines)
    return status


def refused(message: str, previous: Mapping[str, Any], generation: int, now: datetime) -> dict[str, Any]:
    """Return the status of a watch whose spec cannot be followed; what was known of its jobs stays."""
    conditions = [
        Condition("Ready", "False", "InvalidSpec", message),
        Condition("Stalled", "True", "InvalidSpec", message),
    ]
    kept = [item for item in previous.get("conditions") or [] if item.get("type") not in ("Ready", "Stalled")]
    merged = merge(conditions, previous.get("conditions") or [], generation, now)
    return {**previous, "observedGeneration": generation, "conditions": [*merged, *kept]}


def _counts(state: WatchState) -> dict[str, int]:
    states = [job.state for job in state.jobs.values()]
    return {"total": len(states)} | {one.value.lower(): states.count(one) for one in JobState}


def _cluster(cluster: Cluster) -> dict[str, str]:
    facts = {
        "dashboardURL": cluster.dashboard_url,
        "rayVersion": clean_line(cluster.ray_version, 64),
        "session": cluster.session,
        "uid": cluster.uid,
    }
    return {key: value for key, value in facts.items() if value}


def _add_rows(status: dict[str, Any], state: WatchState, digests: Digests) -> None:
    for text_bytes in _TEXT_BYTES:
        status["jobs"] = [_row(job, digests.get(job.id), text_bytes) for job in state.jobs.values()]
        if _size(status) <= OBJECT_BYTES:
            return


def _size(status: Mapping[str, Any]) -> int:
    return len(json.dumps(status, ensure_ascii=False).encode())


def _row(job: Job, digest: LogDigest | None, text_bytes: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": job.id,
        "state": job.state.value,
        "entrypoint": cut(job.entrypoint, min(200, text_bytes)) or None,
        "session": job.session or None,
        "startTime": rfc3339(job.start_time) if job.start_time else None,
        "endTime": rfc3339(job.end_time) if job.end_time else None,
        "exitCode": job.exit_code,
        "failure": _failure(job.failure, text_bytes) if job.failure else None,
        "log": _log(digest, text_bytes // 2) if digest else None,
    }
    return {key: value for key, value in row.items() if value is not None}


def _failure(failure: Failure, text_bytes: int) -> dict[str, str]:
    message = {"message": cut(failure.message, text_bytes)}
    error_type = clean_line(failure.error_type or "", min(100, text_bytes))
    return message | {"errorType": error_type} if error_type else message


def _log(digest: LogDigest, text_bytes: int) -> dict[str, Any]:
    log: dict[str, Any] = {"lines": digest.lines, "complete": digest.complete}
    if digest.cursor:
        log["cursor"] = digest.cursor
    if digest.message:
        log["message"] = cut(digest.message, text_bytes)
    return log


def _add_tails(status: dict[str, Any], digests: Digests, tail_lines: int) -> None:
    """Share what is left of the object's budget among the jobs' tails."""
    rows = [row for row in status["jobs"] if "log" in row and digests[row["id"]].tail]
    if not rows or not tail_lines:
        return
    left = OBJECT_BYTES - _size(status)
    share = max(0, min(JOB_TAIL_BYTES, left // len(rows)))
    for row in rows:
        row["log"]["tail"] = kept_tail(digests[row["id"]].tail, tail_lines, share)


def restored(status: Mapping[str, Any]) -> tuple[WatchState, dict[str, LogDigest]]:
    """Read back what a status says, so that a new process goes on where the old one stopped."""
    rows: Sequence[Mapping[str, Any]] = status.get("jobs") or []
    cluster = status.get("cluster") or {}
    state = WatchState(
        jobs={str(row["id"]): _job(row) for row in rows},
        cluster=Cluster(
            dashboard_url=cluster.get("dashboardURL", ""),
            uid=cluster.get("uid", ""),
            session=cluster.get("session", ""),
            ray_version=cluster.get("rayVersion", ""),
        ),
        last_contact=parse_rfc3339(status.get("staleSince")),
    )
    return state, {str(row["id"]): _digest(row["log"]) for row in rows if "log" in row}


def _job(row: Mapping[str, Any]) -> Job:
    failure = row.get("failure") or {}
    return Job(
        id=str(row["id"]),
        state=_state(row.get("state")),
        session=row.get("session", ""),
        entrypoint=row.get("entrypoint", ""),
        start_time=parse_rfc3339(row.get("startTime")),
        end_time=parse_rfc3339(row.get("endTime")),
        exit_code=row.get("exitCode"),
        failure=Failure(failure.get("message", ""), failure.get("errorType")) if failure else None,
    )


def _state(word: object) -> JobState:
    """Read a state; a word that only another version knows is read anew from Ray."""
    return next((state for state in JobState if state == word), JobState.WAITING)


def _digest(log: Mapping[str, Any]) -> LogDigest:
    return LogDigest(
        lines=int(log.get("lines", 0)),
        cursor=str(log.get("cursor", "")),
        complete=bool(log.get("complete", False)),
        tail=tuple(log.get("tail") or ()),
        message=str(log.get("message", "")),
    )
