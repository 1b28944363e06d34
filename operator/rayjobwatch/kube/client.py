"""A thin asynchronous client of the API server that speaks plain dicts, over `kubernetes.aio`.

KubeError            every failure; `status` is the HTTP status, 0 when no answer came
"""

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from rayjobwatch.model.access import Relay

FIELD_MANAGER = "rayjobwatch"
REQUEST_SECONDS = 30.0
PAGE_ITEMS = 100
# What was refused was perhaps refused by somebody behind the API server: no plugin is run for that again and again.
RENEW_SECONDS = 60.0
NAMESPACE_TERMINATING = "NamespaceTerminating"
# The API server ignores the charset; with it the library sends our bytes, not an encoding of its own.
APPLY = "application/apply-patch+yaml; charset=utf-8"

Body = dict[str, Any]
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_ESCAPED = re.compile("[\x7f-\uffff]")


class KubeError(Exception):
    """The API server refused a request or could not be reached."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{message} ({status} {reason})" if status else message)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object, by its place in the API."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of a collection, an object or its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = ["namespaces", namespace, self.plural] if namespace else [self.plural]
        parts += [part for part in (name, subresource) if part]
        return "/".join([root, *(quote(part, safe="") for part in parts)])


RAY_JOB_WATCHES = Resource("rayjobwatch.dev", "v1alpha1", "rayjobwatches")
RAY_CLUSTERS = Resource("ray.io", "v1", "rayclusters")
RAY_JOBS = Resource("ray.io", "v1", "rayjobs")
SERVICES = Resource("", "v1", "services")
PODS = Resource("", "v1", "pods")
SECRETS = Resource("", "v1", "secrets")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")
EVENTS = Resource("", "v1", "events")


async def load_configuration(kubeconfig: Path | None) -> Configuration:
    """Read how to reach the API server: from `kubeconfig`, else the pod's ServiceAccount, else KUBECONFIG."""
    configuration = Configuration()
    if kubeconfig is None:
        try:
            load_incluster_config(client_configuration=configuration)
        except ConfigException:
            pass
        else:
            return configuration
    files = str(kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config")
    try:
        _check_files(files)
        await load_kube_config(files, client_configuration=configuration, persist_config=False)
    except (ConfigException, OSError) as error:
        remedy = "run in a pod with a ServiceAccount, give --kubeconfig, or set KUBECONFIG"
        raise KubeError(0, "Configuration", f"no way to the API server: {files}: {error}; {remedy}") from None
    return configuration


def _check_files(files: str) -> None:
    """Raise `OSError` unless one of `files`, joined as in KUBECONFIG, can be read: the library would not say."""
    paths = [Path(name).expanduser() for name in files.split(os.pathsep) if name]
    if not any(path.exists() for path in paths):
        raise FileNotFoundError("no such file")
    for path in paths:
        if path.exists():
            path.open("rb").close()


class KubeClient:
    """Requests to one API server, JSON in and out, each with a time limit."""

    def __init__(self, configuration: Configuration, kubeconfig: Path | None = None) -> None:
        # Else aiohttp reads ~/.netrc for every request, in a thread; and kopf heeds no proxy of the environment either.
        configuration.client_session_kwargs = {"trust_env": False}
        self._api = ApiClient(configuration)
        self._kubeconfig = kubeconfig
        self._renewed = float("-inf")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Body | None:
        """Return the object, None when the API server says that there is none of that name.

        Any other 404 (a kind that is not installed, a proxy's page) is a `KubeError`: it says nothing of the object.
        """
        # Names come from tenants, too: what is none must not be taken for a path.
        return await self._found("GET", resource.path(namespace, name)) if _NAME.fullmatch(name) else None

    async def _found(self, method: str, path: str, **more: Any) -> Body | None:
        try:
            return await self._request(method, path, **more)
        except KubeError as error:
            if error.status == 404 and error.reason == "NotFound":
                return None
            raise

    async def pages(self, resource: Resource, namespace: str | None = None) -> AsyncIterator[list[Body]]:
        """Yield all objects of a namespace, or of all namespaces, a page at a time."""
        query: dict[str, str | int] = {"limit": PAGE_ITEMS}
        while True:
            page = await self._request("GET", resource.path(namespace), query=query)
            yield page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return
            query["continue"] = token

    async def create(self, resource: Resource, namespace: str, body: Body) -> Body:
        """Create an object."""
        return await self._request("POST", resource.path(namespace), body=body)

    async def request_token(self, namespace: str, account: str, seconds: int) -> Body | None:
        """Return a fresh TokenRequest of a ServiceAccount, None where there is no such account."""
        spec = {"expirationSeconds": seconds}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return await self._found("POST", SERVICE_ACCOUNTS.path(namespace, account, "token"), body=body)

    async def patch(self, resource: Resource, namespace: str, name: str, body: Body) -> Body:
        """Change fields of an object (a merge patch)."""
        path = resource.path(namespace, name)
        return await self._request("PATCH", path, body=body, content="application/merge-patch+json")

    async def apply_status(self, resource: Resource, namespace: str, name: str, body: Body) -> Body:
        """Apply the status of an object server-side, as its one and only author."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        path = resource.path(namespace, name, "status")
        return await self._request("PATCH", path, query=query, body=_yaml(body), content=APPLY)

    async def delete(self, resource: Resource, namespace: str, name: str, preconditions: Body) -> None:
        """Delete an object, if it is still as `preconditions` (its uid, its resourceVersion) say: 409 if it is not."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        await self._request("DELETE", resource.path(namespace, name), body=options)

    def service_proxy(self, namespace: str, service: str, port: str) -> tuple[str, tuple[str, int] | None]:
        """Return the URL of a Service's port behind the API server, and where to connect to in the place of its host.

        The latter is not None where the kubeconfig gives the server's certificate a name of its own.
        """
        configuration = self._api.configuration
        url, place = configuration.host.rstrip("/"), None
        if name := configuration.tls_server_name:
            parts = urlsplit(url)
            place = parts.hostname or "", parts.port or 443
            url = parts._replace(netloc=f"{name}:{place[1]}").geturl()
        return f"{url}{SERVICES.path(namespace)}/{service}:{port}/proxy", place

    async def relay(self, refused: Relay | None = None) -> Relay:
        """Return with what the API server hands requests on, renewed where `refused` is what there is.

        Raises `KubeError` where there are no credentials.
        """
        relay = await self._relay()
        if relay == refused and time.monotonic() - self._renewed > RENEW_SECONDS:
            await self._renew()
            relay = await self._relay()
        return relay

    async def _relay(self) -> Relay:
        configuration = self._api.configuration
        try:
            header = await configuration.get_api_key_with_prefix("BearerToken") or ""
        except ConfigException as error:
            raise KubeError(0, "Configuration", f"no credentials for the API server: {error}") from None
        return Relay(header, self._api.rest_client.ssl_context, configuration.proxy or None)

    async def _renew(self) -> None:
        """Read the token anew: nothing renews that of a kubeconfig by itself."""
        self._renewed = time.monotonic()
        fresh = await load_configuration(self._kubeconfig)
        self._api.configuration.api_key = fresh.api_key

    async def _request(self, method: str, path: str, **more: Any) -> Body:
        try:
            return await self._exchange(method, path, **more)
        except KubeError as error:
            if error.status != 401:
                raise
        await self._renew()
        return await self._exchange(method, path, **more)

    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Body | bytes | None = None,
        content: str = "application/json",
    ) -> Body:
        headers = {"Accept": "application/json", "Content-Type": content}
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await self._api.param_serialize(
                    method,
                    path,
                    query_params=list((query or {}).items()),
                    header_params=headers,
                    body=body,
                    auth_settings=["BearerToken"],
                )
                response = await self._api.call_api(*request)
                data = await response.read()
        except ConfigException as error:
            raise KubeError(0, "Configuration", f"no credentials for the API server: {error}") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise KubeError(0, type(error).__name__, f"the API server did not answer: {error}") from None
        return _decoded(response.status, data)


def _yaml(body: Body) -> bytes:
    r"""Return JSON that is YAML too, which has no `\ud83d\ude00` for an emoji, and ends a line at a bare U+2028."""
    text = json.dumps(body, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _decoded(status: int, data: bytes) -> Body:
    try:
        body = json.loads(data)
    except ValueError:
        body = None
    is_good = 200 <= status < 300
    if isinstance(body, dict) and is_good:
        return body
    if is_good:
        raise KubeError(0, "BadAnswer", "the API server's answer is no JSON object: is something else in its place?")
    if not isinstance(body, dict):
        body = {}
    raise KubeError(status, _reason(body), body.get("message") or "the API server refused")


def _reason(refusal: Body) -> str:
    """Return why, in one word: that the namespace is being terminated stands in the details alone."""
    if f'"{NAMESPACE_TERMINATING}"' in json.dumps(refusal.get("details")):
        return NAMESPACE_TERMINATING
    return refusal.get("reason") or "Unknown"
