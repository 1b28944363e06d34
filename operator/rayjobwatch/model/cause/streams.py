"""A log taken apart: the driver's own lines, and those of each worker and rank, without their prefixes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from rayjobwatch.model.cause.jsonlines import json_of
from rayjobwatch.model.cause.window import Numbered
from rayjobwatch.model.plain import plain_line

MAX_STREAMS = 64

_WORKER = re.compile(
    r"\((?=[^()]{0,200}(?:\([^()]{0,200}\)[^()]{0,100})?(?:pid=\d|\)))(?:[^()]|\([^()]*\)){0,300}pid=[^)]*\) ?"
)
_SERVICE = re.compile(r"\((?:raylet|autoscaler|gcs_server|dashboard)(?:[ ,+][^)]{0,100})?\) ?")
_RANK = re.compile(
    r"(?i)\[(?:(?:[a-z]{0,12}[_-]?rank|default|trainer|worker|node|proc)[ _:-]?\d{1,6}|\d{1,5}(?:,\d{1,5})?)\]"
    r"(?:<std(?:err|out)>)?:? ?(?=\S|  |$)"
)
_ANNOUNCED = "Running entrypoint for job "
_TIME = re.compile(
    r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?\]?(?: std(?:out|err) [FP])?(?: |$)|$"
)
_INNER = ("  ", "\t", "Traceback (most", "{")  # how lines begin that no logger writes on their own
_REPEATED = re.compile(r"\s*\[repeated \d+x across (?:cluster|all nodes)\].*$")


@dataclass
class Stream:
    """The lines of one writer, without its prefix; `numbers` are their numbers in the log."""

    name: str
    lines: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    @property
    def is_worker(self) -> bool:
        """Whether Ray forwarded these lines from a worker or one of its own services."""
        return self.name.startswith("(")


def streams_of(lines: Iterable[Numbered]) -> dict[str, Stream]:
    """Take the lines of a log apart; the driver's own are under the empty name, which is always there."""
    streams = {"": Stream("")}
    for number, line in lines:
        name, text = _split(plain_line(_unwrapped(line)))
        if name not in streams and len(streams) >= MAX_STREAMS:
            continue
        stream = streams.setdefault(name, Stream(name))
        stream.lines.append(text)
        stream.numbers.append(number)
    _without_times(streams[""])
    return streams


def _unwrapped(line: str) -> str:
    """Return the line that Docker's log driver put into JSON, with its stream and time."""
    if not line.startswith('{"log":'):
        return line
    record = json_of(line)
    is_dockers = isinstance(record, dict) and "stream" in record and isinstance(record["log"], str)
    return record["log"].rstrip("\n") if is_dockers else line


def _without_times(driver: Stream) -> None:
    """Take off the times that something put before each of the driver's lines, those of tracebacks too."""
    begin = next((at + 1 for at, line in enumerate(driver.lines) if _ANNOUNCED in line), 0)
    lines = driver.lines[begin:]
    texts = [line[found.end() :] for line in lines if (found := _TIME.match(line))]
    if len(texts) == len(lines) and any(text.startswith(_INNER) for text in texts):
        driver.lines[begin:] = texts


def _split(line: str) -> tuple[str, str]:
    if line.startswith("("):
        prefix = _WORKER.match(line) or _SERVICE.match(line)
        return (prefix[0].strip(), _REPEATED.sub("", line[prefix.end() :])) if prefix else ("", line)
    if line.startswith("[") and (prefix := _RANK.match(line)):
        return prefix[0].strip(), line[prefix.end() :]
    return "", line
