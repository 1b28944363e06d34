"""A session with a dashboard: what it asks for, for whom and from when on. On real sockets."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from rayjobwatch.engine import follower, logreader, logs
from rayjobwatch.engine.hearing import Heard
from rayjobwatch.engine.logs import Follow, WatchKey
from rayjobwatch.engine.session import ClusterSession
from rayjobwatch.model import pace
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.failure import failure_of
from rayjobwatch.model.jobs import JobRow
from rayjobwatch.model.lens import Findings, Lens
from rayjobwatch.model.rules import Rule, RuleState
from rayjobwatch.model.spec import Protocol
from tests.ray import faults
from tests.ray.fakedashboard import FakeDashboard
from tests.ray.flavours import until

KEY, OTHER = ("ml", "train"), ("ml", "other")
FOLLOW = Follow("a", Protocol.HTTP)
VERSION, TABLE, ONE = "/api/version", "/api/jobs/", "/api/jobs/a"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll without patience: what is asked and told does not depend on the pace."""
    for name in ("FASTEST_POLL", "SLOWEST_POLL", "SLOWEST_ANYWAY"):
        monkeypatch.setattr(pace, name, 0.02)


@pytest.fixture
def quick_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read quiet logs often: when they were read last does not change what is found in them."""
    for name in ("FASTEST_READ", "SLOWEST_READ"):
        monkeypatch.setattr(pace, name, 0.02)


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    dashboard = FakeDashboard()
    yield dashboard
    dashboard.stop()


class Told:
    """Remembers who was told that something was heard."""

    def __init__(self) -> None:
        self.keys: list[WatchKey] = []
        self._some = asyncio.Event()

    def __call__(self, key: WatchKey, urgent: bool = False) -> None:
        self.keys.append(key)
        self._some.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self._some.clear()
                await self._some.wait()


@pytest.fixture
def news() -> Told:
    return Told()


@pytest.fixture
def moved() -> Told:
    return Told()


@pytest.fixture
async def session(fake: FakeDashboard, news: Told, moved: Told) -> AsyncIterator[ClusterSession]:
    session = ClusterSession(Dashboard(fake.url, agent_host="127.0.0.1"), news, moved)
    yield session
    await session.close()


def digest_of(session: ClusterSession, follow: Follow, key: WatchKey = KEY) -> LogDigest | None:
    heard = session.heard(key, follow)
    return heard.digest if heard else None


def asked(fake: FakeDashboard) -> Counter[str]:
    return Counter(request.path for request in fake.requests)


async def test_nothing_is_asked_while_nothing_is_open(fake: FakeDashboard, session: ClusterSession, news: Told) -> None:
    fake.add_job("a", status="RUNNING")
    session.join(KEY, [])
    session.join(OTHER, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    session.join(OTHER, [])
    before = asked(fake)
    # A poll too many would be seen: it would come before the one that another watch asks for.
    session.join(KEY, ["b"])
    await news.until(lambda: session.listing(["b"]) is not None)
    assert asked(fake) - before == Counter({"/api/jobs/b": 1})


async def test_what_a_new_head_does_not_list_is_gone_only_when_it_was_asked_twice(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    job = fake.add_job("a", status="RUNNING")
    session.join(KEY, ["a"])
    await news.until(lambda: session.job("a") is not None)
    fake.on("GET", VERSION, faults.answer(200, '{"version": "4", "ray_version": "2.60.0", "session_name": "s2"}'))
    del fake.jobs["a"]
    polls = len(fake.requests)
    await until(lambda: len(fake.requests) >= polls + 3)  # the table, the version, the table
    fake.jobs["a"] = job
    await news.until(lambda: session.cluster.session == "s2")
    assert session.job("a") is not None


async def test_only_news_is_told(fake: FakeDashboard, session: ClusterSession, news: Told) -> None:
    for id_ in "ab":
        fake.add_job(id_, status="RUNNING")
    session.join(KEY, ["a"])
    session.join(OTHER, ["b"])
    await news.until(lambda: {KEY, OTHER} <= set(news.keys))
    news.keys.clear()
    polls = len(fake.requests)  # the table's or, where that is slow, one for each job
    fake.jobs["a"].finish()
    await news.until(lambda: bool(news.keys))
    fake.jobs["b"].finish()
    await news.until(lambda: OTHER in news.keys)
    assert len(fake.requests) >= polls + 2
    assert news.keys == [KEY, OTHER]


async def test_a_row_that_has_not_changed_is_kept_once(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    fake.add_job("a", status="RUNNING")
    session.join(KEY, ["a"], urgent=["a"])
    await news.until(lambda: session.job("a") is not None)
    row, polls = session.job("a"), len(news.keys)
    await news.until(lambda: len(news.keys) >= polls + 3)
    assert session.job("a") is row
    fake.jobs["a"].finish()
    await news.until(lambda: (job := session.job("a")) is not None and job.status.is_terminal)


async def test_a_verdict_that_waits_to_be_confirmed_is_told_with_every_poll(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    fake.add_job("a", status="RUNNING")
    session.join(KEY, ["a"], urgent=["a"])
    await news.until(lambda: news.keys.count(KEY) >= 5)


async def test_the_version_is_asked_once_and_again_when_a_job_is_missing_or_another(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    fake.add_job("a", status="RUNNING")
    session.join(KEY, ["a"], urgent=["a"])
    await news.until(lambda: news.keys.count(KEY) >= 5)
    assert asked(fake)[VERSION] == 1
    fake.jobs["a"].row["start_time"] = 1795165602999
    await news.until(lambda: (listing := session.listing(["a"])) is not None and bool(listing.rows["a"].start_time))
    await news.until(lambda: asked(fake)[VERSION] == 2)
    del fake.jobs["a"]
    await news.until(lambda: (listing := session.listing(["a"])) is not None and not listing.rows)
    assert asked(fake)[VERSION] >= 3


async def test_a_single_job_is_asked_by_its_id_and_many_by_the_table(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    for id_ in "ab":
        fake.add_job(id_, status="RUNNING")
    session.join(KEY, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    assert (asked(fake)[ONE], asked(fake)[TABLE]) == (1, 0)
    session.join(OTHER, ["b"])
    await news.until(lambda: session.listing(["b"]) is not None)
    assert asked(fake)[TABLE] == 1


async def test_a_table_that_was_slow_once_is_asked_on(
    fake: FakeDashboard, session: ClusterSession, news: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_CHEAP_LIST", 0.3)
    for id_ in "ab":
        fake.add_job(id_, status="RUNNING")
    fake.on("GET", TABLE, faults.drip(b"[]", 0.3), times=1)
    session.join(KEY, ["a", "b"])
    await until(lambda: asked(fake)[TABLE] > 4)
    assert asked(fake)[ONE] == 0


async def test_one_slow_answer_delays_no_other_poll(
    fake: FakeDashboard, session: ClusterSession, news: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "SLOWEST_ANYWAY", 60.0)
    monkeypatch.setattr(pace, "POLL_COST_FACTOR", 20.0)
    for id_ in "ab":
        fake.add_job(id_, status="RUNNING")
    session.join(KEY, ["a", "b"])
    await news.until(lambda: session.job("a") is not None)
    fake.once("GET", TABLE, faults.drip(b"[]", 0.3))
    await until(lambda: not fake.rules[0].times)
    before = asked(fake)[TABLE]
    await until(lambda: asked(fake)[TABLE] > before + 2)


async def test_that_a_job_is_gone_is_believed_of_the_table_alone(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    fake.add_job("a", status="RUNNING")
    session.join(KEY, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    fake.on("GET", ONE, faults.answer(404, "Job a does not exist"))
    await until(lambda: asked(fake)[ONE] > 5)
    assert asked(fake)[TABLE] >= 4
    listing = session.listing(["a"])
    assert listing is not None
    assert listing.rows["a"].status == "RUNNING"


async def test_a_table_that_takes_long_is_asked_job_by_job(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    fake.on("GET", TABLE, faults.drip(b"[]", 0.3), times=2)
    for id_ in "ab":
        fake.add_job(id_, status="RUNNING")
    session.join(KEY, ["a", "b"])
    await news.until(lambda: (listing := session.listing(["a", "b"])) is not None and len(listing.rows) == 2)
    assert asked(fake)[TABLE] == 2
    assert asked(fake)[ONE] >= 1


async def test_a_dashboard_is_unreachable_after_three_failures_and_reachable_with_the_next_answer(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    fake.add_job("a", status="RUNNING")
    session.join(KEY, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    before = session.listing(["a"])
    assert before
    fake.on("GET", "/api/.*", faults.answer(500), times=3)
    await news.until(lambda: session.unreachable is not None)
    assert session.listing(["a"]) is None
    await news.until(lambda: session.unreachable is None)
    again = session.listing(["a"])
    assert again
    assert again.time > before.time
    assert asked(fake)[VERSION] == 2 + 3 - 1  # after a failure it is asked first, and fails itself


async def test_a_job_of_an_earlier_process_is_not_called_unknown_before_jobs_were_listed(
    fake: FakeDashboard, session: ClusterSession, news: Told
) -> None:
    fake.add_job("a", b"one\ntwo\n")
    wanted = {FOLLOW: Heard(LogDigest(1, "b:4:0", tail=("one",), bytes=4))}
    session.join(KEY, ["a"])
    session.follow(KEY, wanted)
    assert digest_of(session, FOLLOW) is None
    await news.until(lambda: session.listing(["a"]) is not None)
    session.follow(KEY, wanted)
    await news.until(lambda: (digest := digest_of(session, FOLLOW)) is not None and digest.complete)
    digest = digest_of(session, FOLLOW)
    assert digest is not None
    assert (digest.lines, digest.cursor, digest.tail) == (2, "b:8:0", ("one", "two"))


@pytest.mark.parametrize("protocol", [Protocol.AUTO, Protocol.HTTP, Protocol.WEBSOCKET])
@pytest.mark.parametrize("agent", [True, False], ids=["agent", "no agent"])
async def test_a_log_is_read_while_its_job_runs_and_to_its_end_at_once_when_it_is_over(
    fake: FakeDashboard,
    session: ClusterSession,
    news: Told,
    moved: Told,
    protocol: Protocol,
    agent: bool,
) -> None:
    job = fake.add_job("a", b"one\n", "RUNNING", agent=agent)
    follow = Follow("a", protocol)
    session.join(KEY, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    session.follow(KEY, {follow: Heard()})
    await moved.until(lambda: (digest := digest_of(session, follow)) is not None and digest.lines == 1)
    job.append(b"two\nthree")
    job.finish()
    await news.until(lambda: (digest := digest_of(session, follow)) is not None and digest.complete)
    digest = digest_of(session, follow)
    assert digest is not None
    assert digest.tail == ("one", "two", "three")


async def test_a_log_is_read_once_for_all_who_want_it_and_not_when_nobody_does(
    fake: FakeDashboard, session: ClusterSession, news: Told, moved: Told
) -> None:
    fake.add_job("a", b"one\n", "RUNNING", agent=True)
    for key in (KEY, OTHER):
        session.join(key, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    for key in (KEY, OTHER):
        session.follow(key, {FOLLOW: Heard()})
    await moved.until(lambda: {KEY, OTHER} <= set(moved.keys))
    assert asked(fake)["/logs/job-driver-a.log"] == 1
    session.leave(KEY)
    assert digest_of(session, FOLLOW) is None
    assert digest_of(session, FOLLOW, OTHER) is not None
    session.leave(OTHER)
    assert digest_of(session, FOLLOW, OTHER) is None
    assert not session.has_subscribers


async def test_a_log_whose_source_fails_says_why_and_is_read_again(
    fake: FakeDashboard, session: ClusterSession, news: Told, moved: Told
) -> None:
    fake.add_job("a", b"one\n", "RUNNING")
    fake.once("GET", "/api/v0/logs/file", faults.answer(500))
    session.join(KEY, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    session.follow(KEY, {FOLLOW: Heard()})
    messages: list[str] = []

    def is_read() -> bool:
        digest = digest_of(session, FOLLOW)
        messages.append(digest.message if digest else "")
        return digest is not None and digest.lines == 1

    await moved.until(is_read)
    assert any("HTTP 500" in message for message in messages)
    assert messages[-1] == ""


@pytest.mark.usefixtures("quick_reads")
async def test_a_dashboard_that_is_away_is_asked_by_a_probe_alone_and_agents_are_asked_on(
    fake: FakeDashboard, session: ClusterSession, news: Told, moved: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "RECONNECT_SECONDS", 0.1)
    for module in (logreader, follower):
        monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.01)
    follows = [Follow("whole", Protocol.HTTP), Follow("socket", Protocol.WEBSOCKET), Follow("agent", Protocol.AUTO)]
    jobs = [fake.add_job(one.job_id, b"one\n", "RUNNING", agent=one.job_id == "agent") for one in follows]
    session.join(KEY, ["whole", "socket", "agent"])
    await news.until(lambda: session.listing(["whole", "socket", "agent"]) is not None)
    session.follow(KEY, {one: Heard() for one in follows})

    def lines() -> list[int]:
        return [digest.lines if (digest := digest_of(session, one)) else 0 for one in follows]

    await until(lambda: lines() == [1, 1, 1])
    fake.on("GET", "/api/.*", faults.answer(503))
    fake.drop_connections()
    await news.until(lambda: session.unreachable is not None)
    await until(lambda: (digest := digest_of(session, follows[1])) is not None and bool(digest.message))
    for job in jobs:
        job.append(b"two\n")
    before = len(fake.dashboard.requests)
    await until(lambda: lines()[2] == 2 and len(fake.dashboard.requests) >= before + 10)
    assert {request.path for request in fake.dashboard.requests[before:]} == {VERSION}
    fake.rules.clear()
    await until(lambda: lines() == [2, 2, 2])


async def test_logs_are_read_on_when_nobody_probes(fake: FakeDashboard, session: ClusterSession, news: Told) -> None:
    session.join(KEY, ["a"])
    fake.on("GET", "/api/.*", faults.answer(503))
    await news.until(lambda: session.unreachable is not None and session._circuit.is_open)
    session.join(KEY, [])
    await until(lambda: not session._circuit.is_open)
    assert session.unreachable is not None


async def test_a_large_log_that_only_comes_whole_is_followed_over_a_websocket(
    fake: FakeDashboard, session: ClusterSession, news: Told, moved: Told
) -> None:
    job = fake.add_job("a", (b"x" * 99 + b"\n") * 20_000, "RUNNING")
    follow = Follow("a", Protocol.AUTO)
    session.join(KEY, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    session.follow(KEY, {follow: Heard()})
    await moved.until(lambda: (digest := digest_of(session, follow)) is not None and digest.lines == 20_000)
    job.append(b"more\n")
    await moved.until(lambda: (digest := digest_of(session, follow)) is not None and digest.lines == 20_001)
    assert len(fake.tails) == 1
    assert asked(fake)["/api/v0/logs/file"] == 1


OOM = Lens([Rule("oom", "oom")], [], [])
DOWN = Lens([Rule("down", "down")], [], [])


def _counts(session: ClusterSession, key: WatchKey, follow: Follow) -> dict[str, int]:
    heard = session.heard(key, follow)
    return {name: state.count for name, state in heard.findings.rules.items()} if heard else {}


@pytest.mark.usefixtures("quick_reads")
@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.WEBSOCKET])
async def test_a_watch_that_comes_later_with_rules_misses_no_line_and_then_shares_the_reading(
    fake: FakeDashboard, session: ClusterSession, news: Told, protocol: Protocol
) -> None:
    job = fake.add_job("a", b"oom\ndown\n" * 50, "RUNNING", agent=True)
    follow = Follow("a", protocol)
    for key in (KEY, OTHER):
        session.join(key, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    session.follow(KEY, {follow: Heard()}, OOM)
    await until(lambda: _counts(session, KEY, follow) == {"oom": 50})  # of which only the first batch is news
    session.follow(OTHER, {follow: Heard()}, DOWN)
    await until(lambda: len(session._logs._sources[follow]) == 2)
    await until(lambda: len(session._logs._sources[follow]) == 1)
    job.append(b"down\noom\n")
    await until(lambda: _counts(session, KEY, follow) == {"oom": 51})
    await until(lambda: _counts(session, OTHER, follow) == {"down": 51})


@pytest.mark.usefixtures("quick_reads")
async def test_a_restart_of_two_watches_whose_places_differ_counts_each_line_once(
    fake: FakeDashboard, session: ClusterSession, news: Told, moved: Told
) -> None:
    job = fake.add_job("a", b"oom\n" * 100, "RUNNING", agent=True)
    for key in (KEY, OTHER):
        session.join(key, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    for key, lines in ((KEY, 90), (OTHER, 40)):
        known = Heard(LogDigest(lines, f"b:{4 * lines}:0"), Findings({"oom": RuleState(lines, 1, True)}))
        session.follow(key, {FOLLOW: known}, OOM)
    await until(lambda: len(session._logs._sources[FOLLOW]) == 1)
    job.append(b"oom\n")
    job.finish()
    await news.until(lambda: all((one := digest_of(session, FOLLOW, key)) and one.complete for key in (KEY, OTHER)))
    assert _counts(session, KEY, FOLLOW) == _counts(session, OTHER, FOLLOW) == {"oom": 101}


@pytest.mark.usefixtures("quick_reads")
async def test_a_rule_that_fires_is_told_at_once_and_a_line_that_changes_nothing_is_not(
    fake: FakeDashboard, session: ClusterSession, news: Told, moved: Told
) -> None:
    job = fake.add_job("a", b"x\n", "RUNNING", agent=True)
    session.join(KEY, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    session.follow(KEY, {FOLLOW: Heard()}, OOM)
    await moved.until(lambda: KEY in moved.keys)
    news.keys.clear()
    moved.keys.clear()
    job.append(b"oom\n")
    await news.until(lambda: KEY in news.keys)
    moved.keys.clear()
    job.append(b"oom\n")
    await moved.until(lambda: KEY in moved.keys)
    assert news.keys == [KEY]


@pytest.mark.usefixtures("quick_reads")
async def test_rules_that_are_edited_go_on_from_where_the_log_was_read_to(
    fake: FakeDashboard, session: ClusterSession, news: Told, moved: Told
) -> None:
    job = fake.add_job("a", b"oom\ndown\n" * 5, "RUNNING", agent=True)
    session.join(KEY, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    session.follow(KEY, {FOLLOW: Heard()}, OOM)
    await news.until(lambda: _counts(session, KEY, FOLLOW) == {"oom": 5})
    session.follow(KEY, {FOLLOW: Heard()}, Lens([Rule("oom", "oom"), Rule("down", "down")], [], []))
    job.append(b"oom\ndown\n")
    await news.until(lambda: _counts(session, KEY, FOLLOW) == {"oom": 6, "down": 1})


TRACEBACK = b"""Traceback (most recent call last):
  File "train.py", line 88, in <module>
    step()
