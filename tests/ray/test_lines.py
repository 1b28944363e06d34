"""Log bytes become lines: any bytes, cut anywhere, from any source."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ray import faults
from tests.ray.flavours import Caller, make_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ray.fakedashboard import FakeDashboard
    from tests.ray.wire import Behaviour, Exchange

PROTOCOLS = ("auto", "websocket", "http")
LOOKS_LIKE_PROTOCOL = [
    "42",
    "null",
    "[1]",
    '{"type":"complete"}',
    '{"type":"error"}',
    "data: x",
    ": ping",
    "1",
    "0",
    "0Closing HTTP stream due to internal server error",
    "event: end",
    "HTTP/1.1 500 X",
    "true",
]
TRICKY = {
    "utf8": "é€😀 \u6f22\n".encode(),
    "invalid bytes": b"ok \xff\xfe bad\nnext\n",
    "overlong and surrogate": b"\xc0\xaf \xed\xa0\x80 \xf5\x80\x80\x80\n",
    "progress bar": b"10%\r50%\r100%\ndone\n",
    "crlf": b"a\r\nb\r\n",
    "nul, ff, vt": b"a\x00b\nc\x0cd\x0be\n",
    "nel, ls, ps": "a\u0085b\u2028c\u2029d\n".encode(),
    "blank lines": b"\n\n  x\n\n",
    "no end": b"a\nlast",
    "half a character at the end": b"a\n\xe2\x82",
    "ansi": b"\x1b[36m(pid=1)\x1b[0m hi\n",
    "one newline": b"\n",
    "nothing": b"",
}


def reference(log: bytes) -> list[str]:
    """Split on LF and nothing else; bytes that are no UTF-8 are replaced."""
    lines = log.decode("utf-8", "replace").split("\n")
    return lines if lines[-1] else lines[:-1]


def cut(log: bytes, cuts: list[int]) -> list[bytes]:
    """Cut a log at these places."""
    places = [0, *sorted(at % (len(log) + 1) for at in cuts), len(log)]
    return [log[start:end] for start, end in itertools.pairwise(places) if end > start]


def serve_range(parts: list[bytes], log: bytes) -> Behaviour:
    """Serve the log by range, the body in these pieces."""

    async def behave(exchange: Exchange) -> None:
        start = int(exchange.request.headers["range"].removeprefix("bytes=").split("-")[0])
        if start >= len(log):
            await exchange.send(416, b"", {"Content-Range": f"bytes */{len(log)}"})
            return
        span = f"bytes {start}-{len(log) - 1}/{len(log)}"
        await exchange.head(206, {"Content-Range": span, "Content-Length": str(len(log) - start)})
        for part in parts if start == 0 else [log[start:]]:
            await exchange.raw(part)
            await asyncio.sleep(0)

    return behave


@pytest.mark.requirement("S-16", "D-19")
@pytest.mark.parametrize("name", TRICKY)
async def test_tricky_bytes_in_auto_come_out_as_a_splitter_on_lf_gives_them(
    fake: FakeDashboard, client: Caller, name: str
) -> None:
    fake.add_job("j", TRICKY[name], agent=True)
    assert await client.lines("j") == reference(TRICKY[name])


@pytest.mark.requirement("S-16")
@pytest.mark.parametrize("name", TRICKY)
async def test_tricky_bytes_by_http_come_out_as_a_splitter_on_lf_gives_them(
    fake: FakeDashboard, client: Caller, name: str
) -> None:
    fake.add_job("j", TRICKY[name])
    assert await client.lines("j", protocol="http") == reference(TRICKY[name])


@pytest.mark.requirement("S-16")
@pytest.mark.parametrize("name", [name for name in TRICKY if "invalid" not in name and "over" not in name])
async def test_tricky_text_by_websocket_comes_out_as_ray_sends_it(
    fake: FakeDashboard, client: Caller, name: str
) -> None:
    log = TRICKY[name].removesuffix(b"\xe2\x82")
    fake.add_job("j", log)
    assert await client.lines("j", protocol="websocket") == reference(log.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))


@pytest.mark.requirement("S-17")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_lines_that_look_like_protocol_are_lines(fake: FakeDashboard, client: Caller, protocol: str) -> None:
    fake.add_job("j", "".join(f"{line}\n" for line in LOOKS_LIKE_PROTOCOL).encode())
    assert await client.lines("j", protocol=protocol) == LOOKS_LIKE_PROTOCOL


@pytest.mark.requirement("D-19")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_lines_have_no_line_end_and_blank_ones_are_kept(
    fake: FakeDashboard, client: Caller, protocol: str
) -> None:
    fake.add_job("j", b"a\n\n  b\n")
    lines = await client.lines("j", protocol=protocol)
    assert lines == ["a", "", "  b"]
    assert [line.strip() for line in lines] == ["a", "", "b"]


LOGS = st.lists(
    st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80",
                     b"\xff", b"\xe2", b"\x00", b"x" * 50]),
    max_size=40,
).map(b"".join)  # fmt: skip
CUTS = st.lists(st.integers(0, 5000), max_size=12)
PROPERTY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _fresh(flavour: str, fake: FakeDashboard, protocol: str) -> list[str]:
    async def read() -> list[str]:
        client = make_client(flavour, fake.url)
        try:
            return await client.lines("j", protocol=protocol)
        finally:
            await client.shut()

    return asyncio.run(read())


@pytest.mark.requirement("S-16", "S-05")
@PROPERTY
@given(log=LOGS, cuts=CUTS)
def test_any_chunking_of_a_file_gives_the_same_lines(
    fake: FakeDashboard, flavour: str, log: bytes, cuts: list[int]
) -> None:
    fake.add_job("j", log)
    fake.on("GET", "/api/v0/logs/file", faults.chunks(*cut(log, cuts)))
    assert _fresh(flavour, fake, "http") == reference(log)


@pytest.mark.requirement("S-16")
@PROPERTY
@given(log=LOGS, cuts=CUTS)
def test_any_chunking_of_the_agents_range_gives_the_same_lines(
    fake: FakeDashboard, flavour: str, log: bytes, cuts: list[int]
) -> None:
    fake.add_job("j", log, agent=True)
    fake.on("GET", "/logs/job-driver-j.log", serve_range(cut(log, cuts), log))
    assert _fresh(flavour, fake, "auto") == reference(log)


@pytest.mark.requirement("S-16")
@PROPERTY
@given(text=st.text(max_size=120).filter(lambda text: "\r" not in text), cuts=CUTS)
def test_any_framing_of_a_websocket_gives_the_same_lines(
    fake: FakeDashboard, flavour: str, text: str, cuts: list[int]
) -> None:
    log = text.encode()
    fake.add_job("j", log)
    pieces = [text[start:end] for start, end in _spans(len(text), cuts)]
    fake.on("GET", "/api/jobs/j/logs/tail", faults.ws_frames(*pieces))
    assert _fresh(flavour, fake, "websocket") == reference(log)


def _spans(length: int, cuts: list[int]) -> list[tuple[int, int]]:
    places = [0, *sorted(at % (length + 1) for at in cuts), length]
    return list(itertools.pairwise(places))


@pytest.mark.requirement("S-16", "L-10")
async def test_64_mb_without_a_line_end_is_one_line_cut(fake: FakeDashboard, new_client: Callable[..., Any]) -> None:
    size = 64 << 20
    fake.add_job("j", b"z" * size, agent=True)
    client = new_client(fake.url)
    lines = await client.lines("j", limits=client.raw.stream_limits.but(max_bytes=None))
    assert len(lines) == 1
    assert lines[0].startswith("z" * 10_240)
    assert str(size) in lines[0]
