"""Which rows of a table reach which watch that selects its jobs, and when it is told. On real sockets."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from rayjobwatch.engine.logs import WatchKey
from rayjobwatch.engine.session import ClusterSession
from rayjobwatch.model import pace
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.model.selector import Selector, selector_of
from rayjobwatch.model.spec import JobSelection
from tests.ray import faults
from tests.ray.fakedashboard import FakeDashboard
from tests.ray.flavours import until
from tests.unit.test_engine_session import KEY, ONE, OTHER, TABLE, VERSION, Told, asked


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll without patience: what is asked and told does not depend on the pace."""
    for name in ("FASTEST_POLL", "SLOWEST_POLL", "SLOWEST_ANYWAY", "LOOK_AGAIN"):
        monkeypatch.setattr(pace, name, 0.02)


@pytest.fixture
async def fake() -> AsyncIterator[FakeDashboard]:
    dashboard = FakeDashboard()
    yield dashboard
    dashboard.stop()


@pytest.fixture
def news() -> Told:
    return Told()


@pytest.fixture
async def session(fake: FakeDashboard, news: Told) -> AsyncIterator[ClusterSession]:
    session = ClusterSession(Dashboard(fake.url), news, lambda _: None)
    yield session
    await session.close()


def selector(**jobs: object) -> Selector:
    made = selector_of(JobSelection.model_validate(jobs), None)
    assert made
    return made


def rows(session: ClusterSession, key: WatchKey = KEY) -> set[str] | None:
    choice = session._choices.get(key)
    listing = session.listing_for(key, (), choice.selector) if choice else None
    return None if listing is None else set(listing.rows)


async def test_a_selection_is_told_of_an_empty_table_and_then_of_what_it_selects_alone(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    session.join(KEY, [], selector=selector(metadata={"team": "nlp"}))
    await news.until(lambda: rows(session) == set())
    told = len(news.keys)
    assert told <= 2
    fake.add_job("other", status="RUNNING").row["metadata"] = {"team": "cv"}
    polls = asked(fake)[TABLE]
    await until(lambda: asked(fake)[TABLE] > polls + 2)
    assert len(news.keys) == told
    fake.add_job("mine", status="RUNNING").row["metadata"] = {"team": "nlp", "run": "1"}
    await news.until(lambda: rows(session) == {"mine"})


async def test_each_watch_gets_the_rows_that_it_selects_and_news_of_them(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    for id_ in "abc":
        fake.add_job(id_, status="RUNNING").row["entrypoint"] = f"python {id_}.py"
    third = ("ml", "third")
    session.join(KEY, [], selector=selector(entrypoint="^python [ab]"))
    session.join(OTHER, [], selector=selector(entrypoint="c"))
    session.join(third, ["a"])
    await news.until(lambda: rows(session) == {"a", "b"} and rows(session, OTHER) == {"c"})
    await news.until(lambda: session.listing_for(third, ["a"]) is not None)
    news.keys.clear()
    fake.jobs["c"].finish()
    await news.until(lambda: bool(news.keys))
    fake.jobs["a"].finish()
    await news.until(lambda: {KEY, third} <= set(news.keys))
    assert news.keys[0] == OTHER
    assert news.keys.count(OTHER) == 1


async def test_what_was_over_before_the_floor_is_not_wanted_unless_it_is_asked_for(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    fake.add_job("old")
    fake.add_job("new").row["end_time"] = 1795165632232
    fake.add_job("runs", status="RUNNING")
    floor = datetime.fromtimestamp(1795165620, UTC)
    session.join(KEY, [], selector=selector(), floor=floor)
    session.join(OTHER, [], selector=selector(includeFinished=True))
    await news.until(lambda: rows(session) == {"new", "runs"} and rows(session, OTHER) == {"old", "new", "runs"})
    session.join(KEY, ["old"], selector=selector(), floor=floor)
    await news.until(lambda: rows(session) == {"old", "new", "runs"})


async def test_an_idle_selection_notices_that_the_head_is_another_by_its_shorter_table(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    for id_ in "ab":
        fake.add_job(id_)
    session.join(KEY, [], selector=selector(entrypoint="nothing"))
    await news.until(lambda: rows(session) == set())
    before = session.cluster.session
    fake.on("GET", VERSION, faults.answer(200, '{"version": "4", "ray_version": "2.60.0", "session_name": "s2"}'))
    fake.jobs.clear()
    await news.until(lambda: session.cluster.session != before)


async def test_a_row_is_matched_once_for_a_watch_and_not_when_it_was_over_long_ago(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    class Counting(Selector):
        calls: ClassVar[Counter[str]] = Counter()

        def matches(self, entrypoint: str, metadata: Mapping[str, str]) -> bool:
            self.calls[entrypoint] += 1
            return entrypoint == "mine"

    for id_ in ("mine", "other"):
        fake.add_job(id_, status="RUNNING").row["entrypoint"] = id_
    fake.add_job("old").row["entrypoint"] = "old"
    session.join(KEY, [], selector=Counting("key", {}, None, None), floor=datetime.now(UTC) + timedelta(days=3650))
    await news.until(lambda: rows(session) == {"mine"})
    polls = asked(fake)[TABLE]
    await until(lambda: asked(fake)[TABLE] > polls + 5)
    assert Counting.calls == {"mine": 1, "other": 1}


async def test_a_dashboard_is_asked_no_more_when_the_last_selection_left(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    fake.add_job("a", status="RUNNING")
    session.join(KEY, [], selector=selector())
    session.join(OTHER, [])
    await news.until(lambda: rows(session) == {"a"})
    session.leave(KEY)
    session.join(OTHER, ["a"])
    await news.until(lambda: session.listing_for(OTHER, ["a"]) is not None)
    assert asked(fake)[ONE] >= 1
    assert rows(session) is None


async def test_what_was_listed_for_another_selection_is_none_of_an_edited_one(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    for id_ in "ab":
        fake.add_job(id_, status="RUNNING").row["entrypoint"] = id_
    before, after = selector(entrypoint="a"), selector(entrypoint="b")
    session.join(KEY, [], selector=before)
    await news.until(lambda: rows(session) == {"a"})
    assert session.listing_for(KEY, (), after) is None
    assert session.listing_for(KEY, ["a"]) is None
    session.join(KEY, ["a"])
    assert session.listing_for(KEY, ["a"], before) is None
    await news.until(lambda: session.listing_for(KEY, ["a"]) is not None)
    session.join(KEY, [], selector=after)
    assert session.listing_for(KEY, (), after) is None
    await news.until(lambda: rows(session) == {"b"})
