"""Line assembly against a reference splitter, for every chunking, with every limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.ray.errors import InvalidInputError, StreamLimitError
from rayjobwatch.ray.tail.cursor import ByteCursor, Cursor, TextCursor
from rayjobwatch.ray.tail.limits import StreamLimits
from rayjobwatch.ray.tail.lines import LineAssembler, LogBatch
from tests.unit.ray_reference import CUTS, LIMIT, PIECES, chunks_of, reference_lines, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

START = ByteCursor()


def batches_of(chunks: Iterable[bytes], limits: StreamLimits | None = None, cursor: Cursor = START) -> list[LogBatch]:
    log = LineAssembler(limits or StreamLimits.unbounded(), cursor)
    return [*(batch for chunk in chunks for batch in log.feed(chunk)), *log.finish()]


def lines_of(batches: Iterable[LogBatch]) -> list[str]:
    return [line for batch in batches for line in batch.lines]


def drained(assembler: LineAssembler, chunks: Iterable[bytes]) -> tuple[list[str], StreamLimitError | None]:
    """Return what came until the end or until a limit, and the limit's error."""
    told: list[str] = []
    try:
        for chunk in chunks:
            for batch in assembler.feed(chunk):
                told += batch.lines
        for batch in assembler.finish():
            told += batch.lines
    except StreamLimitError as error:
        return told, error
    return told, None


@given(log=PIECES, cuts=CUTS, queue=st.integers(1, 5))
def test_any_chunking_gives_the_reference_lines_in_batches_that_fit_the_queue(
    log: bytes, cuts: list[int], queue: int
) -> None:
    batches = batches_of(chunks_of(log, cuts), StreamLimits.unbounded().but(queue_size=queue))
    assert lines_of(batches) == reference_lines(log)
    assert all(1 <= len(batch.lines) <= queue for batch in batches)
    assert [batch.unterminated for batch in batches[:-1]] == [False] * len(batches[:-1])
    assert not batches or batches[-1].unterminated is (not log.endswith(b"\n"))
    assert sum(batch.received_bytes for batch in batches) == len(log)


@given(log=PIECES, cuts=CUTS, queue=st.integers(1, 3), text=st.booleans())
def test_every_cursor_goes_on_exactly_after_its_lines(log: bytes, cuts: list[int], queue: int, text: bool) -> None:
    log = text_of(log) if text else log
    batches = batches_of(
        chunks_of(log, cuts), StreamLimits.unbounded().but(queue_size=queue), TextCursor() if text else START
    )
    told: list[str] = []
    for batch in batches:
        told += batch.lines
        cursor = batch.cursor
        assert isinstance(cursor, TextCursor if text else ByteCursor)
        assert told + reference_lines(log[cursor.offset :]) == reference_lines(log)
        assert cursor.text_offset == len(text_of(log[: cursor.offset]))
        assert Cursor.parse(str(cursor)) == cursor
        assert len(str(cursor)) < 200


@given(log=PIECES, cuts=CUTS)
def test_long_lines_are_cut_to_the_limit_and_tell_their_size(log: bytes, cuts: list[int]) -> None:
    batches = batches_of(chunks_of(log, cuts), StreamLimits.unbounded().but(max_message_size=LIMIT))
    raw = log.split(b"\n")[: None if not log.endswith(b"\n") else -1] if log else []
    expected = [
        line.decode("utf-8", "replace")
        if len(line) <= LIMIT
        else f"{line[:LIMIT].decode('utf-8', 'ignore')}… [line of {len(line)} bytes cut]"
        for line in raw
    ]
    assert lines_of(batches) == expected
    assert sum(batch.truncated for batch in batches) == sum(len(line) > LIMIT for line in raw)
    assert sum(batch.received_bytes for batch in batches) == len(log)
    assert not batches or batches[-1].cursor == ByteCursor(len(log), log.count(b"\r\n"))


