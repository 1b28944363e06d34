"""Log bytes over HTTP: from the driver's agent by Range, or the dashboard's whole file, known part skipped."""

from typing import Final

from rayjobwatch.ray.api.logs import Span, agent_log, check_raw_files, is_of_the_source, job_logs, log_file, span_of
from rayjobwatch.ray.errors import ClientError, ServerError
from rayjobwatch.ray.plan import Close, Open, Read, Request, Response
from rayjobwatch.ray.tail.cursor import ByteCursor, TextCursor
from rayjobwatch.ray.tail.effects import TailPlan
from rayjobwatch.ray.tail.progress import Progress
from rayjobwatch.ray.tail.seek import ByteSeeker, Seeker, TextSeeker
from rayjobwatch.ray.tail.spec import Rung

_NOTHING: Final = 0


def read_bytes(progress: Progress, rung: Rung, connect: float) -> TailPlan[None]:
    """Read the log from the tail's cursor to its present end, which a server may give in parts."""
    while (yield from _read_part(progress, rung, connect)):
        pass


def _read_part(progress: Progress, rung: Rung, connect: float) -> TailPlan[bool]:
    """Read what one answer brings; return whether the log has more."""
    start = _start(progress)
    if rung is Rung.AGENT:
        request = agent_log(progress.job, start, connect)
    else:
        request = yield from file_request(progress, connect)
    head: Response = yield Open(request)
    span = span_of(head, request, start)
    if span is not None:
        yield from progress.opened(rung)
        yield from _read(progress, _seeker(progress, head, start), span)
    yield Close()
    follows = span is not None and span.ended()
    if rung is not Rung.AGENT or not (progress.over and progress.is_empty()):  # which is not believed yet
        progress.progressed()
    return follows


def read_to_end(progress: Progress, rung: Rung, connect: float) -> TailPlan[None]:
    """Read the log of a job that is over. That it is empty is not an agent's to say where the dashboard knows more."""
    yield from read_bytes(progress, rung, connect)
    if rung is not Rung.AGENT or not progress.is_empty():
        return
    if (yield from _is_without_file(progress)) and (yield from job_logs(progress.spec.job_id, _NOTHING)) is None:
        raise ServerError("the agent knows of no log, the dashboard does")
    yield Close()


def _is_without_file(progress: Progress) -> TailPlan[bool]:
    """Read the dashboard's file; return whether it has none to give and nothing was read."""
    try:
        yield from read_bytes(progress, Rung.FILE, progress.spec.timeout)
    except ClientError as error:
        if not (progress.is_empty() and is_of_the_source(error)):
            raise
    else:
        return False
    yield Close()
    return True


def file_request(progress: Progress, connect: float) -> TailPlan[Request]:
    """Return how the dashboard's log file is asked for; raise if this Ray gives none that is unaltered."""
    if not progress.files_are_raw:
        progress.files_are_raw = yield from check_raw_files()
    return log_file(progress.job, connect)


def _start(progress: Progress) -> int:
    cursor = progress.log.cursor
    return cursor.offset + progress.log.held_size if isinstance(cursor, ByteCursor) else 0


def _seeker(progress: Progress, head: Response, start: int) -> Seeker:
    cursor = progress.log.cursor
    if isinstance(cursor, TextCursor):
        progress.log.go_on_at(cursor)
        return TextSeeker(cursor.offset, cursor.anchor)
    return ByteSeeker(start if head.status == 200 else 0)


def _read(progress: Progress, seeker: Seeker, span: Span) -> TailPlan[None]:
    sought = True
    while data := (yield Read()):
        span.took(data)
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
