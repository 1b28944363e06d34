"""Wiring and life cycle of the controller."""

import asyncio
import os
import random
import socket
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any, cast

import kopf
from kubernetes.aio.client import Configuration

from rayjobwatch import handlers
from rayjobwatch.engine.engine import Engine
from rayjobwatch.kube.client import KubeClient, load_configuration
from rayjobwatch.model import pace
from rayjobwatch.settings import Settings

GOODBYE_SECONDS = 0.25


async def run(settings: Settings) -> None:
    """Run the controller until it is told to stop (SIGTERM, SIGINT). Raises `KubeError` without a way to the API."""
    # Else kopf names itself after the process' user, who has no name in many a container.
    os.environ.setdefault("POD_ID", socket.gethostname())
    configuration = await load_configuration(settings.kubeconfig)
    async with KubeClient(configuration, settings.kubeconfig) as client:
        engine = Engine(client, settings, socket.gethostname())
        registry = _registry(settings, engine)
        # Before kopf: it cancels at its end whatever tasks were made after its start, and these are ours to end.
        engine.start()
        try:
            await kopf.operator(
                registry=registry,
                settings=_kopf_settings(settings),
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
                standalone=True,
                liveness_endpoint=_health_endpoint(settings),
            )
        finally:
            await engine.stop()
    # Of a TLS connection that is closed, as kopf's watch streams now are, the other side says goodbye, too.
    await asyncio.sleep(GOODBYE_SECONDS)


def _registry(settings: Settings, engine: Engine) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    handlers.register(registry, engine)

    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await _connection(await load_configuration(settings.kubeconfig))

    async def stop(**_: Any) -> None:
        await engine.stop()

    kopf.on.login(id="login", registry=registry)(login)
    kopf.on.cleanup(id="stop", registry=registry)(stop)
    return registry


async def _connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """Give kopf the way to the API server that our own client has."""
    header = await configuration.get_api_key_with_prefix("BearerToken") or ""
    scheme, _, token = header.rpartition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )


def _kopf_settings(own: Settings) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # Noticing later CRDs needs rights on the whole cluster, which a controller of some namespaces may not have.
    settings.scanning.disabled = bool(own.namespaces)
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.networking.error_backoffs = _Backoffs()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.server_timeout = 600
    settings.watching.reconnect_backoff = 1
    # A worker keeps its object's last body for so long; our cache has what is needed of it.
    settings.queueing.idle_timeout = 0.5
    settings.execution.max_workers = 4
    settings.process.ultimate_exiting_timeout = 25
    return settings


class _NoDiffs(kopf.DiffBaseStorage):
    """Nothing is compared: kopf copies each object for every event only to see what its other handlers would."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[kopf.FieldSpec] | None = None) -> kopf.BodyEssence:  # noqa: ARG002
        return cast("kopf.BodyEssence", {})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        pass


class _Backoffs:
    """Endless, growing and jittered: an API server that is away for an hour must not end the controller."""

    def __iter__(self) -> Iterator[float]:
        for failures in count(1):
            yield pace.jittered(pace.backed_off(1.0, failures, 30.0), random.random())  # noqa: S311


def _health_endpoint(settings: Settings) -> str | None:
    return f"http://0.0.0.0:{settings.health_port}/healthz" if settings.health_port else None
