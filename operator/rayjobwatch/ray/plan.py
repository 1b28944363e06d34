"""What the client wants done, said without doing it.

An operation is a *plan*: a generator that yields *effects* and is sent their outcomes (a `ClientError` is thrown
into it). It holds every decision and no I/O, so that the sync and the async client run the same plans, and tests
run them without a network. A plan that asks for Ray's version:

    >>> def ray_version() -> Plan[str]:
    ...     answer = yield from fetch_json(Request(operation="ray_version", path="/api/version"))
    ...     return str(answer["ray_version"])

Whoever runs it carries out each effect and tells the plan what came of it; the runners in `io` send the request,
here we only look at it and make the answer up:

    >>> plan = ray_version()
    >>> effect = next(plan)
    >>> effect.method, effect.path
    ('GET', '/api/version')
    >>> try:
    ...     advance(plan, Response(200, body=b'{"ray_version": "2.60.0"}'))
    ... except StopIteration as end:
    ...     end.value
    '2.60.0'
"""

import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from rayjobwatch.ray.errors import ClientError, NotFoundError, ProxyError, ServerError, answer_error

T = TypeVar("T")
EffectT = TypeVar("EffectT")

LARGEST_LIST: Final = 64 << 20
_LARGEST_REFUSAL: Final = 1 << 16
_MISSING: Final = re.compile(rb"\b(?:Job|Package) \S{1,200} does not exist")  # in the words of Ray 2.9 to 2.60


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request. As an effect: send it and return the whole `Response`.

    operation: what a user would call this, for messages.  path: below the base URL, already quoted.
    origin: another server than the dashboard (the driver's agent), `http://host:port`.
    connect, read, total: seconds, None for the client's own.  max_body: bytes of answer that are accepted.
    at_most: seconds that the whole exchange may take even where `total` is more.
    queue: of an upgrade: how long to wait for one of the client's WebSocket slots, 0 for not at all.
    """

    operation: str
    method: str = "GET"
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    origin: str | None = None
    connect: float | None = None
    read: float | None = None
    total: float | None = None
    at_most: float | None = None
    max_body: int = 8 << 20
    queue: float | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer, or the head of one whose body is read piece by piece. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request and return the head of its answer; `Read` brings the rest. One is open at a time.

    A refusal (400 and up) comes with the beginning of its body, and there is no rest to read.
    """

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Return the next bytes, b"" at the end. After `quiet` seconds of silence None is returned (a socket only)."""

    quiet: float | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """Send bytes on an upgraded connection."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Drop what is open; with `reuse`, after its last byte was read, its connection may serve again."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Sleep so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Blocking:
    """Call something that reads files or takes long, off the event loop; return its result."""

    work: Callable[[], Any]


Effect: TypeAlias = Request | Open | Read | Write | Close | Wait | Blocking
Plan: TypeAlias = Generator[Effect, Any, T]


def advance(plan: Generator[EffectT, Any, Any], outcome: Any) -> EffectT:
    """Tell a plan the outcome of its last effect; return the next. `StopIteration` carries the plan's result."""
    return plan.throw(outcome) if isinstance(outcome, ClientError) else plan.send(outcome)


def backoff(failures: int, chance: float) -> float:
    """Return the seconds to wait after so many failures in a row (1, 2, ...): 0.5 doubled up to 8, give or take 30 %.

    chance: a random number from 0 to 1.
    """
    return 0.25 * 2.0 ** min(failures, 5) * (0.7 + 0.6 * chance)


def send(request: Request, *expected: int) -> Plan[Response]:
    """Send a request; any status but 200 (or one of `expected`) is raised."""
    response: Response = yield request
    if response.status not in (expected or (200,)):
        raise error_of(response, request.operation)
    return response


def fetch_json(request: Request) -> Plan[Any]:
    """Send a request whose answer is JSON."""
    response = yield from send(request)
    return json_of(response, request.operation)


def json_of(response: Response, operation: str) -> Any:
    """Parse a body; whatever is wrong with it is a `ServerError`."""
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        pass
    raise ServerError(f"{operation}: the answer is not JSON; this is not a Ray dashboard")


def check_empty(response: Response, operation: str) -> None:
    """Check an answer that says all by its status: Ray's has no body, the page of a proxy has one."""
    if response.body:
        raise ServerError(f"{operation}: something else than Ray answers there")


def is_missing(response: Response) -> bool:
    """Whether Ray says that there is no such thing. Its proxies, and whatever comes to stand there, answer 404 too."""
    is_told = response.status == 404 and _MISSING.search(response.body[:2000]) is not None
    return is_told and proxy_message(response) is None


def proxy_message(response: Response) -> str | None:
    """Return what Kubernetes' API server says that was to hand a request on to Ray; None where it handed it on."""
    if response.status < 400 or b'"Status"' not in response.body[:_LARGEST_REFUSAL]:
        return None
    try:
        said = json.loads(response.body[:_LARGEST_REFUSAL])
    except (ValueError, RecursionError):
        return None
    is_status = isinstance(said, dict) and (said.get("kind"), said.get("apiVersion")) == ("Status", "v1")
    return str(said.get("message") or said.get("reason") or "") if is_status else None


def error_of(response: Response, operation: str, reason: str = "") -> ClientError:
    """Translate an unwanted answer."""
    if (said := proxy_message(response)) is not None:
        message = f"{operation}: the proxy before Ray answers (HTTP {response.status}): {said}"
        return ProxyError(message, status_code=response.status)
    if is_missing(response):
        return NotFoundError(f"{operation}: not found")
    return answer_error(response.status, operation, retry_after=response.headers.get("retry-after"), reason=reason)
