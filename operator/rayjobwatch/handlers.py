"""kopf as informer: every event of an object becomes its key in the engine's queue, and nothing else happens here."""

from typing import Any

import kopf

from rayjobwatch.engine.engine import Engine
from rayjobwatch.kube.client import RAY_CLUSTERS, RAY_JOB_WATCHES


def register(registry: kopf.OperatorRegistry, engine: Engine) -> None:
    """Register what is listened to. Only `on.event`: other handlers would write to the objects, or own them."""

    async def on_watch(namespace: str | None, name: str | None, **_: Any) -> None:
        engine.watch_changed(namespace or "", name or "")

    async def on_cluster(namespace: str | None, name: str | None, **_: Any) -> None:
        engine.cluster_changed(namespace or "", name or "")

    for resource, handler in ((RAY_JOB_WATCHES, on_watch), (RAY_CLUSTERS, on_cluster)):
        selector = (resource.group, resource.version, resource.plural)
        kopf.on.event(*selector, id=resource.plural, registry=registry)(handler)
