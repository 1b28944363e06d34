"""Finding a failure's cause in a log, whatever the log is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.model.cause.window import LINE_CHARS, LogWindow
from rayjobwatch.model.failure import failure_of
from rayjobwatch.model.jobs import Failure, JobRow
from tests.failures.cases import all_cases, formats

FORMATS = formats()
LOGS = [case.log.decode(errors="replace").splitlines() for case in all_cases()]


def cause(log: str, exit_code: int | None = 1, entrypoint: str = "python train.py") -> Failure:
    """Return the failure of a job with this log."""
    row = JobRow("a", "FAILED", entrypoint=entrypoint, error_type="JOB_ENTRYPOINT_COMMAND_ERROR", exit_code=exit_code)
    return failure_of(row, LogWindow().fed(log.split("\n")))


@pytest.mark.parametrize("name", FORMATS)
def test_the_cause_is_found_in_the_formats_of_other_tools(name: str) -> None:
    told = FORMATS[name]
    assert cause(told["log"], told.get("exit", 1), told.get("run", "python train.py")).text == told["cause"]


HEAD = "Traceback (most recent call last):"


@pytest.mark.parametrize("log", LOGS[::7], ids=len)
@given(st.data())
def test_the_window_is_the_same_whatever_the_batches(log: list[str], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=8)))
    window = LogWindow()
    for begin, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        window = window.fed(log[begin:end])
    assert window == LogWindow().fed(log)


def test_a_window_of_an_earlier_process_is_short_until_its_own_lines_fill_it() -> None:
    assert not LogWindow().fed(["line"] * 9999).is_short
    window = LogWindow.restored(100, ["line"] * 20)
    assert window.is_short
    assert window.fed(["(f pid=1) x"] * 9999).is_short
    assert not window.fed(["line"] * 999).is_short


def test_looking_back_gives_the_window_that_there_was_and_never_less() -> None:
    lines = [f"line {number}" for number in range(100)]
    short = LogWindow.restored(100, lines[-20:])
    assert short.looked_back(lines).lines == LogWindow().fed(lines).lines
    assert short.looked_back(lines).has_all
    assert short.looked_back(lines[-5:]) is short


@given(st.lists(st.sampled_from(["x" * 9000, "(f pid=1) x", "line"]), max_size=300))
def test_the_window_is_bounded_and_keeps_the_newest(lines: list[str]) -> None:
    window = LogWindow().fed(lines * 4)
    assert window.count == 4 * len(lines)
    assert sum(len(line) for _, line in window.lines) <= 60_000
    assert all(len(line) <= LINE_CHARS for _, line in window.lines)
    if lines:
        assert window.lines[-1][0] == window.count - 1


WORDS = [
    HEAD,
    f"  + Exception Group {HEAD}",
    '  File "a.py", line 3, in f',
    '  File "a.py", line 1',
    "ValueError: x",
    "    x()",
    "ray.exceptions.RayTaskError(ValueError): ray::f() (pid=1, ip=2)",
    "  | ValueError: y",
    '"""',
    "",
    "  +-+---------------- 1 ----------------",
    "    +------------------------------------",
    "    | ValueError: z",
    "The above exception was the direct cause of the following exception:",
    "[rank0]: ",
    "(f pid=1) ",
    "E   x",
    "{}",
    "╭──── Traceback (most recent call last) ────╮",
    "╰────────────╯",
    "Fatal Python error: x",
    "panic: x",
    "goroutine 1",
    "(most recent call first):",
    "ValueError   Traceback (most recent call last)",
    "____ test ____",
    "a.py:1: ValueError",
    'Exception in thread "main" a.B: c',
    "\tat a.b(C.java:1)",
    "Error: x",
    "    at a (/b.js:1:2)",
    '{"exc_type": "E"}',
    "terminate called after throwing an instance of 'x'",
    "thread 'main' panicked at a.rs:1:2:",
    "a.sh: line 1: x",
    json.dumps({"e": f"{HEAD}\nValueError: j"}),
    '{"type": "E", "value": "\\n", "frames": [{"file": 1, "line": "²"}, 3]}',
    "Call stack:",
    "Last 50 lines of stdout:",
    "ray.exceptions.RuntimeEnvSetupError: x",
    "\x1b[31m",
    "\r",
    "Unhandled exception. A.B: x",
    "   at a in b:line 3",
    "PHP Fatal error:  Uncaught A: b in c.php:3",
    "m.rb:3:in `f': x (A)",
    "Error in f(x) (from m.R#3) : y",
    "Execution halted",
    "ERROR: LoadError: AError: x",
    "Stacktrace:",
    "a.b.CException: d",
    "==1==ERROR: AddressSanitizer: x",
    "    #0 0x1 in f /a.c:1",
    "SUMMARY: AddressSanitizer: x",
    "F1121 10:00:00.1 1 a.cc:1] x",
    "Timeout (0:00:01)!",
    "SyntaxError: x in file a.py on line 1",
    "error[E1]: x",
    " --> a.rs:1:2",
    "/a.py:1: AError: b",
    "  File a.py:1",
    "Root Cause (first observed failure):",
    "  rank : 1",
    "ImportError while loading conftest x",
    "npm error x",
    "Original Traceback (most recent call last):",
    f"AError: x: {HEAD}",
    "AError: x:",
    "AError: {",
    "}",
    '  in "a.yaml", line 1, column 2',
    "AError: while x",
    "AError: 1 validation error for A",
    "  x [type=a]",
    "ray.exceptions.ActorDiedError: x",
    "The actor is dead because x",
    "╭─ Error ─╮",
    "Could not override 'a'",
    "Set the environment variable HYDRA_FULL_ERROR=1 x",
    "Error in rule a:",
    "Error using a (line 1)",
    "Error in a (line 1)",
    '{"log": "x\\n", "stream": "stderr"}',
    f"x '{HEAD}\\nAError: x'",
]
LINES = st.lists(st.tuples(st.sampled_from([*WORDS, ""]), st.sampled_from(WORDS)).map("".join), max_size=20)


@given(LINES, st.sampled_from([None, 0, 1, 2, 137, 139, -9, 255]), st.sampled_from(["python a.py", "bash a.sh", ""]))
def test_any_text_has_a_cause_of_single_clean_lines(lines: list[str], code: int | None, entrypoint: str) -> None:
    failure = cause("\n".join(lines), code, entrypoint)
    assert failure.text
    assert failure.text.isprintable()


@pytest.mark.parametrize("word", WORDS, ids=repr)
def test_a_window_full_of_the_same_line_is_read(word: str) -> None:
    assert cause("\n".join([word] * 700)).text
    assert cause(word * (LINE_CHARS // max(1, len(word)))).text
