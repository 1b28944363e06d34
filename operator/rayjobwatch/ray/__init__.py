"""A client of Ray's dashboard for people and programs: jobs, logs to the last line, cluster, Serve.

Needs neither Ray nor Kubernetes. `RayClient` and `AsyncRayClient` have the same methods; every failure is a
`ClientError` with a `status_code`. Names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayjobwatch.ray.async_client import AsyncLogReader as AsyncLogReader
    from rayjobwatch.ray.async_client import AsyncRayClient as AsyncRayClient
    from rayjobwatch.ray.client import LogReader as LogReader
    from rayjobwatch.ray.client import RayClient as RayClient
    from rayjobwatch.ray.cursor import ByteCursor as ByteCursor
    from rayjobwatch.ray.cursor import Cursor as Cursor
    from rayjobwatch.ray.cursor import TextCursor as TextCursor
    from rayjobwatch.ray.errors import AuthenticationError as AuthenticationError
    from rayjobwatch.ray.errors import ClientClosedError as ClientClosedError
    from rayjobwatch.ray.errors import ClientError as ClientError
    from rayjobwatch.ray.errors import InvalidInputError as InvalidInputError
    from rayjobwatch.ray.errors import JobStateError as JobStateError
    from rayjobwatch.ray.errors import NotFoundError as NotFoundError
    from rayjobwatch.ray.errors import RefusedError as RefusedError
    from rayjobwatch.ray.errors import RequestTimeoutError as RequestTimeoutError
    from rayjobwatch.ray.errors import ServerError as ServerError
    from rayjobwatch.ray.errors import StreamLimitError as StreamLimitError
    from rayjobwatch.ray.errors import TailEndedError as TailEndedError
    from rayjobwatch.ray.errors import ThrottledError as ThrottledError
    from rayjobwatch.ray.errors import UnavailableError as UnavailableError
    from rayjobwatch.ray.errors import sanitize as sanitize
    from rayjobwatch.ray.inputs import Pace as Pace
    from rayjobwatch.ray.inputs import Protocol as Protocol
    from rayjobwatch.ray.inputs import Timeout as Timeout
    from rayjobwatch.ray.inputs import check_id as check_id
    from rayjobwatch.ray.inputs import check_new_id as check_new_id
    from rayjobwatch.ray.inputs import check_protocol as check_protocol
    from rayjobwatch.ray.inputs import check_seconds as check_seconds
    from rayjobwatch.ray.inputs import check_url as check_url
    from rayjobwatch.ray.jobs import JobDetails as JobDetails
    from rayjobwatch.ray.jobs import JobInfo as JobInfo
    from rayjobwatch.ray.jobs import JobList as JobList
    from rayjobwatch.ray.jobs import JobStatus as JobStatus
    from rayjobwatch.ray.jobs import JobType as JobType
    from rayjobwatch.ray.jobs import RayVersion as RayVersion
    from rayjobwatch.ray.limits import StreamLimits as StreamLimits
    from rayjobwatch.ray.lines import LogBatch as LogBatch
    from rayjobwatch.ray.serve import ServeApplication as ServeApplication
    from rayjobwatch.ray.state import NodeDetails as NodeDetails
    from rayjobwatch.ray.state import StateList as StateList
    from rayjobwatch.ray.state import StateRow as StateRow
    from rayjobwatch.ray.submit import entrypoint_of as entrypoint_of

_HOMES = {
    "async_client": ("AsyncLogReader", "AsyncRayClient"),
    "client": ("LogReader", "RayClient"),
    "cursor": ("ByteCursor", "Cursor", "TextCursor"),
    "errors": (
        "AuthenticationError",
        "ClientClosedError",
        "ClientError",
        "InvalidInputError",
        "JobStateError",
        "NotFoundError",
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
        "Protocol",
        "Timeout",
        "check_id",
        "check_new_id",
        "check_protocol",
        "check_seconds",
        "check_url",
    ),
    "jobs": ("JobDetails", "JobInfo", "JobList", "JobStatus", "JobType", "RayVersion"),
    "limits": ("StreamLimits",),
    "lines": ("LogBatch",),
    "serve": ("ServeApplication",),
    "state": ("NodeDetails", "StateList", "StateRow"),
    "submit": ("entrypoint_of",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = list(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"rayjobwatch.ray.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOME_OF)
