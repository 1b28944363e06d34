"""The jobs of a selection: a set that changes, of a table that grows without end, in a status that must not.

The state keeps all open jobs and the newest that are over, in this order. Older ones are *settled*: counted and
forgotten. So that no listing, of this process or of a later one, takes one of them for a new job, `Selected.until` says
up to which end the table is settled: a row that was over by then and is not in the state is counted already.
What that rests on:

- A job is settled only when it ended a minute before the newest event of the table, on Ray's clock. Rows that come
  late, or in any order within that minute, are still found.
- No job is settled past one that Ray calls over and we do not, yet.
- What is settled or not is not asked of an open row: it is always one of the selection's jobs.
- Jobs that are in the state without a row in status are found again by a later process: they are open, or they ended
  after `until`. Only of a table that is gone itself they are taken over as counts (`Selected.unlisted`).

Left are a job that begins and ends unseen after the head's clock was set back by more than a minute, and one without a
row whose record is deleted while no controller runs.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rayjobwatch.model.fold import fold, is_another_run, is_same_run, state_of
from rayjobwatch.model.jobs import Job, JobRow, JobState
from rayjobwatch.model.observation import Listing, Observation
from rayjobwatch.model.records import Deletion
from rayjobwatch.model.selector import SECOND, Selector, is_open, is_wanted, over_at
from rayjobwatch.model.state import NO_COUNTS, Counts, Selected, WatchState

ROWS = 50
ENDED_ROWS = 20
OPEN_ROWS = ROWS - ENDED_ROWS
SETTLING = timedelta(minutes=1)
AWAITED_LOGS = 10
PAST_LOGS = 10
PAST_LOGS_AT_ONCE = 4

_NEVER = datetime.max.replace(tzinfo=UTC)
_NOTHING: Mapping[str, JobRow] = {}
_URGENCY = {JobState.RUNNING: 1, JobState.PENDING: 2}


def fold_selected(
    state: WatchState, selector: Selector, seen: Observation, told: WatchState, *, keeps_records: bool = True
) -> WatchState:
    """Return what is known of the selected jobs after `seen`.

    The rows of its listing are those that the selector matches. told: the state whose ends are in Events already; a
    job is not settled before its end is. keeps_records: whether Ray's records are left alone; otherwise a job is
    neither before its record is deleted.
    """
    selected, before = state.selected, state.jobs
    if selected is None or selected.key != selector.key:
        state, selected = replace(state, jobs={}), Selected(selector.key)
    selected = _carried(replace(selected, since=selector.since), state, seen)
    rows = seen.listing.rows if seen.listing else _NOTHING
    again = {id_ for id_ in reused_ids(state, selector, rows) if not is_news(told, state, state.jobs[id_])}
    selected = replace(selected, settled=_more(selected.settled, (state.jobs[id_].state for id_ in again)))
    known = {id_: job for id_, job in state.jobs.items() if id_ not in again and _stays(job, seen.listing)}
    new = new_rows(known, rows, selector.floor(selected.until))
    if keeps_records:
        new, selected = _without_old(new, selected, _horizon(state, rows))
    seen = _without_logs(seen, {row.id for row in new if row.id in before and is_another_run(before[row.id], row)})
    folded = fold(replace(state, jobs=known), [*known, *(row.id for row in new)], seen)
    selected = replace(selected, newest=_newest_end(selected, folded))
    folded = replace(folded, jobs=_arranged(folded.jobs, known), selected=selected)
    if not (seen.listing or seen.cluster_gone):
        return folded
    return _settled(folded, told, rows, keeps_records=keeps_records)


def _without_logs(seen: Observation, ids: AbstractSet[str]) -> Observation:
    """Return what is seen without what was read of logs: under these ids it was an earlier run's."""
    if not ids:
        return seen
    return replace(
        seen,
        complete_logs=seen.complete_logs - ids,
        windows={id_: window for id_, window in seen.windows.items() if id_ not in ids},
        last_lines={id_: time for id_, time in seen.last_lines.items() if id_ not in ids},
        findings={id_: found for id_, found in seen.findings.items() if id_ not in ids},
    )


def _newest_end(selected: Selected, state: WatchState) -> datetime | None:
    jobs = (job for job in state.jobs.values() if job.session == state.cluster.session)
    return max(filter(None, (selected.newest, *(job.end_time for job in jobs))), default=None)


def _stays(job: Job, listing: Listing | None) -> bool:
    """Return whether to go on with a job: one whose row was never understood is forgotten with its row."""
    return job.seen or listing is None or job.id in listing.rows


