"""Reconciling one watch: observe, fold, tell, write. Level-triggered: any call may be the first, or one too many."""

import logging
import math
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from rayjobwatch.engine.crash import reached
from rayjobwatch.engine.logs import WatchKey
from rayjobwatch.engine.objects import Objects
from rayjobwatch.engine.recordkeeper import RecordKeeper
from rayjobwatch.engine.sessions import Sessions
from rayjobwatch.engine.targets import Target, Targets
from rayjobwatch.engine.teller import Note, Teller, of_cluster
from rayjobwatch.engine.watch import LOG_GRACE, Watch, without_facts, without_logs, without_rules
from rayjobwatch.kube.client import RAY_JOB_WATCHES, Body, KubeClient, KubeError
from rayjobwatch.kube.recorder import Recorder
from rayjobwatch.kube.watches import delete_watch, has_finalizer, set_finalizer, write_status
from rayjobwatch.model import deletion, pace, retention, serve
from rayjobwatch.model.decide import decide, seconds_to_next
from rayjobwatch.model.events import EventNote, clean_up_not_waited_for, not_waited_for, status_refused
from rayjobwatch.model.moment import Moment
from rayjobwatch.model.spec import InvalidSpecError
from rayjobwatch.model.status import refused
from rayjobwatch.model.times import parse_rfc3339

CONFLICT_SECONDS = 1.0
FORBIDDEN_SECONDS = 60.0
EVENTS_AGAIN_SECONDS = 5.0
_AVERAGED_WRITES = 10
_REFUSALS = (400, 403, 413, 422)

logger = logging.getLogger(__name__)


