"""How far a dashboard's clock is ahead, by the Date of its answers."""

import time
from email.utils import formatdate

import pytest

from rayjobwatch.ray import AsyncRayClient, RayClient
from rayjobwatch.ray.io.clock import AGAIN_SECONDS, ServerClock
from tests.ray import faults
from tests.ray.fakedashboard import FakeDashboard

NOW = 1_795_165_602.0


def heard(ahead: float, **headers: str) -> float:
    """Return what is made of an answer of a server whose clock is so far ahead."""
    clock = ServerClock(lambda: NOW)
    clock.heard(headers or {"date": formatdate(NOW + ahead, usegmt=True)})
    return clock.ahead


@pytest.mark.parametrize("ahead", [-3600.0, -3.0, 3.0, 7200.0])
def test_a_clock_that_differs_is_noticed(ahead: float) -> None:
    assert heard(ahead) == pytest.approx(ahead, abs=1.0)


@pytest.mark.parametrize("ahead", [-1.0, 0.0, 1.0])
def test_what_a_date_of_whole_seconds_cannot_tell_is_no_difference(ahead: float) -> None:
    assert heard(ahead) == 0.0


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 99 Nov 2026 03:46:40 GMT", "9" * 5000, "Wed, 25 Nov 2026"])
def test_nonsense_says_nothing(date: str) -> None:
    assert heard(0, date=date) == 0.0


def test_only_now_and_then_a_date_is_read_and_a_clock_of_ours_that_is_set_back_is_noticed() -> None:
    now = NOW
    clock = ServerClock(lambda: now)
    clock.heard({"date": formatdate(NOW + 100)})
    clock.heard({"date": formatdate(NOW + 500)})
    assert clock.ahead == pytest.approx(100, abs=1)
    now += AGAIN_SECONDS
    clock.heard({"date": formatdate(now)})
    assert clock.ahead == 0.0
    now -= 3600
    clock.heard({"date": formatdate(NOW)})
    assert clock.ahead == pytest.approx(3600, abs=AGAIN_SECONDS + 1)


async def test_both_clients_tell_it() -> None:
    fake = FakeDashboard()
    date = formatdate(time.time() + 500, usegmt=True)
    fake.on("GET", "/api/jobs/", faults.answer(200, "[]", **{"Content-Type": "application/json", "Date": date}))
    try:
        with RayClient(fake.url) as client:
            assert client.server_ahead == 0.0
            client.list_jobs()
            assert client.server_ahead == pytest.approx(500, abs=3)
        async with AsyncRayClient(fake.url) as other:
            await other.list_jobs()
            assert other.server_ahead == pytest.approx(500, abs=3)
    finally:
        fake.stop()