def new_rows(known: Mapping[str, Job], rows: Mapping[str, JobRow], floor: datetime | None) -> list[JobRow]:
    """Return the rows of jobs that are not known yet, oldest first."""
    new = (row for id_, row in rows.items() if id_ not in known and is_wanted(row, floor))
    return sorted(new, key=lambda row: (row.start_time is None, row.start_time or 0, row.id))


def _without_old(new: list[JobRow], selected: Selected, horizon: datetime | None) -> tuple[list[JobRow], Selected]:
    """Settle at once what was over long before the watch was created: of thousands of rows only the newest are read."""
    past = [(over, row) for row in new if (over := _past(row, selected.since))]
    if len(past) <= ROWS or horizon is None:
        return new, selected
    past.sort(key=lambda pair: pair[0])
    end = min(past[-ROWS][0], horizon)
    old = {row.id: row for over, row in past if over < end}
    settled = _more(selected.settled, filter(None, map(state_of, old.values())))
    until = max((over for over, row in past if over < end), default=selected.until)
    return [row for row in new if row.id not in old], replace(selected, settled=settled, until=until)


def _past(row: JobRow, since: datetime | None) -> datetime | None:
    """Return when a job was over, if that was before the watch was created."""
    over = None if is_open(row) else over_at(row)
    return over if since and over and over < since else None


def reused_ids(state: WatchState, selector: Selector, rows: Mapping[str, JobRow]) -> frozenset[str]:
    """Return the ids of jobs that are over under which Ray now has another run."""
    floor = selector.floor(state.selected.until if state.selected else None)
    over = (job for job in state.jobs.values() if job.state.is_over and job.id in rows)
    return frozenset(job.id for job in over if is_another_run(job, rows[job.id]) and is_wanted(rows[job.id], floor))


def _carried(selected: Selected, state: WatchState, seen: Observation) -> Selected:
    """Return what goes on to hold for the table that is seen now."""
    listing = seen.listing
    if listing and not seen.cluster_gone:
        is_same_table = listing.session == state.cluster.session
        if is_same_table or any(is_same_run(job, listing.rows.get(job.id)) for job in state.jobs.values()):
            return replace(selected, unlisted=NO_COUNTS)
    if not (listing or seen.cluster_gone):
        return selected
    ends = (state if state.is_over else JobState.LOST for state in Counter(selected.unlisted).elements())
    return replace(selected, settled=_more(selected.settled, ends), unlisted=NO_COUNTS, until=None, newest=None)


def _more(counts: Counts, ends: Iterable[JobState]) -> Counts:
    return Counter(counts) + Counter(ends)


def _arranged(jobs: Mapping[str, Job], before: Mapping[str, Job]) -> dict[str, Job]:
    """Return the open jobs in the order in which they were found, then those that are over, the newest first.

    A job that was over when it was found stands by its end time; among the others it counts when they were seen to end.
    """
    open_ = [job for job in jobs.values() if not job.state.is_over]
    over = [job for job in jobs.values() if job.id in before and before[job.id].state.is_over]
    ended = (
        job for job in jobs.values() if job.state.is_over and not (job.id in before and before[job.id].state.is_over)
    )
    for job in sorted(ended, key=lambda job: (job.end_time is not None, job.end_time or 0)):
        over.insert(_place(job, over) if job.id not in before else 0, job)
    return {job.id: job for job in (*open_, *over)}


def _place(job: Job, over: Sequence[Job]) -> int:
    end = job.end_time
    older = (n for n, other in enumerate(over) if end and other.end_time and other.end_time <= end)
    return next(older, len(over))


def shown(state: WatchState) -> list[Job]:
    """Return the jobs that have a row in status: of more than ROWS the open ones, and some of the newest ends."""
    jobs = list(state.jobs.values())
    if len(jobs) <= ROWS:
        return jobs
    over = [job for job in jobs if job.state.is_over]
    open_ = sorted((job for job in jobs if not job.state.is_over), key=_urgency)
    open_ = open_[: ROWS - min(ENDED_ROWS, len(over))]
    return [*open_, *_shown_ends(over, ROWS - len(open_))]


