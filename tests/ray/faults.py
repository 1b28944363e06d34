"""Misbehaviours for the fake dashboard, each a behaviour of one exchange."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.ray.wire import CLOSE, TEXT, Behaviour, Exchange

if TYPE_CHECKING:
    from collections.abc import Callable


def answer(status: int, body: bytes | str = b"", **headers: str) -> Behaviour:
    """Answer so; header names are given with `_` for `-`."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(status, body, {name.replace("_", "-"): value for name, value in headers.items()})

    return behave


def json_text(text: str | bytes) -> Behaviour:
    """Answer 200 with this as `application/json`."""
    return answer(200, text, Content_Type="application/json")


def html(status: int = 200) -> Behaviour:
    """Answer with a page for people."""
    return answer(status, "<html><body><h1>nginx</h1></body></html>", Content_Type="text/html")


def deep(depth: int = 200_000) -> Behaviour:
    """Answer with JSON nested deeper than a parser's stack."""
    return json_text("[" * depth + "]" * depth)


def redirect(location: str, status: int = 302) -> Behaviour:
    return answer(status, b"", Location=location)


async def silence(exchange: Exchange) -> None:
    """Accept and never answer."""
    await exchange.hang()


async def reset(exchange: Exchange) -> None:
    """Reset the connection instead of an answer."""
    exchange.abort()


async def hang_up(exchange: Exchange) -> None:
    """End the connection instead of an answer."""
    exchange.close()


async def header_stall(exchange: Exchange) -> None:
    """Send half of the response's head, then nothing."""
    await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Type: appl")
    await exchange.hang()


async def body_stall(exchange: Exchange) -> None:
    """Send half of the body, then nothing."""
    await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    await exchange.hang()


def short_body(claimed: int, body: bytes) -> Behaviour:
    """Claim a length, send less of it, and end the connection."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, {"Content-Type": "text/plain", "Content-Length": str(claimed)})
        await exchange.raw(body)
        exchange.close()

    return behave


def truncated_chunks(*parts: bytes, status: int = 200) -> Behaviour:
    """Start a chunked body and end the connection before its end."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(status, {"Content-Type": "text/plain", "Transfer-Encoding": "chunked"})
        for part in parts:
            await exchange.chunk(part)
        exchange.close()

    return behave


def drip(body: bytes, gap: float) -> Behaviour:
    """Send a right answer one byte at a time."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        for at in range(len(body)):
            await exchange.raw(body[at : at + 1])
            await asyncio.sleep(gap)

    return behave


def bytes_only(data: bytes) -> Behaviour:
    """Send these bytes in place of HTTP."""

    async def behave(exchange: Exchange) -> None:
        await exchange.raw(data)
        exchange.close()

    return behave


def endless(block: bytes, status: int = 200) -> Behaviour:
    """Send a chunked body that never ends."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(status, {"Content-Type": "text/plain", "Transfer-Encoding": "chunked"})
        while True:
            await exchange.chunk(block)

    return behave


def chunks(*parts: bytes) -> Behaviour:
    """Send a whole chunked body in these pieces, each by itself."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, {"Content-Type": "text/plain", "Transfer-Encoding": "chunked"})
        for part in parts:
            await exchange.chunk(part)
            await asyncio.sleep(0)
        await exchange.chunk(b"")

    return behave


# WebSocket


def ws_frames(*payloads: bytes | str, close: int | None = 1000) -> Behaviour:
    """Accept the upgrade, send these text frames, then close (None: end the connection without a close frame)."""

    async def behave(exchange: Exchange) -> None:
        socket = await exchange.accept()
        for payload in payloads:
            await socket.text(payload)
        if close is not None:
            await socket.close(close)
        exchange.close()

    return behave


def ws_then_silence(*payloads: bytes | str) -> Behaviour:
    """Accept, send these frames, then nothing; a close frame of the client's is never answered."""

    async def behave(exchange: Exchange) -> None:
        socket = await exchange.accept()
        for payload in payloads:
            await socket.text(payload)
        await exchange.hang()

    return behave


def ws_raw(data: bytes) -> Behaviour:
    """Accept the upgrade and send bytes that may be no frames at all."""

    async def behave(exchange: Exchange) -> None:
        await exchange.accept()
        await exchange.raw(data)
        exchange.close()

    return behave


def ws_endless(payload: bytes, *, continued: bool = False) -> Behaviour:
    """Accept and send the payload for ever: as messages, or as one message that never ends."""

    async def behave(exchange: Exchange) -> None:
        socket = await exchange.accept()
        await socket.frame(TEXT, payload, fin=not continued)
        while True:
            await socket.frame(0 if continued else TEXT, payload, fin=not continued)

    return behave


def ws_close_frame(payload: bytes) -> Behaviour:
    """Accept and send a close frame with this payload, well formed or not."""

    async def behave(exchange: Exchange) -> None:
        socket = await exchange.accept()
        await socket.frame(CLOSE, payload)
        exchange.close()

    return behave


def switch(first: Behaviour, then: Behaviour, when: Callable[[], bool]) -> Behaviour:
    """Behave like `then` once `when` says so, like `first` before."""

    async def behave(exchange: Exchange) -> None:
        await (then if when() else first)(exchange)

    return behave
