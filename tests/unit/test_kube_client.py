"""Requests to the API server: where they go, and what becomes of each kind of answer. On a real socket."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException

from rayjobwatch.kube import client as kube
from rayjobwatch.kube.client import (
    EVENTS,
    RAY_CLUSTERS,
    RAY_JOB_WATCHES,
    SECRETS,
    KubeClient,
    KubeError,
    Resource,
    load_configuration,
)
from rayjobwatch.kube.watches import delete_watch, write_status


@pytest.mark.parametrize(
    ("resource", "arguments", "path"),
    [
        (EVENTS, ("ml",), "/api/v1/namespaces/ml/events"),
        (RAY_JOB_WATCHES, (None,), "/apis/rayjobwatch.dev/v1alpha1/rayjobwatches"),
        (RAY_CLUSTERS, ("ml", "a"), "/apis/ray.io/v1/namespaces/ml/rayclusters/a"),
        (RAY_JOB_WATCHES, ("ml", "a", "status"), "/apis/rayjobwatch.dev/v1alpha1/namespaces/ml/rayjobwatches/a/status"),
        (EVENTS, ("../x", "a/b?c"), "/api/v1/namespaces/..%2Fx/events/a%2Fb%3Fc"),
    ],
)
def test_a_request_goes_to_the_objects_place(resource: Resource, arguments: tuple[Any, ...], path: str) -> None:
    assert resource.path(*arguments) == path


@dataclass
class Server:
    """A stand-in that answers with what it is told to and remembers the requests."""

    answers: list[tuple[int, str]] = field(default_factory=list)
    requests: list[tuple[str, str, str, str]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = (await request.read()).decode()
        self.requests.append((request.method, request.path_qs, request.headers["Content-Type"], body))
        self.tokens.append(request.headers.get("authorization"))
        status, text = self.answers.pop(0)
        return web.Response(status=status, text=text, content_type="application/json")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[KubeClient]:
    async with KubeClient(Configuration(host=server.url)) as client:
        yield client


REFUSAL = json.dumps({"kind": "Status", "reason": "Forbidden", "message": "rayclusters is forbidden"})


@pytest.mark.parametrize(
    ("answer", "status", "reason", "says"),
    [
        ((403, REFUSAL), 403, "Forbidden", "rayclusters is forbidden (403 Forbidden)"),
        ((409, "{}"), 409, "Unknown", "refused"),
        ((429, "slow down"), 429, "Unknown", "refused"),
        ((500, "<html>"), 500, "Unknown", "refused"),
        ((503, "[]"), 503, "Unknown", "refused"),
        ((200, "<html>"), 0, "BadAnswer", "no JSON object"),
        ((200, "[]"), 0, "BadAnswer", "no JSON object"),
        ((201, ""), 0, "BadAnswer", "no JSON object"),
    ],
)
async def test_a_refusal_says_what_the_api_server_said(
    server: Server, client: KubeClient, answer: tuple[int, str], status: int, reason: str, says: str
) -> None:
    server.answers = [answer]
    with pytest.raises(KubeError, match=r"API server|forbidden") as caught:
        await client.create(EVENTS, "ml", {"a": 1})
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert says in str(caught.value)
    assert len(server.requests) == 1


async def test_a_watch_is_deleted_only_as_it_is_known(server: Server, client: KubeClient) -> None:
    watch = {"metadata": {"name": "train", "namespace": "ml", "uid": "u1", "resourceVersion": "7", "generation": 2}}
    server.answers = [(200, '{"kind": "Status", "status": "Success"}'), (409, '{"reason": "Conflict"}')]
    await delete_watch(client, watch)
    ((method, path, _, body),) = server.requests
    assert (method, path) == ("DELETE", "/apis/rayjobwatch.dev/v1alpha1/namespaces/ml/rayjobwatches/train")
    assert json.loads(body)["preconditions"] == {"uid": "u1", "resourceVersion": "7"}
    with pytest.raises(KubeError) as caught:
        await delete_watch(client, watch)
    assert caught.value.status == 409


def write_kubeconfig(path: Path, server: str, user: Any) -> None:
    one: dict[str, Any] = {"clusters": [{"name": "c", "cluster": {"server": server}}], "current-context": "x"}
    one["users"] = [{"name": "u", "user": {"token": user} if isinstance(user, str) else user}]
    one["contexts"] = [{"name": "x", "context": {"cluster": "c", "user": "u"}}]
    path.write_text(json.dumps(one))


async def test_an_expired_token_is_read_anew_from_the_kubeconfig(server: Server, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"

    write_kubeconfig(kubeconfig, server.url, "old")
    async with KubeClient(await load_configuration(kubeconfig), kubeconfig) as client:
        write_kubeconfig(kubeconfig, server.url, "new")
        server.answers = [(401, "{}"), (200, '{"a": 1}')]
        assert await client.get(RAY_CLUSTERS, "ml", "a") == {"a": 1}
    assert server.tokens == ["Bearer old", "Bearer new"]


async def test_an_object_that_is_not_there_is_none(server: Server, client: KubeClient) -> None:
    server.answers = [(404, json.dumps({"reason": "NotFound"})), (200, '{"a": 1}')]
    assert await client.get(RAY_CLUSTERS, "ml", "a") is None
    assert await client.get(RAY_CLUSTERS, "ml", "a") == {"a": 1}


@pytest.mark.parametrize("name", ["", ".", "..", "../secrets/x", "..%2Fx", "a/b", "a?b", "A", "a\n", "-a", "a" * 254])
async def test_what_is_no_name_is_not_asked_for(server: Server, client: KubeClient, name: str) -> None:
    assert await client.get(SECRETS, "ml", name) is None
    assert server.requests == []


async def test_a_token_is_asked_for_of_one_account(server: Server, client: KubeClient) -> None:
    server.answers = [(201, '{"status": {"token": "t"}}'), (404, json.dumps({"reason": "NotFound"}))]
    assert await client.request_token("ml", "me", 3600) == {"status": {"token": "t"}}
    method, path, _, body = server.requests[0]
    assert (method, path) == ("POST", "/api/v1/namespaces/ml/serviceaccounts/me/token")
    assert json.loads(body)["spec"] == {"expirationSeconds": 3600}
    assert await client.request_token("ml", "me", 3600) is None


async def test_a_long_list_is_read_to_its_last_page(server: Server, client: KubeClient) -> None:
    one, two, three = {"n": 1}, {"n": 2}, {"n": 3}
    pages = [{"items": [one, two], "metadata": {"continue": "n/x=t"}}, {"items": [three], "metadata": {}}]
    server.answers = [(200, json.dumps(page)) for page in pages]
    assert [page async for page in client.pages(RAY_JOB_WATCHES)] == [[one, two], [three]]
    assert [path.partition("?")[2] for _, path, _, _ in server.requests] == ["limit=100", "limit=100&continue=n/x%3Dt"]


async def test_a_status_is_applied_to_that_very_object(server: Server, client: KubeClient) -> None:
    server.answers = [(200, "{}")]
    await write_status(client, {"metadata": {"name": "a", "namespace": "ml", "uid": "u1"}}, {"state": "Running"})
    ((method, path, content, body),) = server.requests
    assert (method, content.partition(";")[0]) == ("PATCH", "application/apply-patch+yaml")
    assert path.endswith("/ml/rayjobwatches/a/status?fieldManager=rayjobwatch&force=true")
    assert json.loads(body)["metadata"]["uid"] == "u1"


async def test_an_applied_status_is_json_and_yaml(server: Server, client: KubeClient) -> None:
    server.answers = [(200, "{}")]
    summary = "\U0001f680 \U0001d7d8 \u00e9 \u65e5 \x7f \x85 \u2028 \ufeff \\ud83d"
    await write_status(client, {"metadata": {"name": "a", "namespace": "ml", "uid": "u1"}}, {"summary": summary})
    ((_, _, _, body),) = server.requests
    assert json.loads(body)["status"] == {"summary": summary}
    assert "\U0001f680 \U0001d7d8 \\u00e9 \\u65e5 \\u007f \\u0085 \\u2028 \\ufeff \\\\ud83d" in body


async def test_an_api_server_that_is_away_is_an_error_without_a_status() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with KubeClient(Configuration(host=f"http://127.0.0.1:{unused.getsockname()[1]}")) as client:
            with pytest.raises(KubeError, match="did not answer") as caught:
                await client.get(EVENTS, "ml", "a")
    assert caught.value.status == 0


async def test_an_api_server_that_is_silent_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "REQUEST_SECONDS", 0.1)
    left = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as silent:
        async with KubeClient(Configuration(host=f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}")) as client:
            with pytest.raises(KubeError, match="did not answer") as caught:
                await client.get(EVENTS, "ml", "a")
        async with asyncio.timeout(5):
            await left.wait()
    assert caught.value.reason == "TimeoutError"


@pytest.mark.parametrize(
    ("server", "name", "url", "place"),
    [
        ("https://10.0.0.1:6443", None, "https://10.0.0.1:6443", None),
        ("https://rancher.example.com/k8s/c-1/", None, "https://rancher.example.com/k8s/c-1", None),
        ("https://127.0.0.1:9443", "kubernetes", "https://kubernetes:9443", ("127.0.0.1", 9443)),
        ("https://api.example.com/x", "kube", "https://kube:443/x", ("api.example.com", 443)),
    ],
)
async def test_a_services_proxy_is_below_the_api_servers_url(
    server: str, name: str | None, url: str, place: tuple[str, int] | None
) -> None:
    async with KubeClient(Configuration(host=server, tls_server_name=name)) as client:
        path = "/api/v1/namespaces/ml/services/shared-head-svc:dashboard/proxy"
        assert client.service_proxy("ml", "shared-head-svc", "dashboard") == (f"{url}{path}", place)


async def test_what_requests_are_handed_on_with_is_renewed_when_it_is_refused_but_not_again_and_again(
    tmp_path: Path,
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(kubeconfig, "https://127.0.0.1:1", "one")
    async with KubeClient(await load_configuration(kubeconfig), kubeconfig) as client:
        first = await client.relay()
        assert first.authorization == "Bearer one"
        assert first.tls is not None
        assert "one" not in repr(first)
        write_kubeconfig(kubeconfig, "https://127.0.0.1:1", "two")
        assert await client.relay() == first
        second = await client.relay(first)
        assert second.authorization == "Bearer two"
        write_kubeconfig(kubeconfig, "https://127.0.0.1:1", "three")
        assert await client.relay(first) == await client.relay(second) == second
        client._renewed -= kube.RENEW_SECONDS
        assert (await client.relay(first)) == second
        assert (await client.relay(second)).authorization == "Bearer three"


async def test_an_exec_plugin_is_run_again_when_its_token_is_refused(tmp_path: Path) -> None:
    kubeconfig, tokens = tmp_path / "kubeconfig", tmp_path / "tokens"
    head = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    tokens.write_text(json.dumps(head | {"status": {"token": "one"}}))
    plugin = {"apiVersion": head["apiVersion"], "command": "cat", "args": [str(tokens)], "interactiveMode": "Never"}
    write_kubeconfig(kubeconfig, "https://127.0.0.1:1", {"exec": plugin})
    async with KubeClient(await load_configuration(kubeconfig), kubeconfig) as client:
        first = await client.relay()
        assert first.authorization == "Bearer one"
        tokens.write_text(json.dumps(head | {"status": {"token": "two"}}))
        assert (await client.relay(first)).authorization == "Bearer two"


async def test_credentials_that_cannot_be_read_are_an_error_like_any_other() -> None:
    configuration: Any = Configuration(host="http://127.0.0.1:1", api_key={"BearerToken": "bearer old"})

    def unreadable(_: Configuration) -> None:
        raise ConfigException("Token file exists but empty.")

    configuration.refresh_api_key_hook = unreadable
    async with KubeClient(configuration) as client:
        with pytest.raises(KubeError, match=r"no credentials for the API server: Token file exists but empty\."):
            await client.get(EVENTS, "ml", "a")
