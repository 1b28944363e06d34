"""Our Event recorder: core/v1 Events with names of their own choosing, cut by bytes, bounded in number.

The name of an Event follows from what it tells, so that telling it again, by a later process too, finds it there
(409) and changes nothing. Kubernetes' own recorders cannot do that, and kopf's neither bounds nor de-duplicates.
"""

import asyncio
import hashlib
import logging
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rayjobwatch.kube.client import EVENTS, FIELD_MANAGER, NAMESPACE_TERMINATING, Body, KubeClient, KubeError
from rayjobwatch.model import pace
from rayjobwatch.model.events import EventNote
from rayjobwatch.model.text import clean_line, cut

MESSAGE_BYTES = 1024
QUEUE_LENGTH = 1000
TRIES = 6
TRIES_OF_ENDS = 30
ROUND_SECONDS = 0.5
TRY_SECONDS = 2.0
BURST = 50
REFILL_SECONDS = 10.0
KNOWN_OBJECTS = 4096

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Pending:
    body: Body
    tries: int
    last_try: int
    due: float = 0.0


class Recorder:
    """Posts Events, those that fail again in the background. All but the ends of jobs are rate-limited per object."""

    def __init__(self, client: KubeClient, instance: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._instance = cut(instance, 128)
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        self._buckets = _Buckets(clock)
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many Events wait for another try."""
        return len(self._pending)

    async def run(self) -> None:
        """Post what could not be posted at once, until cancelled."""
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            now = self._clock()
            for key in [key for key, pending in self._pending.items() if pending.due <= now]:
                if pending := self._pending.pop(key, None):
                    await self._try(pending)

    async def record(self, involved: Body, note: EventNote) -> None:
        """Post an Event on `involved`. Never raises: what cannot be posted is tried again later, then dropped.

        An Event that waits for another try gets it now, in vain or not, when it is recorded again.
        """
        uid = involved["metadata"].get("uid", "")
        if not note.is_end and not self._buckets.take(uid):
            self._drop(note.reason)
            return
        body = event_body(involved, note, self._instance, datetime.now(UTC))
        waiting = self._pending.pop(_key(body), None)
        await self._try(waiting or _Pending(body, 1, TRIES_OF_ENDS if note.is_end else TRIES))

    async def _try(self, pending: _Pending) -> None:
        try:
            async with asyncio.timeout(TRY_SECONDS):
                await self._post(pending)
        except TimeoutError:
            self._again(pending, KubeError(0, "Timeout", "the API server is slow"))

    async def _post(self, pending: _Pending) -> None:
        namespace = pending.body["metadata"]["namespace"]
        try:
            await self._client.create(EVENTS, namespace, pending.body)
        except KubeError as error:
            if error.status != 409:
                self._again(pending, error)

    def _again(self, pending: _Pending, error: KubeError) -> None:
        # 401 and 403 too: an API server that has just started refuses everybody until it knows all roles.
        transient = error.status in (0, 401, 403, 429) or error.status >= 500
        transient = transient and error.reason != NAMESPACE_TERMINATING
        if not transient or pending.tries >= pending.last_try or len(self._pending) >= QUEUE_LENGTH:
            logger.warning("Event not posted: %s", error)
            self._drop(pending.body["reason"])
            return
        due = self._clock() + _delay(pending.tries)
        self._pending[_key(pending.body)] = replace(pending, tries=pending.tries + 1, due=due)

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        logger.info("Event %s dropped (%d so far)", reason, self.dropped)


class _Buckets:
    """A token bucket per object, for the objects used last."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        now = self._clock()
        tokens, since = self._left.pop(key, (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - since) / REFILL_SECONDS)
        granted = tokens >= 1
        self._left[key] = (tokens - granted, now)
        if len(self._left) > KNOWN_OBJECTS:
            self._left.popitem(last=False)
        return granted


def event_body(involved: Body, note: EventNote, instance: str, now: datetime) -> Body:
    """Return the core/v1 Event for `note` on `involved`, inside every limit of the API server."""
    meta = involved["metadata"]
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": _name(meta, note), "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": involved["apiVersion"],
            "kind": involved["kind"],
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta.get("uid", ""),
        },
        "type": "Warning" if note.is_warning else "Normal",
        "reason": note.reason.value,
        "message": clean_line(note.message, MESSAGE_BYTES),
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": instance,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }


def _name(meta: Body, note: EventNote) -> str:
    """Return a name that the same note on the same object always gets, and another object of that name does not."""
    digest = hashlib.sha256(f"{meta.get('uid', '')}\n{note.identity}".encode()).hexdigest()[:16]
    return f"{meta['name'][:200].rstrip('-.')}.{digest}"


def _key(event: Body) -> str:
    return f"{event['metadata']['namespace']}/{event['metadata']['name']}"


def _delay(tries: int) -> float:
    return pace.jittered(pace.backed_off(1.0, tries, 30.0), random.random())  # noqa: S311
