"""Reconciling one watch: observe, fold, tell, write. Level-triggered: any call may be the first, or one too many."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from rayjobwatch.engine.session import WatchKey
from rayjobwatch.engine.sessions import Sessions
from rayjobwatch.engine.targets import Target, Targets
from rayjobwatch.engine.watch import Watch, without_logs
from rayjobwatch.kube.client import RAY_JOB_WATCHES, Body, KubeClient, KubeError
from rayjobwatch.kube.recorder import Recorder
from rayjobwatch.kube.watches import write_status
from rayjobwatch.model.events import events_of
from rayjobwatch.model.fold import fold
from rayjobwatch.model.spec import InvalidSpecError, parse_spec
from rayjobwatch.model.status import refused, status_of

WRITE_SECONDS = 1.0
RESOLVE_SECONDS = 10.0

logger = logging.getLogger(__name__)


class Reconciler:
    """Brings the status of watches to what is true of their jobs."""

    def __init__(
        self,
        client: KubeClient,
        recorder: Recorder,
        targets: Targets,
        again: Callable[[WatchKey, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._targets = targets
        self._again = again
        self._clock = clock
        self._sessions = Sessions(lambda key: again(key, 0))
        self._watches: dict[WatchKey, Watch] = {}
        self._changed: set[WatchKey] = set()

    @property
    def known(self) -> set[WatchKey]:
        """The watches in memory."""
        return set(self._watches)

    def on_cluster(self, namespace: str, name: str) -> list[WatchKey]:
        """Return the watches on a RayCluster, which is to be looked up anew."""
        self._targets.forget((namespace, name))
        return [key for key, watch in self._watches.items() if key[0] == namespace and _cluster_name(watch) == name]

    def changed(self, key: WatchKey) -> None:
        """Read the watch anew the next time."""
        self._changed.add(key)

    def tidy(self) -> None:
        """Forget what was looked up for watches that are gone."""
        self._targets.keep({(key[0], name) for key, watch in self._watches.items() if (name := _cluster_name(watch))})

    async def close(self) -> None:
        """Close all sessions."""
        await self._sessions.close()

    async def reconcile(self, key: WatchKey) -> None:
        """Make the status of one watch true. Raises `KubeError` when the API server does not help."""
        watch = await self._current(key)
        if watch is None:
            return
        now = datetime.now(UTC)
        try:
            watch.spec = watch.spec or parse_spec(watch.body)
        except InvalidSpecError as error:
            self._leave(key, watch)
            await self._write(key, watch, refused(str(error), watch.status, watch.generation, now), urgent=True)
            return
        await self._reconcile(key, watch, now)

    async def _current(self, key: WatchKey) -> Watch | None:
        watch = self._watches.get(key)
        if watch and key not in self._changed:
            return watch
        self._changed.discard(key)
        try:
            body = await self._client.get(RAY_JOB_WATCHES, *key)
        except KubeError:
            self._changed.add(key)
            raise
        if body is not None and body["metadata"].get("deletionTimestamp"):
            body = None
        if watch and (body is None or _uid(body) != _uid(watch.body)):
            self._leave(key, watch)
            del self._watches[key]
        return self._refreshed(key, body) if body else None

    def _refreshed(self, key: WatchKey, body: Body) -> Watch:
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch.from_body(body)
        watch.body, watch.spec, watch.status = body, None, body.get("status") or {}
        return watch

    async def _reconcile(self, key: WatchKey, watch: Watch, now: datetime) -> None:
        if watch.spec is None:
            return
        target = await self._target(key, watch)
        watch.take_digests()
        watch.state = fold(watch.state, watch.spec.jobs.ids, watch.observation(target, now))
        status = status_of(
            watch.state,
            watch.digests,
            tail_lines=watch.spec.logs.tail_lines,
            previous=watch.status,
            generation=watch.generation,
            now=now,
        )
        self._follow_logs(key, watch, now)
        await self._tell(watch, target)
        await self._write(key, watch, status, urgent=without_logs(status) != without_logs(watch.status))

    async def _target(self, key: WatchKey, watch: Watch) -> Target:
        """Find the dashboard and have a session with it; a watch that is finished needs none."""
        if watch.spec is None or _is_done(watch, datetime.now(UTC)):
            self._leave(key, watch)
            return Target()
        target = await self._targets.find(key[0], watch.spec)
        session = self._sessions.get(target.dashboard) if target.dashboard else None
        if watch.session is not session:
            self._leave(key, watch)
            watch.session = session
        if session:
            session.join(key, watch.spec.jobs.ids)
        else:
            self._again(key, RESOLVE_SECONDS)
        return target

    def _follow_logs(self, key: WatchKey, watch: Watch, now: datetime) -> None:
        if watch.session is None:
            return
        if _is_done(watch, now):
            self._leave(key, watch)
        else:
            watch.session.follow(key, watch.wanted_logs(now))

    def _leave(self, key: WatchKey, watch: Watch) -> None:
        if watch.session:
            self._sessions.leave(watch.session, key)
            watch.session = None

    async def _tell(self, watch: Watch, target: Target) -> None:
        """Post Events before each try to write the status that says the same, so that a crash in between loses none."""
        for note in events_of(watch.told, watch.state):
            await self._recorder.record(watch.body, note)
            if note.on_cluster and target.cluster:
                await self._recorder.record(target.cluster, note)

    async def _write(self, key: WatchKey, watch: Watch, status: Body, *, urgent: bool) -> None:
        if status == watch.status:
            watch.told = watch.state
            return
        due = watch.written + WRITE_SECONDS - self._clock()
        if not urgent and due > 0:
            self._again(key, due)
            return
        try:
            await write_status(self._client, watch.body, status)
        except KubeError as error:
            if error.status not in (404, 409):
                raise
            logger.info("status of %s/%s not written, it is read anew: %s", *key, error)
            self._changed.add(key)
            self._again(key, WRITE_SECONDS)
            return
        watch.status, watch.told, watch.written = status, watch.state, self._clock()


def _is_done(watch: Watch, now: datetime) -> bool:
    finished = watch.spec is not None and set(watch.spec.jobs.ids) == set(watch.state.jobs) and watch.state.is_finished
    return finished and not watch.wanted_logs(now)


def _uid(body: Body) -> str:
    return str(body["metadata"].get("uid", ""))


def _cluster_name(watch: Watch) -> str | None:
    return watch.spec.ray_cluster.name if watch.spec and watch.spec.ray_cluster else None
