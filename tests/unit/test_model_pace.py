"""How soon things are done again: the cases of the table in `model/pace.py`, and what holds for all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.model import pace

SECONDS = st.floats(0, 1e9)
COUNTS = st.integers(0, 10**6)


@pytest.mark.parametrize(
    ("ages", "took", "failures", "wanted"),
    [
        ([], 0.01, 0, None),
        ([], 20.0, 9, None),
        ([0], 0.01, 0, 0.5),
        ([50], 0.01, 0, 0.5),
        ([120], 0.01, 0, 1.2),
        ([3600], 0.01, 0, 3.0),
        ([3600, 1], 0.01, 0, 0.5),
        ([1], 1.0, 0, 4.0),
        ([3600], 1.0, 0, 4.0),
        ([1], 60.0, 0, 15.0),
        ([1], 0.01, 1, 0.5),
        ([1], 0.01, 2, 1.0),
        ([3600], 0.01, 1, 3.0),
        ([1], 0.01, 60, 15.0),
    ],
)
def test_a_dashboard_is_polled_by_the_youngest_job(
    ages: list[float], took: float, failures: int, wanted: float | None
) -> None:
    assert pace.poll_pause(ages, took, failures) == wanted


@pytest.mark.parametrize(
    ("ages", "took", "failures", "wanted"),
    [([], 0.01, 0, 5.0), ([], 2.0, 0, 8.0), ([], 60.0, 0, 15.0), ([], 0.01, 9, 15.0), ([50], 0.01, 0, 0.5)],
)
def test_where_other_jobs_may_come_a_dashboard_is_polled_without_an_open_one_but_slowly(
    ages: list[float], took: float, failures: int, wanted: float
) -> None:
    assert pace.poll_pause(ages, took, failures, looks_for_jobs=True) == wanted


@pytest.mark.parametrize(("took", "wanted"), [(0.01, 60.0), (0.6, 60.0), (3.0, 300.0), (11.0, 900.0)])
def test_what_a_cluster_is_slow_to_tell_of_itself_is_seldom_asked(took: float, wanted: float) -> None:
    assert pace.facts_pause(took) == wanted


@pytest.mark.parametrize(("watches", "wanted"), [(1, 60.0), (600, 60.0), (1000, 100.0), (100_000, 300.0)])
def test_facts_alone_make_few_writes_however_many_watches_there_are(watches: int, wanted: float) -> None:
    assert pace.facts_write_pause(watches) == wanted


@given(st.lists(SECONDS, min_size=1), SECONDS, COUNTS)
def test_an_end_is_seen_within_half_a_second_or_a_hundredth_of_the_age_unless_the_head_is_slow(
    ages: list[float], took: float, failures: int
) -> None:
    pause = pace.poll_pause(ages, took, failures)
    assert pause is not None
    assert 0.5 <= pause <= 15
    if took <= 0.1 and not failures:
        assert pause <= max(0.5, min(3.0, min(ages) * 0.01))  # and not / 100, which is less by the last bit at times


@pytest.mark.parametrize(
    ("open_jobs", "list_seconds", "job_seconds", "wanted"),
    [
        (1, 0.0, 0.0, True),  # the first poll for one job: a table of unknown size is not risked for it
        (2, 0.0, 0.0, False),
        (10, 0.005, 0.001, False),
        (10, 2.0, 0.003, True),
        (50, 2.0, 0.003, True),
        (50, 0.12, 0.003, False),
        (50, 10.0, 10.0, False),  # a head that hangs either way
        (50, 10.0, 0.0, True),
    ],
)
def test_a_huge_table_is_asked_job_by_job(
    open_jobs: int, list_seconds: float, job_seconds: float, wanted: bool
) -> None:
    assert pace.asks_by_job(open_jobs, list_seconds, job_seconds) is wanted


@pytest.mark.parametrize(
    ("silence", "whole_bytes", "wanted"),
    [(0, 0, 2.0), (4, 0, 2.0), (10, 0, 5.0), (30, 0, 15.0), (86400, 0, 15.0), (0, 20_000_000, 12.0), (0, 10**9, 60.0)],
)
def test_a_log_is_read_the_later_the_longer_it_is_quiet(silence: float, whole_bytes: int, wanted: float) -> None:
    assert pace.read_pause(silence, whole_bytes) == wanted


@pytest.mark.parametrize(("age", "next_read"), [(-9, 2), (10, 2), (120, 6), (3600, 15)])
def test_a_log_that_is_new_to_us_is_taken_for_the_quieter_the_older_its_job_is(age: float, next_read: float) -> None:
    assert pace.read_pause(pace.first_silence(age)) == next_read


@given(SECONDS, SECONDS, COUNTS)
def test_a_quieter_log_never_comes_sooner_and_none_is_forgotten(one: float, other: float, size: int) -> None:
    quiet, moving = max(one, other), min(one, other)
    assert 2.0 <= pace.read_pause(moving, size) <= pace.read_pause(quiet, size) <= 60.0


@pytest.mark.parametrize(("watches", "wanted"), [(1, 5.0), (50, 5.0), (100, 10.0), (1000, 15.0)])
def test_logs_alone_cost_few_writes(watches: int, wanted: float) -> None:
    assert pace.log_write_pause(watches) == wanted


@pytest.mark.parametrize(("write_seconds", "wanted"), [(0, 0), (0.02, 0), (0.05, 0), (0.06, 1.2), (0.1, 2), (30, 2)])
def test_only_a_slow_api_server_holds_a_change_of_state_back(write_seconds: float, wanted: float) -> None:
    assert pace.state_write_pause(write_seconds) == pytest.approx(wanted)


@pytest.mark.parametrize(("failures", "wanted"), [(0, 0.0), (1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (10**9, 30.0)])
def test_waits_after_failures_double_up_to_a_bound(failures: int, wanted: float) -> None:
    assert pace.backed_off(1.0, failures, 30.0) == wanted


@given(SECONDS)
def test_what_is_done_together_is_done_within_a_tenth_of_a_second(moment: float) -> None:
    due = pace.together(moment)
    assert -1e-6 <= due - moment <= 0.1 + 1e-6
    assert pace.together(due) - due <= 1e-6


@given(SECONDS, st.floats(0, 1))
def test_jitter_only_ever_shortens_by_at_most_its_spread(seconds: float, chance: float) -> None:
    assert seconds / 2 <= pace.jittered(seconds, chance) <= seconds
    assert seconds * 0.9 <= pace.jittered(seconds, chance, 0.05) <= seconds


@pytest.mark.parametrize(("write", "wait"), [(0.0, 0.1), (0.01, 0.1), (0.1, 0.5), (5.0, 1.0)])
def test_a_status_waits_for_events_as_long_as_the_api_server_is_slow_anyway(write: float, wait: float) -> None:
    assert pace.events_pause(write) == wait
