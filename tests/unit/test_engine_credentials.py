"""Reading Secrets: once for all, again when refused, kept while the API server is away, and never shown."""

import asyncio
import base64
from typing import Any, cast

import pytest

from rayjobwatch.engine.credentials import TOKEN_SECONDS, Credential, Credentials
from rayjobwatch.kube.client import SECRETS, Body, KubeClient, KubeError, Resource
from rayjobwatch.model import pace
from rayjobwatch.model.access import Account, SecretKey
from tests.ray.tls import authority_pem

WHERE = SecretKey("ml", "ray", "auth_token")
ACCOUNT = Account("ml")


class Server:
    """An API server with one Secret and one ServiceAccount."""

    def __init__(self, **data: bytes) -> None:
        self.data: dict[str, bytes] | None = data
        self.error: KubeError | None = None
        self.asked: list[tuple[str, str]] = []
        self.has_account = True

    async def get(self, resource: Resource, namespace: str, name: str) -> Body | None:
        assert resource is SECRETS
        return await self._answer(
            (namespace, name),
            self.data and {"data": {key: base64.b64encode(value).decode() for key, value in self.data.items()}},
        )

    async def request_token(self, namespace: str, account: str, seconds: int) -> Body | None:
        number = len(self.asked) + 1
        answer = {"status": {"token": f"fresh-{number}"}} if self.has_account else None
        return await self._answer((namespace, account), answer)

    async def _answer(self, asked: tuple[str, str], answer: Any) -> Body | None:
        self.asked.append(asked)
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return cast("Body | None", answer)


class World:
    """Credentials, their API server and its clock."""

    def __init__(self, **data: bytes) -> None:
        self.now = 1000.0
        self.server = Server(**data)
        self.credentials = Credentials(cast("KubeClient", self.server), lambda: self.now)

    async def token(self, refused: str | None = None) -> Credential:
        return await self.credentials.token(WHERE, refused)


async def test_many_watches_on_a_secret_cost_one_reading() -> None:
    world = World(auth_token=b"one")
    found = await asyncio.gather(*(world.token() for _ in range(9)))
    assert {each.text for each in found} == {"one"}
    assert world.server.asked == [("ml", "ray")]


async def test_no_source_is_no_token_and_nothing_is_asked() -> None:
    world = World()
    assert await world.credentials.token(None) == await world.credentials.ca(None) == Credential()
    assert world.server.asked == []


async def test_a_token_that_is_refused_is_read_again_at_once_and_then_with_growing_pauses() -> None:
    world = World(auth_token=b"one")
    await world.token()
    pauses = []
    for _ in range(9):
        refused = await world.token("one")
        asked = len(world.server.asked)
        assert (await world.token("one")).again == refused.again  # other watches do not add to it
        assert len(world.server.asked) == asked
        pauses.append(refused.again)
        world.now += refused.again
    assert pauses == [1, 2, 4, 8, 15, 15, 15, 15, 15]
    world.server.data = {"auth_token": b"two"}
    assert (await world.token("one")).text == "two"
    asked = len(world.server.asked)
    assert await world.token("one") == await world.token() == Credential("two", again=pace.SECRET_AGAIN)
    assert len(world.server.asked) == asked
    world.server.data = {"auth_token": b"three"}
    assert (await world.token("two")).text == "three"  # at once, however often the first was refused


async def test_a_secret_that_is_missing_is_looked_for_now_and_then() -> None:
    world = World()
    world.server.data = None
    missing = await world.token()
    assert missing.problem is not None
    assert (missing.problem.reason, missing.again) == ("SecretNotFound", pace.SECRET_MISSING)
    world.server.data, world.now = {"auth_token": b"one"}, world.now + pace.SECRET_MISSING
    assert (await world.token()).text == "one"


async def test_a_secret_that_was_taken_away_is_noticed() -> None:
    world = World(auth_token=b"one")
    await world.token()
    world.server.data, world.now = None, world.now + pace.SECRET_AGAIN
    assert (await world.token()).problem is not None


async def test_a_token_is_kept_while_the_api_server_is_away_but_not_once_it_is_forbidden() -> None:
    world = World(auth_token=b"one")
    await world.token()
    world.server.error, world.now = KubeError(0, "Timeout", "away"), world.now + pace.SECRET_AGAIN
    assert (await world.token()).text == "one"
    world.server.error, world.now = KubeError(403, "Forbidden", "no"), world.now + pace.SECRET_AGAIN
    forbidden = await world.token()
    assert forbidden.problem is not None
    assert forbidden.problem.reason == "Forbidden"


async def test_an_api_server_that_is_away_from_the_start_is_an_error_and_asked_again_at_once() -> None:
    world = World(auth_token=b"one")
    world.server.error = KubeError(0, "Timeout", "away")
    with pytest.raises(KubeError):
        await world.token()
    world.server.error = None
    assert (await world.token()).text == "one"


async def test_an_accounts_token_is_replaced_before_its_end_and_when_it_is_refused() -> None:
    world = World()
    first = await world.credentials.token(ACCOUNT)
    assert first.text == "fresh-1"
    assert 600 < first.again < TOKEN_SECONDS - 600
    world.now += first.again
    assert (await world.credentials.token(ACCOUNT)).text == "fresh-2"
    assert (await world.credentials.token(ACCOUNT, "fresh-2")).text == "fresh-3"
    assert world.server.asked == [("ml", "rayjobwatch-dashboard")] * 3


async def test_an_account_that_is_missing_is_said() -> None:
    world = World()
    world.server.has_account = False
    missing = await world.credentials.token(ACCOUNT)
    assert missing.problem is not None
    assert missing.problem.reason == "ServiceAccountNotFound"
    assert "ml/rayjobwatch-dashboard" in missing.problem.message


async def test_a_ca_must_hold_certificates() -> None:
    world = World(auth_token=authority_pem())
    ca = await world.credentials.ca(WHERE)
    assert ca.text.startswith("-----BEGIN CERTIFICATE-----")
    world.now += pace.SECRET_AGAIN
    world.server.data = {"auth_token": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}
    bad = await world.credentials.ca(WHERE)
    assert bad.problem is not None
    assert bad.problem.reason == "InvalidCA"


async def test_what_nobody_asks_for_is_forgotten() -> None:
    world = World(auth_token=b"one")
    await world.token()
    world.now += 2 * pace.SECRET_AGAIN + 1
    world.credentials.tidy()
    world.server.error = KubeError(0, "Timeout", "away")
    with pytest.raises(KubeError):
        await world.token()


async def test_no_token_is_shown() -> None:
    world = World(auth_token=b"canary")
    shown = f"{await world.token()!r} {world.credentials.__dict__}"
    assert "ml/ray" in shown
    assert "canary" not in shown
