"""How a client reaches its dashboard: address, credentials, TLS, proxy. Checked once, shared by both flavours."""

import html
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import httpcore
import httpx

from rayjobwatch.ray.errors import InvalidInputError
from rayjobwatch.ray.inputs import Timeout, check_count, check_place, check_token, check_url, timeout_of
from rayjobwatch.ray.plan import Request

# Plain calls share a few connections; a tail has its own (httpcore's pool takes quadratic time in its connections).
SHARED_CONNECTIONS: Final = 10
CONNECTIONS_OF_A_TAIL: Final = 3
# What reads logs now and then needs few: a reading takes milliseconds.
READING_CONNECTIONS: Final = 8
# What a server says beside the status of a refusal: no more of it is wanted, and no longer waited for.
LARGEST_REFUSAL: Final = 1 << 20
REFUSAL_SECONDS: Final = 1.0
USER_AGENT: Final = "rayjobwatch"
_REMEMBERED_REQUESTS: Final = 4
Verify = bool | str | ssl.SSLContext


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """Where requests go and what they carry. `repr` shows no secret."""

    base_url: str
    timeout: Timeout
    max_websocket_tails: int
    tls: ssl.SSLContext | None
    connect_to: tuple[str, int] | None = None
    proxy: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    spellings: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(
        cls,
        base_url: str,
        token: str | None,
        *,
        timeout: Any,
        verify: Verify,
        headers: Mapping[str, str] | None,
        proxy: str | None,
        max_websocket_tails: int,
        connect_to: tuple[str, int] | None,
    ) -> "ConnectionSettings":
        """Check what the caller gave; 400 for what is wrong."""
        own_token, own_headers = check_token(token), _checked(headers or {})
        return cls(
            base_url=check_url(base_url),
            timeout=timeout_of(timeout),
            max_websocket_tails=check_count(max_websocket_tails, "max_websocket_tails"),
            connect_to=check_place(connect_to),
            tls=tls_context(verify) if verify is not True or base_url.startswith("https") else None,
            proxy=None if proxy is None else check_url(proxy, "proxy"),
            token=own_token,
            headers=own_headers,
            spellings=_spellings_of(own_token, *(value for _, value in own_headers)),
        )

    def url(self, request: Request) -> str:
        """Return the request's whole URL."""
        query = f"?{urlencode(request.query)}" if request.query else ""
        return f"{request.origin or self.base_url}{request.path}{query}"

    def place(self, host: str, port: int) -> tuple[str, int]:
        """Return where to connect to for an origin: for the dashboard's perhaps somewhere else."""
        own = urlsplit(self.base_url)
        is_own = (host, port) == (own.hostname, own.port or (443 if own.scheme == "https" else 80))
        return self.connect_to if self.connect_to and is_own else (host, port)

    def headers_of(self, request: Request) -> dict[str, str]:
        """Return the request's headers. Extra headers of the caller go to the dashboard alone."""
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        if request.origin is None:
            headers.update(self.headers)
        if self.token is not None:
            headers["X-Ray-Authorization"] = f"Bearer {self.token}"
        headers.update(request.headers)
        return headers

    def scrubbed(self, body: bytes) -> bytes:
        """Return the body of a refusal without what we sent, for a server may echo it."""
        for spelling in self.spellings:
            body = body.replace(spelling, b"***")
        return body

    def limits_of(self, request: Request) -> dict[str, float]:
        """Return the time limits of a request's steps, as httpx wants them."""
        connect = request.connect or self.timeout.connect
        read = request.read or self.timeout.read
        return {"connect": connect, "read": read, "write": read, "pool": connect}

    def total_of(self, request: Request) -> float:
        """Return the seconds that a whole exchange may take."""
        total = request.total or self.timeout.whole
        return total if request.at_most is None else min(total, request.at_most)

    def build(self, request: Request) -> httpx.Request:
        """Return a request as httpx wants it."""
        return httpx.Request(
            request.method,
            self.url(request),
            headers=self.headers_of(request),
            content=request.body,
            extensions={"timeout": self.limits_of(request)},
        )

    def head_within(self, request: Request) -> float:
        """Return the seconds until the head of an answer must be there, connection included."""
        limits = self.limits_of(request)
        return request.total or limits["connect"] + limits["read"]


def builder(settings: ConnectionSettings) -> Callable[[Request], httpx.Request]:
    """Return `settings.build` with a memory: a poll asks the same thing again and again (40 us each time)."""
    remembered = lru_cache(_REMEMBERED_REQUESTS)(settings.build)

    def build(request: Request) -> httpx.Request:
        return remembered(request) if request.body is None else settings.build(request)

    return build


def pool_options(settings: ConnectionSettings, connections: int) -> dict[str, Any]:
    """Return how a connection pool of either flavour is made."""
    return {
        "ssl_context": settings.tls,
        "proxy": httpcore.Proxy(settings.proxy) if settings.proxy else None,
        "max_connections": connections,
        "max_keepalive_connections": connections,
        "keepalive_expiry": 15.0,
    }


def tls_context(verify: Verify) -> ssl.SSLContext:
    """Return the TLS settings: True for the public CAs, a path for one's own, False for none."""
    if isinstance(verify, ssl.SSLContext):
        return verify
    if isinstance(verify, bool):
        return httpx.create_ssl_context(verify=verify, trust_env=False)
    try:
        return ssl.create_default_context(cafile=verify)
    except (OSError, TypeError):
        pass
    raise InvalidInputError("verify must be True, False, the path of a CA file, or an ssl.SSLContext")


def _spellings_of(*secrets: str | None) -> tuple[bytes, ...]:
    return tuple(spelling.encode() for secret in secrets if secret for spelling in _spelled(secret))


def _spelled(secret: str) -> set[str]:
    """Return how a server may spell what it was sent: as it came, in JSON (of several writers), HTML and URLs."""
    said = json.dumps(secret)[1:-1]
    careful = said
    for sign in "&<>":
        careful = careful.replace(sign, f"\\u{ord(sign):04x}")
    return {secret, said, said.replace("/", "\\/"), careful, html.escape(secret), quote(secret, safe="")}


def _checked(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    for name, value in headers.items():
        text = f"{name}{value}"
        if not (text.isascii() and text.isprintable()):
            raise InvalidInputError("headers must be printable ASCII text")
    return tuple((str(name), str(value)) for name, value in headers.items())
