"""Asking one Ray dashboard about its cluster: nodes, failed tasks, Serve applications. Seldom, in the background."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from rayjobwatch.engine import tasks
from rayjobwatch.engine.nodes import NOT_THERE, NodeWatch
from rayjobwatch.model import pace
from rayjobwatch.model.facts import NO_FACTS, Facts, NodeCount, Served, served
from rayjobwatch.ray import AsyncRayClient, ClientError, ServeApplication

SECONDS = 5.0
MOST_TASKS = 2**31 - 1
T = TypeVar("T")


class ClusterFacts:
    """What the cluster said last, in its present Ray session. told: called when that has changed."""

    def __init__(self, client: AsyncRayClient, nodes: NodeWatch, told: Callable[[], None]) -> None:
        self.facts = NO_FACTS
        self._client = client
        self._nodes = nodes
        self._told = told
        self._session = ""
        self._due = math.inf
        self._asking: asyncio.Task[None] | None = None

    def look(self, session: str) -> None:
        """Ask if it is time to; `session` is the Ray session that answers now."""
        now = asyncio.get_running_loop().time()
        if session != self._session or self._due == math.inf:
            self._session, self.facts = session, NO_FACTS
            self._due = now + pace.jittered(pace.FACTS_FIRST, random.random())  # noqa: S311
        if now >= self._due and (self._asking is None or self._asking.done()):
            self._asking = tasks.start(f"facts of {self._client.base_url}", lambda: self._ask(session))

    def take_applications(self, session: str, applications: Iterable[ServeApplication]) -> None:
        """Take over what a clean-up saw of Serve in this Ray session: a fact must not say other than `status.serve`."""
        if session == self._session and self.facts != NO_FACTS:
            seen = served((one.name, one.status) for one in applications)
            self.facts = replace(self.facts, applications=seen)

    async def close(self) -> None:
        """Ask no more."""
        if self._asking:
            await tasks.stop(self._asking)

    async def _ask(self, session: str) -> None:
        loop = asyncio.get_running_loop()
        began, known = loop.time(), self.facts
        self._due = began + pace.FACTS_AGAIN
        if not self._nodes.is_fresh:
            await self._nodes.ask()
        nodes = self._nodes.nodes
        facts = Facts(
            nodes=NodeCount(len(nodes.alive), len(nodes.dead)) if nodes else known.nodes,
            failed_tasks=await self._answer(self._failed_tasks(), known.failed_tasks, None),
            applications=await self._answer(self._applications(), known.applications, ()),
        )
        self._due = loop.time() + pace.jittered(pace.facts_pause(loop.time() - began), random.random(), 0.1)  # noqa: S311
        if session == self._session and facts != known:
            self.facts = facts
            self._told()

    @staticmethod
    async def _answer(question: Awaitable[T], known: T, unknown: T) -> T:
        """Return the answer, what was known while there is none, and `unknown` where Ray does not know the question."""
        try:
            async with asyncio.timeout(SECONDS):
                return await question
        except ClientError as error:
            return unknown if error.status_code in NOT_THERE else known
        except TimeoutError:
            return known

    async def _failed_tasks(self) -> int | None:
        # Ray filters by state at the source: a single row comes, however many tasks there are.
        failed = await self._client.list_tasks(filters=[("state", "=", "FAILED")], limit=1)
        return max(0, min(failed.matching, MOST_TASKS))

    async def _applications(self) -> tuple[Served, ...]:
        return served((one.name, one.status) for one in await self._client.list_serve_applications())