@given(log=PIECES, cuts=CUTS)
def test_long_lines_are_skipped_and_counted_where_asked(log: bytes, cuts: list[int]) -> None:
    limits = StreamLimits.unbounded().but(max_message_size=LIMIT, long_lines="skip")
    batches = batches_of(chunks_of(log, cuts), limits)
    raw = log.split(b"\n")[: None if not log.endswith(b"\n") else -1] if log else []
    assert lines_of(batches) == [line.decode("utf-8", "replace") for line in raw if len(line) <= LIMIT]
    assert sum(batch.truncated for batch in batches) == sum(len(line) > LIMIT for line in raw)


@given(log=PIECES, cuts=CUTS, limit=st.integers(1, 20))
def test_the_line_limit_delivers_exactly_that_many_lines(log: bytes, cuts: list[int], limit: int) -> None:
    assembler = LineAssembler(StreamLimits.unbounded().but(max_lines=limit, queue_size=3))
    told, error = drained(assembler, chunks_of(log, cuts))
    assert told == reference_lines(log)[:limit]
    assert (error is not None) is (len(reference_lines(log)) > limit)
    if error is not None:
        assert (error.limit, error.allowed, error.counts["lines"]) == ("max_lines", limit, limit)
    cursor = assembler.cursor
    assert isinstance(cursor, ByteCursor)
    assert reference_lines(log[: cursor.offset]) == told


@given(log=PIECES, cuts=CUTS, limit=st.integers(1, 100))
def test_the_byte_limit_counts_what_comes_and_delivers_the_lines_within(
    log: bytes, cuts: list[int], limit: int
) -> None:
    told, error = drained(LineAssembler(StreamLimits.unbounded().but(max_bytes=limit)), chunks_of(log, cuts))
    assert (error is not None) is (len(log) > limit)
    if error is None:
        assert told == reference_lines(log)
    else:
        assert error.limit == "max_bytes"
        assert told == reference_lines(b"".join(log[:limit].rpartition(b"\n")[:2]))


def test_an_error_for_a_long_line_comes_after_the_lines_before_it() -> None:
    assembler = LineAssembler(StreamLimits.unbounded().but(max_message_size=3, long_lines="error"))
    told, error = drained(assembler, [b"a\nbb\nccc\ndddd\ne\n"])
    assert told == ["a", "bb", "ccc"]
    assert error is not None
    assert error.limit == "max_message_size"


def test_going_on_at_a_cursor_forgets_the_incomplete_line_and_its_bytes() -> None:
    assembler = LineAssembler(StreamLimits.unbounded().but(max_bytes=10))
    assert [batch.lines for batch in assembler.feed(b"one\ntw")] == [("one",)]
    assembler.go_on_at(assembler.cursor)
    assert assembler.held_size == 0
    assert [batch.lines for batch in assembler.feed(b"two\nxx")] == [("two",)]


def test_a_long_line_without_end_holds_no_more_than_the_limit() -> None:
    assembler = LineAssembler(StreamLimits.unbounded())
    for _ in range(1_000):
        assert not list(assembler.feed(b"x" * 100_000))
    assert assembler.held_size == 100_000_000
    assert sum(map(len, assembler._held)) <= 10_241
    (batch,) = assembler.finish()
    assert batch.lines[0].endswith("… [line of 100000000 bytes cut]")


@pytest.mark.parametrize("text", ["", "b:1", "x:1:0", "b:-1:0", "b:1:0\n", "b:1:g", f"b:{'9' * 30}:0", 5, None])
def test_what_is_no_cursor_is_refused(text: object) -> None:
    with pytest.raises(InvalidInputError):
        Cursor.parse(text)


@pytest.mark.parametrize("value", [0, -1, "5", 1.5, float("nan"), True, [1]])
@pytest.mark.parametrize("name", ["max_messages", "max_lines", "max_bytes", "max_message_size", "queue_size"])
def test_limits_are_whole_numbers_from_1_on(name: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=name):
        StreamLimits(**{name: value})  # type: ignore[arg-type]