def _shown_ends(over: Sequence[Job], room: int) -> list[Job]:
    """Return the newest ends, and in half of the room those of which something is being done: status must say so."""
    busy = {job.id for job in over if job.record.state is Deletion.PENDING}
    others = [job.id for job in over if job.id not in busy]
    newest = others[: max(room // 2, room - len(busy))]
    rows = {*newest, *[job.id for job in over if job.id in busy][: room - len(newest)]}
    return [job for job in over if job.id in rows]


def _urgency(job: Job) -> int:
    # A stop must stand in status before Ray is asked. An end that is to be confirmed may lie before `until`: after a
    # restart only its row tells that it is not settled.
    return 0 if job.ending_since or job.stop else _URGENCY.get(job.state, 3)


def _settled(state: WatchState, told: WatchState, rows: Mapping[str, JobRow], *, keeps_records: bool) -> WatchState:
    """Return the state without the jobs that are over, have no row, and need not be remembered one by one."""
    unshown = _unshown_ends(state)
    if not unshown:
        return state
    selected = state.selected or Selected()
    over = {job.id: _over_at(job, rows.get(job.id)) for job in unshown}
    needed = {job.id for job in unshown if is_news(told, state, job)}
    if not keeps_records:
        needed |= {job.id for job in unshown if over[job.id] and job.end_time and not job.record.is_over}
    horizon = _before(_horizon(state, rows), (over[id_] for id_ in needed))
    ends = {job.id: job.state for job in unshown if job.id not in needed and _is_by(over[job.id], horizon)}
    times = [time for id_ in ends if (time := over[id_])]
    until = max([*times, *filter(None, [selected.until])], default=None)
    return replace(
        state,
        jobs={id_: job for id_, job in state.jobs.items() if id_ not in ends},
        findings={id_: found for id_, found in state.findings.items() if id_ not in ends},
        selected=replace(selected, settled=_more(selected.settled, ends.values()), until=until),
    )


def _unshown_ends(state: WatchState) -> list[Job]:
    if len(state.jobs) <= ROWS:
        return []
    rows = {job.id for job in shown(state)}
    return [job for job in state.jobs.values() if job.state.is_over and job.id not in rows]


def _is_by(over: datetime | None, horizon: datetime | None) -> bool:
    return over is None or (horizon is not None and over <= horizon)


def _before(horizon: datetime | None, times: Iterable[datetime | None]) -> datetime | None:
    """Return the horizon, or an earlier one before all of `times`."""
    return horizon and min([horizon, *(time - SECOND for time in times if time)])


def _horizon(state: WatchState, rows: Mapping[str, JobRow]) -> datetime | None:
    """Return by when a job must have ended, on Ray's clock, to be settled."""
    times = [time for row in rows.values() for time in (row.start_time, row.end_time) if time]
    newest = max(times, default=None)
    if newest is None:
        return None
    ending = [rows[job.id] for job in state.jobs.values() if not job.state.is_over and job.id in rows]
    return _before(newest - SETTLING, (over_at(row) for row in ending if not is_open(row)))


def _over_at(job: Job, row: JobRow | None) -> datetime | None:
    """Return when a job was over by its row; None where the table has none of it that is newer than `until`."""
    if row is None or is_another_run(job, row):
        return None
    return _NEVER if is_open(row) else over_at(row)


def is_past(job: Job, since: datetime | None) -> bool:
    """Return whether a job was over before the watch was created: it is shown, but no news."""
    return job.state.is_over and bool(since and job.end_time and job.end_time < since)


def is_news(told: WatchState, state: WatchState, job: Job) -> bool:
    """Return whether the state of `job` was not told yet, and should be."""
    before = told.jobs.get(job.id)
    if before is not None:
        return before.state is not job.state or before.start_time not in (None, job.start_time)
    return not (is_past(job, state.selected.since if state.selected else None) or _was_told(told, state, job))


def _was_told(told: WatchState, state: WatchState, job: Job) -> bool:
    """Return whether an earlier process has told the end of a job that had no row in status."""
    known, selected = told.selected, state.selected
    if known is None or selected is None or known.key != selected.key or known.newest is None:
        return False
    return job.state.is_over and bool(job.end_time and job.end_time < known.newest - SETTLING)


def awaited(state: WatchState, selector: Selector, rows: Mapping[str, JobRow]) -> set[str]:
    """Return the jobs whose verdict waits for what their logs and tasks say: only so many can be read at once."""
    new = new_rows(state.jobs, rows, selector.floor(state.selected.until if state.selected else None))
    ended = [row for row in new if not (row.is_driver or is_open(row) or _past(row, selector.since))]
    ended.sort(key=lambda row: (row.end_time is not None, row.end_time or 0), reverse=True)
    open_ = [job.id for job in shown(state) if not (job.is_driver or job.state.is_over)]
    return {*open_, *(row.id for row in ended[:AWAITED_LOGS])}


def logged(state: WatchState, is_read: Callable[[str], bool]) -> list[Job]:
    """Return the jobs whose log is read: those with a row; of those over before the watch was created some, in turn.

    Ray has no log of a driver. is_read: whether nothing more is to be read of a job's log.
    """
    since = state.selected.since if state.selected else None
    jobs = [job for job in shown(state) if not job.is_driver]
    past = [job for job in jobs if is_past(job, since)]
    unread = [job.id for job in past[:PAST_LOGS] if not is_read(job.id)]
    left = {job.id for job in past}.difference(unread[:PAST_LOGS_AT_ONCE])
    return [job for job in jobs if job.id not in left]
