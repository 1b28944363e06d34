"""`python -m tests.faults.dashboards`: the scripted dashboards of `tests.bench.scale.dashboards`, with faults.

One more command: {"do": "begin", "plan": NAME, "seed": N, "base": SECONDS} has the jobs and faults of one of
`tests.faults.plan.PLANS`, and no others.
"""

import asyncio
import time
from collections import Counter
from functools import partial
from typing import Any

from tests.bench.scale.dashboards import ANSWER_SECONDS, Behave, Connection, Dashboards, encode, serve
from tests.bench.scale.routes import Request
from tests.faults.plan import PLANS
from tests.faults.tables import SLOW_SECONDS, FaultyTable, Way


class FaultyConnection(Connection):
    """A connection on which an answer may come late, in part or never."""

    def __init__(self, table: FaultyTable, side: str, behave: Behave, counts: Counter[str]) -> None:
        super().__init__(side, behave, counts)
        self._table = table

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._way() is Way.RESET:
            self._transport.abort()

    def _answer(self, request: Request) -> None:
        way = self._way(request.target)
        if way is Way.RESET:
            self._transport.abort()
        if way in (Way.RESET, Way.NEVER):
            return
        data = encode(request, self._behaved(request))
        if way is Way.HALF:
            self._loop.call_later(ANSWER_SECONDS, self._break, data[: len(data) // 2])
        else:
            self._loop.call_later(SLOW_SECONDS if way is Way.LATE else ANSWER_SECONDS, self._send, data)

    def _way(self, path: str = "") -> Way:
        return self._table.way(self._side, time.time(), path)

    def _break(self, data: bytes) -> None:
        self._send(data)
        self._transport.abort()


class FaultyDashboards(Dashboards):
    """All dashboards of the process."""

    async def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command; return its answer."""
        if command["do"] != "begin":
            return await super().do(command)
        plan = PLANS[command["plan"]](command["seed"], command["base"])
        for number, table in enumerate(self._faulty):
            jobs = [job for job in plan.jobs.values() if job.dashboard == number]
            table.begin(jobs, [fault for fault in plan.faults if fault.dashboard == number])
        return {"jobs": len(plan.jobs)}

    def __init__(self) -> None:
        super().__init__()
        self._faulty: list[FaultyTable] = []

    async def _open(self, number: int) -> str:
        table = FaultyTable(number, "")
        connection = partial(FaultyConnection, table)
        table.agent_url = await self._listen("agent", table.agent, connection)
        self._faulty.append(table)
        return await self._listen("head", table.head, connection)


if __name__ == "__main__":
    asyncio.run(serve(FaultyDashboards()))
