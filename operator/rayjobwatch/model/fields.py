"""Each field of status that a new process reads back: how it is written and, beside it, how it is read.

A `Form` is the pair for one kind of value, a `Shape` the forms of a dataclass, field by field. A field in no shape
(`missing_since`, `ending_since`, `ending`, `doubted_since` of a `Job`; `failures`, `due` of a deletion) is forgotten
with the process, and what it times begins anew.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import accumulate, pairwise
from typing import Any, Generic, NamedTuple, TypeVar

from rayjobwatch.model.digest import LogDigest, kept_tail
from rayjobwatch.model.facts import STATE_BYTES, Facts, NodeCount, Served
from rayjobwatch.model.jobs import Failure, Job, JobState, StopCause, StopOrder
from rayjobwatch.model.observation import Cluster
from rayjobwatch.model.records import Deletion, RecordState
from rayjobwatch.model.rules import RuleState
from rayjobwatch.model.servestate import Application, CleanUp, ServeState
from rayjobwatch.model.text import clean_line, cut
from rayjobwatch.model.times import parse_rfc3339, rfc3339
from rayjobwatch.model.values import Value

T = TypeVar("T")
_PAIR = re.compile(r"(?<!\S)(-?\d{1,10}):(\d{1,18})(?!\S)")
_LEAST_FOR_RECENT = 60
_LAST_SECOND = 2**33


@dataclass(frozen=True, slots=True)
class Room:
    """How long a text of a row may be, and the tail of a log: `tail_lines` lines in `tail_bytes` bytes of JSON."""

    text_bytes: int
    tail_lines: int = 0
    tail_bytes: int = 0


class Form(NamedTuple):
    """A value in status. What `write` returns None for is left out; what was left out is None for `read`."""

    write: Callable[[Any, Room], Any]
    read: Callable[[Any], Any]


class Field(NamedTuple):
    """A dataclass's field `name`, in status at `key`."""

    name: str
    key: str
    form: Form


@dataclass(frozen=True, slots=True)
class Shape(Generic[T]):
    """A dataclass `kind` in status."""

    kind: Callable[..., T]
    fields: tuple[Field, ...]

    def write(self, value: T, room: Room) -> dict[str, Any]:
        """Return `value` as an object of status, its texts cut to `room`."""
        written = ((key, form.write(getattr(value, name), room)) for name, key, form in self.fields)
        return {key: item for key, item in written if item is not None}

    def read(self, item: Mapping[str, Any]) -> T:
        """Return what `write` wrote; fields of another version's status are ignored or missing."""
        return self.kind(**{name: form.read(item.get(key)) for name, key, form in self.fields})


def _cleaned(limit: int, read: Callable[[Any], Any]) -> Form:
    return Form(lambda text, room: clean_line(text or "", min(limit, room.text_bytes)) or None, read)


def _optional(shape: Shape[Any]) -> Form:
    return Form(
        lambda value, room: None if value is None else shape.write(value, room),
        lambda item: shape.read(item) if item else None,
    )


def _part(shape: Shape[Any]) -> Form:
    """Return the form of a value that is always there, and left out of status where nothing is to be told of it."""
    return Form(lambda value, room: shape.write(value, room) or None, lambda item: shape.read(item or {}))


def _many(shape: Shape[Any]) -> Form:
    return Form(
        lambda values, room: [shape.write(value, room) for value in values] or None,
        lambda items: tuple(shape.read(item) for item in items or ()),
    )


def _word_of(kind: type[StrEnum], unknown: StrEnum) -> Form:
    """Return the form of an enum's words: an empty one is left out; none, and another version's, are `unknown`."""
    return Form(lambda word, _: word.value or None, lambda word: next((one for one in kind if one == word), unknown))


def _read_as_is(value: Any) -> Any:
    return value


def _read_word(word: Any) -> str:
    return str(word or "")


def _write_tail(tail: tuple[str, ...], room: Room) -> list[str] | None:
    return kept_tail(tail, room.tail_lines, room.tail_bytes) if tail and room.tail_lines else None


def _write_recent(recent: tuple[tuple[datetime, int], ...], room: Room) -> str | None:
    """Write the first time in seconds since the epoch, each later one in those since the one before."""
    if room.text_bytes < _LEAST_FOR_RECENT:
        return None
    times = [0, *(int(time.timestamp()) for time, _ in recent)]
    since = (time - before for before, time in pairwise(times))
    return " ".join(f"{seconds}:{count}" for seconds, (_, count) in zip(since, recent, strict=True)) or None


def _read_recent(text: Any) -> tuple[tuple[datetime, int], ...]:
    pairs = [(int(seconds), int(count)) for seconds, count in _PAIR.findall(str(text or ""))]
    times = list(accumulate(seconds for seconds, _ in pairs))
    if not all(0 <= time < _LAST_SECOND for time in times):
        return ()
    return tuple((datetime.fromtimestamp(time, UTC), count) for time, (_, count) in zip(times, pairs, strict=True))


