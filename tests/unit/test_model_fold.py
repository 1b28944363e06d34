"""When a job gets its verdict, and when it must not."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings

from rayjobwatch.model.cause.tasks import FailedTask
from rayjobwatch.model.cause.window import LogWindow
from rayjobwatch.model.conditions import conditions_of
from rayjobwatch.model.events import events_of
from rayjobwatch.model.fold import DRAIN_GRACE, MISSING_GRACE, UNCERTAIN_GRACE
from rayjobwatch.model.jobs import Failure, Job, JobRow, JobState
from rayjobwatch.model.observation import Observation
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.summary import summary_of
from tests.unit.observations import IDS, NO_HEAD, T0, at, folded, heard, histories, row, silent

GHOST = JobRow("a", "PENDING", entrypoint="Entrypoint not found.")
DIED = row("FAILED", error_type="JOB_SUPERVISOR_ACTOR_DIED")
MISSING = MISSING_GRACE.total_seconds()
DRAIN = DRAIN_GRACE.total_seconds()
UNCERTAIN = UNCERTAIN_GRACE.total_seconds()


def _state(*seen: Observation) -> JobState:
    return folded(*seen).jobs["a"].state


def _at(seconds: float, seen: Observation) -> Observation:
    """Return `seen` as it is still what is known at `seconds`."""
    return replace(seen, now=at(seconds))


def _printing(seen: Observation, seconds: float) -> Observation:
    """Return `seen` with a log whose last line came at `seconds`."""
    return replace(seen, last_lines={"a": at(seconds)})


@settings(max_examples=40)
@given(histories())
def test_a_verdict_is_final_whatever_comes_after(history: Sequence[Observation]) -> None:
    state = WatchState()
    over: dict[str, Job] = {}
    for seen in history:
        state = folded(seen, state=state, ids=IDS)
        assert all(state.jobs[id_] == job for id_, job in over.items())
        over = {id_: job for id_, job in state.jobs.items() if job.state.is_over}


@settings(max_examples=40)
@given(histories())
def test_no_job_succeeds_fails_or_stops_unless_ray_says_so(history: Sequence[Observation]) -> None:
    said: set[tuple[str, str]] = set()
    state = WatchState()
    for seen in history:
        rows = seen.listing.rows.values() if seen.listing else ()
        said |= {(one.id, one.status.capitalize()) for one in rows if not one.is_driver}
        state = folded(seen, state=state, ids=IDS)
        claimed = {(id_, job.state.value) for id_, job in state.jobs.items()}
        assert {claim for claim in claimed if claim[1] in ("Succeeded", "Failed", "Stopped")} <= said


@settings(max_examples=40)
@given(histories(), histories())
def test_silence_never_changes_a_job(history: Sequence[Observation], later: Sequence[Observation]) -> None:
    known = folded(*history, ids=IDS)
    quiet = [replace(seen, listing=None, cluster_gone=False) for seen in later]
    assert folded(*quiet, state=known, ids=IDS).jobs == folded(state=known, ids=IDS).jobs or not history


@settings(max_examples=40)
@given(histories())
def test_seeing_the_same_twice_changes_nothing(history: Sequence[Observation]) -> None:
    once = folded(*history, ids=IDS)
    for last in history[-1:]:
        # Once a new cluster's listing is known, the old cluster is not what is gone.
        again = replace(last, cluster_gone=last.cluster_gone and last.listing is None)
        assert folded(again, state=once, ids=IDS).jobs == once.jobs


@settings(max_examples=40)
@given(histories())
def test_the_jobs_are_those_of_the_spec_in_its_order(history: Sequence[Observation]) -> None:
    assert not history or list(folded(*history, ids=("b", "a", "c")).jobs) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        ([heard(0)], "Waiting"),
        ([heard(0, row("PENDING"))], "Pending"),
        ([heard(0, row())], "Running"),
        ([heard(0, row("SUCCEEDED"))], "Succeeded"),
        ([heard(0, row("STOPPED"))], "Stopped"),
        ([heard(0, row("FAILED"))], "Failed"),
        ([heard(0, row("NEW_WORD"))], "Waiting"),
        ([heard(0, row()), heard(1, row("NEW_WORD"))], "Running"),
        ([heard(0, row(is_driver=True))], "Running"),
        ([heard(0, row("SUCCEEDED", is_driver=True))], "Unknown"),
        ([heard(0, row("FAILED", is_driver=True))], "Unknown"),
        ([heard(0, GHOST)], "Waiting"),
        ([heard(0, row()), heard(1, GHOST)], "Running"),
        ([heard(0, row()), heard(1, GHOST), heard(1 + MISSING, GHOST)], "Unknown"),
    ],
)
def test_a_job_is_in_the_state_that_ray_can_be_believed_for(seen: list[Observation], state: str) -> None:
    assert _state(*seen) == state


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        ([heard(1)], "Running"),
        ([heard(1), heard(1 + MISSING - 0.1)], "Running"),
        ([heard(1), heard(1 + MISSING)], "Unknown"),
        ([heard(1), heard(9, took=7.5)], "Running"),
        ([heard(1), heard(9, took=8 - MISSING)], "Unknown"),
        ([heard(1), silent(60)], "Running"),
        ([heard(1), silent(60), heard(61)], "Unknown"),
        ([heard(1), heard(2, row()), heard(3), heard(2 + MISSING)], "Running"),
        ([heard(1), heard(2, row("NEW_WORD")), heard(3), heard(2 + MISSING)], "Running"),
        ([heard(1), replace(heard(1), now=at(60))], "Running"),
    ],
    ids=["once", "within the grace", "confirmed", "asked within the grace, answered late",
         "confirmed by a late answer", "then silence", "confirmed after silence", "came back",
         "came back odd", "one old listing seen again"],
)  # fmt: skip
def test_a_deleted_record_ends_a_job_only_when_a_later_listing_confirms_it(seen: list[Observation], state: str) -> None:
    assert _state(heard(0, row()), *seen) == state


@pytest.mark.parametrize(
    ("before", "after", "state"),
    [
        (heard(0, row()), heard(1, session="s2"), "Lost"),
        (heard(0, row("PENDING")), heard(1, session="s2"), "Lost"),
        (heard(0, row()), heard(1, GHOST, session="s2"), "Lost"),
        (heard(0, row()), heard(1, row("SUCCEEDED", start_time=T0), session="s2"), "Lost"),
        (heard(0, row()), heard(1, row(), session="s2"), "Running"),
        (heard(0, row()), heard(1, row("SUCCEEDED"), session="s2"), "Succeeded"),
        (heard(0, row(start_time=None)), heard(1, row(start_time=None), session="s2"), "Lost"),
        (heard(0), heard(1, session="s2"), "Waiting"),
        (heard(0), heard(1, row(), session="s2"), "Running"),
        (silent(0), heard(1, row()), "Running"),
    ],
    ids=["empty table", "pending", "ghost", "same id, another start", "same start", "same start, over",
         "no start to compare", "never seen", "never seen, now there", "first contact"],
)  # fmt: skip
def test_a_new_session_loses_the_jobs_of_the_old_one(before: Observation, after: Observation, state: str) -> None:
    assert _state(before, after) == state


def test_a_job_that_survived_its_head_belongs_to_the_new_session() -> None:
    seen = heard(0, row()), heard(1, row(), session="s2"), heard(2, session="s2"), heard(9, session="s2")
    assert _state(*seen[:2]) == "Running"
    assert _state(*seen) == "Unknown"


@pytest.mark.parametrize(
    ("before", "state"),
    [(heard(0, row()), "Lost"), (heard(0, row("SUCCEEDED")), "Succeeded"), (heard(0), "Waiting")],
    ids=["running", "over", "never seen"],
)
def test_a_deleted_cluster_loses_its_open_jobs(before: Observation, state: str) -> None:
    assert _state(before, silent(1, cluster_gone=True)) == state


ENDED_OTHERWISE = row("FAILED", error_type="JOB_ENTRYPOINT_COMMAND_ERROR")


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        ([heard(600, DIED)], "Running"),
        ([heard(600, DIED), heard(599.9 + UNCERTAIN, DIED)], "Running"),
        ([heard(600, DIED), heard(600 + UNCERTAIN, DIED)], "Failed"),
        ([heard(600, DIED), heard(640, DIED, took=20)], "Running"),
        ([heard(600, DIED), silent(700)], "Running"),
        ([heard(600, DIED), silent(620), silent(900), heard(901, row())], "Running"),
        ([heard(600, DIED), silent(620), silent(900), heard(901, DIED)], "Failed"),
        ([heard(600, DIED), heard(603, row())], "Running"),
        ([heard(600, DIED), heard(603, row("SUCCEEDED"))], "Succeeded"),
        ([heard(600, DIED), heard(603, row()), heard(640, DIED)], "Running"),
        ([heard(600, DIED), _printing(heard(640, DIED), 620)], "Running"),
        ([heard(600, DIED), _printing(heard(640, DIED), 605)], "Failed"),
        ([heard(600, DIED), _printing(_at(645, heard(602, DIED)), 644)], "Running"),
        ([heard(600, DIED), _at(645, heard(602, DIED))], "Running"),
        ([heard(600, DIED), heard(-3600, DIED)], "Running"),
        ([heard(600, DIED), heard(-3600, DIED), heard(-3600 + UNCERTAIN, DIED)], "Failed"),
        ([heard(600, DIED), _printing(heard(600 + UNCERTAIN, DIED), 9000)], "Failed"),
        ([heard(600, ENDED_OTHERWISE)], "Failed"),
    ],
    ids=["at first", "held back", "held back long enough", "asked before, answered late",
         "the dashboard hangs", "hangs, and it went on",
         "hangs, and it died", "went on", "went on and ended well", "anew", "its log moves", "its log is still",
         "its log moves, the dashboard hangs", "the dashboard hangs, no listing is fresh", "a clock was set back",
         "a clock was set back long enough ago", "a line from the future",
         "another failure"],
)  # fmt: skip
def test_a_dead_supervisor_is_held_back_until_the_table_has_shown_it_for_long(
    seen: list[Observation], state: str
) -> None:
    assert _state(heard(0, row()), *seen) == state


@pytest.mark.parametrize("gone", [silent(1, cluster_gone=True), heard(1, session="s2")], ids=["cluster", "head"])
@pytest.mark.parametrize(
    ("last", "state"),
    [
        (row("SUCCEEDED"), "Succeeded"),
        (row("STOPPED"), "Stopped"),
        (ENDED_OTHERWISE, "Failed"),
        (DIED, "Lost"),
        (row(), "Lost"),
    ],
)
def test_an_end_that_ray_has_shown_is_believed_when_the_head_goes_before_its_log_is_read(
    last: JobRow, state: str, gone: Observation
) -> None:
    assert _state(heard(0, row()), heard(0.9, last, complete=False), gone) == state


def test_a_lost_job_says_when_it_was_last_seen() -> None:
    lost = folded(heard(0, row()), heard(7, row()), silent(60, cluster_gone=True)).jobs["a"]
    assert lost.last_seen == at(7)


def test_a_job_first_seen_while_held_back_is_pending() -> None:
    assert _state(heard(1, DIED)) == "Pending"


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        ([heard(1, row("SUCCEEDED"), complete=False)], "Running"),
        ([heard(1, row("SUCCEEDED"), complete=False), heard(1 + DRAIN, row("SUCCEEDED"), complete=False)], "Succeeded"),
        ([heard(1, row("SUCCEEDED"), complete=False), heard(1.1, row("SUCCEEDED"))], "Succeeded"),
        ([heard(1, row("SUCCEEDED"), complete=False), silent(60)], "Running"),
    ],
    ids=["log still read", "log is slow", "log complete", "silence is no verdict"],
)
def test_a_verdict_waits_a_moment_for_the_logs_last_lines(seen: list[Observation], state: str) -> None:
    assert _state(heard(0, row()), *seen) == state


def test_a_failed_job_keeps_the_facts_of_its_row() -> None:
    job = folded(heard(0, row("FAILED", exit_code=3, end_time=T0, message="boom"))).jobs["a"]
    assert (job.exit_code, job.end_time, job.session) == (3, T0, "s1")
    assert job.failure is not None
    assert job.failure.message == "exit code 3: boom"


def test_a_failed_jobs_log_tells_its_cause_in_summary_condition_and_event() -> None:
    frame = '  File "/tmp/ray/job/train.py", line 88, in <module>'
    log = ["Traceback (most recent call last):", frame, "    main()", "torch.OutOfMemoryError: CUDA out of memory.", ""]
    seen = heard(1, row("FAILED", exit_code=1, error_type="JOB_ENTRYPOINT_COMMAND_ERROR", message="\n".join(log)))
    before = folded(heard(0, row()))
    state = folded(replace(seen, windows={"a": LogWindow().fed([*log, *["(f pid=1) still here"] * 900])}), state=before)
    text = "train.py:88 torch.OutOfMemoryError: CUDA out of memory."
    failure = state.jobs["a"].failure
    assert failure is not None
    assert (failure.type, failure.location) == ("torch.OutOfMemoryError", "train.py:88")
    assert summary_of(state) == text
    assert [one.message for one in conditions_of(state) if one.type == "Succeeded"] == [text]
    assert [note.message for note in events_of(before, state)] == [f"job a failed: {text}"]


def _silent(seconds: float, **answered: Sequence[FailedTask]) -> Observation:
    return replace(heard(seconds, row("FAILED", exit_code=3, ray_job_id="id")), tasks=answered)


def test_a_failure_that_nothing_tells_of_waits_for_the_failed_tasks_but_not_for_long() -> None:
    first = folded(heard(0, row()), _silent(1))
    assert first.jobs["a"].state is JobState.RUNNING
    told = folded(_silent(1.2, id=[FailedTask("OUT_OF_MEMORY")]), state=first)
    assert told.jobs["a"].failure == Failure("exit code 3: failed tasks: OUT_OF_MEMORY")
    for seconds, state in ((2.9, JobState.RUNNING), (3.1, JobState.FAILED)):
        assert folded(_silent(seconds), state=first).jobs["a"].state is state
    assert folded(_silent(1.2, id=[]), state=first).jobs["a"].failure == Failure("exit code 3")


def test_a_stopped_job_has_no_failure_whatever_its_message() -> None:
    assert folded(heard(0, row("STOPPED", message="Traceback"))).jobs["a"].failure is None


def test_an_entrypoint_is_shown_without_its_secrets() -> None:
    job = folded(heard(0, row(entrypoint="train.py --token abc\nx" + "é" * 200))).jobs["a"]
    assert job.entrypoint.startswith("train.py --token ***")
    assert len(job.entrypoint.encode()) <= 200


def test_ids_come_and_go_with_the_spec() -> None:
    state = folded(heard(0, row("SUCCEEDED"), row(id_="b")), ids=("a", "b"))
    assert list(folded(silent(1), state=state, ids=("b", "c")).jobs) == ["b", "c"]
    assert folded(silent(1), state=state, ids=("c",)).jobs["c"].state == "Waiting"
    assert folded(silent(1), state=state, ids=("a",)).jobs["a"].state == "Succeeded"


@pytest.mark.parametrize(
    ("seen", "reachable"),
    [
        ([Observation(T0)], None),
        ([Observation(T0, problem=NO_HEAD)], None),
        ([silent(0)], False),
        ([heard(0)], True),
        ([heard(0), silent(1)], False),
        ([heard(0), Observation(T0, problem=NO_HEAD)], False),
        ([silent(0), heard(1)], True),
        ([heard(0), Observation(T0)], True),
    ],
)
def test_reachable_says_how_the_last_question_went(seen: list[Observation], reachable: bool | None) -> None:
    assert folded(*seen).reachable is reachable


def test_what_is_known_of_the_cluster_outlives_its_silence() -> None:
    state = folded(heard(5), silent(9))
    assert (state.cluster.session, state.last_contact) == ("s1", at(5))


def test_a_job_whose_id_is_used_again_gets_neither_runs_verdict() -> None:
    other = row("SUCCEEDED", start_time=T0)
    state = folded(heard(0, row()), heard(1, other), heard(5, other))
    assert state.jobs["a"].state == "Unknown"


def test_a_clock_that_is_set_back_delays_no_verdict() -> None:
    ended = row("SUCCEEDED")
    state = folded(
        heard(0, row(), complete=False), heard(1, ended, complete=False), heard(-3600, ended, complete=False)
    )
    assert state.jobs["a"].state == "Succeeded"
