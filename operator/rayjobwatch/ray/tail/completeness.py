"""Whether the text tail brought a log to its end: Ray closes it in the same way when it stops early.

The proof is how long the log is, from the first of these that can tell: of a long log its end, from the driver's agent;
the dashboard's log file; all of the log from the agent; Ray's own text of the log. Without proof the end of a text tail
is no end of the log.
"""

from collections.abc import Iterator
from typing import Final

from rayjobwatch.ray.api.logs import agent_log, is_of_the_source, is_passing, job_logs, may_ask, span_of
from rayjobwatch.ray.errors import ClientError, ServerError, TailEndedError
from rayjobwatch.ray.plan import Close, Open, Read, Request, Response
from rayjobwatch.ray.tail.byte_source import file_request
from rayjobwatch.ray.tail.cursor import TextCursor
from rayjobwatch.ray.tail.effects import TailPlan
from rayjobwatch.ray.tail.progress import Progress
from rayjobwatch.ray.tail.seek import TextSeeker, text_size

CAUSES: Final = "(a byte that is not UTF-8, or a line of more than 4 MiB): use protocol 'auto' or 'http'"
_QUICK_CONNECT: Final = 2.0
_LARGEST_TEXT: Final = 16 << 20
_LONG: Final = 1 << 20  # what takes longer to be read again than an agent that cannot be reached is waited for
_END: Final = 1 << 10


def check_complete(progress: Progress, connect: float) -> TailPlan[None]:
    """Raise unless it is proven that all the text of the log was read; the job is over."""
    unread = yield from _unread(progress, connect)
    if unread:
        job = progress.spec.job_id
        raise TailEndedError(f"the server ended the log tail of {job!r} {unread} bytes before the log's end {CAUSES}")


def _unread(progress: Progress, connect: float) -> TailPlan[int]:
    """Return how much text the log holds beyond what was read."""
    failure: ClientError | None = None
    if (yield from _ends_alike(progress, connect)):
        return 0
    for proof in _proofs(progress, connect):
        try:
            return (yield from proof)
        except ClientError as error:
            if not is_of_the_source(error):
                raise
            failure = error
        yield Close()
    if failure is not None and is_passing(failure):
        raise failure
    job = progress.spec.job_id
    raise TailEndedError(f"the server ended the log tail of {job!r}; nothing tells if that was its end ({failure})")


def _proofs(progress: Progress, connect: float) -> Iterator[TailPlan[int]]:
    yield _unread_of_file(progress, connect)
    if may_ask(progress.job.driver_agent_http_address, progress.spec.agents):
        yield _unread_bytes(progress, agent_log(progress.job, 0, min(connect, _QUICK_CONNECT)))
    yield _unread_of_text(progress)


def _ends_alike(progress: Progress, connect: float) -> TailPlan[bool]:
    """Whether a long log ends where reading ended, with the same line; with a CR LF before that it does not seem to."""
    agent, start = progress.job.driver_agent_http_address, progress.log.cursor.text_offset - _END
    if start < _LONG or progress.log.held_size or not may_ask(agent, progress.spec.agents):
        return False
    try:
        unread = yield from _unread_bytes(progress, agent_log(progress.job, start, min(connect, _QUICK_CONNECT)), start)
    except ClientError as error:
        if not is_of_the_source(error):
            raise
        yield Close()
        return False
    return not unread


def _unread_of_file(progress: Progress, connect: float) -> TailPlan[int]:
    return (yield from _unread_bytes(progress, (yield from file_request(progress, connect))))


def _unread_of_text(progress: Progress) -> TailPlan[int]:
    text = yield from job_logs(progress.spec.job_id, _LARGEST_TEXT)
    if text is None:
        raise ServerError(f"Ray's text of the log is larger than {_LARGEST_TEXT} bytes")
    return max(len(text.encode("utf-8", "surrogatepass")) - _read(progress), 0)


def _read(progress: Progress) -> int:
    return progress.log.cursor.text_offset + progress.log.held_size


def _unread_bytes(progress: Progress, request: Request, start: int = 0) -> TailPlan[int]:
    """Return how much text the log's bytes from `start` on hold beyond what the text tail brought."""
    cursor = progress.log.cursor
    head: Response = yield Open(request)
    span = span_of(head, request, start)
    seeker = TextSeeker(cursor.text_offset - start, cursor.anchor if isinstance(cursor, TextCursor) else None)
    rest: bytes | None = None
    size = 0
    while span is not None and (data := (yield Read())):
        span.took(data)
        if rest is None:
            data = rest = seeker.feed(data)
        size += text_size(data or b"")
    yield Close()
    if span is not None and span.ended():
        raise ServerError(f"{request.operation}: the log comes in parts")
    if rest is None:
        size = text_size(seeker.finish())
    return max(size - progress.log.held_size, 0)
