"""Log bytes over HTTP: from the driver's agent by Range, or the dashboard's whole file, known part skipped."""

import re

from rayjobwatch.ray.cursor import ByteCursor, TextCursor
from rayjobwatch.ray.endpoints import agent_log, check_raw_files, log_file
from rayjobwatch.ray.errors import ServerError
from rayjobwatch.ray.seek import ByteSeeker, Seeker, TextSeeker
from rayjobwatch.ray.tail_state import Rung, TailState
from rayjobwatch.ray.wire import Close, Open, Plan, Read, Request, Response, error_of

_RANGE = re.compile(r"bytes (?:([0-9]+)-[0-9]+|\*)/([0-9]+|\*)")


def read_bytes(tail: TailState, rung: Rung, connect: float) -> Plan[None]:
    """Read the log from the tail's cursor to its present end."""
    if rung is Rung.FILE and not tail.files_are_raw:
        yield from check_raw_files()
        tail.files_are_raw = True
    start = _start(tail)
    request = agent_log(tail.job, start, connect) if rung is Rung.AGENT else log_file(tail.job, connect)
    head: Response = yield Open(request)
    if head.status == 416:
        yield from _nothing_new(head, request, start)
    elif head.status in {200, 206}:
        yield from tail.opened(rung)
        yield from _read(tail, _seeker(tail, head, request, start))
    else:
        yield Close()
        raise error_of(head, request.operation)
    yield Close()
    tail.progressed()


def _start(tail: TailState) -> int:
    cursor = tail.log.cursor
    return cursor.offset + tail.log.held_size if isinstance(cursor, ByteCursor) else 0


def _seeker(tail: TailState, head: Response, request: Request, start: int) -> Seeker:
    cursor = tail.log.cursor
    if isinstance(cursor, TextCursor):
        tail.log.go_on_at(cursor)
        return TextSeeker(cursor.offset, cursor.anchor)
    if head.status == 200:
        return ByteSeeker(start)
    found = _RANGE.fullmatch(head.headers.get("content-range", ""))
    if found is None or found[1] is None or int(found[1]) != start:
        raise ServerError(f"{request.operation}: the answer is not the range that was asked for")
    return ByteSeeker(0)


def _nothing_new(head: Response, request: Request, start: int) -> Plan[None]:
    """Read a 416 to its end, so that its connection can be used again."""
    found = _RANGE.fullmatch(head.headers.get("content-range", ""))
    if found is not None and found[2] != "*" and int(found[2]) < start:
        raise ServerError(f"{request.operation}: the log has become shorter than what was already read of it")
    left = 65536
    while left > 0 and (data := (yield Read())):
        left -= len(data)


def _read(tail: TailState, seeker: Seeker) -> Plan[None]:
    sought = True
    while data := (yield Read()):
        if not sought:
            yield from tail.feed(data)
        elif (rest := seeker.feed(data)) is not None:
            sought = False
            yield from _found(tail, seeker, rest)
    if sought and (rest := seeker.finish()) is not None:
        yield from _found(tail, seeker, rest)


def _found(tail: TailState, seeker: Seeker, rest: bytes) -> Plan[None]:
    if isinstance(seeker, TextSeeker):
        tail.log.go_on_at(seeker.cursor)
    if rest:
        yield from tail.feed(rest)
