"""Cleaning up Serve applications: which ones, whether they are gone, and what to ask Ray next.

The names are settled once, when the time has come, and stand in status before Ray is asked to delete any: what is
deployed later is not meant. Nothing here knows how Ray is asked. All times are those of our clock, but `deployed`.
"""

import json
import math
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

from rayjobwatch.model import pace
from rayjobwatch.model.jobs import JobState
from rayjobwatch.model.moment import Moment
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.servestate import NO_CLEAN_UP, Application, CleanUp, ServeAnswer, ServeState
from rayjobwatch.model.spec import ServeCleanup, ServeSpec
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.text import clean_line

MOST_APPLICATIONS: Final = 50
# Of JSON, in quotes.
NAME_BYTES: Final = 128
FIRST_RETRY: Final = 2.0
LONGEST_RETRY: Final = 300.0
# Ray takes about 3 s to delete an application with one replica.
FIRST_LOOK: Final = 1.0
LONGEST_LOOK: Final = 30.0
EMPTY_AGAIN: Final = 3.0
GIVE_UP: Final = timedelta(hours=1)

_NO_ANSWER: Final = "what Serve runs is not known yet"
_UNKNOWN_NAME: Final = "without a name"
# KubeRay says on a RayCluster for what it was made.
ORIGIN_LABELS: Final = ("ray.io/originated-from-crd", "ray.io/originated-from-cr-name")


