"""The WebSocket's text: frames of `websockets`, cut anywhere, and what is no WebSocket or too large."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from rayjobwatch.ray.errors import ClientError, ServerError
from rayjobwatch.ray.tail.handshake import check_handshake, new_key
from rayjobwatch.ray.tail.websocket import TextReader
from tests.unit.ray_reference import CUTS, chunks_of

LARGEST = 1 << 20
SIZES = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 70_000])


def framed(opcode: Opcode, payload: bytes, *, fin: bool = True, mask: bool = False) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=mask)


def read(chunks: list[bytes]) -> tuple[list[bytes], TextReader]:
    reader = TextReader()
    return [piece for chunk in chunks for piece in reader.feed(chunk, LARGEST)], reader


@given(sizes=st.lists(SIZES, max_size=5), cuts=CUTS, mask=st.booleans())
def test_text_comes_out_frame_by_frame_however_it_is_cut(sizes: list[int], cuts: list[int], mask: bool) -> None:
    payloads = [bytes([65 + at]) * size for at, size in enumerate(sizes)]
    sent = b"".join(framed(Opcode.TEXT, payload, mask=mask) for payload in payloads)
    pieces, reader = read([chunk for chunk in chunks_of(sent, cuts) if chunk])
    assert pieces == payloads
    assert not reader.closed
    assert reader.failure is None


@given(cuts=CUTS)
def test_fragments_pings_and_the_close_are_understood(cuts: list[int]) -> None:
    sent = (
        framed(Opcode.TEXT, b"one ", fin=False) + framed(Opcode.PING, b"are you there")
        + framed(Opcode.CONT, b"two") + framed(Opcode.PONG, b"") + framed(Opcode.CLOSE, b"\x03\xe8")
        + framed(Opcode.TEXT, b"after the close")
    )  # fmt: skip
    pieces, reader = read([chunk for chunk in chunks_of(sent, cuts) if chunk])
    assert pieces == [b"one ", b"two"]
    assert reader.closed
    assert reader.reply is not None
    assert reader.reply[:2] == bytes((0x8A, 0x80 | 13))
    mask, masked = reader.reply[2:6], reader.reply[6:]
    assert bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked)) == b"are you there"


def test_of_many_pings_at_once_the_last_is_answered() -> None:
    reader = TextReader()
    assert reader.feed(framed(Opcode.PING, b"") * 100_000 + framed(Opcode.PING, b"last"), LARGEST) == []
    assert reader.reply is not None
    assert len(reader.reply) == 2 + 4 + 4


WRONG = {
    "reserved bit": b"\xc1\x01x",
    "unknown opcode": b"\x83\x00",
    "ping in parts": b"\x09\x00",
    "long ping": b"\x89\x7e\x00\x80" + b"x" * 128,
    "long close": b"\x88\x7e\x00\x80" + b"x" * 128,
    "bad close code": b"\x88\x02\x00\x01",
    "half a close code": b"\x88\x01\x03",
    "binary": b"\x82\x01x",
    "binary in parts": b"\x02\x01x",
    "continuation of nothing": b"\x80\x01x",
    "text within a message": b"\x01\x01x\x81\x01y",
    "no websocket": b"SSH-2.0-OpenSSH_9 " * 10,
}


@pytest.mark.parametrize("name", WRONG)
def test_what_breaks_the_protocol_is_told_after_the_text_before_it(name: str) -> None:
    pieces, reader = read([framed(Opcode.TEXT, b"one\n") + WRONG[name]])
    assert pieces[0] == b"one\n"
    assert isinstance(reader.failure, ClientError)
    assert reader.failure.transient
    assert reader.failure.status_code >= 500


@pytest.mark.parametrize("size", [LARGEST + 1, 1 << 40, (1 << 63) - 1])
def test_a_frame_that_is_too_large_is_known_by_its_head(size: int) -> None:
    pieces, reader = read([framed(Opcode.TEXT, b"one\n") + b"\x81\x7f" + size.to_bytes(8, "big")])
    assert pieces == [b"one\n"]
    assert reader.oversized == size


def test_a_large_frame_costs_time_in_proportion_to_its_size_however_small_its_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = framed(Opcode.TEXT, b"x" * 1_000_000)
    reader, joined = TextReader(), 0
    whole = reader._frames._refilled

    def counted(bufsize: int) -> int:
        nonlocal joined
        before = reader._frames._data
        try:
            return whole(bufsize)
        finally:
            joined += len(reader._frames._data) if reader._frames._data is not before else 0

    monkeypatch.setattr(reader._frames, "_refilled", counted)
    pieces = [piece for at in range(0, len(sent), 100) for piece in reader.feed(sent[at : at + 100], LARGEST)]
    assert [len(piece) for piece in pieces] == [1_000_000]
    assert joined < 4 * len(sent)


def test_the_handshake_is_checked() -> None:
    good = {"sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "upgrade": "WebSocket"}  # RFC 6455, 1.3
    check_handshake(good, "dGhlIHNhbXBsZSBub25jZQ==", "tail")
    for wrong in (
        {}, good | {"sec-websocket-accept": "x"}, good | {"upgrade": "h2c"},
        good | {"sec-websocket-extensions": "permessage-deflate"},
    ):  # fmt: skip
        with pytest.raises(ServerError):
            check_handshake(wrong, "dGhlIHNhbXBsZSBub25jZQ==", "tail")
    assert len({new_key() for _ in range(100)}) == 100
