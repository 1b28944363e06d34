"""The WebSocket reader against frames of `websockets`, cut anywhere, and against what is no WebSocket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from rayjobwatch.ray.errors import ServerError, UnavailableError
from rayjobwatch.ray.tail.websocket import FrameReader, check_handshake, new_key
from tests.unit.ray_reference import CUTS, chunks_of

SIZES = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 70_000])


def framed(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=False)


def read(chunks: list[bytes]) -> tuple[bytes, int, FrameReader]:
    reader = FrameReader()
    text, frames = b"", 0
    for chunk in chunks:
        pieces, begun = reader.feed(chunk)
        text += b"".join(pieces)
        frames += begun
    return text, frames, reader


@given(sizes=st.lists(SIZES, max_size=5), cuts=CUTS)
def test_text_comes_out_whole_however_it_is_cut(sizes: list[int], cuts: list[int]) -> None:
    payloads = [bytes([65 + at]) * size for at, size in enumerate(sizes)]
    sent = b"".join(framed(Opcode.TEXT, payload) for payload in payloads)
    text, frames, reader = read([chunk for chunk in chunks_of(sent, cuts) if chunk])
    assert text == b"".join(payloads)
    assert frames == len(payloads)
    assert not reader.closed


@given(cuts=CUTS)
def test_fragments_pings_and_the_close_are_understood(cuts: list[int]) -> None:
    sent = (
        framed(Opcode.TEXT, b"one ", fin=False) + framed(Opcode.PING, b"are you there")
        + framed(Opcode.CONT, b"two") + framed(Opcode.PONG, b"") + framed(Opcode.CLOSE, b"\x03\xe8")
        + framed(Opcode.TEXT, b"after the close")
    )  # fmt: skip
    text, _, reader = read([chunk for chunk in chunks_of(sent, cuts) if chunk])
    assert text == b"one two"
    assert reader.closed
    (pong,) = reader.replies
    assert pong[:2] == bytes((0x8A, 0x80 | 13))
    mask, masked = pong[2:6], pong[6:]
    assert bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked)) == b"are you there"


@pytest.mark.parametrize(
    "sent",
    [b"\xc1\x01x", b"\x83\x00", b"\x81\x81\0\0\0\0x", b"\x09\x00", b"\x89\x7e\x00\x80", b"\x82\x01x", b"HTTP/1.1"],
    ids=["reserved bit", "unknown opcode", "masked", "control in parts", "long control", "binary", "no websocket"],
)
def test_what_breaks_the_protocol_is_503(sent: bytes) -> None:
    with pytest.raises(UnavailableError):
        FrameReader().feed(sent)


def test_a_frame_of_any_announced_size_is_given_out_as_it_comes() -> None:
    reader = FrameReader()
    head = b"\x81\x7f" + (1 << 62).to_bytes(8, "big")
    assert reader.feed(head + b"abc") == ([b"abc"], 1)
    assert reader.feed(b"d" * 100_000) == ([b"d" * 100_000], 0)


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
