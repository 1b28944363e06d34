"""Which Events a user sees, and that each is told once."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings

from rayjobwatch.kube.recorder import event_body
from rayjobwatch.model.events import EventNote, events_of
from rayjobwatch.model.jobs import Failure, Job, JobState
from rayjobwatch.model.observation import Observation
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.status import restored, status_of
from tests.unit.observations import IDS, T0, folded, heard, histories, row, silent

WATCH = {
    "apiVersion": "rayjobwatch.dev/v1alpha1",
    "kind": "RayJobWatch",
    "metadata": {"name": "train", "namespace": "ml", "uid": "u-1"},
}


def _notes(*seen: Observation) -> list[EventNote]:
    notes: list[EventNote] = []
    state = WatchState()
    for one in seen:
        new = folded(one, state=state)
        notes += events_of(state, new)
        state = new
    return notes


@pytest.mark.parametrize(
    ("status", "reason", "warning", "message"),
    [
        ("RUNNING", "JobRunning", False, "job a running"),
        ("SUCCEEDED", "JobSucceeded", False, "job a succeeded"),
        ("STOPPED", "JobStopped", False, "job a stopped on request"),
        ("FAILED", "JobFailed", True, "job a failed: exit code 1: boom"),
    ],
)
def test_a_change_is_told_in_one_event_that_says_what_happened(
    status: str, reason: str, warning: bool, message: str
) -> None:
    seen = heard(0, row(status, message="boom", exit_code=1))
    (note,) = _notes(seen, silent(1), seen)
    assert (note.reason, note.is_warning, note.message) == (reason, warning, message)
    assert note.is_end == (status != "RUNNING")
    assert note.on_cluster == (reason == "JobFailed")


@pytest.mark.parametrize(
    ("seen", "reasons"),
    [
        ([heard(0)], []),
        ([heard(0, row("PENDING"))], []),
        ([heard(0, row()), heard(1, row("FAILED"))], ["JobRunning", "JobFailed"]),
        ([heard(0, row()), heard(1, session="s2")], ["JobRunning", "JobLost"]),
        ([heard(0, row()), heard(1), heard(9)], ["JobRunning", "JobOutcomeUnknown"]),
        ([heard(0, row("SUCCEEDED", is_driver=True))], ["JobOutcomeUnknown"]),
        ([heard(0, row()), silent(1, cluster_gone=True)], ["JobRunning", "JobLost"]),
    ],
)
def test_a_jobs_life_is_told_in_order(seen: list[Observation], reasons: list[str]) -> None:
    assert [note.reason for note in _notes(*seen)] == reasons


@settings(max_examples=40)
@given(histories())
def test_a_job_has_one_end_and_no_event_after_it(history: Sequence[Observation]) -> None:
    state = WatchState()
    ended: set[str] = set()
    for seen in history:
        new = folded(seen, state=state, ids=IDS)
        changed = {job.id for job in new.jobs.values() if job != state.jobs.get(job.id)}
        for note in events_of(state, new):
            job_id = note.message.split()[1]
            assert job_id in changed - ended
            ended |= {job_id} if note.is_end else set()
        state = new
    assert ended == {job.id for job in state.jobs.values() if job.state.is_over}


@settings(max_examples=40)
@given(histories())
def test_after_a_restart_the_same_thing_is_told_under_the_same_name(history: Sequence[Observation]) -> None:
    state = folded(*history, ids=IDS)
    status = status_of(state, {}, tail_lines=0, previous={}, generation=1, now=T0)
    again, _ = restored(json.loads(json.dumps(status)))
    assert list(events_of(WatchState(), again)) == list(events_of(WatchState(), state))
    assert not list(events_of(again, state))


def test_another_job_of_the_same_id_is_told_under_another_name() -> None:
    names = {
        event_body(WATCH, note, "pod", T0)["metadata"]["name"]
        for seen in (
            heard(0, row()),
            heard(0, row("FAILED")),
            heard(0, row(start_time=T0)),
            heard(0, row(start_time=None)),
            heard(0, row(start_time=None), session="s2"),
        )
        for note in _notes(seen)
    }
    assert len(names) == 5


def test_a_run_that_outlived_its_head_is_told_under_the_same_name() -> None:
    """A controller that was killed before it wrote the status may have told it without knowing of the new head."""
    (before,), (after,) = (_notes(heard(0, row("FAILED"), session=session)) for session in ("s1", "s2"))
    assert before == after


@pytest.mark.parametrize("char", ["x", "😀", "é", '"'])
def test_an_event_is_never_longer_than_the_api_server_takes(char: str) -> None:
    job = Job("i" * 100, JobState.FAILED, failure=Failure(char * 5000))
    (note,) = events_of(WatchState(), WatchState({job.id: job}))
    message = event_body(WATCH, note, "pod", datetime.now(UTC))["message"]
    assert 1020 < len(message.encode()) <= 1024
    assert message.startswith(f"job {job.id} failed: {char}")
