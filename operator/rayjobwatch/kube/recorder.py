"""Our Event recorder: core/v1 Events with names of their own choosing, cut by bytes, bounded in number.

The name of an Event follows from what it tells, so that telling it again, by a later process too, finds it there
(409) and changes nothing. Kubernetes' own recorders cannot do that, and kopf's neither bounds nor de-duplicates.
What happens again and again is one Event whose count grows: told anew it shows the newest count, however many were told
in between.
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
REPEAT_BURST = 2
REPEAT_SECONDS = 10.0
KNOWN_OBJECTS = 4096
# An API server that hangs must find connections left for what matters more.
LANES = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Pending:
    body: Body
    bucket: str
    is_end: bool = False
    is_counted: bool = False
    tries: int = 1
    due: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.body['metadata']['namespace']}/{self.body['metadata']['name']}"

    @property
    def uid(self) -> str:
        return str(self.body["involvedObject"]["uid"])

    @property
    def last_try(self) -> int:
        return TRIES_OF_ENDS if self.is_end else TRIES


class Recorder:
    """Posts Events, those that fail again in the background. All but the ends of jobs are rate-limited per object."""

    def __init__(self, client: KubeClient, instance: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._instance = cut(instance, 128)
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        self._buckets = _Buckets(clock, BURST, REFILL_SECONDS)
        self._repeats = _Buckets(clock, REPEAT_BURST, REPEAT_SECONDS)
        self._counted: dict[str, None] = {}
        self._lanes = asyncio.Semaphore(LANES)
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
            due = [pending for pending in self._pending.values() if pending.due <= now]
            await asyncio.gather(*(self._try_when_due(self._pending.pop(pending.key)) for pending in due))

    def owes(self, involved: Body) -> bool:
        """Whether an Event on `involved` waits for another try, other than to be counted up."""
        uid = involved["metadata"].get("uid", "")
        return any(event.uid == uid and not event.is_counted for event in self._pending.values())

    async def record(self, involved: Body, note: EventNote) -> None:
        """Post an Event on `involved`. Never raises: what cannot be posted is tried again later, then dropped.

        An Event that waits for another try gets it now, in vain or not, when it is recorded again. One of a thing that
        happens again and again is posted when its turn comes, with the count that was recorded last.
        """
        body = event_body(involved, note, self._instance, datetime.now(UTC))
        bucket = "" if note.is_end else f"{involved['metadata'].get('uid', '')} {bool(note.count)}"
        event = _Pending(body, bucket, note.is_end, note.count > 0)
        if note.count and self._waits_for_its_turn(event):
            return
        if bucket and not self._buckets.take(bucket):
            self._drop(note.reason)
            return
        await self._try(self._pending.pop(event.key, event))

    def _waits_for_its_turn(self, event: _Pending) -> bool:
        """Whether a counted Event is told too often to be posted now; a count of it that waits already is replaced."""
        if waiting := self._pending.get(event.key):
            self._pending[event.key] = replace(waiting, body=event.body)
            return True
        if self._repeats.take(event.key):
            return False
        self._wait(replace(event, due=self._clock() + REPEAT_SECONDS))
        return True

    async def _try_when_due(self, pending: _Pending) -> None:
        # One that waited for its turn has had no token yet.
        if pending.tries == 1 and not self._buckets.take(pending.bucket):
            self._drop(pending.body["reason"])
        else:
            await self._try(pending)

    async def _try(self, pending: _Pending) -> None:
        try:
            async with self._lanes, asyncio.timeout(TRY_SECONDS):
                await self._post(pending)
        except TimeoutError:
            self._again(pending, KubeError(0, "Timeout", "the API server is slow"))

    async def _post(self, pending: _Pending) -> None:
        try:
            if pending.key not in self._counted or not await self._counted_up(pending.body):
                await self._create(pending)
        except KubeError as error:
            self._again(pending, error)

    async def _create(self, pending: _Pending) -> None:
        body = pending.body
        try:
            await self._client.create(EVENTS, body["metadata"]["namespace"], body)
        except KubeError as error:
            if error.status != 409:
                raise
            if body["count"] > 1:
                await self._counted_up(body)
        if pending.is_counted:
            self._counted[pending.key] = None
            if len(self._counted) > KNOWN_OBJECTS:
                self._counted.pop(next(iter(self._counted)))

    async def _counted_up(self, body: Body) -> bool:
        """Show the newest count on the Event that tells of the same thing; return whether there is one."""
        meta = body["metadata"]
        changes = {name: body[name] for name in ("count", "message", "lastTimestamp")}
        try:
            await self._client.patch(EVENTS, meta["namespace"], meta["name"], changes)
        except KubeError as error:
            if error.status != 404:
                raise
            return False
        return True

    def _again(self, pending: _Pending, error: KubeError) -> None:
        # 401 and 403 too: an API server that has just started refuses everybody until it knows all roles.
        transient = error.status in (0, 401, 403) or error.status >= 500 or (error.status == 429 and pending.is_end)
        transient = transient and error.reason != NAMESPACE_TERMINATING
        if not transient or pending.tries >= pending.last_try:
            logger.warning("Event not posted: %s", error)
            self._drop(pending.body["reason"])
            return
        self._wait(replace(pending, tries=pending.tries + 1, due=self._clock() + _delay(pending.tries)))

    def _wait(self, pending: _Pending) -> None:
        if len(self._pending) >= QUEUE_LENGTH:
            self._drop(pending.body["reason"])
            return
        self._pending[pending.key] = pending

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        logger.info("Event %s dropped (%d so far)", reason, self.dropped)


class _Buckets:
    """A bucket of `burst` tokens per key, one more every `refill` seconds, for the keys used last."""

    def __init__(self, clock: Callable[[], float], burst: int, refill: float) -> None:
        self._clock = clock
        self._burst = float(burst)
        self._refill = refill
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        now = self._clock()
        tokens, since = self._left.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) / self._refill)
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
        "count": max(1, note.count),
    }


def _name(meta: Body, note: EventNote) -> str:
    """Return a name that the same note on the same object always gets, and another object of that name does not."""
    digest = hashlib.sha256(f"{meta.get('uid', '')}\n{note.identity}".encode()).hexdigest()[:16]
    return f"{meta['name'][:200].rstrip('-.')}.{digest}"


def _delay(tries: int) -> float:
    return pace.jittered(pace.backed_off(1.0, tries, 30.0), random.random())  # noqa: S311
