"""RayJobWatches on the API server: their status by server-side apply, our finalizer, and their deletion."""

from typing import Any

from rayjobwatch.kube.client import RAY_JOB_WATCHES, Body, KubeClient

API_VERSION = f"{RAY_JOB_WATCHES.group}/{RAY_JOB_WATCHES.version}"
KIND = "RayJobWatch"
# Only on watches that are to do something before they may be gone.
FINALIZER = "rayjobwatch.dev/cleanup"


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


def has_finalizer(watch: Body) -> bool:
    """Whether our finalizer is on `watch`."""
    return FINALIZER in (watch["metadata"].get("finalizers") or ())


async def set_finalizer(client: KubeClient, watch: Body, *, present: bool) -> Body:
    """Put our finalizer on `watch` or take it off; return the object.

    Raises `KubeError` with status 409 when the object has changed since, 404 when it is gone: others' are never lost.
    """
    meta = watch["metadata"]
    others = [name for name in meta.get("finalizers") or () if name != FINALIZER]
    change = {
        "uid": meta["uid"],
        "resourceVersion": meta["resourceVersion"],
        "finalizers": [*others, FINALIZER] if present else others,
    }
    return await client.patch(RAY_JOB_WATCHES, meta["namespace"], meta["name"], {"metadata": change})


async def delete_watch(client: KubeClient, watch: Body) -> None:
    """Delete `watch` just as it is.

    Raises `KubeError` with status 409 when the object has changed since, 404 when it is gone.
    """
    meta = watch["metadata"]
    preconditions = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    await client.delete(RAY_JOB_WATCHES, meta["namespace"], meta["name"], preconditions)
