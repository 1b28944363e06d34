"""What goes wrong on the way, as a `ClientError`: the one place where transport failures get their number."""

from typing import Final

import httpcore
import httpx

from rayjobwatch.ray.errors import ClientError, InvalidInputError, RequestTimeoutError, UnavailableError

# What a connection that was kept too long ends in, at once: a request that changes nothing is sent once more.
STALE: Final = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
TRANSPORT_FAILURES: Final = (
    httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpcore.TimeoutException, httpcore.NetworkError,
    httpcore.ProtocolError, httpcore.ConnectionNotAvailable, OSError, UnicodeError,
)  # fmt: skip


def failure_of(error: Exception, operation: str) -> ClientError:
    """Translate an exception of the transport."""
    if isinstance(error, (httpx.PoolTimeout, httpcore.PoolTimeout)):
        return UnavailableError(f"{operation}: this client has too many connections open")
    if isinstance(error, (httpx.ConnectTimeout, httpcore.ConnectTimeout)):
        return RequestTimeoutError(f"{operation}: no connection in time")
    if isinstance(error, (httpx.TimeoutException, httpcore.TimeoutException, TimeoutError)):
        return RequestTimeoutError(f"{operation}: no answer in time")
    if isinstance(error, (httpx.ConnectError, httpcore.ConnectError)):
        return UnavailableError(f"{operation}: no connection to the server ({_cause(error)})")
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError)):
        return InvalidInputError(f"{operation}: the request cannot be sent as HTTP")
    if isinstance(error, (httpx.RemoteProtocolError, httpcore.RemoteProtocolError)):
        return UnavailableError(f"{operation}: the connection broke: what came is no whole HTTP answer")
    if isinstance(error, (httpx.WriteError, httpcore.WriteError)):
        return UnavailableError(f"{operation}: the connection broke before all was sent")
    if isinstance(error, (httpx.ReadError, httpcore.ReadError)):
        return UnavailableError(f"{operation}: the connection broke before all was received")
    return UnavailableError(f"{operation}: the connection broke ({type(error).__name__})")


def no_slot(operation: str, slots: int) -> ClientError:
    """Return the error of a tail that found all WebSocket slots of its client in use."""
    return UnavailableError(f"{operation}: all {slots} WebSocket tails of this client are in use")


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    return getattr(error, "strerror", None) or type(error).__name__
