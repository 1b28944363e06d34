"""The older spelling of the client: `pk=`, `stream_timeout=`, `'stream'`, envelopes. Thin, and only here.

    class RayClient(RayClientMixin, BaseClient): ...

New code uses `rayjobwatch.ray`. Names elsewhere and here:

    synapse_sdk.clients.agent.ray.RayClientMixin    rayjobwatch.ray.legacy.RayClientMixin
    synapse_sdk.clients.base.BaseClient             rayjobwatch.ray.legacy.BaseClient
    synapse_sdk.clients.agent.AgentClient           rayjobwatch.ray.RayClient
    synapse_sdk.clients.agent.AsyncAgentClient      rayjobwatch.ray.AsyncRayClient
    synapse_sdk.clients.exceptions.ClientError      rayjobwatch.ray.ClientError
    synapse_sdk.utils.network.StreamLimits          rayjobwatch.ray.StreamLimits

Every method takes its id as the first argument, as `pk=` or by its new name. Lists also answer `['results']` and
`['count']`, jobs also `['id']`. A sync tail by WebSocket connects when it is called, so that
`try: tail(..., protocol='websocket') except ClientError: tail(..., protocol='stream')` falls back.
"""

from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from typing import Any, SupportsIndex, overload

from rayjobwatch.ray.api.cluster import NodeDetails, StateRow
from rayjobwatch.ray.api.records import JobDetails, Record
from rayjobwatch.ray.api.serve import ServeApplication
from rayjobwatch.ray.async_client import AsyncRayClient
from rayjobwatch.ray.client import RayClient
from rayjobwatch.ray.errors import ClientError, InvalidInputError
from rayjobwatch.ray.inputs import Timeout

__all__ = ["AsyncRayClientMixin", "BaseClient", "ClientError", "Envelope", "RayClientMixin"]

Timeouts = Timeout | Mapping[str, float] | float | None


class BaseClient:
    """Stands where the old page names a base; the mixin does all the work."""


