"""What callers may give: URLs, ids, timeouts and tokens, checked before anything is sent (400)."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from rayjobwatch.ray.errors import InvalidInputError

LogProtocol: TypeAlias = Literal["auto", "websocket", "http"]
AgentFilter: TypeAlias = Callable[[str], bool]

_ID: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,99}")
_NEW_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_LONGEST_WAIT: Final = 10.0**9


def check_id(value: Any, name: str = "job_id") -> str:
    """Return an id that is safe in a URL's path: 1 to 100 of letters, digits, `_ - . :`, none of `. :` first."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidInputError(f"{name} must be 1 to 100 letters, digits or _ - . : (not starting with . or :)")
    return value


def check_new_id(value: Any, name: str = "submission_id") -> str:
    """Return an id for a new job: 1 to 100 letters, digits, `_` or `-`."""
    if not isinstance(value, str) or not _NEW_ID.fullmatch(value):
        raise InvalidInputError(f"{name} must be 1 to 100 letters, digits, _ or -")
    return value


def check_seconds(value: Any, name: str = "timeout", *, zero: bool = False) -> float:
    """Return a finite number of seconds above 0 (or from 0)."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not (0 <= value <= _LONGEST_WAIT) or (value == 0 and not zero):
        raise InvalidInputError(f"{name} must be a finite number of seconds above 0")
    return float(value)


def check_count(value: Any, name: str, least: int = 1, most: int | None = None) -> int:
    """Return a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InvalidInputError(f"{name} must be a whole number {bounds}")
    return value


def check_protocol(value: Any) -> LogProtocol:
    """Return one of `auto`, `websocket`, `http`."""
    if isinstance(value, str) and value in get_args(LogProtocol):
        return value  # type: ignore[return-value]
    raise InvalidInputError("protocol must be 'auto', 'websocket' or 'http'")


def check_token(value: Any) -> str | None:
    """Return a token that fits in a header."""
    if value is None or (isinstance(value, str) and re.fullmatch(r"[!-~]{1,8192}", value)):
        return value
    raise InvalidInputError("token must be printable ASCII without spaces")


def check_place(place: Any) -> tuple[str, int] | None:
    """Return a host and a port to connect to."""
    match place:
        case None:
            return None
        case (str(host), int(port)) if re.fullmatch(r"[A-Za-z0-9.:_-]{1,255}", host) and 0 < port < 65536:
            return host, port
    raise InvalidInputError("connect_to must be a host and a port")


def check_origin(url: Any, name: str) -> str:
    """Return `scheme://host[:port]` of an http or https URL that has nothing else."""
    checked = check_url(url, name)
    if urlsplit(checked).path:
        raise InvalidInputError(f"{name} must have no path")
    return checked


def any_agent(_address: str) -> bool:
    """Allow every agent that the dashboard names."""
    return True


def check_url(url: Any, name: str = "base_url") -> str:
    """Return an http(s) URL with host and optional path prefix, without its trailing slash."""
    if not isinstance(url, str) or not re.fullmatch(r"[!-~]{1,2000}", url):
        raise InvalidInputError(f"{name} must be a URL such as http://ray-head:8265")
    parts = _split(url, name)
    if parts is None or parts[0] not in {"http", "https"} or not parts[1]:
        raise InvalidInputError(f"{name} must begin with http:// or https:// and a host")
    return url.rstrip("/")


def _split(url: str, name: str) -> tuple[str, str | None] | None:
    try:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise InvalidInputError(f"{name} must not hold a user or password; give token= or headers=")
        if parts.query or parts.fragment or "\\" in url or "/../" in f"{parts.path}/" or parts.port == 0:
            raise InvalidInputError(f"{name} must be only scheme, host, port and path")
    except ValueError:
        return None
    return parts.scheme, parts.hostname


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """Seconds. connect: until a connection stands. read: the longest silence. total: a whole plain call.

    total=None stands for connect + 2 x read. Uploads and log texts have `read` only.
    """

    connect: float = 5.0
    read: float = 30.0
    total: float | None = None

    def __post_init__(self) -> None:
        check_seconds(self.connect, "timeout.connect")
        check_seconds(self.read, "timeout.read")
        if self.total is not None:
            check_seconds(self.total, "timeout.total")

    @property
    def whole(self) -> float:
        """The longest that a plain call may take."""
        return self.connect + 2 * self.read if self.total is None else self.total


def timeout_of(value: "Timeout | Mapping[str, float] | float | None") -> Timeout:
    """Accept a `Timeout`, a dict with `connect`, `read`, `total`, or one number for connect and read."""
    if value is None:
        return Timeout()
    if isinstance(value, Timeout):
        return value
    if isinstance(value, Mapping):
        if set(value) <= {"connect", "read", "total"}:
            return Timeout(**value)
        raise InvalidInputError("timeout must have no keys but connect, read and total")
    seconds = check_seconds(value)
    return Timeout(connect=seconds, read=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a tail over HTTP asks for more, in seconds.

    Every `fast` seconds until nothing came for `patience` seconds, then slower and slower up to `slow`.
    """

    fast: float = 0.1
    slow: float = 1.0
    patience: float = 10.0

    def __post_init__(self) -> None:
        for name in ("fast", "slow", "patience"):
            check_seconds(getattr(self, name), f"pace.{name}")

    def after(self, silence: float) -> float:
        """Return how long to wait when the last byte came `silence` seconds ago."""
        return min(max(self.fast, self.fast * silence / self.patience), max(self.slow, self.fast))
