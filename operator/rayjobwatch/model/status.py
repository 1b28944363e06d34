"""`status` of a RayJobWatch, from what is known; and back, after a restart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from rayjobwatch.model.conditions import conditions_of, merge, refusal
from rayjobwatch.model.digest import JOB_TAIL_BYTES, LogDigest
from rayjobwatch.model.fields import CLUSTER, JOB, LOG, SERVE, Room
from rayjobwatch.model.findings import cut_findings, read_findings, write_findings
from rayjobwatch.model.firing import rule_conditions
from rayjobwatch.model.jobs import Job, JobState
from rayjobwatch.model.lens import NOTHING
from rayjobwatch.model.selection import shown
from rayjobwatch.model.settled import read_selection, write_selection
from rayjobwatch.model.spec import RuleSpec
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.summary import overall, summary_of
from rayjobwatch.model.text import clean_line
from rayjobwatch.model.times import parse_rfc3339, rfc3339
from rayjobwatch.model.values import progress_of

OBJECT_BYTES = 60_000
# What a job's row may take: the first with which the status keeps to its budget.
_ROOMS = (Room(600), Room(160), Room(60), Room(12))

Digests = Mapping[str, LogDigest]


def status_of(
    state: WatchState,
    digests: Digests,
    *,
    tail_lines: int,
    previous: Mapping[str, Any],
    generation: int,
    now: datetime,
    rules: Sequence[RuleSpec] = (),
    refused: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the whole status. `previous` is the status to keep transition times from.

    rules: those of the spec.  refused: why patterns of the spec cannot be used, by the name they go under.
    """
    conditions = [*conditions_of(state, refused), *rule_conditions(state.findings, rules, refused)]
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "state": overall(state).value,
        "summary": clean_line(summary_of(state), 300),
        "finished": _finished(state.counts),
        "counts": _counts(state.counts),
        "cluster": CLUSTER.write(state.cluster, _ROOMS[0]),
        "conditions": merge(conditions, previous.get("conditions") or [], generation, now),
    }
    if progress := progress_of(found.values for found in state.findings.values()):
        status["progress"] = progress
    if since := state.stale_since:
        status["staleSince"] = rfc3339(since)
    if serve := SERVE.write(state.serve, _ROOMS[0]):
        status["serve"] = serve
    if state.selected:
        status["selection"] = write_selection(state.selected)
    room = _add_rows(status, state, digests)
    _add_tails(status, digests, replace(room, tail_lines=tail_lines))
    return status


def restored(status: Mapping[str, Any]) -> tuple[WatchState, dict[str, LogDigest]]:
    """Read back what a status says, so that a new process goes on where the old one stopped."""
    rows: Sequence[Mapping[str, Any]] = status.get("jobs") or []
    jobs = {str(row["id"]): JOB.read(row) for row in rows}
    state = WatchState(
        jobs=jobs,
        selected=read_selection(status, jobs.values()),
        cluster=CLUSTER.read(status.get("cluster") or {}),
        last_contact=parse_rfc3339(status.get("staleSince")),
        findings={str(row["id"]): found for row in rows if (found := read_findings(row))},
        serve=SERVE.read(status.get("serve") or {}),
    )
    return state, {str(row["id"]): LOG.read(row["log"]) for row in rows if "log" in row}


def refused(message: str, previous: Mapping[str, Any], generation: int, now: datetime) -> dict[str, Any]:
    """Return the status of a watch whose spec cannot be followed; what was known of its jobs stays."""
    merged = merge(refusal(message), previous.get("conditions") or [], generation, now)
    decided = {item["type"] for item in merged}
    kept = [item for item in previous.get("conditions") or [] if item.get("type") not in decided]
    status = {**previous, "observedGeneration": generation, "conditions": [*merged, *kept]}
    if any(item.get("type") == "Finished" and item.get("status") == "False" for item in kept):
        status.setdefault("staleSince", rfc3339(now))
    return status | {"summary": clean_line(message, 300)}


def _counts(counts: Mapping[JobState, int]) -> dict[str, int]:
    return {"total": sum(counts.values())} | {one.value.lower(): counts.get(one, 0) for one in JobState}


def _finished(counts: Mapping[JobState, int]) -> str:
    return f"{sum(count for one, count in counts.items() if one.is_over)}/{sum(counts.values())}"


def _add_rows(status: dict[str, Any], state: WatchState, digests: Digests) -> Room:
    if omitted := status["counts"]["total"] - len(shown(state)):
        status["omitted"] = omitted
    for room in _ROOMS:
        rows, found = _rows(state, digests, room)
        status["jobs"] = [row | more for row, more in zip(rows, found, strict=True)]
        if _size(status) <= OBJECT_BYTES:
            return room
    rows, found = _rows(state, digests, _ROOMS[-1])
    status["jobs"] = rows
    share = max(0, OBJECT_BYTES - _size(status)) // max(1, sum(map(bool, found)))
    status["jobs"] = [row | cut_findings(more, share) for row, more in zip(rows, found, strict=True)]
    return _ROOMS[-1]


def _rows(
    state: WatchState, digests: Digests, room: Room
) -> tuple[list[dict[str, Any]], list[dict[str, list[dict[str, Any]]]]]:
    """Return the rows of all jobs, and beside each what was found in its log."""
    jobs = shown(state)
    rows = [_row(job, digests.get(job.id), room) for job in jobs]
    return rows, [write_findings(state.findings.get(job.id, NOTHING), room) for job in jobs]


def _row(job: Job, digest: LogDigest | None, room: Room) -> dict[str, Any]:
    row = JOB.write(job, room)
    return row | {"log": LOG.write(digest, room)} if digest else row


def _add_tails(status: dict[str, Any], digests: Digests, room: Room) -> None:
    """Share what is left of the object's budget among the jobs' tails."""
    rows = [row for row in status["jobs"] if "log" in row and digests[row["id"]].tail]
    if not rows or not room.tail_lines:
        return
    left = OBJECT_BYTES - _size(status)
    share = max(0, min(JOB_TAIL_BYTES, left // len(rows)))
    for row in rows:
        row["log"] = LOG.write(digests[row["id"]], replace(room, tail_bytes=share))


def _size(status: Mapping[str, Any]) -> int:
    return len(json.dumps(status, ensure_ascii=False).encode())
