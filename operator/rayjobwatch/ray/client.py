"""`RayClient`: everything of a Ray dashboard, in the caller's own thread."""

from collections.abc import Callable, Collection, Generator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Self

from rayjobwatch.ray.api import cluster, jobs, logs, serve
from rayjobwatch.ray.api.cluster import MOST_ROWS, Filters, NodeDetails, Resources, StateList, StateRow
from rayjobwatch.ray.api.records import JobDetails, JobList, JobStatus, RayVersion, Record
from rayjobwatch.ray.api.serve import ServeApplication
from rayjobwatch.ray.api.submit import job_request, submit_job
from rayjobwatch.ray.base import CLOCK, ClientBase, LogReaderBase
from rayjobwatch.ray.inputs import AgentFilter, LogProtocol, Pace, Timeout, any_agent
from rayjobwatch.ray.io.connection import Verify
from rayjobwatch.ray.io.sync_runner import SyncRunner
from rayjobwatch.ray.tail.cursor import Cursor
from rayjobwatch.ray.tail.limits import StreamLimits
from rayjobwatch.ray.tail.lines import LogBatch
from rayjobwatch.ray.tail.reader import LogReading


class RayClient(ClientBase):
    """A client of one Ray dashboard. See `ClientBase` for the constructor's arguments.

    Every method raises `ClientError` and nothing else. Safe for use from many threads: it has none of its own, a
    call runs in its caller's, and `close` from any thread ends the calls and tails of all others with 503.
    """

    _connect_at_call: ClassVar[frozenset[str]] = frozenset()

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
        self._runner = SyncRunner(self._settings)

    # Jobs

    def list_jobs(self) -> JobList:
        """Return all jobs of the cluster: the submitted ones, then drivers started otherwise; in no fixed order."""
        return self._runner.run(jobs.list_jobs())

    def get_job(self, job_id: str) -> JobDetails:
        """Return a job by its submission id or its driver's id; 404 if there is none."""
        return self._runner.run(jobs.get_job(job_id))

    def get_job_info(self, job_id: str) -> JobDetails:
        """Return the same as `get_job`: the name that Ray's own client has for it."""
        return self.get_job(job_id)

    def get_job_status(self, job_id: str) -> JobStatus:
        """Return a job's cluster."""
        return self.get_job(job_id).status

    def get_job_logs(self, job_id: str, *, max_bytes: int | None = logs.MOST_LOG_BYTES) -> str:
        """Return all that a job has logged so far, as it stands in the file; "" before its start.

        Bytes that are not UTF-8 become U+FFFD. A log of more than `max_bytes` (None: any size) is a 429.
        """
        plan = logs.get_job_logs(job_id, max_bytes, self._agents, self._settings.timeout.connect)
        return self._runner.run(plan)

    def submit_job(  # noqa: PLR0913
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
        """Submit a shell command as a job and return its submission id.

        entrypoint: see `entrypoint_of` for quoting.  runtime_env: as Ray's; a local `working_dir` and local
        `py_modules` (paths or modules) are uploaded once for each content, `excludes` are patterns of what to leave
        out.  entrypoint_memory: bytes.  An id that is taken is a 400. After a lost connection the id is looked up,
        so that the job is submitted once or an error raised.
        """
        fields = {
            "metadata": metadata,
            "entrypoint_num_cpus": entrypoint_num_cpus,
            "entrypoint_num_gpus": entrypoint_num_gpus,
            "entrypoint_memory": entrypoint_memory,
            "entrypoint_resources": entrypoint_resources,
            "entrypoint_label_selector": entrypoint_label_selector,
        }
        return self._runner.run(submit_job(job_request(entrypoint, submission_id, runtime_env, fields)))

    def stop_job(self, job_id: str) -> Record:
        """Ask Ray to stop a job: SIGTERM, after 3 s SIGKILL. Return `job_id`, its `status` now, and `stopped`: True.

        "stopped" means asked: watch the job until it is STOPPED (a PENDING one may stay so until it can start).
        A job that is over is a 400.
        """
        return self._runner.run(jobs.stop_job(job_id))

    def delete_job(self, job_id: str, *, min_age: float | None = None) -> None:
        """Delete the record of a job that is over (400 if it is not).

        min_age: seconds, by the head's clock, that the job must have been over (400 if it was not).
        For a job that ended in the last seconds this takes 1.2 s more: Ray may write the record again.
        """
        return self._runner.run(jobs.delete_job(job_id, min_age))

    def wait_until_status(
        self,
        job_id: str,
        statuses: Collection[str] = jobs.TERMINAL,
        timeout_seconds: float = 5.0,
        *,
        poll: float = 1.0,
    ) -> JobStatus:
        """Return the state as soon as it is one of `statuses`, or the job is over; 408 after `timeout_seconds`.

        The job is looked at every `poll` seconds; a dashboard that is away meanwhile is borne, and the answer to the
        last look awaited for a second more.
        """
        plan = jobs.wait_for(job_id, statuses, timeout_seconds, poll, CLOCK)
        return self._runner.run(plan).status

    def wait_job(self, job_id: str, timeout_seconds: float | None = None, *, poll: float = 1.0) -> JobDetails:
        """Return the job when it is over; 408 after `timeout_seconds`, None for no deadline."""
        return self._runner.run(jobs.wait_for(job_id, (), timeout_seconds, poll, CLOCK))

    def get_version(self) -> RayVersion:
        """Return the versions of Ray and of its API."""
        return self._runner.run(cluster.get_version())

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
    ) -> Generator[str, None, None]:
        """Yield a job's log lines, without line ends, from its start (or `cursor`) until the job is over.

        timeout: seconds for each connection (408).  protocol: `auto` takes the best source there is and changes it
        without losing or repeating a line, `http` never upgrades, `websocket` uses nothing else.
        limits: instead of `stream_limits` (429).  idle_timeout: seconds of silence after which to give up (408).
        reconnect: seconds to go on trying after a connection that had worked is lost; then 503.
        pace: how often the log is asked for over HTTP.

        Wrong arguments raise at the call, everything else while iterating: 404 for an unknown job, 401 or 403.
        Leave it at any time; nothing is read ahead of the consumer but what the sockets hold.
        """
        batches = self.tail_job_log_batches(
            job_id, timeout, protocol=protocol, cursor=cursor, limits=limits, idle_timeout=idle_timeout,
            reconnect=reconnect, pace=pace,
        )  # fmt: skip
        return lines_of(batches)

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
    ) -> Generator[str, None, None]:
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
    ) -> Generator[str, None, None]:
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
        lookup: Callable[[str], JobDetails] | None = None,
    ) -> Generator[LogBatch, None, None]:
        """Yield what `tail_job_logs` does, many lines at a time, each batch with the cursor to go on from.

        lookup: tells the job's state instead of `get_job`; it is called every 0.25 s while the log is quiet, so it
        should only look at what it knows. It raises `NotFoundError` for a job whose record is gone.
        """
        plan = self._tail(
            job_id, timeout, protocol, cheap_lookup=lookup is not None, cursor=cursor, limits=limits,
            idle_timeout=idle_timeout, reconnect=reconnect, pace=pace,
        )  # fmt: skip
        connect_now = protocol in self._connect_at_call
        if lookup is None:
            lookup = partial(self._look_up, timeout)
        return self._runner.stream(plan, lookup, connect_now=connect_now)

    def log_reader(
        self, job_id: str, *, cursor: Cursor | None = None, limits: StreamLimits | None = None
    ) -> "LogReader":
        """Return what reads a log piece by piece, from its start or `cursor`, whenever it is told to."""
        return LogReader(self._runner, self._reading(job_id, cursor, limits))

    def _look_up(self, timeout: float, job_id: str) -> JobDetails:
        return self._runner.run(jobs.get_job(job_id, min(timeout, self._settings.timeout.whole)))

    # The cluster

    def list_nodes(
        self, *, filters: Filters = (), detail: bool = False, limit: int = MOST_ROWS
    ) -> StateList[NodeDetails]:
        """Return the nodes, dead ones too; each has `alive`. filters: `[("state", "=", "ALIVE")]`, all must hold."""
        plan = cluster.list_state("nodes", NodeDetails, filters=filters, detail=detail, limit=limit)
        return self._runner.run(plan)

    def get_node(self, node_id: str) -> NodeDetails:
        """Return a node, alive or dead; 404 if there is none."""
        return self._runner.run(cluster.get_node(node_id))

    def list_tasks(self, *, filters: Filters = (), detail: bool = False, limit: int = MOST_ROWS) -> StateList[StateRow]:
        """Return the tasks, one row for each attempt; see `StateList` for what is left out. Ray 2.9 or newer."""
        return self._runner.run(cluster.list_state("tasks", StateRow, filters=filters, detail=detail, limit=limit))

    def get_task(self, task_id: str, *, attempt: int | None = None) -> StateRow:
        """Return a task's newest attempt, or the one with that `attempt_number`; 404 if there is none."""
        return self._runner.run(cluster.get_task(task_id, attempt))

    def list_actors(
        self, *, filters: Filters = (), detail: bool = False, limit: int = MOST_ROWS
    ) -> StateList[StateRow]:
        """Return the actors, dead ones too."""
        return self._runner.run(cluster.list_state("actors", StateRow, filters=filters, detail=detail, limit=limit))

    def get_actor(self, actor_id: str) -> StateRow:
        """Return an actor; 404 if there is none."""
        return self._runner.run(cluster.get_row("actors", "actor_id", actor_id))

    def list_placement_groups(
        self, *, filters: Filters = (), detail: bool = False, limit: int = MOST_ROWS
    ) -> StateList[StateRow]:
        """Return the placement groups."""
        plan = cluster.list_state("placement_groups", StateRow, filters=filters, detail=detail, limit=limit)
        return self._runner.run(plan)

    def get_placement_group(self, placement_group_id: str) -> StateRow:
        """Return a placement group; 404 if there is none."""
        return self._runner.run(cluster.get_row("placement_groups", "placement_group_id", placement_group_id))

    def cluster_resources(self) -> Resources:
        """Return what all nodes have together, as `ray.cluster_resources()`; `memory` in bytes."""
        return self._runner.run(cluster.cluster_resources())

    def available_resources(self) -> Resources:
        """Return what all nodes have free, as `ray.available_resources()`, some seconds old; needs Ray's monitor."""
        return self._runner.run(cluster.available_resources())

    def node_resources(self) -> dict[str, dict[str, Resources]]:
        """Return for each node id that is alive `{"total": …, "available": …}`."""
        return self._runner.run(cluster.node_resources())

    def is_healthy(self) -> bool:
        """Return whether the dashboard reaches the cluster's control store."""
        return self._runner.run(cluster.is_healthy())

    # Serve

    def list_serve_applications(self) -> list[ServeApplication]:
        """Return the Serve applications; none where Serve does not run."""
        return self._runner.run(serve.list_applications())

    def get_serve_application(self, name: str) -> ServeApplication:
        """Return an application by its name; 404 if there is none."""
        return self._runner.run(serve.get_application(name))

    def deploy_serve_application(self, config: Mapping[str, Any], *, wait: float | None = None) -> ServeApplication:
        """Add or change one application and leave the others as they are.

        config: as under `applications` in a Serve config file; `name` and `import_path` are needed.
        wait: seconds to wait until it is RUNNING (408), and a second more for the last answer; without it Serve, which
        may have to be started, has 60 s to answer. A deployment that fails is a 400 with Serve's reason.
        Serve's API knows only all applications at once: a deployment by somebody else at the same moment can be lost.
        """
        return self._runner.run(serve.deploy_application(config, wait, CLOCK))

    def delete_serve_application(self, name: str, *, wait: float | None = 30.0) -> None:
        """Delete one application, declarative or not, while the others go on serving; 404 if there is none.

        wait: seconds to wait until it is gone (408), None for not at all. The note at `deploy_serve_application` holds.
        """
        return self._runner.run(serve.delete_application(name, wait, CLOCK))

    def delete_serve_applications(self, names: Collection[str], *, wait: float | None = 30.0) -> list[ServeApplication]:
        """Delete those of `names` that there are, all at once, while the others go on serving.

        Return them as they were before. The notes at `delete_serve_application` hold.
        """
        return self._runner.run(serve.delete_applications(names, wait, CLOCK))

    # Life

    @property
    def server_ahead(self) -> float:
        """Seconds by which the dashboard's clock is ahead of ours, by its answers' Date; 0 if under 2 or unknown."""
        return self._runner.clock.ahead

    @property
    def open_connections(self) -> int:
        """How many sockets this client has open."""
        return self._runner.open_connections

    def close(self) -> None:
        """Close every connection; whatever still runs ends with 503. May be called twice, and from any thread."""
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        transport = getattr(self, "_runner", None)
        if transport is not None:
            transport.close()


def lines_of(batches: Generator[LogBatch, None, None]) -> Generator[str, None, None]:
    """Yield the lines of batches one by one."""
    try:
        for batch in batches:
            yield from batch.lines
    finally:
        batches.close()


class LogReader(LogReaderBase):
    """Reads one job's log over connections that all readers of its client share."""

    def __init__(self, runner: SyncRunner, reading: LogReading) -> None:
        super().__init__(reading)
        self._runner = runner

    def read(self, job: JobDetails) -> Generator[LogBatch, None, None]:
        """Yield the lines that came since the last `read`, up to the log's present end; `job` is from now.

        Of a job that is over also an unterminated last line is given out: its log is then complete. One `read` at a
        time. What fails is a `ClientError`, and the next `read` goes on without losing or repeating a line.
        """
        return self._runner.readings(self._reading.read(job))
