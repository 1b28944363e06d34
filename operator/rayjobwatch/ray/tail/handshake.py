"""The client's side of a WebSocket's opening handshake (RFC 6455), without I/O."""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Final

from rayjobwatch.ray.errors import ServerError

_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def new_key() -> str:
    """Return a nonce for a handshake."""
    return base64.b64encode(secrets.token_bytes(16)).decode()


def check_handshake(headers: Mapping[str, str], key: str, operation: str) -> None:
    """Check the head of a 101 answer."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()).decode()
    if headers.get("sec-websocket-accept") != accept or headers.get("upgrade", "").lower() != "websocket":
        raise ServerError(f"{operation}: the server's handshake is not a WebSocket's")
    if headers.get("sec-websocket-extensions") or headers.get("sec-websocket-protocol"):
        raise ServerError(f"{operation}: the server chose an extension that was not offered")
