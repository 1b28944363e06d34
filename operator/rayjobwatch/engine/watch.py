"""What the reconciler keeps in memory of one watch, and the pure steps of its reconciliation."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from rayjobwatch.engine.failedtasks import Failed
from rayjobwatch.engine.hearing import Heard
from rayjobwatch.engine.logs import Follow
from rayjobwatch.engine.objects import key_of
from rayjobwatch.engine.recordkeeper import RecordKeeper, Wish
from rayjobwatch.engine.session import ClusterSession
from rayjobwatch.engine.stops import Ask
from rayjobwatch.engine.targets import Target
from rayjobwatch.kube.client import Body
from rayjobwatch.model import retention
from rayjobwatch.model.cause.window import EMPTY_WINDOW
from rayjobwatch.model.clusterevents import dashboard_notes, head_notes
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.events import EventNote, events_of, surely_told
from rayjobwatch.model.firing import rule_events
from rayjobwatch.model.fold import awaits_tasks, fold
from rayjobwatch.model.jobs import Job
from rayjobwatch.model.lens import NO_LENS, NOTHING, Findings, Lens
from rayjobwatch.model.masked import masked_digest, masked_state
from rayjobwatch.model.moment import Moment
from rayjobwatch.model.observation import Listing, Observation, Problem
from rayjobwatch.model.pace import FIRST_WRITE
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.selection import awaited, fold_selected, is_news, logged, reused_ids, shown
from rayjobwatch.model.selector import Selector, selector_of
from rayjobwatch.model.serve import owning_ray_service
from rayjobwatch.model.spec import LogsSpec, Protocol, RuleSpec, WatchSpec, parse_spec
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.status import restored, status_of
from rayjobwatch.model.times import parse_rfc3339

# How long a log is read on after its job's end before its digest is left incomplete.
LOG_GRACE = timedelta(minutes=2)
# A stop takes Ray seconds; one that was asked for more often than this is not waited for any more at that pace.
FAST_ATTEMPTS = 3


@dataclass
class Watch:
    """One RayJobWatch as the reconciler knows it.

    `selector` is None where the spec names the jobs by their ids. `status` is what was last read or written, `told` the
    state that it speaks of and whose Events were posted; `unlisted_since` is since when its open jobs are waited for to
    be listed for the first time, `changed_since` since when its state differs from what was told. `reused` are ids of
    jobs that are over under which Ray has another run, which is taken up when the end of the first is told. `attempts`
    are those to stop jobs that this process has carried out, by job id; `deleted` is since when it knows that the watch
    is being deleted, `head_ahead` by how much the head's clock was ahead of ours when it answered last (None: it has
    not). `hindrance` is why our finalizer could not be put on, and `hindered` when that was tried last.
    `is_refused`: the last status was, and an Event has told it.
    """

    body: Body
    spec: WatchSpec | None = None
    selector: Selector | None = None
    state: WatchState = field(default_factory=WatchState)
    told: WatchState = field(default_factory=WatchState)
    digests: dict[str, LogDigest] = field(default_factory=dict)
    findings: dict[str, Findings] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    session: ClusterSession | None = None
    written: float = float("-inf")
    unlisted_since: float | None = None
    changed_since: float | None = None
    over_since: dict[str, datetime] = field(default_factory=dict)
    reused: frozenset[str] = frozenset()
    attempts: dict[str, int] = field(default_factory=dict)
    deleted: datetime | None = None
    hindrance: Problem | None = None
    hindered: float = float("-inf")
    is_refused: bool = False
    head_ahead: timedelta | None = None

    @classmethod
    def from_body(cls, body: Body, now: datetime) -> "Watch":
        """Go on where the status of `body` says that an earlier process stopped."""
        status = body.get("status") or {}
        state, digests = restored(status)
        told = surely_told(state, now) if status.get("eventsPending") else state
        return cls(body, state=state, told=told, digests=digests, findings=dict(state.findings), status=status)

    def read_spec(self) -> WatchSpec:
        """Read the spec where it was not read yet; InvalidSpecError for one that cannot be followed."""
        if self.spec is None:
            self.spec = parse_spec(self.body)
            self.selector = selector_of(self.spec.jobs, parse_rfc3339(self.body["metadata"].get("creationTimestamp")))
        return self.spec

    def refresh(self, body: Body) -> None:
        """Take over what somebody else has changed."""
        if body["metadata"].get("generation") != self.body["metadata"].get("generation"):
            self.spec = None
        self.body, self.status = body, body.get("status") or {}

    def wrote(self, status: dict[str, Any], newest: Body | None, written: Body, clock: float) -> None:
        """Take note that `status` was written, which made the object `written`; `newest` is what is known of it now."""
        self.status, self.told, self.written, self.changed_since = status, self.state, clock, None
        self.is_refused = False
        if newest and newest["metadata"].get("resourceVersion") == written["metadata"].get("resourceVersion"):
            self.body = newest
            if newest.get("status") == status:
                newest["status"] = status  # one of the two is enough, and ours shares its strings with the digests

    @property
    def generation(self) -> int:
        """`metadata.generation` of the spec that is in force."""
        return int(self.body["metadata"].get("generation", 0))

    @property
    def open_ids(self) -> tuple[str, ...]:
        """The jobs that are not over as far as is known."""
        jobs = self.state.jobs
        return tuple(id_ for id_ in self._ids if id_ not in jobs or not jobs[id_].state.is_over)

    @property
    def _ids(self) -> Iterable[str]:
        if self.selector:
            return self.state.jobs.keys()
        return self.spec.jobs.ids if self.spec else ()

    @property
    def floor(self) -> datetime | None:
        """When a job of the selection must have been over at the earliest to be wanted."""
        selected = self.state.selected
        return self.selector.floor(selected.until if selected else None) if self.selector else None

    @property
    def urgent_ids(self) -> tuple[str, ...]:
        """The open jobs whose end or loss waits to be confirmed, or that Ray was just asked to stop."""
        return (*(job.id for job in self.state.jobs.values() if _is_urgent(job)), *self.reused)

    @property
    def is_deleted(self) -> bool:
        """Whether the object is being deleted."""
        return "deletionTimestamp" in self.body["metadata"]

    def moment(self, now: datetime, target: Target, records: RecordKeeper) -> Moment:
        """Return what a decision at `now` needs beside the state; what is told once is told to this one."""
        session, key = self.session, key_of(self.body)
        if session and session.last_contact:
            self.head_ahead = session.head_ahead
        answers = {job_id: session.stop_answer(job_id) for job_id in self.attempts} if session else {}
        return Moment(
            now=now,
            head_ahead=self.head_ahead,
            deleted=self.is_deleted,
            answers={job_id: answer for job_id, answer in answers.items() if answer is not None},
            serve=session.clean_ups.take_answer(key) if session else None,
            serve_asked=session is not None and session.clean_ups.is_asking(key),
            records=records.take_answers(key),
            records_asked=records.is_asking(key),
            unread=self._unread(now),
            ray_service=owning_ray_service(target.cluster) if target.cluster else "",
        )

    def _unread(self, now: datetime) -> set[str]:
        """Return the jobs whose log is still to be read, where anybody asks for that."""
        is_asked = self.spec is not None and self.spec.retention.delete_record_after_seconds is not None
        return {follow.job_id for follow in self.wanted_logs(now)} if is_asked else set()

    @property
    def to_be_stopped(self) -> frozenset[str]:
        """The jobs that are to be stopped, as it was decided last."""
        return frozenset(job.id for job in self.state.jobs.values() if job.stop and not job.state.is_over)

    def take_asks(self) -> list[Ask]:
        """Return the attempts to stop jobs that stand in status and are still to be carried out, as carried out."""
        orders = {job.id: job.stop for job in shown(self.told) if job.stop and not job.state.is_over}
        due = [id_ for id_, order in orders.items() if order.attempts > self.attempts.get(id_, 0)]
        self.attempts = {id_: order.attempts for id_, order in orders.items() if order.attempts}
        return [Ask(id_, self.told.jobs[id_].session, self.told.jobs[id_].start_time) for id_ in due]

    def follow(self, job_id: str) -> Follow:
        """Return how the log of `job_id` is followed."""
        job = self.state.jobs.get(job_id)
        return Follow(job_id, self.spec.logs.protocol if self.spec else Protocol.NONE, job.start_time if job else None)

    def take_digests(self) -> None:
        """Take over what the followers have read; what was known before counts where it is more."""
        for job_id in self.state.jobs:
            live = self.session.heard(key_of(self.body), self.follow(job_id)) if self.session else None
            known = self.digests.get(job_id)
            if live and (known is None or live.digest.lines >= known.lines):
                self.digests[job_id] = live.digest.after(known) if known else live.digest
                self.findings[job_id] = live.findings

    def take_contact(self) -> None:
        """Take over when the session answered last: while nothing changes, answers are not folded into the state."""
        if self.session and self.session.last_contact:
            self.state = replace(self.state, last_contact=self.session.last_contact)

    @property
    def lens(self) -> Lens:
        """What is looked for in the logs, and what is not shown of them."""
        return self.spec.logs.lens if self.spec else NO_LENS

    def asked_ids(self, wanted_logs: Iterable[Follow]) -> set[str]:
        """Return the jobs to ask for: the open ones, and once those that are over but whose log is still to be read."""
        ids = {follow.job_id for follow in wanted_logs}
        return {*self.open_ids, *self.reused, *(id_ for id_ in ids if self.session and not self.session.knows(id_))}

    def first_listing_in(self, clock: float) -> float:
        """Return how long to wait with the first word: until then the jobs are listed, most likely."""
        session = self.session
        has_nothing_to_list = self.selector is None and not self.open_ids
        if (
            session is None
            or session.unreachable
            or has_nothing_to_list
            or session.has_listing_for(key_of(self.body), self.open_ids, self.selector)
        ):
            self.unlisted_since = None
            return 0.0
        if self.unlisted_since is None:
            self.unlisted_since = clock
        return self.unlisted_since + FIRST_WRITE - clock

    @property
    def is_listed(self) -> bool:
        """Whether the jobs were listed since they were asked for last; none are where there is no dashboard to ask."""
        session = self.session
        return session is None or session.has_listing_for(key_of(self.body), self.open_ids, self.selector)

    def held_for(self, clock: float, hold: float) -> float:
        """Return how much longer a change of state may be held back for `hold` in all; an end is not."""
        if self.changed_since is None:
            self.changed_since = clock
        return 0.0 if self._has_new_end() else self.changed_since + hold - clock

    def _has_new_end(self) -> bool:
        jobs = self.state.jobs.values()
        return any(job.state.is_over and is_news(self.told, self.state, job) for job in jobs)

    def fold(self, seen: Observation) -> None:
        """Take into the state what is seen now."""
        if self.spec is None:
            return
        if self.selector is None:
            self.state, self.reused = fold(self.state, self.spec.jobs.ids, seen), frozenset()
            return
        before = self.state.jobs
        keeps_records = self.spec.retention.delete_record_after_seconds is None
        self.state = fold_selected(self.state, self.selector, seen, self.told, keeps_records=keeps_records)
        self.reused = reused_ids(self.state, self.selector, seen.listing.rows) if seen.listing else self.reused
        for job in self.state.jobs.values():
            self._tidy_log(job, before.get(job.id))

    def _tidy_log(self, job: Job, before: Job | None) -> None:
        if before and before.start_time not in (None, job.start_time):  # another run under an id that was used before
            for kept in (self.digests, self.findings, self.over_since):
                kept.pop(job.id, None)
        digest = self.digests.get(job.id)
        if digest and digest.complete and job.state.is_over and digest.window is not EMPTY_WINDOW:
            self.digests[job.id] = replace(digest, window=EMPTY_WINDOW)

    def forget_windows(self) -> None:
        """Keep no more of the logs than status shows: every verdict is given."""
        self.digests = {id_: replace(digest, window=EMPTY_WINDOW) for id_, digest in self.digests.items()}

    def forget_others(self) -> None:
        """Forget what was read of jobs that are not watched any more: an id may come again with another run."""
        for kept in (self.digests, self.findings, self.over_since):
            for id_ in kept.keys() - self.state.jobs.keys():
                del kept[id_]

    def is_done(self, now: datetime) -> bool:
        """Whether nothing more is to be learnt: all jobs are over and their logs are read."""
        if self.spec is None or self.selector:
            return False
        finished = set(self.spec.jobs.ids) == set(self.state.jobs) and self.state.is_finished
        return finished and not self.is_acting and not self.wanted_logs(now)

    @property
    def is_acting(self) -> bool:
        """Whether something is being done that no job waits for."""
        return self.state.serve.is_pending or bool(retention.pending_jobs(self.state))

    @property
    def finished_time(self) -> datetime | None:
        """Since when status says that the watch is finished."""
        finished = (item for item in self.status.get("conditions") or [] if item.get("type") == "Finished")
        condition: Mapping[str, Any] = next(finished, {})
        return parse_rfc3339(condition.get("lastTransitionTime")) if condition.get("status") == "True" else None

    def wishes(self, now: datetime) -> list[Wish]:
        """Return the records that are to be deleted now."""
        age = self.spec.retention.delete_record_after_seconds if self.spec else None
        due = retention.due_jobs(self.told, now) if age is not None else []
        rows = {job.id for job in shown(self.told)} if due else set[str]()
        return [Wish(job.id, job.session, job.start_time, age or 0.0) for job in due if job.id in rows]

    def wanted_logs(self, now: datetime) -> dict[Follow, Heard]:
        """Return the logs to follow now, each with what is known of it."""
        if self.spec is None or self.spec.logs.protocol is Protocol.NONE:
            return {}
        return {
            self.follow(job.id): Heard(self.digests.get(job.id, LogDigest()), self.findings.get(job.id, NOTHING))
            for job in self._logged(now)
            if self._wants_log(job, now)
        }

    def _logged(self, now: datetime) -> Iterable[Job]:
        if self.selector is None:
            return self.state.jobs.values()
        return logged(self.state, lambda id_: self._is_log_done(id_) or self._is_given_up(id_, now))

    def _is_given_up(self, job_id: str, now: datetime) -> bool:
        return job_id in self.over_since and now - self.over_since[job_id] >= LOG_GRACE

    def _wants_log(self, job: Job, now: datetime) -> bool:
        same_session = job.session == self.state.cluster.session
        if not job.seen or not same_session or self.digests.get(job.id, LogDigest()).complete:
            return False
        if not job.state.is_over:
            # Where many watches come at once, all get their state before the first log is read, which takes longer.
            return self.told.jobs.get(job.id, Job(job.id)).seen or job.ending_since is not None
        return now - self.over_since.setdefault(job.id, now) < LOG_GRACE

    def observation(self, target: Target, now: datetime) -> Observation:
        """Return what is seen of the watch's dashboard now."""
        session = self.session
        listing = session.listing_for(key_of(self.body), self.open_ids, self.selector) if session else None
        unawaited = self._unawaited(listing)
        return Observation(
            now=now,
            cluster=session.cluster if session else self.state.cluster,
            listing=listing,
            last_contact=session.last_contact if session else None,
            problem=target.problem,
            hindrance=self.hindrance,
            unreachable=target.refusal(session.unreachable) if session else None,
            cluster_gone=_is_gone(self.state.cluster.uid, target),
            windows={id_: digest.window for id_, digest in self.digests.items()},
            complete_logs=unawaited.union(filter(self._is_log_done, {*self._ids, *(listing.rows if listing else ())})),
            last_lines={id_: digest.last_line_time for id_, digest in self.digests.items() if digest.last_line_time},
            head_ahead=session.head_ahead if session else timedelta(0),
            tasks={**{listing.rows[id_].ray_job_id: () for id_ in unawaited if listing}, **self._failed_tasks()},
            findings={id_: self._rested(id_, found, now) for id_, found in self.findings.items()},
            patterns=self.lens.patterns,
            nodes=session.nodes if session else None,
            is_head_in_doubt=session is not None and session.is_head_in_doubt,
        )

    def _unawaited(self, listing: Listing | None) -> frozenset[str]:
        """Return the selected jobs, too many or over for long, whose verdict waits neither for logs nor for tasks."""
        if self.selector is None or listing is None:
            return frozenset()
        return frozenset(listing.rows.keys() - awaited(self.state, self.selector, listing.rows))

    def _failed_tasks(self) -> dict[str, Failed]:
        """Return the failed tasks of the jobs that end, as far as the dashboard has answered."""
        ids = {job.ending.ray_job_id for job in self.state.jobs.values() if job.ending}
        answers = {id_: self.session.failed_tasks(id_) for id_ in ids} if self.session else {}
        return {id_: answer for id_, answer in answers.items() if answer is not None}

    def ask_for_tasks(self, seen: Observation) -> None:
        """Ask for the failed tasks of jobs whose verdict waits for them."""
        for job in self.state.jobs.values():
            if self.session and job.ending and awaits_tasks(job.ending, seen):
                self.session.ask_for_tasks(job.ending.ray_job_id)

    def _rested(self, job_id: str, found: Findings, now: datetime) -> Findings:
        # What fired last for a job that is over is not forgotten with time.
        return found if self._is_log_done(job_id) else self.lens.rested(found, now)

    def next_rest(self) -> datetime | None:
        """Return when a rule comes to rest that fires now, if no line comes; None where none does."""
        running = (found for id_, found in self.state.findings.items() if not self._is_log_done(id_))
        times = (self.lens.next_rest(found) for found in running)
        return min((time for time in times if time), default=None)

    def new_status(self, now: datetime) -> dict[str, Any]:
        """Return the status that tells what is known now."""
        logs = self.spec.logs if self.spec else LogsSpec()
        patterns = self.lens.patterns
        return status_of(
            masked_state(self.state, patterns),
            {id_: masked_digest(digest, patterns) for id_, digest in self.digests.items()},
            tail_lines=logs.tail_lines,
            previous=self.status,
            generation=self.generation,
            now=now,
            rules=logs.rules,
            refused=self.lens.refused,
        )

    def passing_notes(self, status: Mapping[str, Any]) -> Iterator[EventNote]:
        """Yield the Events for what has changed since it was told last that `status`, once written, will not tell."""
        shown = masked_state(self.state, self.lens.patterns)
        yield from head_notes(self.told, shown)
        yield from dashboard_notes(self.status, status, shown)
        yield from rule_events(self.told, shown, self.spec.logs.rules if self.spec else ())

    def lasting_notes(self) -> Iterator[EventNote]:
        """Yield the Events for what has changed since it was told last and can be told again from status alone."""
        return events_of(self.told, masked_state(self.state, self.lens.patterns))

    def _is_log_done(self, job_id: str) -> bool:
        no_log = self.spec is None or self.spec.logs.protocol is Protocol.NONE
        return no_log or self.digests.get(job_id, LogDigest()).complete


