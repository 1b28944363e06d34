"""The way to the process of scripted dashboards."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from tests.bench.run import ROOT
from tests.bench.scale.plans import Plan

ASK_SECONDS = 20
ANSWER_BYTES = 1 << 24


class Scripted:
    """The scripted dashboards; `urls` are theirs, `proxy` knows them by the names of their head Services."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self.urls: list[str] = []
        self.proxy = ""
        self._process = process

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Give a command, see `dashboards`; return the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        async with asyncio.timeout(ASK_SECONDS):
            answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return answer

    async def load(self, plan: Plan) -> None:
        """Have the jobs of a plan, and no others."""
        await self.ask(do="load", plan=asdict(plan))


@contextlib.asynccontextmanager
async def scripted(count: int, module: str = "tests.bench.scale.dashboards") -> AsyncIterator[Scripted]:
    """Run that many dashboards in a process of their own, which is that module."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, stdin=pipe, stdout=pipe, cwd=ROOT, limit=ANSWER_BYTES
    )
    try:
        running = Scripted(process)
        opened = await running.ask(do="open", count=count)
        running.urls, running.proxy = opened["urls"], opened["proxy"]
        yield running
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), ASK_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
