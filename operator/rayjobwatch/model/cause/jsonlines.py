"""Structured log lines: one JSON object a line, with an exception in one of its fields; a traceback in one line."""

import json
import re
from typing import Any

from rayjobwatch.model.cause.frames import Frame, frame_of, location_of
from rayjobwatch.model.cause.python import HEADER, read_chain
from rayjobwatch.model.cause.styles import NAME, Styled

_MESSAGES = ("message", "msg", "event", "text", "error", "err", "reason")
_ESCAPED = re.compile(r'Traceback \(most recent call last\):(?:\\n|\n)(?:[^"\\]|\\.)*')
_LOGFMT = re.compile(r'\b(?:level|lvl|severity)="?\w+"? .{0,500}?\b(?:msg|message|error|err)="((?:[^"\\]|\\.)+)"')
_ONE_LINE = "Traceback (most recent call last):\\n"
_ERRORS = re.compile(r' (?:err|error)="((?:[^"\\]|\\.)+)"')
_STACKS = ("stack_trace", "stacktrace", "traceback", "stack", "exc_traceback")
MAX_DEPTH = 5


def read_json(line: str, at: int) -> Styled | None:
    """Read the exception that a structured line carries in one of its fields, or another line with its ends escaped."""
    if not line.startswith("{"):
        return _of_trace(_quoted(line), at) if _ONE_LINE in line else None
    if "race" not in line and "xc" not in line and "rror" not in line:
        return None
    record = json_of(line)
    trace = next((text for text in _texts(record) if HEADER in text), None) or _escaped(line)
    return _named(record, at) if trace is None else _of_trace(trace, at)


def _quoted(line: str) -> str:
    """Take the traceback out of a line that a logger made of all of its lines, as Python's repr does."""
    before, _, after = line.partition(HEADER)
    if before[-1:] in ("'", '"'):
        after = after.removesuffix(before[-1])
    return HEADER + after.replace("\\n", "\n").replace("\\'", "'").replace('\\"', '"')


def _of_trace(trace: str, at: int) -> Styled | None:
    lines = trace.splitlines()
    begin = next((i for i, one in enumerate(lines) if one.endswith(HEADER)), 0)
    chain = read_chain(lines, begin)
    if not chain:
        return None
    return Styled(chain.cause.type, chain.cause.message, chain.location, at + 1)


def _escaped(line: str) -> str | None:
    """Take the traceback out of a line that is no JSON, for example because it was cut."""
    found = _ESCAPED.search(line)
    return found[0].replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\") if found else None


def _named(record: Any, at: int) -> Styled | None:
    """Read an exception from fields such as `exc_type` and `exc_value`."""
    for fields in _objects(record):
        kind = fields.get("exc_type") or (fields.get("type") if "message" in fields or "value" in fields else None)
        if isinstance(kind, str) and re.fullmatch(NAME, kind) and re.search(r"[A-Z]", kind):
            value = fields.get("exc_value", fields.get("value", fields.get("message", "")))
            return Styled(kind, str(value).splitlines()[0] if value else "", _place(fields), at + 1)
    return None


def _place(fields: dict[str, Any]) -> str:
    trace = fields.get("stacktrace")
    frames = fields.get("frames") or (trace.get("frames") if isinstance(trace, dict) else None)
    if isinstance(frames, list):
        return location_of([frame for one in frames if (frame := _frame(one))])
    text = next((text for key in _STACKS if isinstance(text := fields.get(key), str)), "")
    framed = [frame for line in text.splitlines() if (frame := frame_of(line))]
    own = _frame(fields)
    return location_of(framed or [own] if own else framed)


def _frame(fields: Any) -> Frame | None:
    if not isinstance(fields, dict):
        return None
    line = str(fields.get("lineno") or fields.get("line") or "")
    path = str(fields.get("filename") or fields.get("file") or "")
    return Frame(path, int(line), "?") if path and re.fullmatch(r"[0-9]{1,9}", line) else None


def json_of(line: str) -> Any:
    """Return what a JSON line holds; None where it is none."""
    if not line.startswith("{"):
        return None
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def said_by(line: str) -> str:
    """Return the message of a structured line, JSON or logfmt; empty where it has none."""
    if found := _LOGFMT.search(line):
        parts = (found, _ERRORS.search(line, found.end()))
        return ": ".join(part[1].replace('\\"', '"') for part in parts if part)
    record = json_of(line)
    if not isinstance(record, dict):
        return ""
    told = [value for key in _MESSAGES if isinstance(value := record.get(key), str) and value]
    why = [value for key in ("error", "err") if isinstance(value := record.get(key), str) and value]
    return ": ".join(dict.fromkeys([*told[:1], *why]))


def _texts(value: Any, depth: int = MAX_DEPTH) -> list[str]:
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inside for text in _texts(one, depth - 1)] if depth else []


def _objects(value: Any, depth: int = MAX_DEPTH) -> list[dict[str, Any]]:
    mine = [value] if isinstance(value, dict) else []
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return mine + [found for one in inside for found in _objects(one, depth - 1)] if depth else mine
