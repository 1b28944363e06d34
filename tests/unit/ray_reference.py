"""Reference behaviour, written as simply as can be, that the fast code is held against."""

from itertools import pairwise

from hypothesis import strategies as st

LIMIT = 12

# Small pieces that make up every kind of trouble: line ends of all sorts, cut characters, bytes that are no UTF-8.
PIECES = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"\r\n", b"a", b"bc", b"0123456789", b"\xff", "é".encode(), "\u2028".encode(), "😀".encode(),
         b"\xc3", b"\x00", b"\x0c", "\x85".encode(), b" "]
    ),
    max_size=60,
).map(b"".join)  # fmt: skip


def reference_lines(log: bytes) -> list[str]:
    """Split on LF and nothing else."""
    lines = log.decode("utf-8", "replace").split("\n")
    return lines if lines[-1] else lines[:-1]


def text_of(log: bytes) -> bytes:
    """Read as the agent's text mode does."""
    return log.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def chunks_of(log: bytes, cuts: list[int]) -> list[bytes]:
    """Cut a log at these places (taken modulo its length)."""
    places = sorted({0, len(log), *(cut % (len(log) + 1) for cut in cuts)})
    return [log[start:end] for start, end in pairwise(places)]


CUTS = st.lists(st.integers(0, 10_000), max_size=20)
