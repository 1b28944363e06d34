"""A client of Ray's dashboard for people and programs: jobs, logs to the last line, cluster, Serve.

Needs neither Ray nor Kubernetes. `RayClient` and `AsyncRayClient` have the same methods; every failure is a
`ClientError` with a `status_code`. Names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayjobwatch.ray.api.cluster import NodeDetails as NodeDetails
    from rayjobwatch.ray.api.cluster import StateList as StateList
    from rayjobwatch.ray.api.cluster import StateRow as StateRow
    from rayjobwatch.ray.api.records import JobDetails as JobDetails
    from rayjobwatch.ray.api.records import JobInfo as JobInfo
    from rayjobwatch.ray.api.records import JobList as JobList
    from rayjobwatch.ray.api.records import JobStatus as JobStatus
    from rayjobwatch.ray.api.records import JobType as JobType
    from rayjobwatch.ray.api.records import RayVersion as RayVersion
    from rayjobwatch.ray.api.serve import ServeApplication as ServeApplication
    from rayjobwatch.ray.api.submit import entrypoint_of as entrypoint_of
    from rayjobwatch.ray.async_client import AsyncLogReader as AsyncLogReader
    from rayjobwatch.ray.async_client import AsyncRayClient as AsyncRayClient
    from rayjobwatch.ray.client import LogReader as LogReader
    from rayjobwatch.ray.client import RayClient as RayClient
    from rayjobwatch.ray.errors import AuthenticationError as AuthenticationError
    from rayjobwatch.ray.errors import ClientClosedError as ClientClosedError
    from rayjobwatch.ray.errors import ClientError as ClientError
    from rayjobwatch.ray.errors import InvalidInputError as InvalidInputError
    from rayjobwatch.ray.errors import JobStateError as JobStateError
    from rayjobwatch.ray.errors import MissingPackageError as MissingPackageError
    from rayjobwatch.ray.errors import NotFoundError as NotFoundError
    from rayjobwatch.ray.errors import ProxyError as ProxyError
    from rayjobwatch.ray.errors import RefusedError as RefusedError
    from rayjobwatch.ray.errors import RequestTimeoutError as RequestTimeoutError
    from rayjobwatch.ray.errors import ServerError as ServerError
    from rayjobwatch.ray.errors import StreamLimitError as StreamLimitError
    from rayjobwatch.ray.errors import TailEndedError as TailEndedError
    from rayjobwatch.ray.errors import ThrottledError as ThrottledError
    from rayjobwatch.ray.errors import UnavailableError as UnavailableError
    from rayjobwatch.ray.errors import sanitize as sanitize
    from rayjobwatch.ray.inputs import LogProtocol as LogProtocol
    from rayjobwatch.ray.inputs import Pace as Pace
    from rayjobwatch.ray.inputs import Timeout as Timeout
    from rayjobwatch.ray.inputs import check_id as check_id
    from rayjobwatch.ray.inputs import check_new_id as check_new_id
    from rayjobwatch.ray.inputs import check_protocol as check_protocol
    from rayjobwatch.ray.inputs import check_seconds as check_seconds
    from rayjobwatch.ray.inputs import check_url as check_url
    from rayjobwatch.ray.tail.cursor import ByteCursor as ByteCursor
    from rayjobwatch.ray.tail.cursor import Cursor as Cursor
    from rayjobwatch.ray.tail.cursor import TextCursor as TextCursor
    from rayjobwatch.ray.tail.limits import StreamLimits as StreamLimits
    from rayjobwatch.ray.tail.lines import LogBatch as LogBatch

_HOMES = {
    "async_client": ("AsyncLogReader", "AsyncRayClient"),
    "client": ("LogReader", "RayClient"),
    "tail.cursor": ("ByteCursor", "Cursor", "TextCursor"),
    "errors": (
        "AuthenticationError",
        "ClientClosedError",
        "ClientError",
        "InvalidInputError",
        "JobStateError",
        "MissingPackageError",
        "NotFoundError",
        "ProxyError",
        "RefusedError",
        "RequestTimeoutError",
        "ServerError",
        "StreamLimitError",
        "TailEndedError",
        "ThrottledError",
        "UnavailableError",
        "sanitize",
    ),
    "inputs": (
        "Pace",
        "LogProtocol",
        "Timeout",
        "check_id",
        "check_new_id",
        "check_protocol",
        "check_seconds",
        "check_url",
    ),
    "api.records": ("JobDetails", "JobInfo", "JobList", "JobStatus", "JobType", "RayVersion"),
    "tail.limits": ("StreamLimits",),
    "tail.lines": ("LogBatch",),
    "api.serve": ("ServeApplication",),
    "api.cluster": ("NodeDetails", "StateList", "StateRow"),
    "api.submit": ("entrypoint_of",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = list(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"rayjobwatch.ray.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOME_OF)
