"""The API server as the administrator: objects by the hundred, over connections that stay open."""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

Json = dict[str, Any]

CLUSTERS = "apis/ray.io/v1/namespaces/{}/rayclusters"
SERVICES = "api/v1/namespaces/{}/services"
EVENTS = "api/v1/namespaces/{}/events"
PAGE_ITEMS = 500
CONNECTIONS = 16
REQUEST_SECONDS = 60
LINE_BYTES = 1 << 22


class Kube:
    """JSON in and out; a path is one of the above, with its namespace and what follows."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def create(self, path: str, body: Json) -> Json:
        """Create an object in the collection at `path`."""
        return await self._request("POST", path, json=body)

    async def merge(self, path: str, patch: Json) -> Json:
        """Apply a merge patch."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return await self._request("PATCH", path, data=json.dumps(patch), headers=headers)

    async def delete(self, path: str) -> None:
        """Delete an object."""
        await self._request("DELETE", path)

    async def list(self, path: str) -> list[Json]:
        """Return all objects of a collection."""
        items: list[Json] = []
        query: dict[str, str] = {"limit": str(PAGE_ITEMS)}
        while True:
            page = await self._request("GET", path, params=query)
            items += page["items"]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return items

    async def watch(self, path: str) -> AsyncIterator[Json]:
        """Yield the objects of a collection, then each that is added or changed, until the stream breaks."""
        timeout = aiohttp.ClientTimeout(total=None, connect=REQUEST_SECONDS)
        async with self._session.get(path, params={"watch": "true"}, timeout=timeout) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield event["object"]

    async def _request(self, method: str, path: str, **more: Any) -> Json:
        async with self._session.request(method, path, **more) as answer:
            body: Json = await answer.json()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {body.get('message')}")
            return body


@contextlib.asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncIterator[Kube]:
    """Connect as a kubeconfig of ours says (`tests.localcluster.kubectl.write_kubeconfig`)."""
    config = json.loads(await asyncio.to_thread(kubeconfig.read_text))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    session = aiohttp.ClientSession(
        cluster["server"] + "/",
        headers={"Authorization": f"Bearer {user['token']}", "Accept": "application/json"},
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=ssl.create_default_context(cadata=authority)),
        timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
        read_bufsize=LINE_BYTES,
    )
    async with session:
        yield Kube(session)
