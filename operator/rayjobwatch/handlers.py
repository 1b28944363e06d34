"""kopf as informer: every event's object goes into the engine's cache, and nothing else happens here."""

from collections.abc import Callable
from typing import Any

import kopf

from rayjobwatch.engine.engine import Engine
from rayjobwatch.kube.client import RAY_CLUSTERS, RAY_JOB_WATCHES


def register(registry: kopf.OperatorRegistry, engine: Engine) -> None:
    """Register what is listened to. Only `on.event`: other handlers would write to the objects, or own them."""
    for resource, seen in ((RAY_JOB_WATCHES, engine.watch_seen), (RAY_CLUSTERS, engine.cluster_seen)):
        selector = (resource.group, resource.version, resource.plural)
        kopf.on.event(*selector, id=resource.plural, registry=registry)(_handler(seen))


def _handler(seen: Callable[..., None]) -> Callable[..., Any]:
    async def on_event(event: kopf.RawEvent, **_: Any) -> None:
        seen(event["object"], deleted=event["type"] == "DELETED")

    return on_event
