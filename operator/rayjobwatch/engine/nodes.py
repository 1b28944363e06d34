"""Asking one Ray dashboard for its nodes, where that decides whether a job's row is believed."""

import asyncio
import math
from collections.abc import Iterable
from datetime import UTC, datetime

from rayjobwatch.model import pace
from rayjobwatch.model.observation import Nodes
from rayjobwatch.ray import AsyncRayClient, ClientError, JobDetails, JobStatus

SECONDS = 2.0
# How long an answer is waited for before the table of jobs is believed without one.
DOUBT_SECONDS = 60.0
NOT_THERE = {404, 405, 501}


class NodeWatch:
    """What the dashboard said of its nodes last.

    After `doubt` the head may be another one, until it has said which nodes it has, or has not for a minute.
    """

    def __init__(self, client: AsyncRayClient) -> None:
        self.nodes: Nodes | None = None
        self._client = client
        self._doubted = self._asked = -math.inf
        self._failures = 0

    @property
    def is_in_doubt(self) -> bool:
        """Whether nobody knows which nodes there are, and an answer may still come."""
        return self.nodes is None and self._is_new

    @property
    def is_fresh(self) -> bool:
        """Whether they were listed so lately that nobody need ask again who would not wait for the answer."""
        return self.nodes is not None and self._since(self._asked) < pace.NODES_AFTER_DOUBT

    def doubt(self) -> None:
        """Take note that the head may be another one than before."""
        self.nodes, self._asked, self._failures = None, -math.inf, 0
        self._doubted = asyncio.get_running_loop().time()

    async def check(self, jobs: Iterable[JobDetails]) -> frozenset[str]:
        """Return those of `jobs` that Ray calls RUNNING on a node that is DEAD.

        Asks when it is time to, if that decides about any of them. Takes two seconds at most and never raises.
        """
        places = {job.job_id: job.driver_node_id for job in jobs if job.status is JobStatus.RUNNING}
        if any(places.values()) and self._since(self._asked) > self._pause(places.values()):
            await self.ask()
        return frozenset(id_ for id_, node in places.items() if self._is_dead(node))

    def _pause(self, places: Iterable[str | None]) -> float:
        if any(map(self._is_dead, places)) or self.is_in_doubt:
            return max(pace.NODES_AGAIN, pace.backed_off(pace.NODES_AGAIN, self._failures, pace.SLOWEST_NODES))
        return pace.NODES_AFTER_DOUBT if self._is_new else math.inf

    def _is_dead(self, node: str | None) -> bool:
        return self.nodes is not None and node in self.nodes.dead

    async def ask(self) -> bool:
        """Ask which nodes there are; return whether that was answered."""
        self._asked = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(SECONDS):
                rows = await self._client.list_nodes()
        except (ClientError, TimeoutError) as error:
            self._failures += 1
            if isinstance(error, ClientError) and error.status_code in NOT_THERE:
                self._doubted = -math.inf  # this Ray will not say
            return False
        alive = frozenset(row.node_id for row in rows if row.alive)
        dead = frozenset(row.node_id for row in rows if row.state == "DEAD")
        self.nodes, self._failures = Nodes(datetime.now(UTC), alive, dead - alive), 0
        return True

    @property
    def _is_new(self) -> bool:
        return self._since(self._doubted) < DOUBT_SECONDS

    def _since(self, moment: float) -> float:
        return asyncio.get_running_loop().time() - moment
