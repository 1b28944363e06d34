"""What the client promises of real Ray over minutes: nothing lost across restarts, and a head that stays well."""

from __future__ import annotations

import asyncio
import time
import uuid
from functools import partial

import pytest

from rayjobwatch.ray import StreamLimits, entrypoint_of
from tests.localcluster.rayhead import RayHead
from tests.ray.flavours import FLAVOURS, Caller, in_thread, make_client, until
from tests.ray.relay import Relay

pytestmark = [pytest.mark.real_ray, pytest.mark.slow]
LINES = 200_000
WRITER = (
    "import sys, time\n"
    f"for start in range(0, {LINES}, 2000):\n"
    "    sys.stdout.write(''.join('L%07d ' % n + 'x' * 90 + '\\n' for n in range(start, start + 2000)))\n"
    "    sys.stdout.flush()\n"
    "    time.sleep(0.25)\n"
)


class Follower:
    """One tail and what it has brought so far."""

    def __init__(self, client: Caller, job_id: str, protocol: str) -> None:
        self.client, self.job_id, self.protocol = client, job_id, protocol
        self.name = f"{client.flavour} {protocol}"
        self.numbers: list[int] = []

    async def run(self) -> None:
        limits = StreamLimits.unbounded()
        batches = await self.client.tail_job_log_batches(
            self.job_id, protocol=self.protocol, limits=limits, reconnect=90
        )
        async for batch in batches:
            self.numbers += [int(line[1:8]) for line in batch.lines if line.startswith("L") and line[8:9] == " "]


def all_have(followers: list[Follower], lines: int) -> bool:
    return all(len(follower.numbers) >= lines for follower in followers)


@pytest.mark.requirement("S-13", "U-03", "S-14", "E-09")
@pytest.mark.timeout(280)
async def test_each_of_200000_lines_comes_once_across_a_restart_and_three_cut_connections() -> None:
    """Both flavours; `websocket`, `http` and `auto` without the agent through a relay that is cut, `auto` with it."""
    with RayHead(num_cpus=4) as head, Relay(head.ports.dashboard) as relay:
        job_id = head.submit(entrypoint_of("python", "-c", WRITER), submission_id=f"t-{uuid.uuid4().hex[:12]}")
        clients, followers = [], []
        for flavour in FLAVOURS:
            remote = make_client(flavour, relay.url, agents=None)
            near = make_client(flavour, relay.url)
            clients += [remote, near]
            followers += [Follower(remote, job_id, protocol) for protocol in ("websocket", "http", "auto")]
            followers.append(Follower(near, job_id, "auto"))
        running = [asyncio.ensure_future(follower.run()) for follower in followers]
        for lines in (10_000, 40_000, 70_000):
            await until(partial(all_have, followers, lines), 60)
            assert await in_thread(relay.cut) > 0
        await until(partial(all_have, followers, 90_000), 60)
        await in_thread(head.restart_dashboard)
        await asyncio.gather(*running)
        for client in clients:
            await client.shut()
        assert relay.cuts >= 3
        wrong = {each.name: len(each.numbers) for each in followers if each.numbers != list(range(LINES))}
        assert wrong == {}
        assert head.job(job_id)["status"] == "SUCCEEDED"


@pytest.mark.requirement("J-01", "S-05", "U-03", "S-14")
@pytest.mark.timeout(560)
async def test_a_head_is_well_after_150_jobs_were_followed_to_their_end() -> None:
    """Ray's own follow route leaks a slot for each: after 100 it answers no more until it is restarted."""
    with RayHead(num_cpus=4) as head:
        clients = [
            make_client(flavour, head.dashboard_url, agents=agents)
            for flavour in FLAVOURS
            for agents in (None, any_agent)
        ]
        protocols = ("auto", "websocket", "http")
        turn = asyncio.Semaphore(10)
        ids = [f"t-{number}-{uuid.uuid4().hex[:8]}" for number in range(150)]

        async def follow(number: int, job_id: str) -> list[str]:
            async with turn:
                client = clients[number % len(clients)]
                await client.submit_job(f"echo line {number}", submission_id=job_id)
                return await client.lines(job_id, protocol=protocols[number % len(protocols)])

        everything = await asyncio.gather(*(follow(number, job_id) for number, job_id in enumerate(ids)))
        assert [f"line {number}" in lines for number, lines in enumerate(everything)] == [True] * 150
        listed = {job["job_id"]: job["status"] for job in await clients[0].list_jobs()}
        assert listed == dict.fromkeys(ids, "SUCCEEDED")
        await _is_well(head, clients[0], ids)
        for client in clients:
            await client.shut()


def any_agent(_: str) -> bool:
    return True


async def _is_well(head: RayHead, client: Caller, ids: list[str]) -> None:
    """Each module of the dashboard answers within a second, and a log can be read by every route."""
    for path in ("/api/jobs/", "/api/version", "/api/v0/nodes", "/api/serve/applications/", "/api/cluster_status"):
        await in_thread(head.request, "GET", path)
        started = time.monotonic()
        await in_thread(head.request, "GET", path)
        assert time.monotonic() - started < 1, path
    for protocol in ("auto", "websocket", "http"):
        assert "line 149" in await client.lines(ids[149], protocol=protocol)
