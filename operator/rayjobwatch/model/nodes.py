"""Whether the node of a job's driver is there: of a head that came back, Ray's table alone does not tell.

With fault tolerance of Ray's control store the table of jobs outlives the head: a job of the old head is RUNNING in it
until something asks for its driver. A node that Ray calls DEAD never comes back: a new one has a new id.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rayjobwatch.model.jobs import Job, JobRow
from rayjobwatch.model.observation import Observation

# How long Ray itself is waited for, that shows the end of a job with its node: 13 s were seen.
DEAD_GRACE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A RUNNING row that is not believed, since when; `is_lost`: its driver cannot be running any more."""

    since: datetime
    is_lost: bool = False


def doubt_of(job: Job, row: JobRow, seen: Observation) -> Doubt | None:
    """Return why a RUNNING row of `job` is not believed now, None where it is.

    It is doubted while its driver's node is DEAD, and of a job that is known already while nobody knows of its node
    after the head was away. What Ray says of no node is believed.
    """
    nodes, listing = seen.nodes, seen.listing
    if listing is None or not row.node_id or (nodes and row.node_id in nodes.alive):
        return None
    since = job.doubted_since if job.doubted_since and job.doubted_since <= listing.time else listing.time
    if nodes and row.node_id in nodes.dead:
        return Doubt(since, min(nodes.time, listing.asked) - since >= DEAD_GRACE)
    return Doubt(since) if seen.is_head_in_doubt and job.seen else None
