"""Which jobs a selection has, that none is counted twice or forgotten, and what of them status shows."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayjobwatch.model import selection
from rayjobwatch.model.conditions import conditions_of
from rayjobwatch.model.decide import decide
from rayjobwatch.model.events import events_of, surely_told
from rayjobwatch.model.jobs import JobRow, JobState
from rayjobwatch.model.moment import Moment
from rayjobwatch.model.records import Deletion, RecordState
from rayjobwatch.model.selection import fold_selected, logged, shown
from rayjobwatch.model.selector import Selector, is_wanted, selector_of
from rayjobwatch.model.spec import JobSelection, WatchSpec
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.status import restored, status_of
from rayjobwatch.model.summary import summary_of
from tests.unit.observations import DOWN, T0, at, heard, row, silent
from tests.unit.schema import faults, status_schema

ALL = Selector("all", {}, None, T0)
EVER = replace(ALL, key="ever", include_finished=True)


@pytest.mark.parametrize(
    ("jobs", "entrypoint", "metadata", "wanted"),
    [
        ({}, "python train.py", {}, True),
        ({"metadata": {"team": "nlp"}}, "", {"team": "nlp", "run": "7"}, True),
        ({"metadata": {"team": "nlp"}}, "", {"team": "nlp2"}, False),
        ({"metadata": {"team": "nlp"}}, "", {}, False),
        ({"metadata": {"team": "nlp", "run": "7"}}, "", {"team": "nlp"}, False),
        ({"metadata": {"team": "1"}}, "", {"team": 1}, False),
        ({"entrypoint": r"^python train\.py"}, "python train.py --lr 1", {}, True),
        ({"entrypoint": r"^python train\.py"}, "nice python train.py", {}, False),
        ({"entrypoint": r"train"}, "python train.py", {}, True),
        ({"entrypoint": r"train$"}, "python train.py", {}, False),
        ({"entrypoint": r"é\x{1F600}"}, "python é😀.py", {}, True),
        ({"entrypoint": r"x"}, "\ud800 x", {}, True),
        ({"entrypoint": r"b"}, "a\nb", {}, True),
        ({"entrypoint": r"(a*)*$"}, "a" * 100_000 + "b", {}, True),
        ({"entrypoint": "x", "metadata": {"team": "nlp"}}, "x", {"team": "nlp"}, True),
        ({"entrypoint": "x", "metadata": {"team": "nlp"}}, "x", {"team": "cv"}, False),
        ({"entrypoint": "x", "metadata": {"team": "nlp"}}, "y", {"team": "nlp"}, False),
    ],
)
def test_a_job_is_selected_by_its_metadata_and_command(
    jobs: dict[str, Any], entrypoint: str, metadata: dict[str, Any], wanted: bool
) -> None:
    selector = selector_of(JobSelection.model_validate(jobs), T0)
    assert selector is not None
    assert selector.matches(entrypoint, metadata) is wanted


def test_a_watch_of_ids_selects_nothing_and_each_selection_has_its_own_key() -> None:
    assert selector_of(JobSelection(ids=("a",)), T0) is None
    selections = [{}, {"metadata": {"a": "b"}}, {"entrypoint": "a"}, {"entrypoint": "b"}, {"includeFinished": True}]
    made = [selector_of(JobSelection.model_validate(one), T0) for one in selections]
    keys = [one.key for one in made if one]
    assert len(set(keys)) == len(selections)
    again = selector_of(JobSelection(entrypoint="a"), at(9))
    assert again is not None
    assert again.key == keys[2]


@pytest.mark.parametrize(
    ("one", "created", "until", "wanted"),
    [
        (row("RUNNING"), T0, None, True),
        (row("RUNNING"), T0, at(999), True),
        (row("NEW_WORD"), T0, None, True),
        (row("SUCCEEDED", end_time=at(-1)), T0, None, False),
        (row("SUCCEEDED", end_time=at(-1)), None, None, True),
        (row("SUCCEEDED", end_time=at(0)), T0, None, True),
        (row("SUCCEEDED", end_time=at(9)), T0, at(9), False),
        (row("SUCCEEDED", end_time=at(10)), T0, at(9), True),
        (row("SUCCEEDED", end_time=at(9)), None, at(9), False),
        (row("SUCCEEDED", end_time=at(-1)), T0, at(-99), False),
        (row("SUCCEEDED", "a", is_driver=True, end_time=at(9)), T0, None, True),
        (row("FAILED", start_time=at(9)), T0, None, True),
        (row("FAILED"), T0, None, False),
        (row("FAILED", start_time=None), None, None, False),
        (JobRow("a", "FAILED", entrypoint="Entrypoint not found.", end_time=at(9)), T0, None, False),
        (JobRow("a", "PENDING", entrypoint="Entrypoint not found."), T0, None, False),
    ],
)
def test_a_row_is_wanted_that_is_open_or_was_over_since(
    one: JobRow, created: datetime | None, until: datetime | None, wanted: bool
) -> None:
    selector = replace(ALL, since=created or T0, include_finished=created is None)
    assert is_wanted(one, selector.floor(until)) is wanted


def folded(*seen: Any, state: WatchState | None = None, selector: Selector = ALL) -> WatchState:
    """Return the state after all of `seen`, each of it told at once."""
    state = state or WatchState()
    for one in seen:
        state = fold_selected(state, selector, one, state)
    return state


def written(state: WatchState) -> dict[str, Any]:
    status = status_of(state, {}, tail_lines=0, previous={}, generation=1, now=T0)
    assert not list(faults(status, status_schema()))
    return status


def rows_of(count: int, status: str = "SUCCEEDED", first: int = 0, every: float = 1.0) -> list[JobRow]:
    """Return rows of jobs that ended one after the other."""
    numbers = range(first, first + count)
    return [
        row(
            status,
            f"{n:05}",
            end_time=None if status == "RUNNING" else at(int(n * every)),
            start_time=at(int(n * every)),
        )
        for n in numbers
    ]


def test_jobs_are_found_when_they_come_and_none_is_forgotten_when_its_record_is() -> None:
    state = folded(heard(0), heard(1, row(id_="a")), heard(2, row(id_="b"), row("SUCCEEDED", "a", end_time=at(2))))
    assert {id_: job.state.value for id_, job in state.jobs.items()} == {"b": "Running", "a": "Succeeded"}
    assert list(folded(heard(3), heard(9), state=state).jobs) == ["b", "a"]
    assert state.counts.total() == 2


def test_before_the_first_job_nothing_is_finished_and_afterwards_it_is_until_another_comes() -> None:
    def finished(state: WatchState) -> str:
        return next(f"{one.status} {one.message}" for one in conditions_of(state) if one.type == "Finished")

    assert finished(folded(heard(0))) == "False no selected job was seen yet"
    ended = row("SUCCEEDED", "a", end_time=at(1))
    state = folded(heard(0), heard(1, ended))
    assert finished(state) == "True every watched job is over"
    assert finished(folded(heard(2, ended, row(id_="b")), state=state)) == "False not over yet: b"


def test_a_selection_is_never_done_and_says_so() -> None:
    state = folded(heard(1, row("SUCCEEDED", end_time=at(1))))
    shown_ = {one.type: f"{one.status} {one.reason}" for one in conditions_of(state)}
    assert (shown_["Ready"], shown_["DashboardReachable"]) == ("True Watching", "True Answering")
    state = folded(silent(9), state=state)
    assert written(state)["staleSince"] == "2026-11-21T10:00:01Z"
    assert summary_of(state) == DOWN.message
    shown_ = {one.type: one.status for one in conditions_of(state)}
    assert (shown_["Ready"], shown_["Finished"]) == ("False", "True")


def test_of_many_jobs_the_open_ones_and_the_newest_ends_have_a_row() -> None:
    rows = [*rows_of(200), *rows_of(60, "RUNNING", 200)]
    state = folded(heard(300, *rows), heard(600, *rows))
    status = written(state)
    ids = [one["id"] for one in status["jobs"]]
    assert len(ids) == 50
    assert ids[:30] == [f"{n:05}" for n in range(200, 230)]
    assert ids[30:] == [f"{n:05}" for n in range(199, 179, -1)]
    assert status["omitted"] == 210
    assert status["counts"] | {"total": 260, "running": 60, "succeeded": 200} == status["counts"]
    assert status["finished"] == "200/260"


def test_a_job_that_is_found_over_stands_by_its_end_and_another_where_it_was_seen_to_end() -> None:
    ends = [row("SUCCEEDED", id_, end_time=at(end)) for id_, end in (("b", 20), ("c", 10), ("a", 30))]
    lost = row(id_="l")
    state = folded(heard(40, *ends[:1], lost), heard(41, ends[0]), heard(50, ends[0]), heard(51, *ends))
    assert list(state.jobs) == ["l", "a", "b", "c"]


def test_a_job_that_waits_for_resources_has_a_row_after_one_that_runs() -> None:
    rows = [row("PENDING", f"p{n:03}", start_time=at(n)) for n in range(100)]
    state = folded(heard(200, *rows, row(id_="runs", start_time=at(150))))
    assert [job.id for job in shown(state)][:2] == ["runs", "p000"]


def test_thousands_of_old_records_cost_no_more_than_the_rows_of_the_newest() -> None:
    rows = rows_of(5000, every=-1.0)
    state = folded(heard(10, *rows), selector=replace(EVER, since=at(1)))
    assert state.counts == {JobState.SUCCEEDED: 5000}
    assert len(state.jobs) <= 50 + 60
    assert next(iter(state.jobs)) == "00000"
    again = folded(heard(20, *rows), state=state, selector=replace(EVER, since=at(1)))
    assert again.counts == state.counts


def test_what_was_over_before_the_watch_was_created_is_no_news() -> None:
    old, new = row("FAILED", "old", end_time=at(-1)), row("FAILED", "new", end_time=at(1))
    state = folded(heard(2, old, new), selector=EVER)
    assert set(state.jobs) == {"old", "new"}
    assert [note.message.split()[1] for note in events_of(WatchState(), state)] == ["new"]


def test_an_end_that_is_not_told_yet_is_not_forgotten() -> None:
    rows = rows_of(300)
    told = WatchState()
    state = fold_selected(told, ALL, heard(400, *rows), told)
    state = fold_selected(state, ALL, heard(800, *rows), told)
    assert len(list(events_of(told, state))) == 300
    state = fold_selected(state, ALL, heard(900, *rows), state)
    assert len(state.jobs) < 120
    assert state.counts.total() == 300


def test_what_an_earlier_process_has_told_of_a_job_without_a_row_is_not_told_again() -> None:
    rows = rows_of(300)
    state = fold_selected(WatchState(), ALL, heard(400, *rows), WatchState(), keeps_records=False)
    again = restored(written(state))[0]
    seen = heard(5000, *rows, *rows_of(1, first=5000))
    found = fold_selected(again, ALL, seen, again, keeps_records=False)
    assert (len(found.jobs), found.counts.total()) == (301, 301)
    told = [note.message.split()[1] for note in events_of(again, found)]
    assert told[0] == "05000"
    assert len(told) < 62  # those of the last minute may have been written late, and have the names they had


def test_events_that_a_process_still_owed_are_told_by_the_next_one() -> None:
    ended = row("FAILED", "a", end_time=at(10)), row("SUCCEEDED", "b", end_time=at(1000))
    state = folded(heard(1001, *ended))
    assert not list(events_of(restored(written(state))[0], state))
    owed = surely_told(restored(written(state))[0], at(1010))
    assert [note.message.split()[1] for note in events_of(owed, state)] == ["b", "a"]


def test_a_job_whose_record_is_to_be_deleted_is_not_forgotten_before() -> None:
    rows = rows_of(300)
    state = WatchState()
    for seconds in (400, 800):
        state = fold_selected(state, ALL, heard(seconds, *rows), state, keeps_records=False)
    assert len(state.jobs) == 300
    pending = replace(state.jobs["00007"], record=RecordState(Deletion.PENDING))
    state = replace(state, jobs={**state.jobs, "00007": pending})
    assert "00007" in [job.id for job in shown(state)]
    gone = replace(pending, record=RecordState(Deletion.DELETED))
    state = replace(state, jobs={**state.jobs, "00007": gone})
    left = [one for one in rows if one.id != "00007"]
    state = fold_selected(state, ALL, heard(900, *left), state, keeps_records=False)
    assert (len(state.jobs), state.counts.total()) == (299, 300)
    again = restored(written(state))[0]
    assert folded(heard(901, *left), state=again).counts.total() == 300


def test_records_that_are_being_deleted_take_half_of_the_rows_of_ends_at_most() -> None:
    rows = [*rows_of(100), *rows_of(40, "RUNNING", 100)]
    state = fold_selected(WatchState(), ALL, heard(200, *rows), WatchState(), keeps_records=False)
    old = {id_: replace(job, record=RecordState(Deletion.PENDING)) for id_, job in state.jobs.items() if id_ < "00030"}
    ids = [job.id for job in shown(replace(state, jobs={**state.jobs, **old}))]
    assert len(ids) == 50
    assert ids[30:40] == [f"{n:05}" for n in range(99, 89, -1)]
    assert ids[40:] == [f"{n:05}" for n in range(29, 19, -1)]


def test_an_id_that_is_used_again_is_another_job() -> None:
    first = row("SUCCEEDED", "a", end_time=at(1))
    second = row("RUNNING", "a", start_time=at(5))
    state = folded(heard(1, first))
    again = folded(heard(6, second), state=state)
    assert again.counts == {JobState.SUCCEEDED: 1, JobState.RUNNING: 1}
    assert [note.reason for note in events_of(state, again)] == ["JobRunning"]
    ended = folded(heard(9, replace(second, status="SUCCEEDED", end_time=at(8))), state=again)
    assert ended.counts == {JobState.SUCCEEDED: 2}
    assert folded(state=restored(written(ended))[0]).counts == ended.counts


def test_a_job_whose_state_is_no_word_of_ours_is_forgotten_with_its_row() -> None:
    state = folded(heard(0, row("NEW_WORD")))
    assert state.counts == {JobState.WAITING: 1}
    assert folded(silent(1), state=state).counts == {JobState.WAITING: 1}
    assert not folded(heard(2), state=state).counts


def test_another_selection_is_counted_anew() -> None:
    state = folded(heard(1, *rows_of(300)), heard(999, *rows_of(300)))
    assert state.counts.total() == 300
    other = replace(ALL, key="other")
    again = folded(heard(1000, *rows_of(5)), state=restored(written(state))[0], selector=other)
    assert again.counts.total() == 5


def test_a_gravest_end_without_a_row_still_counts() -> None:
    rows = [row("FAILED", "bad", end_time=at(0), start_time=at(0)), *rows_of(200, first=1)]
    state = folded(heard(300, *rows), heard(900, *rows))
    assert "bad" not in state.jobs
    assert written(state)["state"] == "Failed"
    assert summary_of(state) == "1 of 201 jobs Failed, too long ago for a row here"
    assert next(one.status for one in conditions_of(state) if one.type == "Succeeded") == "False"


def test_jobs_without_a_row_are_lost_with_their_head_although_it_went_while_no_controller_ran() -> None:
    state = folded(heard(1, *rows_of(300, "RUNNING")))
    again = restored(json.loads(json.dumps(written(state))))[0]
    assert again.counts == {JobState.RUNNING: 300}
    assert not again.is_finished
    assert folded(silent(5), state=again).counts == {JobState.RUNNING: 300}
    for seen in (heard(9, session="s2"), silent(9, cluster_gone=True)):
        assert folded(seen, state=again).counts == {JobState.LOST: 300}
    assert folded(heard(9, *rows_of(300, "RUNNING")), state=again).counts == {JobState.RUNNING: 300}


def test_of_past_jobs_the_newest_logs_are_read_a_few_at_a_time() -> None:
    selector = replace(EVER, since=at(100))
    state = folded(heard(200, *rows_of(40), row(id_="runs"), row("FAILED", "new", end_time=at(150))), selector=selector)
    read = set[str]()
    turns = []
    while past := [job.id for job in logged(state, read.__contains__) if job.id not in ("runs", "new")]:
        turns.append(past)
        read.add(past[0])
        assert {"runs", "new"} <= {job.id for job in logged(state, read.__contains__)}
    assert turns[0] == ["00039", "00038", "00037", "00036"]
    assert turns[1] == ["00038", "00037", "00036", "00035"]
    assert (len(turns), turns[-1]) == (10, ["00030"])


# Any history of a cluster: what is counted is what happened.


@dataclass
class Head:
    """A Ray head: runs come, end, are deleted, and are all gone with it. `truth` has the state of every run listed."""

    clock: float = 100.0
    session: int = 1
    table: dict[str, JobRow] = field(default_factory=dict)
    truth: dict[tuple[str, datetime | None], JobState] = field(default_factory=dict)
    counter: int = 0

    def submit(self, number: int) -> None:
        free = sorted({id_ for id_, _ in self.truth} - set(self.table))
        id_ = free[number % len(free)] if free and number % 5 == 0 else f"j{self.counter}"
        self.counter += 1
        self.clock += 1  # else two runs of one id may look alike
        status = "PENDING" if number % 3 == 0 else "RUNNING"
        self.table[id_] = row(status, id_, start_time=at(int(self.clock)), is_driver=number % 7 == 0)

    def end(self, number: int) -> None:
        if open_ := sorted(id_ for id_, one in self.table.items() if one.status in ("PENDING", "RUNNING")):
            one = self.table[open_[number % len(open_)]]
            status = "SUCCEEDED" if one.is_driver else ("SUCCEEDED", "FAILED", "STOPPED")[number % 3]
            late = number % 4 * 10  # Ray may write down an end when later ones are written already
            self.table[one.id] = replace(one, status=status, end_time=at(int(self.clock) - late))

    def delete(self, number: int) -> None:
        if over := sorted(id_ for id_, one in self.table.items() if one.status not in ("PENDING", "RUNNING")):
            del self.table[over[number % len(over)]]

    def restart(self) -> None:
        self.session += 1
        self.table.clear()
        for run, state in self.truth.items():
            if not state.is_over:
                self.truth[run] = JobState.LOST

    def listing(self, complete: bool) -> Any:
        for one in self.table.values():
            state = JobState(one.status.capitalize())
            over = JobState.UNKNOWN if one.is_driver and state.is_over else state
            self.truth[one.id, one.start_time] = over
        return heard(self.clock, *self.table.values(), session=f"s{self.session}", complete=complete)


@dataclass
class Controller:
    """A controller that writes what it knows, or dies before it does."""

    head: Head
    state: WatchState = field(default_factory=WatchState)
    told: WatchState = field(default_factory=WatchState)
    status: dict[str, Any] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)

    def look(self, *, write: bool, complete: bool = True) -> None:
        self.state = fold_selected(self.state, ALL, self.head.listing(complete), self.told)
        assert self.state.counts.total() == len(self.head.truth)
        if write:
            self.write()

    def write(self) -> None:
        self.ends.update(note.identity for note in events_of(self.told, self.state) if note.is_end)
        self.told, self.status = self.state, written(self.state)
        assert self.status["counts"]["total"] == len(self.head.truth)

    def die(self) -> None:
        self.state = self.told = restored(json.loads(json.dumps(self.status)))[0]


STEPS = st.tuples(
    st.sampled_from(["submit", "end", "end", "end and die", "look", "write", "write", "wait", "delete", "restart"]),
    st.integers(0, 20),
)


def _live(head: Head, controller: Controller, step: str, number: int) -> None:
    match step:
        case "submit" | "end":
            for n in range(number // 2 + 1):
                getattr(head, step)(number + n)
        case "look":
            controller.look(write=False, complete=number % 2 == 0)
        case "write":
            controller.look(write=True)
        case "end and die":
            head.end(number)
            controller.die()
        case "wait":
            head.clock += number * 10
        case "delete":
            _while_it_is_watched(controller, lambda: head.delete(number))
        case "restart":
            _while_it_is_watched(controller, head.restart)


def _while_it_is_watched(controller: Controller, happens: Any) -> None:
    """Let a record go that the controller knows all of: what it never saw, nobody can count."""
    controller.look(write=True)
    controller.head.clock += 1
    controller.look(write=True)
    happens()
    controller.look(write=True)
    controller.head.clock += 5
    controller.look(write=True)


@contextmanager
def few_rows() -> Iterator[None]:
    """Let status have 4 rows, so that few jobs are many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "ROWS", 4)
        patch.setattr(selection, "ENDED_ROWS", 2)
        yield