ValueError: loss is not a number
"""
BEFORE = b"starting\n" + TRACEBACK + b"cleaning up, this takes a while and says so in many words\n" * 400


@pytest.mark.parametrize("agent", [True, False], ids=["agent", "no agent"])
@pytest.mark.parametrize("before", [BEFORE, b"x" * 90 * 1000 + b"\n" + b"password=" * 9000 + b"\n" + BEFORE])
async def test_the_cause_of_a_failure_is_found_after_a_restart_as_if_there_had_been_none(
    fake: FakeDashboard, session: ClusterSession, news: Told, agent: bool, before: bytes
) -> None:
    job = fake.add_job("a", before, "RUNNING", agent=agent)
    session.join(KEY, ["a"])
    await news.until(lambda: session.listing(["a"]) is not None)
    lines = before.decode().splitlines()
    seed = LogDigest.restored(lines=len(lines), tail=tuple(lines[-20:]), cursor=f"b:{len(before)}:0")
    session.follow(KEY, {FOLLOW: Heard(seed)})
    job.append(b"bye\n")
    job.row.update(error_type="JOB_ENTRYPOINT_COMMAND_ERROR", driver_exit_code=1, message="")
    job.finish("FAILED")
    await news.until(lambda: (one := digest_of(session, FOLLOW)) is not None and one.complete)
    digest = digest_of(session, FOLLOW)
    assert digest is not None
    assert (digest.lines, digest.tail[-1]) == (len(lines) + 1, "bye")
    row = JobRow("a", "FAILED", exit_code=1, error_type="JOB_ENTRYPOINT_COMMAND_ERROR")
    assert failure_of(row, digest.window).text == "train.py:88 ValueError: loss is not a number"
    assert failure_of(row, digest.window) == failure_of(row, LogDigest().fed([*lines, "bye"], "").window)
