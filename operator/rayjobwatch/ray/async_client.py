"""`AsyncRayClient`: everything of a Ray dashboard, with asyncio. The methods are described in `RayClient`."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from rayjobwatch.ray.api import cluster, jobs, logs, serve
from rayjobwatch.ray.api.cluster import MOST_ROWS, Filters, NodeDetails, Resources, StateList, StateRow
from rayjobwatch.ray.api.records import JobDetails, JobList, JobStatus, RayVersion, Record
from rayjobwatch.ray.api.serve import ServeApplication
from rayjobwatch.ray.api.submit import job_request, submit_job
from rayjobwatch.ray.base import CLOCK, ClientBase, LogReaderBase
from rayjobwatch.ray.inputs import AgentFilter, LogProtocol, Pace, Timeout, any_agent
from rayjobwatch.ray.io.async_runner import AsyncRunner
from rayjobwatch.ray.io.connection import Verify
from rayjobwatch.ray.tail.cursor import Cursor
from rayjobwatch.ray.tail.limits import StreamLimits
from rayjobwatch.ray.tail.lines import LogBatch
from rayjobwatch.ray.tail.reader import LogReading


class AsyncRayClient(ClientBase):
    """A client of one Ray dashboard. See `ClientBase` for the constructor's arguments.

    Every method raises `ClientError` and nothing else (and `CancelledError` where its task is cancelled). For one
    event loop; `aclose` ends the calls and tails of all tasks with 503.
    """

    def __init__(  # noqa: PLR0913
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
        max_websocket_tails: int = 20,
        connect_to: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(
            base_url, token, timeout=timeout, stream_limits=stream_limits, agents=agents, verify=verify,
            headers=headers, proxy=proxy, max_websocket_tails=max_websocket_tails, connect_to=connect_to,
        )  # fmt: skip
        self._runner = AsyncRunner(self._settings)

    # Jobs

    async def list_jobs(self) -> JobList:
        """Return all jobs of the cluster: the submitted ones, then drivers started otherwise; in no fixed order."""
        return await self._runner.run(jobs.list_jobs())

    async def get_job(self, job_id: str) -> JobDetails:
        """Return a job by its submission id or its driver's id; 404 if there is none."""
        return await self._runner.run(jobs.get_job(job_id))

    async def get_job_info(self, job_id: str) -> JobDetails:
        """Return the same as `get_job`: the name that Ray's own client has for it."""
        return await self.get_job(job_id)

    async def get_job_status(self, job_id: str) -> JobStatus:
        """Return a job's cluster."""
        return (await self.get_job(job_id)).status

    async def get_job_logs(self, job_id: str, *, max_bytes: int | None = logs.MOST_LOG_BYTES) -> str:
        """Return all that a job has logged so far, as it stands in the file; "" before its start."""
        plan = logs.get_job_logs(job_id, max_bytes, self._agents, self._settings.timeout.connect)
        return await self._runner.run(plan)

    async def submit_job(  # noqa: PLR0913
        self,
        entrypoint: str,
        runtime_env: Mapping[str, Any] | None = None,
        submission_id: str | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        entrypoint_num_cpus: float | None = None,
        entrypoint_num_gpus: float | None = None,
        entrypoint_memory: int | None = None,
        entrypoint_resources: Mapping[str, float] | None = None,
        entrypoint_label_selector: Mapping[str, str] | None = None,
    ) -> str:
        """Submit a shell command as a job and return its submission id."""
        fields = {
            "metadata": metadata,
            "entrypoint_num_cpus": entrypoint_num_cpus,
            "entrypoint_num_gpus": entrypoint_num_gpus,
            "entrypoint_memory": entrypoint_memory,
            "entrypoint_resources": entrypoint_resources,
            "entrypoint_label_selector": entrypoint_label_selector,
        }
        return await self._runner.run(submit_job(job_request(entrypoint, submission_id, runtime_env, fields)))

    async def stop_job(self, job_id: str) -> Record:
        """Ask Ray to stop a job: SIGTERM, after 3 s SIGKILL. Return `job_id`, its `status` now, and `stopped`: True."""
        return await self._runner.run(jobs.stop_job(job_id))

    async def delete_job(self, job_id: str, *, min_age: float | None = None) -> None:
        """Delete the record of a job that is over (400 if it is not).

        min_age: seconds, by the head's clock, that the job must have been over (400 if it was not).
        """
        return await self._runner.run(jobs.delete_job(job_id, min_age))

    async def wait_until_status(
        self,
        job_id: str,
        statuses: Collection[str] = jobs.TERMINAL,
        timeout_seconds: float = 5.0,
        *,
        poll: float = 1.0,
    ) -> JobStatus:
        """Return the state as soon as it is one of `statuses`, or the job is over; 408 after `timeout_seconds`."""
        plan = jobs.wait_for(job_id, statuses, timeout_seconds, poll, CLOCK)
        return (await self._runner.run(plan)).status

    async def wait_job(self, job_id: str, timeout_seconds: float | None = None, *, poll: float = 1.0) -> JobDetails:
        """Return the job when it is over; 408 after `timeout_seconds`, None for no deadline."""
        return await self._runner.run(jobs.wait_for(job_id, (), timeout_seconds, poll, CLOCK))

    async def get_version(self) -> RayVersion:
        """Return the versions of Ray and of its API."""
        return await self._runner.run(cluster.get_version())

    # Logs

    def tail_job_logs(
        self,
        job_id: str,
        timeout: float = 30.0,
        *,
        protocol: LogProtocol = "auto",
        cursor: Cursor | None = None,
        limits: StreamLimits | None = None,
        idle_timeout: float | None = None,
        reconnect: float = 30.0,
        pace: Pace | None = None,
    ) -> AsyncGenerator[str, None]:
        """Yield a job's log lines, without line ends, from its start (or `cursor`) until the job is over."""
        plan = self._tail(
            job_id, timeout, protocol, cheap_lookup=False, cursor=cursor, limits=limits,
            idle_timeout=idle_timeout, reconnect=reconnect, pace=pace,
        )  # fmt: skip
        return self._runner.lines(plan, partial(self._look_up, timeout))

    def websocket_tail_job_logs(
        self,
        job_id: str,
        timeout: float = 30.0,
        *,
        cursor: Cursor | None = None,
        limits: StreamLimits | None = None,
        idle_timeout: float | None = None,
        reconnect: float = 30.0,
        pace: Pace | None = None,
    ) -> AsyncGenerator[str, None]:
        """Do `tail_job_logs` with protocol `websocket`."""
        return self.tail_job_logs(
            job_id, timeout, protocol="websocket", cursor=cursor, limits=limits, idle_timeout=idle_timeout,
            reconnect=reconnect, pace=pace,
        )  # fmt: skip

    def stream_tail_job_logs(
        self,
        job_id: str,
        timeout: float = 30.0,
        *,
        cursor: Cursor | None = None,
        limits: StreamLimits | None = None,
        idle_timeout: float | None = None,
        reconnect: float = 30.0,
        pace: Pace | None = None,
    ) -> AsyncGenerator[str, None]:
        """Do `tail_job_logs` with protocol `http`."""
        return self.tail_job_logs(
            job_id, timeout, protocol="http", cursor=cursor, limits=limits, idle_timeout=idle_timeout,
            reconnect=reconnect, pace=pace,
        )  # fmt: skip

    def tail_job_log_batches(  # noqa: PLR0913
        self,
        job_id: str,
        timeout: float = 30.0,
        *,
        protocol: LogProtocol = "auto",
        cursor: Cursor | None = None,
        limits: StreamLimits | None = None,
        idle_timeout: float | None = None,
        reconnect: float = 30.0,
        pace: Pace | None = None,
        lookup: Callable[[str], Awaitable[JobDetails]] | None = None,
    ) -> AsyncGenerator[LogBatch, None]:
        """Yield what `tail_job_logs` does, many lines at a time, each batch with the cursor to go on from."""
        plan = self._tail(
            job_id, timeout, protocol, cheap_lookup=lookup is not None, cursor=cursor, limits=limits,
            idle_timeout=idle_timeout, reconnect=reconnect, pace=pace,
        )  # fmt: skip
        if lookup is None:
            lookup = partial(self._look_up, timeout)
        return self._runner.batches(plan, lookup)

    def log_reader(
        self, job_id: str, *, cursor: Cursor | None = None, limits: StreamLimits | None = None
    ) -> "AsyncLogReader":
        """Return what reads a log piece by piece, from its start or `cursor`, whenever it is told to."""
        return AsyncLogReader(self._runner, self._reading(job_id, cursor, limits))

    async def _look_up(self, timeout: float, job_id: str) -> JobDetails:  # noqa: ASYNC109
        return await self._runner.run(jobs.get_job(job_id, min(timeout, self._settings.timeout.whole)))

    # The cluster

    async def list_nodes(
        self, *, filters: Filters = (), detail: bool = False, limit: int = MOST_ROWS
    ) -> StateList[NodeDetails]:
        """Return the nodes, dead ones too; each has `alive`. filters: `[("state", "=", "ALIVE")]`, all must hold."""
        plan = cluster.list_state("nodes", NodeDetails, filters=filters, detail=detail, limit=limit)
        return await self._runner.run(plan)

    async def get_node(self, node_id: str) -> NodeDetails:
        """Return a node, alive or dead; 404 if there is none."""
        return await self._runner.run(cluster.get_node(node_id))

    async def list_tasks(
        self, *, filters: Filters = (), detail: bool = False, limit: int = MOST_ROWS
    ) -> StateList[StateRow]:
        """Return the tasks, one row for each attempt; see `StateList` for what is left out. Ray 2.9 or newer."""
        return await self._runner.run(
            cluster.list_state("tasks", StateRow, filters=filters, detail=detail, limit=limit)
        )

    async def get_task(self, task_id: str, *, attempt: int | None = None) -> StateRow:
        """Return a task's newest attempt, or the one with that `attempt_number`; 404 if there is none."""
        return await self._runner.run(cluster.get_task(task_id, attempt))

    async def list_actors(
        self, *, filters: Filters = (), detail: bool = False, limit: int = MOST_ROWS
    ) -> StateList[StateRow]:
        """Return the actors, dead ones too."""
        return await self._runner.run(
            cluster.list_state("actors", StateRow, filters=filters, detail=detail, limit=limit)
        )

    async def get_actor(self, actor_id: str) -> StateRow:
        """Return an actor; 404 if there is none."""
        return await self._runner.run(cluster.get_row("actors", "actor_id", actor_id))

    async def list_placement_groups(
        self, *, filters: Filters = (), detail: bool = False, limit: int = MOST_ROWS
    ) -> StateList[StateRow]:
        """Return the placement groups."""
        plan = cluster.list_state("placement_groups", StateRow, filters=filters, detail=detail, limit=limit)
        return await self._runner.run(plan)

    async def get_placement_group(self, placement_group_id: str) -> StateRow:
        """Return a placement group; 404 if there is none."""
        return await self._runner.run(cluster.get_row("placement_groups", "placement_group_id", placement_group_id))

    async def cluster_resources(self) -> Resources:
        """Return what all nodes have together, as `ray.cluster_resources()`; `memory` in bytes."""
        return await self._runner.run(cluster.cluster_resources())

    async def available_resources(self) -> Resources:
        """Return what all nodes have free, as `ray.available_resources()`, some seconds old; needs Ray's monitor."""
        return await self._runner.run(cluster.available_resources())

    async def node_resources(self) -> dict[str, dict[str, Resources]]:
        """Return for each node id that is alive `{"total": …, "available": …}`."""
        return await self._runner.run(cluster.node_resources())

    async def is_healthy(self) -> bool:
        """Return whether the dashboard reaches the cluster's control store."""
        return await self._runner.run(cluster.is_healthy())

    # Serve

    async def list_serve_applications(self) -> list[ServeApplication]:
        """Return the Serve applications; none where Serve does not run."""
        return await self._runner.run(serve.list_applications())

    async def get_serve_application(self, name: str) -> ServeApplication:
        """Return an application by its name; 404 if there is none."""
        return await self._runner.run(serve.get_application(name))

    async def deploy_serve_application(
        self, config: Mapping[str, Any], *, wait: float | None = None
    ) -> ServeApplication:
        """Add or change one application and leave the others as they are."""
        return await self._runner.run(serve.deploy_application(config, wait, CLOCK))

    async def delete_serve_application(self, name: str, *, wait: float | None = 30.0) -> None:
        """Delete one application, declarative or not, while the others go on serving; 404 if there is none."""
        return await self._runner.run(serve.delete_application(name, wait, CLOCK))

    async def delete_serve_applications(
        self, names: Collection[str], *, wait: float | None = 30.0
    ) -> list[ServeApplication]:
        """Delete those of `names` that there are, all at once, while the others go on serving.

        Return them as they were before. The notes at `delete_serve_application` hold.
        """
        return await self._runner.run(serve.delete_applications(names, wait, CLOCK))

    # Life

    @property
    def server_ahead(self) -> float:
        """Seconds by which the dashboard's clock is ahead of ours, by its answers' Date; 0 if under 2 or unknown."""
        return self._runner.clock.ahead

    @property
    def open_connections(self) -> int:
        """How many sockets this client has open."""
        return self._runner.open_connections

    async def aclose(self) -> None:
        """Close every connection; whatever still runs ends with 503. May be called twice, and from any thread."""
        await self._runner.aclose()

    async def close(self) -> None:
        """Do the same as `aclose`."""
        await self.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        transport = getattr(self, "_runner", None)
        if transport is not None:
            transport.abandon()


class AsyncLogReader(LogReaderBase):
    """Reads one job's log over connections that all readers of its client share."""

    def __init__(self, runner: AsyncRunner, reading: LogReading) -> None:
        super().__init__(reading)
        self._runner = runner

    def read(self, job: JobDetails) -> AsyncGenerator[LogBatch, None]:
        """Yield the lines that came since the last `read`, up to the log's present end; `job` is from now.

        Of a job that is over also an unterminated last line is given out: its log is then complete. One `read` at a
        time. What fails is a `ClientError`, and the next `read` goes on without losing or repeating a line.
        """
        return self._runner.readings(self._reading.read(job))
