"""Logs that no honest job writes: what is kept and found of them is bounded, clean and right."""

import json
from collections.abc import Iterator, Sequence

import pytest

from rayjobwatch.engine.hearing import Heard, Hearing
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.failure import failure_of
from rayjobwatch.model.jobs import Job, JobRow, JobState
from rayjobwatch.model.lens import Lens
from rayjobwatch.model.rules import MAX_RULES, Rule
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.status import status_of
from rayjobwatch.model.values import MAX_VALUES, ValuePattern
from rayjobwatch.ray import StreamLimits
from rayjobwatch.ray.tail.lines import LineAssembler
from tests.unit.observations import T0
from tests.unit.schema import faults, status_schema

KEY = ("ml", "train")
LENS = Lens(
    [Rule(f"r{number}", f"oom {number}$|" * 3 + "end") for number in range(MAX_RULES)],
    [ValuePattern(f"v{number}", r"(?P<value>\d*)") for number in range(MAX_VALUES)],
    ["", "x*", r"\d+"],
)
FRAME = '  File "train.py", line {0}, in f{0}\n    f{1}()\n'
FRAMES = "".join(FRAME.format(number, number + 1) for number in range(10_000))
TRACEBACK = f"Traceback (most recent call last):\n{FRAMES}RecursionError: too deep\n".encode()
LOGS = {
    "a line of 64 MB": b"x" * (64 << 20) + b"\nend\n",
    "no line end": b"y" * (1 << 20),
    "no text": bytes(range(256)) * 4000 + b"\nend\n",
    "progress bar": b"\r".join(b"step %d/40" % number for number in range(200_000)) + b"\nend\n",
    "colours": b"\x1b[31m" * 200_000 + b"\nend\n",
    "line ends": b"\n" * 300_000 + b"end\n",
    "frames": TRACEBACK,
    "the rest of a traceback": TRACEBACK[len(TRACEBACK) // 2 :],
    "yaml": b"- &a [*a, *a]\n\"'}{%00\\u0000\\x1b\n" * 2000 + b"end\n",
}


def batches(log: bytes) -> Iterator[Sequence[str]]:
    """Yield the log's lines as a tail brings them."""
    assembler = LineAssembler(StreamLimits.unbounded())
    for begin in range(0, len(log), 1 << 16):
        yield from (batch.lines for batch in assembler.feed(log[begin : begin + (1 << 16)]))
    yield from (batch.lines for batch in assembler.finish())


@pytest.mark.parametrize("name", LOGS)
def test_what_is_shown_of_a_hostile_log_is_clean_and_bounded(name: str) -> None:
    hearing = Hearing(LogDigest())
    hearing.join(KEY, LENS, Heard())
    for lines in batches(LOGS[name]):
        hearing.fed(lines, "b:1:0", T0)
    heard = hearing.heard(KEY)
    assert heard is not None
    failure = failure_of(JobRow("a", "FAILED", exit_code=1), heard.digest.window)
    state = WatchState({"a": Job("a", JobState.FAILED, failure=failure)}, findings={"a": heard.findings})
    status = status_of(state, {"a": heard.digest}, tail_lines=100, previous={}, generation=1, now=T0)
    assert not list(faults(status, status_schema()))
    shown = json.dumps(status, ensure_ascii=False)
    assert shown.isprintable()
    assert len(shown.encode()) <= 64_000
    lines_of_log = LOGS[name].count(b"\n") + (not LOGS[name].endswith(b"\n"))
    assert heard.digest.lines == lines_of_log
    if LOGS[name].endswith(b"\nend\n"):
        assert {state.count for state in heard.findings.rules.values()} == {1}
    if name == "frames":
        assert failure.type == "RecursionError"
