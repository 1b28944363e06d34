"""A client of Ray's dashboard for people and programs: jobs, logs to the last line, cluster, Serve.

Needs neither Ray nor Kubernetes. `RayClient` and `AsyncRayClient` have the same methods; every failure is a
`ClientError` with a `status_code`. Names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayjobwatch.ray.async_client import AsyncRayClient as AsyncRayClient
    from rayjobwatch.ray.cursor import ByteCursor as ByteCursor
    from rayjobwatch.ray.cursor import Cursor as Cursor
    from rayjobwatch.ray.cursor import TextCursor as TextCursor
    from rayjobwatch.ray.errors import ClientError as ClientError
    from rayjobwatch.ray.inputs import Pace as Pace
    from rayjobwatch.ray.inputs import Timeout as Timeout
    from rayjobwatch.ray.jobs import JobDetails as JobDetails
    from rayjobwatch.ray.jobs import JobStatus as JobStatus
    from rayjobwatch.ray.limits import StreamLimits as StreamLimits
    from rayjobwatch.ray.lines import LogBatch as LogBatch

_HOMES = {
    "async_client": ("AsyncRayClient",),
    "cursor": ("ByteCursor", "Cursor", "TextCursor"),
    "errors": (
        "AuthenticationError", "ClientClosedError", "ClientError", "InvalidInputError", "JobStateError",
        "NotFoundError", "RefusedError", "RequestTimeoutError", "ServerError", "StreamLimitError",
        "TailEndedError", "ThrottledError", "UnavailableError",
    ),
    "inputs": ("Pace", "Protocol", "Timeout"),
    "jobs": ("JobDetails", "JobInfo", "JobList", "JobStatus", "JobType", "RayVersion"),
    "limits": ("StreamLimits",),
    "lines": ("LogBatch",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"rayjobwatch.ray.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOME_OF)
