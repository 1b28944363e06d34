"""Times, rows, specs, failures and log digests: the small words that the rest is made of."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.model.digest import JOB_TAIL_BYTES, KEPT_LINES, LogDigest, kept_tail
from rayjobwatch.model.failure import failure_of
from rayjobwatch.model.jobs import JobRow, JobState
from rayjobwatch.model.lens import NOTHING
from rayjobwatch.model.rules import Rule
from rayjobwatch.model.spec import InvalidSpecError, Protocol, parse_spec
from rayjobwatch.model.text import clean_line
from rayjobwatch.model.times import from_milliseconds, parse_rfc3339, rfc3339
from rayjobwatch.model.values import Value
from tests.unit.observations import T0

GOOD = {"rayCluster": {"name": "shared"}, "jobs": {"ids": ["a"]}}


@given(st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_time_survives_the_status_in_whole_seconds(time: datetime) -> None:
    assert parse_rfc3339(rfc3339(time)) == time.replace(microsecond=0)


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-11-21", "2026-11-21T10:00:00", 7])
def test_what_is_no_time_is_read_as_none(text: object) -> None:
    assert parse_rfc3339(text) is None


def test_times_are_written_in_utc() -> None:
    assert rfc3339(datetime(2026, 11, 21, 12, tzinfo=timezone(timedelta(hours=2)))) == "2026-11-21T10:00:00Z"


@pytest.mark.parametrize("value", [None, 0, -1, True, "1", 1.5, 10**18, 10**400])
def test_rays_nonsense_is_no_time(value: object) -> None:
    assert from_milliseconds(value) is None


def test_rays_milliseconds_become_whole_seconds() -> None:
    assert from_milliseconds(1_795_255_200_999) == datetime(2026, 11, 21, 10, tzinfo=UTC)


def test_a_job_is_over_in_each_of_its_ends_and_only_then() -> None:
    assert {state.value for state in JobState if not state.is_over} == {"Waiting", "Pending", "Running"}


def test_the_least_spec_gets_the_defaults_of_the_api() -> None:
    spec = parse_spec({"spec": GOOD})
    assert (spec.jobs.ids, spec.logs.protocol, spec.logs.tail_lines) == (("a",), Protocol.AUTO, 20)


def test_a_spec_of_a_newer_api_is_still_followed() -> None:
    assert parse_spec({"spec": {**GOOD, "stop": {"requested": True}}}).jobs.ids == ("a",)


def test_rules_and_values_of_the_spec_are_those_of_the_model() -> None:
    threshold = {"count": 3, "withinSeconds": 60}
    rule = {"name": "oom", "pattern": "out of memory", "threshold": threshold, "resetAfterSeconds": 600}
    values = [{"name": "loss", "pattern": "loss=(?P<value>.+)"}]
    logs = parse_spec(
        {"spec": {**GOOD, "logs": {"rules": [rule, {"name": "a", "pattern": "b"}], "values": values}}}
    ).logs
    assert [one.rule for one in logs.rules] == [
        Rule("oom", "out of memory", 3, timedelta(seconds=60), timedelta(seconds=600)),
        Rule("a", "b"),
    ]
    assert logs.lens.read(["out of memory loss=0.5"], NOTHING, T0).values == {"loss": Value("0.5", "", T0)}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "spec: set exactly one of spec.rayCluster and spec.dashboard"),
        ({**GOOD, "jobs": {"entrypoint": "(x"}}, "spec.jobs.entrypoint: missing ): (x"),
        ({**GOOD, "jobs": {"entrypoint": "(?=x)"}}, "spec.jobs.entrypoint: "),
        ({**GOOD, "jobs": {"metadata": {"team": 7}}}, "spec.jobs.metadata.team"),
        ({**GOOD, "jobs": {"ids": ["a"], "entrypoint": "x"}}, "spec.jobs: remove metadata, entrypoint"),
        ({**GOOD, "jobs": {"ids": ["a"], "metadata": {"a": "b"}}}, "spec.jobs: remove metadata, entrypoint"),
        ({**GOOD, "jobs": {"ids": ["a"], "includeFinished": True}}, "spec.jobs: remove metadata, entrypoint"),
        ({"jobs": {"ids": ["a"]}}, "spec: set exactly one of spec.rayCluster and spec.dashboard"),
        ({**GOOD, "dashboard": {"url": "http://ray:8265"}}, "spec: set exactly one of"),
        ({**GOOD, "jobs": {"ids": []}}, "spec.jobs.ids"),
        ({**GOOD, "jobs": {"ids": ["x"] * 51}}, "spec.jobs.ids"),
        ({**GOOD, "jobs": {"ids": [7]}}, "spec.jobs.ids.0"),
        ({**GOOD, "jobs": None}, "spec.jobs"),
        ({**GOOD, "jobs": {}, "stop": {"requested": True}}, "spec: spec.stop needs ids, metadata or entrypoint"),
        ({**GOOD, "logs": {"tailLines": 101}}, "spec.logs.tailLines"),
        ({**GOOD, "logs": {"protocol": "Carrier"}}, "spec.logs.protocol: Input should be 'Auto'"),
        ({**GOOD, "rayCluster": {"name": ""}}, "spec.rayCluster.name"),
        ({**GOOD, "serve": {"cleanup": "OnFinished"}}, "spec.serve: cleanup needs applications"),
        ({**GOOD, "serve": {"cleanup": "Always", "applications": ["a"]}}, "spec.serve.cleanup"),
        ({**GOOD, "retention": {"deleteRecordAfterSeconds": 9}}, "spec.retention.deleteRecordAfterSeconds"),
        (
            {**GOOD, "retention": {"deleteRecordAfterSeconds": 20, "ttlSecondsAfterFinished": 19}},
            "spec.retention: ttlSecondsAfterFinished must not be less than",
        ),
        ("nonsense", "spec: "),
    ],
)
def test_a_bad_spec_is_refused_with_the_name_of_its_field(spec: Any, message: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        parse_spec({"spec": spec})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


RAY_SAYS = "Job entrypoint command failed with exit code 1, last available logs (truncated to 20,000 chars):\n"
LEAK = "Unexpected error occurred: 1 worker(s) were killed due to low memory\npython other_tenant.py --secret"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (JobRow("a", "FAILED", message=f"{RAY_SAYS}boom\nno space left\n", exit_code=1), "exit code 1: no space left"),
        (JobRow("a", "FAILED", message=RAY_SAYS, exit_code=137),
         "killed, for example for lack of memory (exit code 137)"),
        (JobRow("a", "FAILED", message=f"{RAY_SAYS}step 3", exit_code=-15), "terminated (exit code -15)"),
        (JobRow("a", "FAILED", message="deep\nno such package", error_type="RUNTIME_ENV_SETUP_FAILURE"),
         "no such package"),
        (JobRow("a", "FAILED", message=f"{RAY_SAYS}token=abc", exit_code=1), "exit code 1: token=***"),
        (JobRow("a", "FAILED", exit_code=200), "exit code 200"),
        (JobRow("a", "FAILED"), "Ray gives no reason"),
        (JobRow("a", "FAILED", message=LEAK), "Ray gives no reason"),
        (JobRow("a", "FAILED", message="x", error_type="BRAND_NEW\nTYPE"), "Ray reports BRAND_NEWTYPE"),
    ],
    ids=["last words", "no log", "signal", "runtime_env", "secret", "no signal", "no message",
         "old Ray's memory killer", "new type"],
)  # fmt: skip
def test_a_failure_says_in_one_line_what_is_known_of_its_cause(row: JobRow, message: str) -> None:
    assert failure_of(row).message == message


@pytest.mark.parametrize(
    "kind", ["START_TIMEOUT", "START_FAILURE", "UNSCHEDULABLE", "UNKNOWN_FAILURE", "DIED", "OF_THE_FUTURE"]
)
def test_another_tenants_command_line_is_never_quoted(kind: str) -> None:
    failure = failure_of(JobRow("a", "FAILED", message=LEAK, error_type=f"JOB_SUPERVISOR_ACTOR_{kind}"))
    assert failure.message
    assert "other_tenant" not in failure.message


BATCHES = st.lists(st.lists(st.text(max_size=5), max_size=130), max_size=5)


@given(BATCHES)
def test_every_line_is_counted_once_and_the_newest_are_kept(batches: list[list[str]]) -> None:
    digest = LogDigest()
    for number, batch in enumerate(batches):
        digest = digest.fed(batch, str(number))
    whole = LogDigest().fed([line for batch in batches for line in batch], str(len(batches) - 1) if batches else "")
    assert (digest.lines, digest.cursor, digest.tail) == (whole.lines, whole.cursor, whole.tail)
    assert len(digest.tail) == min(KEPT_LINES, digest.lines)


@given(st.integers(0, 150), st.integers(0, 150), st.integers(0, 130), st.integers(0, 130), st.integers(0, 130))
def test_a_digest_keeps_the_older_lines_that_a_watch_had_of_the_same_log(
    seeded: int, read: int, seed_kept: int, known_at: int, known_kept: int
) -> None:
    log = [str(number) for number in range(300)]

    def digest(lines: int, kept: int) -> LogDigest:
        return LogDigest(lines, f"b:{lines}:0", tail=tuple(log[max(0, lines - min(kept, KEPT_LINES)) : lines]))

    live = digest(seeded, seed_kept).fed(log[seeded : seeded + read], f"b:{seeded + read}:0")
    known = digest(min(known_at, live.lines), known_kept)
    merged = live.after(known)
    assert (merged.lines, merged.cursor) == (live.lines, live.cursor)
    assert merged.tail == tuple(log[live.lines - len(merged.tail) : live.lines])
    new = live.lines - known.lines
    wanted = new + len(known.tail) if new <= len(live.tail) else 0
    assert len(merged.tail) == max(len(live.tail), min(wanted, KEPT_LINES))


@given(st.lists(st.text(max_size=2000), max_size=130), st.integers(0, 130))
def test_lines_that_status_cannot_hold_are_not_cleaned_and_not_missed(lines: list[str], first: int) -> None:
    digest = LogDigest().fed(lines[:first], "1").fed(lines[first:], "2")
    shown = kept_tail([clean_line(line) for line in lines], 100, JOB_TAIL_BYTES)
    assert kept_tail(digest.tail, 100, JOB_TAIL_BYTES) == shown
    assert digest.tail == tuple(clean_line(line) for line in lines)[len(lines) - len(digest.tail) :]


def test_of_a_batch_of_long_lines_only_few_are_cleaned() -> None:
    digest = LogDigest().fed(["old"], "1").fed(["long " * 4000] * 100, "2")
    assert (digest.lines, len(digest.tail)) == (101, 8)


def test_a_log_that_is_read_again_shows_no_old_trouble_and_is_not_complete() -> None:
    failing = LogDigest().fed(["a"], "1").failing("agent\nis away")
    assert (failing.message, failing.lines, failing.cursor) == ("agentis away", 1, "1")
    assert failing.fed([], "1").message == ""
    assert failing.closed() == LogDigest(1, "1", complete=True, tail=("a",), bytes=2)
    assert not failing.closed().fed(["b"], "2").complete


@given(st.lists(st.text(max_size=20), max_size=30), st.integers(0, 30), st.integers(0, 300))
def test_the_kept_tail_is_the_newest_lines_within_both_limits(tail: list[str], count: int, limit: int) -> None:
    kept = kept_tail(tail, count, limit)
    assert len(kept) <= count
    assert kept == tail[len(tail) - len(kept) :]
    assert sum(len(line.encode()) + 1 for line in kept) <= limit


@pytest.mark.parametrize(
    ("line", "levels"),
    [
        ("2026-11-21 10:00:00,123 ERROR main: boom", (1, 0)),
        ("[E] CRITICAL", (1, 0)),
        ('{"level": "error", "msg": "x"}', (1, 0)),
        ("ts=1 level=error msg=x", (1, 0)),
        ("Traceback (most recent call last):", (1, 0)),
        ("E1121 10:00:00.1 12 x.cc:3] boom", (1, 0)),
        ("2026-11-21 WARNING ERROR both", (1, 0)),
        ("WARNING:root:x", (0, 1)),
        ("x.py:3: UserWarning: y", (0, 1)),
        ("2026-11-21 [warning  ] slow", (0, 1)),
        ("\x1b[33mWARN\x1b[0m x", (0, 1)),
        ("errors: 0, warnings: 0", (0, 0)),
        ("ValueError: x", (0, 0)),
        ("INFO no ERRORS", (0, 0)),
    ],
)
def test_lines_about_errors_and_warnings_are_counted_in_the_words_of_loggers(
    line: str, levels: tuple[int, int]
) -> None:
    digest = LogDigest().fed(["x", line] * 70, "1")
    assert (digest.errors, digest.warnings) == tuple(70 * count for count in levels)


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=4), max_size=5))
def test_bytes_are_counted_exactly_and_the_time_is_that_of_the_last_line(batches: list[list[str]]) -> None:
    digest = LogDigest()
    time = None
    for number, batch in enumerate(batches):
        now = datetime(2026, 11, 21, 10, number, tzinfo=UTC)
        time = now if batch else time
        digest = digest.fed(batch, "1", now)
    assert digest.bytes == len("".join(f"{line}\n" for batch in batches for line in batch).encode())
    assert digest.last_line_time == time
