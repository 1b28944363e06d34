"""What both clients have in common: how they reach their dashboard, limits, and how a tail becomes a plan."""

import random
import time
from collections.abc import Mapping
from typing import Any, Final

from rayjobwatch.ray.errors import InvalidInputError
from rayjobwatch.ray.inputs import AgentFilter, Pace, Timeout, any_agent, check_id, check_protocol, check_seconds
from rayjobwatch.ray.io.connection import ConnectionSettings, Verify
from rayjobwatch.ray.tail.cursor import START, Cursor
from rayjobwatch.ray.tail.effects import TailPlan
from rayjobwatch.ray.tail.follow import Tail
from rayjobwatch.ray.tail.limits import StreamLimits
from rayjobwatch.ray.tail.reader import LogReading, Sources
from rayjobwatch.ray.tail.socket_source import text_reader
from rayjobwatch.ray.tail.spec import TailSpec

LOOK_EVERY: Final = 1.0
LOOK_EVERY_IF_CHEAP: Final = 0.25
CLOCK: Final = time.monotonic


class ClientBase:
    """One Ray dashboard.

    base_url: its address, such as `http://ray-head:8265`, with or without a path prefix.
    token: Ray's auth token; sent to the dashboard and, where `agents` allows, to the driver's agent, to no one else.
    timeout: a `Timeout`, a dict with `connect`, `read`, `total`, or one number of seconds (default 5, 30, 65).
    stream_limits: limits of every log stream that is opened from now on.
    agents: which agents of the cluster may be asked for logs, by their address; None for none.
    verify: True, False, the path of a CA file, or an `ssl.SSLContext`.
    headers: more headers for the dashboard (a proxy's, say).  proxy: URL of an HTTP proxy; the environment's are
    not used.
    max_websocket_tails: how many WebSockets this client opens at a time: a Ray head hangs at 100. With all in use
    `auto` follows by other ways and `websocket` waits for one, for its connection timeout.
    connect_to: host and port to connect to in the place of base_url's, whose name is then not looked up.

    Wrong values are a `ClientError` 400.
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
        self._settings = ConnectionSettings.of(
            base_url,
            token,
            timeout=timeout,
            verify=verify,
            headers=headers,
            proxy=proxy,
            max_websocket_tails=max_websocket_tails,
            connect_to=connect_to,
        )
        if agents is not None and not callable(agents):
            raise InvalidInputError("agents must be a function of an address, or None")
        self._agents = agents
        self._sources = Sources(agents, CLOCK)
        self.stream_limits = StreamLimits() if stream_limits is None else stream_limits

    @property
    def base_url(self) -> str:
        """Address of the dashboard, without a slash at its end."""
        return self._settings.base_url

    @property
    def stream_limits(self) -> StreamLimits:
        """Limits of the log streams opened from now on."""
        return self._stream_limits

    @stream_limits.setter
    def stream_limits(self, limits: StreamLimits) -> None:
        self._stream_limits = _checked_limits(limits)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}>"

    def _tail(
        self, job_id: str, timeout: float, protocol: Any, *, cheap_lookup: bool, **options: Any
    ) -> TailPlan[None]:
        """Check the arguments of a tail and return its plan."""
        idle, limits = options.pop("idle_timeout"), options.pop("limits")
        if check_protocol(protocol) == "websocket":
            text_reader()  # raises at the call if its library is missing
        cursor, pace = options.pop("cursor"), options.pop("pace")
        if not (cursor is None or isinstance(cursor, Cursor)) or not (pace is None or isinstance(pace, Pace)):
            raise InvalidInputError("cursor must be a batch's cursor, pace a Pace")
        spec = TailSpec(
            job_id=check_id(job_id), protocol=check_protocol(protocol), timeout=check_seconds(timeout),
            limits=self._stream_limits if limits is None else _checked_limits(limits),
            cursor=START if cursor is None else cursor, pace=Pace() if pace is None else pace,
            idle_timeout=None if idle is None else check_seconds(idle, "idle_timeout"),
            reconnect=check_seconds(options.pop("reconnect"), "reconnect", zero=True),
            look_every=LOOK_EVERY_IF_CHEAP if cheap_lookup else LOOK_EVERY, agents=self._agents,
        )  # fmt: skip
        return Tail(spec, CLOCK, random.random).run()

    def _reading(self, job_id: str, cursor: Any, limits: Any) -> LogReading:
        if not (cursor is None or isinstance(cursor, Cursor)):
            raise InvalidInputError("cursor must be a batch's cursor")
        spec = TailSpec(
            job_id=check_id(job_id), timeout=self._settings.timeout.connect, agents=self._agents,
            cursor=START if cursor is None else cursor,
            limits=self._stream_limits if limits is None else _checked_limits(limits),
        )  # fmt: skip
        return LogReading(spec, self._sources, CLOCK)


class LogReaderBase:
    """The place in one log, of a reader of either flavour."""

    def __init__(self, reading: LogReading) -> None:
        self._reading = reading

    @property
    def cursor(self) -> Cursor:
        """The place after the last line that was given out."""
        return self._reading.cursor

    @property
    def whole_bytes(self) -> int:
        """How many bytes the last reading had to be sent anew; 0 where its source gives only what is new."""
        return self._reading.whole_bytes

    @property
    def is_readable(self) -> bool:
        """False where only a tail over a WebSocket brings the log: no agent gives it, and Ray is older than 2.40."""
        return self._reading.is_readable


def _checked_limits(limits: Any) -> StreamLimits:
    if isinstance(limits, StreamLimits):
        return limits
    raise InvalidInputError("stream_limits must be a StreamLimits")