@settings(max_examples=200)
@given(st.lists(STEPS, min_size=15, max_size=40))
def test_after_any_history_every_job_is_counted_once_and_every_end_is_told(history: Sequence[tuple[str, int]]) -> None:
    head = Head()
    controller = Controller(head)
    with few_rows():
        for step, number in history:
            _live(head, controller, step, number)
        for _ in range(3):
            head.clock += 100
            controller.look(write=True)
            controller.die()
        controller.look(write=True)
    assert controller.state.counts == Counter(head.truth.values())
    assert len(controller.status["jobs"]) <= 4
    assert len(controller.ends) == sum(state.is_over for state in head.truth.values())


@pytest.mark.parametrize("session", ["s1", "s2"])
def test_a_new_run_of_an_id_is_not_stopped_for_the_deadline_of_the_old_one(session: str) -> None:
    limited = WatchSpec.model_validate(
        {"rayCluster": {"name": "c"}, "jobs": {"entrypoint": "."}, "stop": {"activeDeadlineSeconds": 100}}
    )
    state = decide(folded(heard(99, row("RUNNING", start_time=T0))), limited, Moment(at(100)))
    assert state.jobs["a"].stop
    again = row("RUNNING", start_time=at(101))
    state = folded(*(heard(seconds, again, session=session) for seconds in (110, 150, 160)), state=state)
    assert state.jobs["a"].start_time == at(101)
    assert decide(state, limited, Moment(at(200))).jobs["a"].stop is None
