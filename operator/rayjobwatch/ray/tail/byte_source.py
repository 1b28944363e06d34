"""Log bytes over HTTP: from the driver's agent by Range, or the dashboard's whole file, known part skipped."""

import re

from rayjobwatch.ray.api.logs import agent_log, check_raw_files, log_file
from rayjobwatch.ray.errors import ServerError
from rayjobwatch.ray.plan import Close, Open, Read, Request, Response, error_of
from rayjobwatch.ray.tail.cursor import ByteCursor, TextCursor
from rayjobwatch.ray.tail.effects import TailPlan
from rayjobwatch.ray.tail.progress import Progress
from rayjobwatch.ray.tail.seek import ByteSeeker, Seeker, TextSeeker
from rayjobwatch.ray.tail.spec import Rung

_RANGE = re.compile(r"bytes (?:([0-9]+)-[0-9]+|\*)/([0-9]+|\*)")


def read_bytes(progress: Progress, rung: Rung, connect: float) -> TailPlan[None]:
    """Read the log from the tail's cursor to its present end."""
    start = _start(progress)
    if rung is Rung.AGENT:
        request = agent_log(progress.job, start, connect)
    else:
        request = yield from file_request(progress, connect)
    head: Response = yield Open(request)
    if head.status == 416:
        yield from _nothing_new(head, request, start)
    elif head.status in {200, 206}:
        yield from progress.opened(rung)
        yield from _read(progress, _seeker(progress, head, request, start))
    else:
        yield Close()
        raise error_of(head, request.operation)
    yield Close()
    progress.progressed()


def file_request(progress: Progress, connect: float) -> TailPlan[Request]:
    """Return how the dashboard's log file is asked for; raise if this Ray gives none that is unaltered."""
    if not progress.files_are_raw:
        yield from check_raw_files()
        progress.files_are_raw = True
    return log_file(progress.job, connect)


def _start(progress: Progress) -> int:
    cursor = progress.log.cursor
    return cursor.offset + progress.log.held_size if isinstance(cursor, ByteCursor) else 0


def _seeker(progress: Progress, head: Response, request: Request, start: int) -> Seeker:
    cursor = progress.log.cursor
    if isinstance(cursor, TextCursor):
        progress.log.go_on_at(cursor)
        return TextSeeker(cursor.offset, cursor.anchor)
    if head.status == 200:
        return ByteSeeker(start)
    found = _RANGE.fullmatch(head.headers.get("content-range", ""))
    if found is None or found[1] is None or int(found[1]) != start:
        raise ServerError(f"{request.operation}: the answer is not the range that was asked for")
    return ByteSeeker(0)


def _nothing_new(head: Response, request: Request, start: int) -> TailPlan[None]:
    """Read a 416 to its end, so that its connection can be used again."""
    found = _RANGE.fullmatch(head.headers.get("content-range", ""))
    if found is not None and found[2] != "*" and int(found[2]) < start:
        raise ServerError(f"{request.operation}: the log has become shorter than what was already read of it")
    left = 65536
    while left > 0 and (data := (yield Read())):
        left -= len(data)


def _read(progress: Progress, seeker: Seeker) -> TailPlan[None]:
    sought = True
    while data := (yield Read()):
        if not sought:
            yield from progress.feed(data)
        elif (rest := seeker.feed(data)) is not None:
            sought = False
            yield from _found(progress, seeker, rest)
    if sought and (rest := seeker.finish()) is not None:
        yield from _found(progress, seeker, rest)


def _found(progress: Progress, seeker: Seeker, rest: bytes) -> TailPlan[None]:
    if isinstance(seeker, TextSeeker):
        progress.log.go_on_at(seeker.cursor)
    if rest:
        yield from progress.feed(rest)