class Reconciler:
    """Brings the status of watches to what is true of their jobs.

    objects: the watches as the watch stream told them.  again: asks for a watch to be reconciled in so many seconds.
    news: asks for that at once, urgently where a job has ended.
    """

    def __init__(
        self,
        client: KubeClient,
        objects: Objects,
        recorder: Recorder,
        targets: Targets,
        again: Callable[[WatchKey, float], None],
        news: Callable[[WatchKey, bool], None],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._objects = objects
        self._teller = Teller(recorder)
        self._targets = targets
        self._again = again
        self._clock = clock
        self._sessions = Sessions(news, self._log_moved)
        self._records = RecordKeeper(client, lambda key: news(key, True), self._sessions.awaits)
        self._watches: dict[WatchKey, Watch] = {}
        self._unsure: set[WatchKey] = set()
        self._at_work: set[WatchKey] = set()
        self._write_seconds = 0.0

    @property
    def known(self) -> set[WatchKey]:
        """The watches in memory."""
        return set(self._watches)

    def on_cluster(self, namespace: str, name: str) -> list[WatchKey]:
        """Return the watches on a RayCluster, which is to be looked up anew."""
        self._targets.forget((namespace, name))
        return [key for key, watch in self._watches.items() if key[0] == namespace and _cluster_name(watch) == name]

    def doubt(self, key: WatchKey) -> None:
        """Ask the API server for the watch the next time: what the stream told of it may not be all."""
        self._unsure.add(key)

    def tidy(self) -> None:
        """Forget what was looked up for watches that are gone."""
        self._targets.keep({(key[0], name) for key, watch in self._watches.items() if (name := _cluster_name(watch))})

    async def close(self) -> None:
        """Close all sessions."""
        await self._teller.close()
        await self._records.close()
        await self._sessions.close()

    async def reconcile(self, key: WatchKey) -> None:
        """Make the status of one watch true. Raises `KubeError` when the API server does not help."""
        watch = await self._current(key)
        if watch is None:
            return
        now = datetime.now(UTC)
        try:
            spec = watch.read_spec()
        except InvalidSpecError as error:
            self._leave(key, watch)
            await self._write(key, watch, refused(str(error), watch.status, watch.generation, now), urgent=True)
            await self._set_finalizer(key, watch, present=False)
            return
        if not watch.is_deleted:
            await self._set_finalizer(key, watch, present=spec.acts_on_deletion)
        await self._reconcile(key, watch, now)
        if watch.is_deleted:
            await self._let_go(key, watch)

    async def _current(self, key: WatchKey) -> Watch | None:
        body = await self._body(key)
        watch = self._watches.get(key)
        if watch and (body is None or _uid(body) != _uid(watch.body)):
            self._leave(key, watch)
            self._records.forget(key)
            del self._watches[key]
            watch = None
        if body is None or watch is None:
            return self._watches.setdefault(key, Watch.from_body(body, datetime.now(UTC))) if body else None
        if body is not watch.body:
            watch.refresh(body)
        return watch

    async def _body(self, key: WatchKey) -> Body | None:
        if key in self._unsure:
            known = self._objects.get(key)
            body = await self._client.get(RAY_JOB_WATCHES, *key)
            self._unsure.discard(key)
            if body is not None:
                self._objects.seen(body)
            elif self._objects.get(key) is known:
                self._objects.forget(key)
        body = self._objects.get(key)
        deleted = body is not None and body["metadata"].get("deletionTimestamp")
        return None if body is None or (deleted and not has_finalizer(body)) else body

    async def _set_finalizer(self, key: WatchKey, watch: Watch, *, present: bool) -> None:
        """Have our finalizer on the watch while it is `present`, and not otherwise."""
        if has_finalizer(watch.body) is present:
            watch.hindrance = None
            return
        if present and (wait := watch.hindered + FORBIDDEN_SECONDS - self._clock()) > 0:
            self._again(key, wait)
            return
        reached("before the finalizer is changed")
        try:
            body = await set_finalizer(self._client, watch.body, present=present)
        except KubeError as error:
            if present and error.status == 403:
                watch.hindrance, watch.hindered = deletion.not_held(str(error)), self._clock()
                self._again(key, FORBIDDEN_SECONDS)
            else:
                self._read_anew(key, error)
            return
        watch.hindrance = None
        reached(f"finalizer {'put on' if present else 'taken off'}")
        self._written(key, body)
        watch.refresh(self._objects.get(key) or body)

    def _written(self, key: WatchKey, body: Body) -> None:
        """Take the answer to a write for the newest, unless the stream has told meanwhile that the object is gone."""
        known = self._objects.get(key)
        if known and _uid(known) == _uid(body):
            self._objects.seen(body)

    async def _let_go(self, key: WatchKey, watch: Watch) -> None:
        """Let a deleted watch be gone when what it was to do is done, or cannot be done in time."""
        now = datetime.now(UTC)
        watch.deleted = watch.deleted or now
        if watch.spec is None:
            return
        told = parse_rfc3339(watch.body["metadata"]["deletionTimestamp"]) or now
        since = deletion.counted_from(told, watch.deleted, now)
        left = deletion.seconds_left(since, now)
        is_told = watch.told is watch.state or left <= 0
        if not (is_told and deletion.may_go(watch.state, watch.spec, since, now, is_listed=watch.is_listed)):
            self._again(key, max(0.1, left))
            return
        why = deletion.why_let_go(watch.state)
        notes = [not_waited_for(job, why) for job in deletion.jobs_left(watch.state, watch.spec)]
        if watch.state.serve.is_pending:
            notes.append(clean_up_not_waited_for(watch.state.serve, why))
        await self._teller.tell(key, [(watch.body, note) for note in notes], self._events_pause)
        await self._set_finalizer(key, watch, present=False)

    def _read_anew(self, key: WatchKey, error: KubeError) -> None:
        """Ask for a watch that has changed or gone since we heard of it; raise what else went wrong."""
        if error.status not in (404, 409):
            raise error
        logger.info("%s/%s is read anew: %s", *key, error)
        self._unsure.add(key)
        self._again(key, CONFLICT_SECONDS)

    async def _reconcile(self, key: WatchKey, watch: Watch, now: datetime) -> None:
        if watch.spec is None:
            return
        target = await self._target(key, watch)
        watch.take_digests()
        seen = watch.observation(target, now)
        watch.fold(seen)
        watch.ask_for_tasks(seen)
        watch.forget_others()
        moment = watch.moment(now, target, self._records)
        watch.state = decide(watch.state, watch.spec, moment)
        if (seconds := seconds_to_next(watch.state, watch.spec, moment)) < math.inf:
            self._again(key, seconds)
        self._ask(key, watch, now)
        if rest := watch.next_rest():
            self._again(key, (rest - now).total_seconds())
        if (wait := watch.first_listing_in(self._clock())) > 0:
            self._again(key, wait)
            return
        status = watch.new_status(now)
        changed = without_logs(status) != without_logs(watch.status)
        if changed and (wait := self._wait(watch, status)) > 0:
            self._again(key, wait)
            return
        await self._tell_and_write(key, watch, target, status, urgent=changed)
        if watch.session and watch.told is watch.state:
            watch.session.follow(key, watch.wanted_logs(now), watch.lens)
        self._act(key, watch, now)
        await self._expire(key, watch, moment)

    async def _tell_and_write(self, key: WatchKey, watch: Watch, target: Target, status: Body, *, urgent: bool) -> None:
        """Post Events before the status that says the same; what a later process could read there, after it.

        One that died with the Event of an end alone would let the next one tell another end, of the head's successor.
        """
        passing = _on_both(watch.passing_notes(status), watch, target)
        lasting, turn = _on_both(watch.lasting_notes(), watch, target), 0.0
        reached("before the events")
        await self._teller.tell(key, passing, self._events_pause)
        if lasting:
            await self._write(key, watch, {**status, "eventsPending": True}, urgent=True)
            if watch.told is not watch.state:
                return
            reached("before the events of what is written")
            turn = await self._teller.tell_in_turn(key, lasting, self._events_pause)
            reached("after the events of what is written")
        if self._teller.owes(watch.body, key):
            status["eventsPending"] = True
            self._again(key, turn + EVENTS_AGAIN_SECONDS)
        await self._write(key, watch, status, urgent=urgent and not lasting)

    @property
    def _events_pause(self) -> float:
        return pace.events_pause(self._write_seconds)

    def _act(self, key: WatchKey, watch: Watch, now: datetime) -> None:
        """Carry out what is decided, once that is written down."""
        session, state = watch.session, watch.state
        if state.problem or watch.told is not state:
            return
        if session is None:
            if watch.is_acting:
                self._again(key, 0.0)  # it was done, and needs its dashboard once more
            return
        if state.unreachable:
            return  # until it answers again
        for ask in watch.take_asks():
            session.stop(ask)
        if step := serve.next_step(state.serve, now):
            session.clean_ups.ask(key, step, state.serve.session)
        ray_jobs_in = key[0] if _cluster_name(watch) else None
        self._records.ask(key, session, watch.wishes(now), ray_jobs_in=ray_jobs_in)

    async def _expire(self, key: WatchKey, watch: Watch, moment: Moment) -> None:
        """Delete a watch that was kept for as long as it was to be."""
        finished = watch.finished_time
        is_told = watch.told is watch.state and not self._teller.owes(watch.body, key)
        if watch.spec is None or finished is None or watch.is_deleted or not is_told:
            return
        seconds = retention.expires_in(watch.state, finished, watch.spec.retention, moment)
        if seconds > 0:
            if seconds < math.inf:
                self._again(key, seconds)
            return
        reached("before the watch is deleted")
        try:
            await delete_watch(self._client, watch.body)
            reached("after the watch is deleted")
        except KubeError as error:
            self._read_anew(key, error)

    def _wait(self, watch: Watch, status: Body) -> float:
        """Return how long to wait with a change; a deleted watch waits with none."""
        if watch.is_deleted:
            return 0.0
        clock = self._clock()
        rules = watch.spec.logs.rules if watch.spec else ()
        if without_rules(status, rules) == without_rules(watch.status, rules):
            return watch.written + pace.RULE_WRITE - clock
        return watch.held_for(clock, pace.state_write_pause(self._write_seconds))

    async def _target(self, key: WatchKey, watch: Watch) -> Target:
        """Find the dashboard and have a session with it; a watch that is finished needs none."""
        if watch.spec is None or watch.is_done(datetime.now(UTC)):
            self._finish(key, watch)
            return Target()
        in_doubt = watch.session is not None and watch.session.unreachable is not None
        refused = watch.session.refused if watch.session else None
        target = await self._targets.find(key[0], watch.spec, in_doubt=in_doubt, refused=refused)
        session = self._sessions.get(target.dashboard) if target.dashboard else None
        if watch.session is not session:
            self._leave(key, watch)
            watch.session = session
        if (wait := target.seconds(in_doubt=in_doubt)) < math.inf:
            self._again(key, wait)
        return target

    def _ask(self, key: WatchKey, watch: Watch, now: datetime) -> None:
        """Have the session ask for what is still open, and for nothing else."""
        if watch.session is None:
            return
        if watch.is_done(now):
            self._finish(key, watch)
            return
        self._at_work.add(key)
        wanted = watch.wanted_logs(now)
        if not {follow.job_id for follow in wanted} <= set(watch.open_ids):
            # A log is read on after its job's end, but not for ever.
            self._again(key, LOG_GRACE.total_seconds())
        watch.session.join(key, watch.asked_ids(wanted), watch.urgent_ids, watch.selector, watch.floor)
        watch.session.follow(key, wanted, watch.lens)
        watch.session.keep_stops(key, watch.to_be_stopped)
        if not watch.state.serve.is_pending:
            watch.session.clean_ups.forget(key)
        if watch.is_deleted and watch.deleted is None:
            watch.session.ask_anew(key)  # a job may have come since the last look, and is to be stopped, too

    def _finish(self, key: WatchKey, watch: Watch) -> None:
        self._leave(key, watch)
        watch.forget_windows()

    def _leave(self, key: WatchKey, watch: Watch) -> None:
        self._at_work.discard(key)
        if watch.session:
            watch.take_digests()
            watch.take_contact()
            self._sessions.leave(watch.session, key)
            watch.session = None

    def _log_moved(self, key: WatchKey) -> None:
        if watch := self._watches.get(key):
            late = pace.log_write_pause(len(self._at_work)) * random.uniform(1.0, 1.2)  # noqa: S311
            self._again(key, max(0.0, watch.written + late - self._clock()))

    async def _write(self, key: WatchKey, watch: Watch, status: Body, *, urgent: bool) -> None:
        if status == watch.status:
            watch.told = watch.state
            return
        due = watch.written + self._write_pause(status, watch.status) - self._clock()
        if not urgent and due > 0:
            watch.told = watch.state  # of which only logs and facts are not written
            self._again(key, due)
            return
        began = self._clock()
        reached("before the write")
        try:
            body = await write_status(self._client, watch.body, status)
        except KubeError as error:
            await self._tell_refusal(key, watch, error)
            self._read_anew(key, error)
            return
        reached("after the write")
        self._write_seconds += (self._clock() - began - self._write_seconds) / _AVERAGED_WRITES
        self._written(key, body)
        edited = _is_edited(watch.body, body)
        watch.wrote(status, self._objects.get(key), body, self._clock())
        if edited:
            watch.spec = None
            self._again(key, 0.0)

    async def _tell_refusal(self, key: WatchKey, watch: Watch, error: KubeError) -> None:
        """Tell once that a status is refused, which trying again hardly mends: of this the status cannot tell."""
        if error.status in _REFUSALS and not watch.is_refused:
            watch.is_refused = True
            note = status_refused(str(error), watch.generation)
            await self._teller.tell(key, [(watch.body, note)], self._events_pause)

    def _write_pause(self, status: Body, before: Body) -> float:
        """Return how long after the last write of a status that is not urgent the next one comes."""
        if {**status, "eventsPending": True} == before:
            return pace.events_told_pause(len(self._at_work))
        is_of_facts = without_facts(status) == without_facts(before)
        return (pace.facts_write_pause if is_of_facts else pace.log_write_pause)(len(self._at_work))


def _on_both(told: Iterable[EventNote], watch: Watch, target: Target) -> list[Note]:
    """Return Events of a watch, with those of the RayCluster that say the same."""
    notes: list[Note] = []
    for note in told:
        notes.append((watch.body, note))
        if note.on_cluster and target.cluster:
            notes.append((target.cluster, of_cluster(note)))
    return notes


def _is_edited(before: Body, now: Body) -> bool:
    """Whether somebody else changed the spec, or deleted the object, before our write of its status came to be."""
    old, new = before["metadata"], now["metadata"]
    if "deletionTimestamp" in new and "deletionTimestamp" not in old:
        return True
    return bool(new.get("generation", old.get("generation")) != old.get("generation"))


def _uid(body: Body) -> str:
    return str(body["metadata"].get("uid", ""))


def _cluster_name(watch: Watch) -> str | None:
    return watch.spec.ray_cluster.name if watch.spec and watch.spec.ray_cluster else None
