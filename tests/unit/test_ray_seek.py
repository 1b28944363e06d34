"""Finding the place again: from text to bytes, from bytes to text, after a live tail with a line end too many."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.ray.errors import ServerError
from rayjobwatch.ray.tail.cursor import ByteCursor, TextCursor
from rayjobwatch.ray.tail.limits import StreamLimits
from rayjobwatch.ray.tail.lines import LineAssembler
from rayjobwatch.ray.tail.seek import ByteSeeker, Seeker, TextSeeker
from tests.unit.ray_reference import CUTS, PIECES, chunks_of, text_of


def sought(seeker: Seeker, chunks: list[bytes]) -> bytes | None:
    """Return what follows the place."""
    rest: bytes | None = None
    for chunk in chunks:
        if rest is None:
            rest = seeker.feed(chunk)
        else:
            rest += chunk
    return seeker.finish() if rest is None else rest


def places(text: bytes) -> list[TextCursor]:
    """Return the cursor after every line of a text tail."""
    log = LineAssembler(StreamLimits.unbounded().but(queue_size=1), TextCursor())
    return [batch.cursor for batch in log.feed(text) if isinstance(batch.cursor, TextCursor)]


@given(log=PIECES, cuts=CUTS, skip=st.integers(0, 200))
def test_bytes_are_skipped_whatever_the_chunks(log: bytes, cuts: list[int], skip: int) -> None:
    if skip > len(log):
        with pytest.raises(ServerError, match="shorter"):
            sought(ByteSeeker(skip), chunks_of(log, cuts))
    else:
        assert (sought(ByteSeeker(skip), chunks_of(log, cuts)) or b"") == log[skip:]


@given(log=PIECES, cuts=CUTS, which=st.integers(0, 100))
def test_a_place_in_the_text_is_found_in_the_bytes(log: bytes, cuts: list[int], which: int) -> None:
    cursors = [TextCursor(), *places(text_of(log))]
    cursor = cursors[which % len(cursors)]
    seeker = TextSeeker(cursor.offset, cursor.anchor)
    rest = sought(seeker, chunks_of(log, cuts))
    assert rest is not None
    assert text_of(log[: len(log) - len(rest)]) == text_of(log)[: cursor.offset]
    assert text_of(rest) == text_of(log)[cursor.offset :]
    assert seeker.cursor == ByteCursor(len(log) - len(rest), log[: len(log) - len(rest)].count(b"\r\n"))
    assert seeker.text_cursor == cursor


@given(log=PIECES, cuts=CUTS, which=st.integers(0, 100))
def test_a_place_in_the_bytes_is_found_in_the_text(log: bytes, cuts: list[int], which: int) -> None:
    ends = [0, *(at + 1 for at in range(len(log)) if log[at : at + 1] == b"\n")]
    offset = ends[which % len(ends)]
    cursor = ByteCursor(offset, log[:offset].count(b"\r\n"))
    rest = sought(TextSeeker(cursor.text_offset), chunks_of(text_of(log), cuts))
    assert rest == text_of(log[offset:])


@pytest.mark.parametrize("extra", [1, 2, 3])
def test_line_ends_that_a_live_tail_had_too_many_do_not_lose_a_byte(extra: int) -> None:
    """A CR stood at the end of the file for a second, then its LF came: the live tail had both as LF."""
    log = b"50%\r\n" * extra + b"epoch one\nnext\nlast"
    live = b"50%\n\n" * extra + b"epoch one\n"
    seeker = TextSeeker(len(live), crc32(b"epoch one"))
    assert sought(seeker, [log[:7], log[7:]]) == b"next\nlast"


def test_line_ends_too_many_are_got_over_at_the_very_end_too() -> None:
    seeker = TextSeeker(len(b"50%\n\nlast\n"), crc32(b"last"))
    assert sought(seeker, [b"50%\r\nlast\n"]) == b""


def test_the_anchor_is_looked_for_far_behind_the_start() -> None:
    filler = b"".join(b"line number %d\n" % number for number in range(40_000))
    text = filler + b"here\n"
    seeker = TextSeeker(len(text) + 3, crc32(b"here"))
    chunks = [text[at : at + 50_000] for at in range(0, len(text), 50_000)]
    assert sought(seeker, [*chunks, b"and on\n" * 10]) == b"and on\n" * 10


def test_another_log_is_not_taken_for_the_one_that_was_read() -> None:
    with pytest.raises(ServerError, match="not the one"):
        sought(TextSeeker(8, crc32(b"mine")), [b"abc\nthe others\nlines\n"])


def test_a_log_that_became_shorter_is_told() -> None:
    with pytest.raises(ServerError, match="shorter"):
        sought(TextSeeker(100), [b"abc\n"])