@dataclass(frozen=True, slots=True)
class Look:
    """Read all applications."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete these applications and no others, and none of them that was deployed anew."""

    applications: tuple[Application, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(one.name for one in self.applications)


def is_time(cleanup: ServeCleanup, states: Iterable[JobState], *, deleting: bool) -> bool:
    """Return whether it is time to clean up, with jobs in these states; `deleting`: the watch is being deleted."""
    ends = list(states)
    finished = bool(ends) and all(state.is_over for state in ends)
    return {
        ServeCleanup.NEVER: False,
        ServeCleanup.ON_FINISHED: finished,
        ServeCleanup.ON_FAILED: finished and JobState.FAILED in ends,
        ServeCleanup.ON_DELETION: deleting,
    }[cleanup]


def with_clean_up(state: WatchState, spec: ServeSpec, moment: Moment) -> WatchState:
    """Return `state` with how far the clean-up is that `spec` wants."""
    if spec.cleanup is ServeCleanup.NEVER and state.serve.state is CleanUp.NONE:
        return state
    wanted = is_time(spec.cleanup, state.counts, deleting=moment.deleted)
    serve = begun(state.serve, _session(state, spec), moment.now, is_time=wanted)
    if moment.ray_service:
        serve = refused(serve, moment.ray_service, moment.now)
    if state.problem:
        serve = blocked(serve, state.problem, moment.now)
    if moment.serve:
        serve = _answered(serve, spec, moment.serve, moment.now)
    return state if serve == state.serve else replace(state, serve=serve)


def seconds_to_next(state: WatchState, moment: Moment) -> float:
    """Return how long until Ray is to be asked once more, of which nothing else tells; `math.inf`: never, or now."""
    serve = state.serve
    if not serve.is_pending or moment.serve_asked:
        return math.inf
    if state.problem:
        return max(1.0, (GIVE_UP - _pending_for(serve, moment.now)).total_seconds())
    return pace.seconds_until(serve.due, moment.now, LONGEST_RETRY) or math.inf


def _session(state: WatchState, spec: ServeSpec) -> str:
    """Return the Ray session whose applications are meant: that of the job which came last, or, if empty, the next."""
    if spec.cleanup is ServeCleanup.ON_DELETION:
        return ""  # no job's end, but the deletion is the time: a head that has come since is meant
    seen = [job for job in state.jobs.values() if job.seen]
    newest = max(seen, key=lambda job: job.start_time.timestamp() if job.start_time else 0.0, default=None)
    return newest.session if newest else state.cluster.session


def _answered(serve: ServeState, spec: ServeSpec, answer: ServeAnswer, now: datetime) -> ServeState:
    if answer.problem:
        return failed(serve, answer.problem, now)
    if answer.seen is not None:
        return looked(serve, spec, answer.seen, answer.session, now)
    return asked(serve, answer.asked, now)


def begun(serve: ServeState, session: str, now: datetime, *, is_time: bool) -> ServeState:
    """Return a clean-up that has begun when it is time, and none while it is not."""
    if not is_time:
        return NO_CLEAN_UP
    begin = ServeState(CleanUp.PENDING, now.replace(microsecond=0), session=session, message=_NO_ANSWER)
    return begin if serve.state is CleanUp.NONE else serve


def blocked(serve: ServeState, problem: Problem, now: datetime) -> ServeState:
    """Take note that there is no dashboard to ask, and of when that is hopeless."""
    if not serve.is_pending:
        return serve
    if problem.reason is Reason.RAY_CLUSTER_NOT_FOUND:
        return _over(serve, CleanUp.DONE, "the RayCluster is gone, and its applications with it", now)
    if _pending_for(serve, now) >= GIVE_UP:
        return _over(serve, CleanUp.FAILED, f"given up: {problem.message}", now)
    return replace(serve, message=clean_line(problem.message))


def next_step(serve: ServeState, now: datetime) -> Look | Delete | None:
    """Return what to ask Ray now."""
    if not serve.is_pending or pace.seconds_until(serve.due, now, LONGEST_RETRY) > 0:
        return None
    applications = tuple(one for one in serve.still_there if not one.asked and not one.is_going)
    return Delete(applications) if applications else Look()


def is_anew(one: Application, seen: Application | None) -> bool:
    """Whether an application as it is `seen` was deployed after it was found to be meant: that is another's wish."""
    if seen is None or seen.is_going or one.deployed is None or seen.deployed is None:
        return False
    return seen.deployed > one.deployed


def looked(
    serve: ServeState, spec: ServeSpec, seen: Collection[Application], session: str, now: datetime
) -> ServeState:
    """Return how far a clean-up has come, `seen` being all applications of the Ray session that answered."""
    if not serve.is_pending:
        return serve
    if serve.session and session != serve.session:
        gone = replace(serve, applications=())
        return _over(gone, CleanUp.DONE, "the Ray head was replaced, and its applications are gone with it", now)
    if not seen and not serve.is_empty:
        return _doubted(serve, now)
    by_name = {one.name: one for one in seen}
    serve = replace(serve, is_empty=False)
    if not serve.is_settled:
        return _settled(replace(serve, session=session, failures=0, due=None), spec, by_name, now)
    return _compared(serve, spec, by_name, now)


def asked(serve: ServeState, names: Collection[str], now: datetime) -> ServeState:
    """Take note that Ray took the request to delete `names`."""
    if not serve.is_pending:
        return serve
    time = now.replace(microsecond=0)
    applications = tuple(replace(one, asked=time) if one.name in names else one for one in serve.applications)
    return replace(serve, applications=applications, due=now + timedelta(seconds=FIRST_LOOK))


def failed(serve: ServeState, why: str, now: datetime) -> ServeState:
    """Take note that Ray could not be asked."""
    if not serve.is_pending:
        return serve
    if _pending_for(serve, now) >= GIVE_UP:
        return _over(serve, CleanUp.FAILED, f"given up: {why}", now)
    failures = serve.failures + 1
    chance = zlib.crc32(f"{serve.requested} {serve.session} {failures}".encode()) / 2**32
    pause = pace.jittered(pace.backed_off(FIRST_RETRY, failures, LONGEST_RETRY), chance)
    due = now + timedelta(seconds=pause)
    return replace(serve, failures=failures, due=due, message=clean_line(f"tried again: {why}"))


def refused(serve: ServeState, ray_service: str, now: datetime) -> ServeState:
    """Take note that the cluster belongs to a RayService."""
    why = (
        f"refused: the RayCluster belongs to RayService {ray_service}, whose operator would deploy the applications "
        "again; change its spec.serveConfigV2 instead"
    )
    return _over(serve, CleanUp.REFUSED, why, now) if serve.is_pending else serve


def owning_ray_service(cluster: Mapping[str, Any]) -> str:
    """Return the RayService that a RayCluster belongs to, by its owner or KubeRay's labels; empty where none does."""
    meta = cluster["metadata"]
    owners = [owner for owner in meta.get("ownerReferences") or [] if owner.get("kind") == "RayService"]
    if owners:
        return str(owners[0].get("name") or _UNKNOWN_NAME)
    labels = meta.get("labels") or {}
    kind, name = (labels.get(label) for label in ORIGIN_LABELS)
    return str(name or _UNKNOWN_NAME) if kind == "RayService" else ""


def _doubted(serve: ServeState, now: datetime) -> ServeState:
    """Look once more: Ray's dashboard also says that nothing is there while it cannot reach Serve's controller."""
    due = now + timedelta(seconds=EMPTY_AGAIN)
    return replace(serve, is_empty=True, due=due, failures=0, message="Serve shows no application: looking once more")


def _settled(serve: ServeState, spec: ServeSpec, seen: Mapping[str, Application], now: datetime) -> ServeState:
    meant = tuple(seen[name] for name in sorted(seen) if _is_meant(name, spec) and _fits(name))[:MOST_APPLICATIONS]
    settled = replace(serve, applications=meant, message=f"deleting {_listed(meant)}")
    return settled if meant else _over(serve, CleanUp.DONE, _result(serve, spec, seen), now)


def _compared(serve: ServeState, spec: ServeSpec, seen: Mapping[str, Application], now: datetime) -> ServeState:
    rows = {one.name: _row(one, seen.get(one.name), spec) for one in serve.applications}
    there = tuple(row for row in rows.values() if row)
    deleted = (*serve.deleted, *(name for name, row in rows.items() if row is None))
    new = replace(serve, applications=there, deleted=deleted)
    if not new.still_there:
        return _over(new, CleanUp.DONE, _result(new, spec, seen), now)
    if any(one.asked and (row := rows[one.name]) and not row.asked and not row.message for one in serve.applications):
        return failed(new, "Ray took the request, but did not do it", now)
    return _waiting(new, now)


def _row(one: Application, seen: Application | None, spec: ServeSpec) -> Application | None:
    """Return an application as it stands now, None where it is gone."""
    if seen is None or one.message:
        return seen and one
    row = replace(one, state=seen.state)
    if not _is_meant(one.name, spec):
        return replace(row, message="left: spec.serve.applications does not name it any more")
    if is_anew(one, seen):
        return replace(row, message="left: it was deployed anew")
    return row if seen.is_going else replace(row, asked=None)


def _waiting(serve: ServeState, now: datetime) -> ServeState:
    names, waited = _listed(serve.still_there), _pending_for(serve, now)
    if waited >= GIVE_UP:
        return _over(serve, CleanUp.FAILED, f"given up: {names} not gone after an hour", now)
    pause = max(FIRST_LOOK, min(LONGEST_LOOK, waited.total_seconds() / 4))
    return replace(serve, message=f"deleting {names}", failures=0, due=now + timedelta(seconds=pause))


def _pending_for(serve: ServeState, now: datetime) -> timedelta:
    return now - serve.requested if serve.requested else GIVE_UP


def _over(serve: ServeState, state: CleanUp, message: str, now: datetime) -> ServeState:
    return replace(
        serve, state=state, completed=now.replace(microsecond=0), message=clean_line(message), failures=0, due=None
    )


def _result(serve: ServeState, spec: ServeSpec, seen: Mapping[str, Application]) -> str:
    """Say what came of it; `seen` are the applications that are there now."""
    names = {*serve.deleted, *(one.name for one in serve.applications)}
    others = [name for name in seen.keys() - names if _is_meant(name, spec)]
    unmatched = [one for one in spec.applications if not any(_matches(one, name) for name in (*names, *others))]
    parts = [
        f"deleted {_names(serve.deleted)}" if serve.deleted else "",
        f"left {_listed(serve.applications)}" if serve.applications else "",
        f"no application matched {_names(unmatched)}" if unmatched else "",
        f"{len(others)} that match are there: deployed later, or too many or too odd to be told" if others else "",
    ]
    return "; ".join(part for part in parts if part)


def _is_meant(name: str, spec: ServeSpec) -> bool:
    return any(_matches(pattern, name) for pattern in spec.applications)


def _matches(pattern: str, name: str) -> bool:
    """Whether `*` (any text) and `?` (one character) in the pattern can stand for the rest of the name."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _fits(name: str) -> bool:
    """Whether status can hold a name just as it is."""
    return clean_line(name, NAME_BYTES) == name and len(json.dumps(name, ensure_ascii=False).encode()) <= NAME_BYTES


def _listed(applications: Sequence[Application]) -> str:
    return _names([one.name for one in applications])


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
