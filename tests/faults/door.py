"""A way to the API server on which writes of Events hang at times, and nothing else does."""

import asyncio
import base64
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from tests.faults.plan import Fault, Kind
from tests.localcluster.processes import LOOPBACK
from tests.ray.tls import authority_pem, server_context

# What is said of a connection, and not of the request or answer that comes over it.
_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


class Door:
    """Hands requests on to an API server; what writes an Event hangs until the fault is over, and is carried out then.

    Whoever asked may have gone meanwhile.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.faults: tuple[Fault, ...] = ()
        self.url = self._server = ""
        self._session = session
        self._tls = ssl.create_default_context()

    def lead(self, kubeconfig: Path) -> Path:
        """Return a kubeconfig like this one (`tests.localcluster.kubectl.write_kubeconfig`) that leads through here."""
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._server = cluster["server"]
        self._tls.load_verify_locations(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        cluster |= {"server": self.url, "certificate-authority-data": base64.b64encode(authority_pem()).decode()}
        led = kubeconfig.with_name(f"{kubeconfig.name}-door")
        led.touch(mode=0o600)
        led.write_text(json.dumps(config))
        return led

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Hand a request on, and its answer back as it comes."""
        body = await request.read()
        await asyncio.sleep(seconds_held(self.faults, request.method, request.path, time.time()))
        url, headers = URL(f"{self._server}{request.raw_path}", encoded=True), _kept(request)
        answer = web.StreamResponse()
        try:
            async with self._session.request(
                request.method, url, data=body or None, headers=headers, ssl=self._tls
            ) as found:
                answer = web.StreamResponse(status=found.status, headers=_kept(found))
                await answer.prepare(request)
                async for part in found.content.iter_any():
                    await answer.write(part)
        except (aiohttp.ClientError, OSError):  # either side has gone: so must the other
            if request.transport:
                request.transport.abort()
        return answer


def seconds_held(faults: Iterable[Fault], method: str, path: str, now: float) -> float:
    """Return how long a request hangs."""
    is_write = method in ("POST", "PATCH") and "events" in path.split("/")
    ends = [fault.end for fault in faults if fault.kind is Kind.EVENTS_HANG and fault.begin <= now < fault.end]
    return max(ends, default=now) - now if is_write else 0.0


def _kept(message: web.BaseRequest | aiohttp.ClientResponse) -> list[tuple[str, str]]:
    return [(name, value) for name, value in message.headers.items() if name.lower() not in _HOP]


@contextlib.asynccontextmanager
async def door() -> AsyncIterator[Door]:
    """Listen on 127.0.0.1."""
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        made = Door(session)
        runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=0.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, LOOPBACK, 0, ssl_context=server_context())
            await site.start()
            made.url = f"https://{LOOPBACK}:{runner.addresses[0][1]}"
            yield made
        finally:
            await runner.cleanup()
