"""Reading the Secrets that watches name, one by one, and again when what was in them is refused."""

import asyncio
import math
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rayjobwatch.kube.client import SECRETS, KubeClient, KubeError
from rayjobwatch.model import pace
from rayjobwatch.model.access import Account, SecretKey, bad_ca, ca_in, no_account, token_in
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason

TOKEN_SECONDS = 3600
# A token of a ServiceAccount is replaced well before its end.
_ACCOUNT_AGAIN = TOKEN_SECONDS * 0.8

Parse = Callable[[Mapping[str, Any] | None, SecretKey], str | Problem]
_Key = tuple[SecretKey | Account, Parse]


@dataclass(frozen=True, slots=True)
class Credential:
    """What was read, or why it could not be, and in how many seconds to ask for it again. `repr` does not show it."""

    text: str = ""
    problem: Problem | None = None
    again: float = math.inf

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.problem or '***'}>"


@dataclass(frozen=True, slots=True)
class _Reading:
    task: asyncio.Task[Credential]
    began: float
    before: Credential | None = None
    times_refused: int = 0

    @property
    def result(self) -> Credential | None:
        done = self.task.done() and not self.task.cancelled() and self.task.exception() is None
        return self.task.result() if done else None

    @property
    def refusals(self) -> int:
        """How many readings in a row gave what was refused before each."""
        return self.times_refused if self.result == self.before else 0


class Credentials:
    """What is in Secrets, each read once for all watches that name it, and kept no longer than they do."""

    def __init__(self, client: KubeClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._readings: dict[_Key, _Reading] = {}

    async def token(self, source: SecretKey | Account | None, refused: str | None = None) -> Credential:
        """Return a token; not for long again the one that a dashboard has `refused`.

        Raises `KubeError` when the API server cannot be asked.
        """
        return await self._get((source, token_in), refused) if source else Credential()

    async def ca(self, source: SecretKey | None) -> Credential:
        """Return a CA in PEM. Raises `KubeError` when the API server cannot be asked."""
        return await self._get((source, _usable_ca), None) if source else Credential()

    def tidy(self) -> None:
        """Forget what nobody has asked for of late."""
        for key, reading in list(self._readings.items()):
            if self._clock() - reading.began > 2 * _good_for(key[0]):
                del self._readings[key]

    async def _get(self, key: _Key, refused: str | None) -> Credential:
        reading = self._readings.get(key)
        if reading is None or (reading.task.done() and self._seconds_left(key, reading, refused) <= 0):
            reading = self._readings[key] = self._read(key, reading, refused)
        credential = await asyncio.shield(reading.task)
        return replace(credential, again=max(0.0, self._seconds_left(key, reading, refused)))

    def _seconds_left(self, key: _Key, reading: _Reading, refused: str | None) -> float:
        result = reading.result
        if result is None:
            return 0.0
        pause = _good_for(key[0])
        if result.problem:
            pause = pace.SECRET_MISSING
        elif result.text == refused:
            pause = pace.secret_pause(reading.refusals)
        return reading.began + pause - self._clock()

    def _read(self, key: _Key, last: _Reading | None, refused: str | None) -> _Reading:
        known = last.result if last else None
        refusals = last.refusals + 1 if last and known and known.text == refused else 0
        task = asyncio.create_task(self._known_or_read(key, known), name=f"read {key[0]}")
        return _Reading(task, self._clock(), known, refusals)

    async def _known_or_read(self, key: _Key, known: Credential | None) -> Credential:
        """Read it; while the API server is away, what was read last is as good as anything."""
        try:
            value = await self._value(*key)
        except KubeError as error:
            if error.status == 403:
                return Credential(problem=Problem(Reason.FORBIDDEN, f"the controller lacks a permission: {error}"))
            if known is None:
                raise
            return known
        return Credential(problem=value) if isinstance(value, Problem) else Credential(value)

    async def _value(self, source: SecretKey | Account, parse: Parse) -> str | Problem:
        if isinstance(source, SecretKey):
            return parse(await self._client.get(SECRETS, source.namespace, source.name), source)
        answer = await self._client.request_token(source.namespace, source.name, TOKEN_SECONDS)
        token = ((answer or {}).get("status") or {}).get("token")
        return str(token) if token else no_account(source)


def trusting(pem: str) -> ssl.SSLContext:
    """Return TLS settings that trust the CA in `pem` and no other."""
    return ssl.create_default_context(cadata=pem)


def _usable_ca(secret: Mapping[str, Any] | None, where: SecretKey) -> str | Problem:
    pem = ca_in(secret, where)
    if isinstance(pem, str):
        try:
            trusting(pem)
        except (ssl.SSLError, ValueError):
            return bad_ca(where)
    return pem


def _good_for(source: SecretKey | Account) -> float:
    return _ACCOUNT_AGAIN if isinstance(source, Account) else pace.SECRET_AGAIN
