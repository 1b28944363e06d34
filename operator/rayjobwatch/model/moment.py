"""When a decision is made, and what is known then that no state holds."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rayjobwatch.model.records import RecordAnswer
from rayjobwatch.model.servestate import ServeAnswer


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by our clock and by the head's, which wrote the times of Ray's rows.

    head_ahead: by how much the head's clock is ahead of ours; None: it has not answered since this process started.
    deleted: the watch is being deleted.  answers: what asking Ray for a stop came to last, by job id: empty where it
    said yes.
    serve, records: what came of the last step about Serve applications, and about jobs' records, each told once;
    serve_asked, records_asked: such a step is under way.  unread: jobs whose log is still to be read.
    ray_service: the RayService that the RayCluster belongs to, empty for none.
    """

    now: datetime
    head_ahead: timedelta | None = timedelta(0)
    deleted: bool = False
    answers: Mapping[str, str] = field(default_factory=dict)
    serve: ServeAnswer | None = None
    serve_asked: bool = False
    records: Mapping[str, RecordAnswer] = field(default_factory=dict)
    records_asked: bool = False
    unread: Collection[str] = ()
    ray_service: str = ""

    @property
    def head_now(self) -> datetime:
        """This moment by the head's clock, by ours while that is not known."""
        return self.now + (self.head_ahead or timedelta(0))
