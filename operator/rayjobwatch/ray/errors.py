"""Every failure of the client is a `ClientError`; `status_code` is the number that callers switch on.

ClientError                     status_code (also `status`), one printable line, never a secret
├── InvalidInputError           400  a bad id, URL, timeout, protocol, limit or file; no request was sent
├── RefusedError                400  the server refused the request as wrong (also 405, 409, 412, 422 as answered)
│   └── JobStateError           400  the job is in a state that forbids the operation
├── AuthenticationError         401, 403  the token is missing, wrong or not enough
├── NotFoundError               404  no such job, node, task or application: Ray itself says so
├── RequestTimeoutError       * 408  no connection or no answer in time
├── StreamLimitError            429  one of our own `StreamLimits` is reached: `limit`, `allowed`, `counts`
├── ThrottledError            * 429  the server asked to slow down: `retry_after` in seconds, if it said so
├── ServerError               * 500  the server failed (its own 5xx is kept), or its answer makes no sense; a 404
│   │                                that is not Ray's own keeps its number: something else answers there
│   ├── ProxyError            * as answered: a proxy that is to hand the request on to Ray says why it did not
│   └── MissingPackageError     500  what the call needs is not installed: the message names the package
└── UnavailableError          * 503  refused, unreachable, reset or closed in the middle
    ├── TailEndedError        * 503  the server ended a log tail before the log's end
    └── ClientClosedError       503  this client was closed

* `transient`: it may pass by itself, and the same call may then succeed.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

_LONGEST_MESSAGE: Final = 400
_LONGEST_READ: Final = 4000  # the patterns take quadratic time
_SECRETS: Final = (
    re.compile(r"(?i)(bearer|basic)[\s:=]+[^\s'\",;]+"),
    re.compile(r"(?i)((?:authorization|token|password|secret|cookie)[\w-]*['\"]?\s*[:=]\s*)['\"]?[^\s'\",;]+"),
    re.compile(r"(://)[^/\s@]+@"),
)


def sanitize(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return `text` as one printable line of at most 400 characters, without `secrets` or what looks like one."""
    for secret in secrets:
        text = text.replace(secret, "***")
    text = text[:_LONGEST_READ]
    for pattern in _SECRETS:
        text = pattern.sub(lambda found: f"{found.group(1)} ***", text)
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[: _LONGEST_MESSAGE - 1]}…"


class ClientError(Exception):
    """Any failure of a client call. `status_code` is an HTTP-like number and never None.

    transient: whether it may pass by itself, so that the same call is worth another try.
    """

    default_status: ClassVar[int] = 500
    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, status_code: int | None = None) -> None:
        super().__init__(sanitize(message))
        self.status_code: int = self.default_status if status_code is None else status_code

    @property
    def status(self) -> int:
        """The same number as `status_code`."""
        return self.status_code


class InvalidInputError(ClientError):
    """The caller's input is wrong; nothing was sent."""

    default_status = 400


class RefusedError(ClientError):
    """The server understood the request and refused it."""

    default_status = 400


class JobStateError(RefusedError):
    """The job's state forbids the operation."""


class AuthenticationError(ClientError):
    """The credentials are missing (401) or not sufficient (403)."""

    default_status = 401


class NotFoundError(ClientError):
    """There is no such thing on this cluster."""

    default_status = 404


class RequestTimeoutError(ClientError):
    """The connection or the answer did not come in time."""

    default_status = 408
    transient = True


class StreamLimitError(ClientError):
    """A limit of `StreamLimits` is reached. `limit` names it, `counts` holds what was received until then."""

    default_status = 429

    def __init__(
        self, message: str, *, limit: str = "", allowed: int = 0, counts: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed
        self.counts: dict[str, int] = dict(counts or {})


class ThrottledError(ClientError):
    """The server has too much to do. `retry_after` is in seconds, None if it did not say."""

    default_status = 429
    transient = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServerError(ClientError):
    """The server failed, or answered something that is not Ray's."""

    transient = True


class ProxyError(ServerError):
    """A proxy answered in Ray's place, in the words of Kubernetes' API server: it says nothing of Ray or its jobs."""


class MissingPackageError(ServerError):
    """A package that the call needs is not installed."""

    transient = False


class UnavailableError(ClientError):
    """The connection failed or broke."""

    default_status = 503
    transient = True


class TailEndedError(UnavailableError):
    """The server ended the tail of a log before its end."""


class ClientClosedError(UnavailableError):
    """The client was closed while, or before, the call ran."""

    transient = False


def answer_error(status: int, operation: str, *, retry_after: str | None = None, reason: str = "") -> ClientError:
    """Translate an HTTP status that is not the wanted one. `reason` must already be fit to be shown."""
    said = f": {reason}" if reason else ""
    if status == 404:
        return ServerError(f"{operation}: something else than Ray answers there (HTTP 404)", status_code=404)
    if status in {401, 403}:
        why = "a token is needed" if status == 401 else "the token is not accepted"
        return AuthenticationError(f"{operation}: {why} (HTTP {status})", status_code=status)
    if status == 408:
        return RequestTimeoutError(f"{operation}: the server gave up waiting (HTTP 408)")
    if status == 429:
        return ThrottledError(f"{operation}: the server is overloaded (HTTP 429)", retry_after=_seconds(retry_after))
    if 400 <= status < 500:
        return RefusedError(f"{operation}: refused by the server (HTTP {status}){said}", status_code=status)
    if status >= 500:
        return ServerError(f"{operation}: the server failed (HTTP {status}){said}", status_code=min(status, 599))
    if 300 <= status < 400:
        return ServerError(
            f"{operation}: the server redirects (HTTP {status}); give the address it redirects to as base_url"
        )
    return ServerError(f"{operation}: unexpected answer (HTTP {status})")


def last_line(body: bytes) -> str:
    """Return the line of a plain-text error where Ray puts the reason, below any traceback; "" for HTML."""
    if "<html" in body[:512].lower().decode("latin-1"):
        return ""
    lines = body[-4096:].decode("utf-8", "replace").splitlines()
    telling = (each.strip() for each in reversed(lines) if sum(map(str.isalpha, each)) > 3)
    line = next((each for each in telling if not each.startswith("For further information")), "")
    return "" if line.startswith(("Traceback", 'File "', "<")) else sanitize(line)


def without_variables(reason: str, runtime_env: Any) -> str:
    """Take the values of a runtime environment's variables out of a server's reason."""
    variables = runtime_env.get("env_vars") if isinstance(runtime_env, Mapping) else None
    values = [str(value) for value in variables.values() if value] if isinstance(variables, Mapping) else []
    return sanitize(reason, tuple(sorted(values, key=len, reverse=True)))


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and re.fullmatch(r"\d{1,9}", retry_after) else None