_AS_IS = Form(lambda value, _: value, _read_as_is)
_WORD = Form(lambda word, _: word or None, _read_word)
_TIME = Form(lambda time, _: rfc3339(time) if time else None, parse_rfc3339)
_STATE = _word_of(JobState, JobState.WAITING)  # another version's word is read anew from Ray
_COUNT = Form(lambda count, _: count, lambda count: int(count or 0))
_FLAG = Form(lambda flag, _: flag, bool)
_RARE_FLAG = Form(lambda flag, _: flag or None, bool)
_DRIVER = Form(lambda is_driver, _: "DRIVER" if is_driver else None, lambda word: word == "DRIVER")
_CAUSE = _word_of(StopCause, StopCause.REQUESTED)
_ENTRYPOINT = Form(lambda text, room: cut(text, min(200, room.text_bytes)) or None, _read_word)
_FAILURE_MESSAGE = Form(lambda text, room: cut(text, room.text_bytes), _read_word)
_LOG_MESSAGE = Form(lambda text, room: cut(text, room.text_bytes // 2) or None, _read_word)
_FOUND_LINE = Form(lambda text, room: cut(text, min(256, room.text_bytes)) or None, _read_word)
_RECENT = Form(_write_recent, _read_recent)
_NAMES = Form(lambda names, _: list(names) or None, lambda names: tuple(names or ()))
_TAIL = Form(_write_tail, lambda tail: tuple(tail or ()))

_NODES = Shape(NodeCount, (Field("alive", "alive", _COUNT), Field("dead", "dead", _COUNT)))
_SERVED = Shape(Served, (Field("name", "name", _AS_IS), Field("state", "state", _cleaned(STATE_BYTES, _read_word))))
FACTS = Shape(
    Facts,
    (
        Field("nodes", "nodes", _optional(_NODES)),
        Field("failed_tasks", "failedTasks", _AS_IS),
        Field("applications", "applications", _many(_SERVED)),
        Field("idle_since", "idleSince", _TIME),
    ),
)
_CLUSTER = Shape(
    Cluster,
    (
        Field("dashboard_url", "dashboardURL", _WORD),
        Field("ray_version", "rayVersion", _cleaned(64, _read_word)),
        Field("session", "session", _WORD),
        Field("uid", "uid", _WORD),
    ),
)
# The facts stand beside what says which cluster it is.
CLUSTER = Form(
    lambda cluster, room: _CLUSTER.write(cluster, room) | FACTS.write(cluster.facts, room),
    lambda item: replace(_CLUSTER.read(item), facts=FACTS.read(item)),
)
_FAILURE = Shape(
    Failure,
    (
        Field("type", "type", _cleaned(200, _read_word)),
        Field("message", "message", _FAILURE_MESSAGE),
        Field("location", "location", _cleaned(200, _read_word)),
        Field("error_type", "errorType", _cleaned(100, _read_as_is)),
    ),
)
_STOP = Shape(
    StopOrder,
    (
        Field("cause", "reason", _CAUSE),
        Field("requested_time", "requestedTime", _TIME),
        Field("attempts", "attempts", _COUNT),
        Field("first_attempt", "firstAttemptTime", _TIME),
        Field("last_attempt", "lastAttemptTime", _TIME),
        Field("in_vain", "inVain", _RARE_FLAG),
        Field("stopped_time", "stoppedTime", _TIME),
        Field("message", "message", _cleaned(512, _read_word)),
    ),
)
_RECORD = Shape(
    RecordState,
    (
        Field("state", "state", _word_of(Deletion, Deletion.NONE)),
        Field("time", "time", _TIME),
        Field("message", "message", _cleaned(200, _read_word)),
    ),
)
_APPLICATION = Shape(
    Application,
    (
        Field("name", "name", _AS_IS),
        Field("state", "state", _cleaned(24, _read_word)),
        Field("deployed", "deployedTime", _TIME),
        Field("asked", "deleteRequestedTime", _TIME),
        Field("message", "message", _cleaned(64, _read_word)),
    ),
)
SERVE = Shape(
    ServeState,
    (
        Field("state", "state", _word_of(CleanUp, CleanUp.NONE)),
        Field("requested", "requestedTime", _TIME),
        Field("completed", "completedTime", _TIME),
        Field("session", "session", _WORD),
        Field("applications", "applications", _many(_APPLICATION)),
        Field("deleted", "deleted", _NAMES),
        Field("message", "message", _cleaned(400, _read_word)),
    ),
)
JOB = Shape(
    Job,
    (
        Field("id", "id", _AS_IS),
        Field("state", "state", _STATE),
        Field("entrypoint", "entrypoint", _ENTRYPOINT),
        Field("session", "session", _WORD),
        Field("start_time", "startTime", _TIME),
        Field("end_time", "endTime", _TIME),
        Field("exit_code", "exitCode", _AS_IS),
        Field("failure", "failure", _optional(_FAILURE)),
        Field("is_driver", "type", _DRIVER),
        Field("running_since", "runningTime", _TIME),
        Field("last_seen", "lastSeenTime", _TIME),
        Field("stop", "stop", _optional(_STOP)),
        Field("record", "record", _part(_RECORD)),
    ),
)
LOG = Shape(
    LogDigest.restored,
    (
        Field("lines", "lines", _COUNT),
        Field("bytes", "bytes", _COUNT),
        Field("errors", "errors", _COUNT),
        Field("warnings", "warnings", _COUNT),
        Field("last_line_time", "lastLineTime", _TIME),
        Field("complete", "complete", _FLAG),
        Field("cursor", "cursor", _WORD),
        Field("in_key", "insideKey", _RARE_FLAG),
        Field("message", "message", _LOG_MESSAGE),
        Field("tail", "tail", _TAIL),
    ),
)
RULE = Shape(
    RuleState,
    (
        Field("count", "count", _COUNT),
        Field("fired", "fired", _COUNT),
        Field("firing", "firing", _FLAG),
        Field("last_match", "lastTime", _TIME),
        Field("line", "line", _FOUND_LINE),
        Field("recent", "recent", _RECENT),
    ),
)
VALUE = Shape(
    Value,
    (
        Field("text", "value", _WORD),
        Field("of", "of", _WORD),
        Field("time", "time", _TIME),
    ),
)
