"""`AsyncRayClient`: everything of a Ray dashboard, with asyncio."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

from rayjobwatch.ray import endpoints
from rayjobwatch.ray.cursor import START, Cursor
from rayjobwatch.ray.inputs import Pace, Protocol, Timeout, check_id, check_protocol, check_seconds
from rayjobwatch.ray.jobs import JobDetails, JobList, RayVersion
from rayjobwatch.ray.limits import StreamLimits
from rayjobwatch.ray.lines import LogBatch
from rayjobwatch.ray.settings import AgentFilter, Settings, Verify, any_agent
from rayjobwatch.ray.tail import Tail, jitter
from rayjobwatch.ray.tail_state import TailSpec
from rayjobwatch.ray.transport_async import AsyncTransport


class AsyncRayClient:
    """A client of one Ray dashboard."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout: Timeout | Mapping[str, float] | float | None = None,
        stream_limits: StreamLimits | None = None,
        agents: AgentFilter | None = any_agent,
        verify: Verify = True,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
    ) -> None:
        settings = Settings.of(base_url, token, timeout=timeout, verify=verify, headers=headers, proxy=proxy)
        self._transport = AsyncTransport(settings)
        self._agents = agents
        self.stream_limits = stream_limits or StreamLimits()

    async def list_jobs(self) -> JobList:
        return await self._transport.run(endpoints.list_jobs())

    async def get_job(self, job_id: str) -> JobDetails:
        return await self._transport.run(endpoints.get_job(job_id))

    async def get_version(self) -> RayVersion:
        return await self._transport.run(endpoints.get_version())

    async def tail_job_logs(
        self,
        job_id: str,
        timeout: float = 30.0,  # noqa: ASYNC109
        *,
        protocol: Protocol = "auto",
    ) -> AsyncGenerator[str, None]:
        batches = self.tail_job_log_batches(job_id, timeout, protocol=protocol)
        try:
            async for batch in batches:
                for line in batch.lines:
                    yield line
        finally:
            await batches.aclose()

    def tail_job_log_batches(  # noqa: PLR0913 - the options of a tail are many
        self,
        job_id: str,
        timeout: float = 30.0,
        *,
        protocol: Protocol = "auto",
        cursor: Cursor | None = None,
        limits: StreamLimits | None = None,
        lookup: Callable[[str], Awaitable[JobDetails]] | None = None,
        idle_timeout: float | None = None,
        reconnect: float = 30.0,
        pace: Pace | None = None,
    ) -> AsyncGenerator[LogBatch, None]:
        spec = TailSpec(
            job_id=check_id(job_id), protocol=check_protocol(protocol), timeout=check_seconds(timeout),
            limits=limits or self.stream_limits, cursor=cursor or START,
            idle_timeout=None if idle_timeout is None else check_seconds(idle_timeout, "idle_timeout"),
            reconnect=check_seconds(reconnect, "reconnect", zero=True), pace=pace or Pace(),
            look_every=1.0 if lookup is None else 0.25, agents=self._agents,
        )  # fmt: skip
        tail = Tail(spec, time.monotonic, jitter)
        return self._transport.stream(tail.run(), lookup or self.get_job)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport.settings.base_url}>"
