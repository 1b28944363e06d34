"""RayJobWatches on the API server: reading them, and writing their status by server-side apply."""

from typing import Any

from rayjobwatch.kube.client import RAY_JOB_WATCHES, Body, KubeClient

API_VERSION = f"{RAY_JOB_WATCHES.group}/{RAY_JOB_WATCHES.version}"
KIND = "RayJobWatch"


async def write_status(client: KubeClient, watch: Body, status: dict[str, Any]) -> Body:
    """Make `status` the status of `watch` and return the object; the uid keeps it off one of that name made since.

    Raises `KubeError` with status 404 or 409 when the watch is not there any more.
    """
    meta = watch["metadata"]
    body = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
        "status": status,
    }
    return await client.apply_status(RAY_JOB_WATCHES, meta["namespace"], meta["name"], body)
