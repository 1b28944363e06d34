"""What a tail is asked to do, and the sources that it may ask."""

from dataclasses import dataclass, field
from enum import StrEnum

from rayjobwatch.ray.inputs import AgentFilter, LogProtocol, Pace
from rayjobwatch.ray.tail.cursor import START, Cursor
from rayjobwatch.ray.tail.limits import StreamLimits


class Rung(StrEnum):
    """A source of log lines. AGENT: the driver's agent.  SOCKET: the WebSocket tail.  FILE: the dashboard's file."""

    AGENT = "agent"
    SOCKET = "socket"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class TailSpec:
    """What a tail was asked to do. Seconds throughout.

    timeout: for each connection.  idle_timeout: silence that ends the tail with 408, None for never.
    reconnect: how long to go on trying after a connection that had worked was lost.
    look_every: how often the job's state is asked for.  agents: which agents may be asked, None for none.
    """

    job_id: str
    protocol: LogProtocol = "auto"
    timeout: float = 30.0
    limits: StreamLimits = field(default_factory=StreamLimits)
    cursor: Cursor = START
    idle_timeout: float | None = None
    reconnect: float = 30.0
    pace: Pace = field(default_factory=Pace)
    look_every: float = 1.0
    agents: AgentFilter | None = None