class Envelope(list[Any]):
    """A list that also answers `['results']` and `['count']`."""

    @overload
    def __getitem__(self, key: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> list[Any]: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        if key == "results":
            return list(self)
        if key == "count":
            return len(self)
        return super().__getitem__(key)


def _with_id(record: Any, key: str) -> Any:
    if isinstance(record, Record):
        record["id"] = record.get(key)
    return record


def _envelope(records: Iterable[Any], key: str) -> Envelope:
    return Envelope(_with_id(record, key) for record in records)


def _id(name: str, arguments: tuple[Any, ...], given: dict[str, Any]) -> Any:
    """Take the id out of a call: first, as `pk=` or by its name. `TypeError` for none, two or anything else."""
    ids = [*arguments, *(given.pop(each) for each in ("pk", name) if each in given)]
    if len(ids) != 1 or given:
        raise TypeError(f"give the id once, first or as pk= or {name}=, and nothing else")
    return ids[0]


def _tail(arguments: tuple[Any, ...], given: dict[str, Any], default: str | None = None) -> dict[str, Any]:
    """Translate the arguments of a tail: id, timeout and protocol by position, or by either page's names."""
    options: dict[str, Any] = {"timeout": 10.0} if default is None else {"timeout": 10.0, "protocol": default}
    if {"timeout", "stream_timeout"} <= given.keys():
        raise InvalidInputError("give timeout or stream_timeout, not both")
    job_id = _id("job_id", arguments[:1], {key: given.pop(key) for key in ("pk", "job_id") if key in given})
    names = ("timeout", "protocol") if default else ("timeout",)
    if len(arguments) > 1 + len(names) or given.keys() & set(names[: max(len(arguments) - 1, 0)]):
        raise TypeError("a tail takes its id, timeout and protocol once each")
    options |= dict(zip(names, arguments[1:], strict=False))
    options |= {"timeout" if key == "stream_timeout" else key: value for key, value in given.items()}
    if options.get("protocol") == "stream":
        options["protocol"] = "http"
    return {"job_id": job_id, **options}


class RayClientMixin(RayClient):
    """The sync client as the old page has it: `class RayClient(RayClientMixin, BaseClient)`, or alone."""

    _connect_at_call = frozenset({"websocket"})

    def __init__(self, base_url: str, timeout: Timeouts = None, **options: Any) -> None:
        super().__init__(base_url, timeout=timeout, **options)

    def list_jobs(self) -> Envelope:
        """Return all jobs."""
        return _envelope(super().list_jobs(), "job_id")

    def get_job(self, *arguments: Any, **given: Any) -> JobDetails:
        """Return a job."""
        return _with_id(super().get_job(_id("job_id", arguments, given)), "job_id")  # type: ignore[no-any-return]

    def get_job_logs(self, *arguments: Any, **given: Any) -> str:
        """Return all that a job has logged."""
        return super().get_job_logs(_id("job_id", arguments, given))

    def list_job_logs(self, *arguments: Any, **given: Any) -> str:
        """Return the same as `get_job_logs`."""
        return self.get_job_logs(*arguments, **given)

    def stop_job(self, *arguments: Any, **given: Any) -> Record:
        """Ask Ray to stop a job."""
        return super().stop_job(_id("job_id", arguments, given))

    def delete_job(self, *arguments: Any, **given: Any) -> None:
        """Delete a job's record."""
        super().delete_job(_id("job_id", arguments, given))

    def tail_job_logs(self, *arguments: Any, **given: Any) -> Generator[str, None, None]:
        """Follow a log: `(pk, stream_timeout=10, protocol='stream')`."""
        return super().tail_job_logs(**_tail(arguments, given, "http"))

    def websocket_tail_job_logs(self, *arguments: Any, **given: Any) -> Generator[str, None, None]:
        """Follow a log by WebSocket."""
        return super().tail_job_logs(**_tail(arguments, given), protocol="websocket")

    def stream_tail_job_logs(self, *arguments: Any, **given: Any) -> Generator[str, None, None]:
        """Follow a log by HTTP."""
        return super().tail_job_logs(**_tail(arguments, given), protocol="http")

    def list_nodes(self, **given: Any) -> Envelope:  # type: ignore[override]
        """Return all nodes."""
        return _envelope(super().list_nodes(**given), "node_id")

    def get_node(self, *arguments: Any, **given: Any) -> NodeDetails:
        """Return a node."""
        return super().get_node(_id("node_id", arguments, given))

    def list_tasks(self, **given: Any) -> Envelope:  # type: ignore[override]
        """Return all tasks."""
        return _envelope(super().list_tasks(**given), "task_id")

    def get_task(self, *arguments: Any, **given: Any) -> StateRow:
        """Return a task."""
        return super().get_task(_id("task_id", arguments, given))

    def list_serve_applications(self) -> Envelope:
        """Return all Serve applications."""
        return _envelope(super().list_serve_applications(), "name")

    def get_serve_application(self, *arguments: Any, **given: Any) -> ServeApplication:
        """Return a Serve application."""
        return super().get_serve_application(_id("name", arguments, given))

    def delete_serve_application(self, *arguments: Any, **given: Any) -> None:
        """Delete a Serve application."""
        super().delete_serve_application(_id("name", arguments, given))


class AsyncRayClientMixin(AsyncRayClient):
    """The same spelling with asyncio; its tails connect at the first `anext`."""

    def __init__(self, base_url: str, timeout: Timeouts = None, **options: Any) -> None:
        super().__init__(base_url, timeout=timeout, **options)

    async def list_jobs(self) -> Envelope:
        """Return all jobs."""
        return _envelope(await super().list_jobs(), "job_id")

    async def get_job(self, *arguments: Any, **given: Any) -> JobDetails:
        """Return a job."""
        job = await super().get_job(_id("job_id", arguments, given))
        return _with_id(job, "job_id")  # type: ignore[no-any-return]

    async def get_job_logs(self, *arguments: Any, **given: Any) -> str:
        """Return all that a job has logged."""
        return await super().get_job_logs(_id("job_id", arguments, given))

    async def list_job_logs(self, *arguments: Any, **given: Any) -> str:
        """Return the same as `get_job_logs`."""
        return await self.get_job_logs(*arguments, **given)

    async def stop_job(self, *arguments: Any, **given: Any) -> Record:
        """Ask Ray to stop a job."""
        return await super().stop_job(_id("job_id", arguments, given))

    async def delete_job(self, *arguments: Any, **given: Any) -> None:
        """Delete a job's record."""
        await super().delete_job(_id("job_id", arguments, given))

    def tail_job_logs(self, *arguments: Any, **given: Any) -> AsyncGenerator[str, None]:
        """Follow a log: `(pk, stream_timeout=10, protocol='stream')`."""
        return super().tail_job_logs(**_tail(arguments, given, "http"))

    def websocket_tail_job_logs(self, *arguments: Any, **given: Any) -> AsyncGenerator[str, None]:
        """Follow a log by WebSocket."""
        return super().tail_job_logs(**_tail(arguments, given), protocol="websocket")

    def stream_tail_job_logs(self, *arguments: Any, **given: Any) -> AsyncGenerator[str, None]:
        """Follow a log by HTTP."""
        return super().tail_job_logs(**_tail(arguments, given), protocol="http")

    async def list_nodes(self, **given: Any) -> Envelope:  # type: ignore[override]
        """Return all nodes."""
        return _envelope(await super().list_nodes(**given), "node_id")

    async def get_node(self, *arguments: Any, **given: Any) -> NodeDetails:
        """Return a node."""
        return await super().get_node(_id("node_id", arguments, given))

    async def list_tasks(self, **given: Any) -> Envelope:  # type: ignore[override]
        """Return all tasks."""
        return _envelope(await super().list_tasks(**given), "task_id")

    async def get_task(self, *arguments: Any, **given: Any) -> StateRow:
        """Return a task."""
        return await super().get_task(_id("task_id", arguments, given))

    async def list_serve_applications(self) -> Envelope:
        """Return all Serve applications."""
        return _envelope(await super().list_serve_applications(), "name")

    async def get_serve_application(self, *arguments: Any, **given: Any) -> ServeApplication:
        """Return a Serve application."""
        return await super().get_serve_application(_id("name", arguments, given))

    async def delete_serve_application(self, *arguments: Any, **given: Any) -> None:
        """Delete a Serve application."""
        await super().delete_serve_application(_id("name", arguments, given))