def _is_urgent(job: Job) -> bool:
    asked = job.stop and not job.state.is_over and not job.stop.in_vain and 0 < job.stop.attempts <= FAST_ATTEMPTS
    return bool(job.ending_since or job.missing_since or job.doubted_since or asked)


def _is_gone(uid: str, target: Target) -> bool:
    """Whether the API server says that the RayCluster with `uid` is no more."""
    if not uid:
        return False
    if target.cluster is None:
        return target.problem is not None and target.problem.reason is Reason.RAY_CLUSTER_NOT_FOUND
    return bool(target.cluster["metadata"].get("uid") != uid)


def without_logs(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a status must be written at once: all but the logs, and of their rules whether they fire."""
    rows = [
        {key: value for key, value in row.items() if key not in ("log", "values", "rules", "omitted")}
        | {"rules": [(one["name"], one["fired"], one["firing"]) for one in row.get("rules", ()) if one["fired"]]}
        for row in status.get("jobs") or []
    ]
    return {**without_facts(status), "jobs": rows, "progress": "", "eventsPending": False}


def without_facts(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a status is not merely said of the cluster."""
    cluster = status.get("cluster") or {}
    return {**status, "cluster": [cluster.get(name) for name in ("dashboardURL", "rayVersion", "session", "uid")]}


def without_rules(status: Mapping[str, Any], rules: Iterable[RuleSpec]) -> dict[str, Any]:
    """Return what of a status is neither of logs nor of their rules."""
    types = {rule.condition for rule in rules}
    conditions = [item for item in status.get("conditions") or [] if item["type"] not in types]
    rows = [{**row, "rules": []} for row in without_logs(status)["jobs"]]
    return {**without_logs(status), "jobs": rows, "conditions": conditions}
