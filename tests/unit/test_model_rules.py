"""Log rules and values: what fires, what rests, what is counted."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.model.lens import LINE_BYTES, NOTHING, Lens
from rayjobwatch.model.redaction import MASK
from rayjobwatch.model.rules import MAX_RULES, NO_STATES, RESTING, WINDOW_PARTS, Rule, Rules, States
from rayjobwatch.model.scan import Scanner
from rayjobwatch.model.text import clean_line
from rayjobwatch.model.values import Known, Value, ValuePattern, Values, percentage, progress_of

T0 = datetime(2026, 11, 21, 10, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return a time of the tests."""
    return T0 + timedelta(seconds=seconds)


def read(rules: Rules, lines: Sequence[str], states: States, now: datetime) -> States:
    """Return the states after lines."""
    return rules.read(Scanner(rules.patterns).matches(lines), states, now)


def read_values(values: Values, lines: Sequence[str], known: Known, now: datetime) -> Known:
    """Return the values after lines."""
    return values.read(Scanner(values.patterns).matches(lines), known, now, clean_line)


LINES = st.lists(st.sampled_from(["oom", "ok", "", "step 3/10", "\x1b[31moom\x1b[0m", "x\room", "é oom"]), max_size=200)


@given(LINES)
def test_blocks_of_lines_hide_no_match(lines: list[str]) -> None:
    found = list(Scanner(["^oom$", r"\d+/", "", "^é", r"(?i)OOM\s*$"]).matches(lines))
    assert [line for line, numbers in found if 0 in numbers] == ["oom"] * sum(
        "oom" in line and "é" not in line for line in lines
    )
    assert sum(1 in numbers for _, numbers in found) == lines.count("step 3/10")
    assert sum(2 in numbers for _, numbers in found) == len(lines)
    assert sum(3 in numbers for _, numbers in found) == lines.count("é oom")


@pytest.mark.parametrize("pattern", [r"\Aoom\z", r"(?-m)^oom$", r"(?s)^oom$"])
def test_a_pattern_that_speaks_of_the_whole_text_means_the_line(pattern: str) -> None:
    assert [line for line, _ in Scanner([pattern]).matches(["a", "oom", "b oom"])] == ["oom"]


@pytest.mark.parametrize("beside", ["fine", "\x1b[31mred\x1b[0m", "10%\r20%"])
def test_what_stands_beside_a_line_does_not_change_what_is_found_in_it(beside: str) -> None:
    lines = ["loss\x07=nan", "los\u200bs=nan ", "loss=nan ", "loss=nan"]
    found = [line for line, _ in Scanner([r"loss=nan$"]).matches([*lines, beside])]
    assert found == ["loss=nan", "loss=nan", "loss=nan"]


def test_a_match_over_two_lines_is_none() -> None:
    assert not list(Scanner([r"a\s+b"]).matches(["a", "b"]))


def test_a_rule_fires_when_its_lines_come_often_enough_and_not_before() -> None:
    rules = Rules([Rule("oom", "oom", count=3, within=timedelta(seconds=60))])
    states = read(rules, ["oom", "ok"], NO_STATES, at(0))
    states = read(rules, ["oom"], states, at(59))
    assert not states["oom"].firing
    states = read(rules, ["oom"], states, at(61))
    assert not states["oom"].firing
    states = read(rules, ["oom 4"], states, at(62))
    assert (states["oom"].firing, states["oom"].fired, states["oom"].count) == (True, 1, 4)
    assert states["oom"].line == "oom 4"


def test_a_rule_rests_after_quiet_time_and_fires_again() -> None:
    rules = Rules([Rule("oom", "oom", reset_after=timedelta(seconds=10))])
    states = read(rules, ["oom"], NO_STATES, at(0))
    assert rules.rested(states, at(9))["oom"].firing
    states = rules.rested(states, at(10))
    assert not states["oom"].firing
    assert read(rules, ["oom"], states, at(11))["oom"].fired == 2


def test_a_rule_rests_at_a_line_of_its_reset_pattern_in_the_order_of_the_log() -> None:
    rules = Rules([Rule("down", "db is down", reset_pattern="db is back")])
    state = read(rules, ["db is down", "db is back"], NO_STATES, at(0))["down"]
    assert (state.firing, state.fired) == (False, 1)
    state = read(rules, ["db is back", "db is down"], NO_STATES, at(0))["down"]
    assert state.firing
    state = read(rules, ["db is down", "db is back"] * 50, NO_STATES, at(0))["down"]
    assert (state.fired, state.count) == (50, 50)


def test_nothing_is_known_of_a_rule_that_only_its_reset_pattern_has_matched() -> None:
    rules = Rules([Rule("down", "db is down", reset_pattern="db is back")])
    assert not read(rules, ["db is back"], NO_STATES, at(0))


def test_a_rule_without_reset_fires_once() -> None:
    rules = Rules([Rule("oom", "oom")])
    states = NO_STATES
    for second in range(50):
        states = read(rules, ["oom"] * 3, states, at(second * 1000))
    assert (states["oom"].fired, states["oom"].count) == (1, 150)


@given(st.lists(st.floats(0, 100), max_size=300).map(sorted))
def test_what_is_remembered_is_bounded(seconds: list[float]) -> None:
    rules = Rules([Rule("oom", "oom", count=1000, within=timedelta(seconds=60))])
    states = NO_STATES
    for second in seconds:
        states = read(rules, ["oom"], states, at(second))
    state = states.get("oom", RESTING)
    assert state.count == len(seconds)
    assert len(state.recent) <= WINDOW_PARTS + 1
    if seconds:
        within = sum(seconds[-1] - second < 60 for second in seconds)
        older = sum(59 <= seconds[-1] - second < 61 for second in seconds)
        assert abs(sum(count for _, count in state.recent) - within) <= older


@given(LINES, st.lists(st.integers(0, 200), max_size=5).map(sorted))
def test_states_are_the_same_whatever_the_batches(lines: list[str], cuts: list[int]) -> None:
    rules = Rules([Rule("a", "oom", count=3), Rule("b", r"\d", reset_pattern="ok")])
    states = NO_STATES
    for begin, end in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        states = read(rules, lines[begin:end], states, at(0))
    assert states == read(rules, lines, NO_STATES, at(0))


def test_a_rule_that_re2_refuses_is_told_and_the_others_go_on() -> None:
    lens = Lens([Rule("bad", "a("), Rule("worse", "a", reset_pattern=r"(?=x)"), Rule("good", "a")], [], [])
    assert set(lens.refused) == {"rule bad", "rule worse"}
    assert re.search(r"missing \)", lens.refused["rule bad"])
    assert set(lens.read(["aaa"], NOTHING, at(0)).rules) == {"good"}


def test_many_rules_at_once_are_counted_right() -> None:
    lens = Lens([Rule(f"r{n}", f"line {n}$") for n in range(MAX_RULES)], [], [])
    states = lens.read([f"line {n}" for n in range(100)] * 20, NOTHING, at(0)).rules
    assert {state.count for state in states.values()} == {20}
    assert len(states) == MAX_RULES


def test_patterns_that_would_take_long_are_refused_each_and_together() -> None:
    huge = Lens([Rule("huge", "(?i)[a-z]+.{0,900}x"), Rule("good", "a")], [], [])
    assert "at most" in huge.refused["rule huge"]
    many = Lens([Rule(f"r{n}", "(?i)[a-z]+.{0,150}x") for n in range(MAX_RULES)], [], [])
    assert 0 < len(many.refused) < MAX_RULES
    assert "no room" in many.refused[f"rule r{MAX_RULES - 1}"]


def test_a_rules_line_is_clean_and_without_what_the_user_hides() -> None:
    lens = Lens([Rule("a", "a")], [], [r"cust-\d+"])
    line = "\x1b[31ma password=Zx9Qw7 of " + "cust-123 " * 50
    shown = lens.read([line, "a"], NOTHING, at(0)).rules["a"].line
    assert shown.startswith("a password=*** of *** *** ***")
    assert shown.isprintable()
    assert len(shown.encode()) <= LINE_BYTES


def test_a_pattern_that_matches_nothing_at_all_matches_every_line() -> None:
    assert Lens([Rule("a", "x*")], [], ["x*"]).read(["", "y", "x"], NOTHING, at(0)).rules["a"].count == 3


def test_while_a_redaction_is_refused_no_text_is_shown() -> None:
    lens = Lens([Rule("a", "a")], [ValuePattern("v", "v=(?P<value>.*)")], ["(", "b"])
    assert list(lens.refused) == ["redact[0]"]
    found = lens.read(["a v=secret"], NOTHING, at(0))
    assert (found.rules["a"].line, found.values["v"].text) == ("***", "***")


def test_rules_and_values_do_not_disturb_each_other() -> None:
    resets = [Rule("down", "down", reset_pattern="up"), Rule("oom", "oom")]
    lens = Lens(resets, [ValuePattern("n", r"n=(?P<value>\d+)"), ValuePattern("m", r"m=(?P<value>\d+)")], [])
    found = lens.read(["down n=1", "oom m=2", "up n=3"], NOTHING, at(0))
    assert {name: (state.fired, state.firing) for name, state in found.rules.items()} == {
        "down": (1, False), "oom": (1, True),
    }  # fmt: skip
    assert {name: value.text for name, value in found.values.items()} == {"n": "3", "m": "2"}


def test_a_rule_or_value_that_is_not_in_the_spec_any_more_is_forgotten() -> None:
    before = Lens([Rule("a", "a")], [ValuePattern("v", "(?P<value>a)")], []).read(["a"], NOTHING, at(0))
    assert not Lens([Rule("b", "b")], [], []).read(["x"], before, at(1))


@given(LINES, st.lists(st.integers(0, 200), max_size=5).map(sorted))
def test_findings_are_the_same_whatever_the_batches(lines: list[str], cuts: list[int]) -> None:
    lens = Lens(
        [Rule("a", "oom", count=3), Rule("b", r"\d", reset_pattern="ok")],
        [ValuePattern("progress", r"(?P<value>\d+)/(?P<of>\d+)")],
        ["oo"],
    )
    found = NOTHING
    for begin, end in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        found = lens.read(lines[begin:end], found, at(0))
    assert found == lens.read(lines, NOTHING, at(0))


def test_the_next_rest_is_that_of_the_rule_that_fires_and_was_quiet_longest() -> None:
    lens = Lens([Rule("a", "a", reset_after=timedelta(seconds=9)), Rule("b", "b"), Rule("c", "c", count=2)], [], [])
    found = lens.read(["a", "b", "c"], NOTHING, at(0))
    assert lens.next_rest(found) == at(9)
    assert lens.next_rest(lens.rested(found, at(9))) is None


def test_the_last_value_counts() -> None:
    values = Values(
        [ValuePattern("progress", r"step (?P<value>\d+)/(?P<of>\d+)"), ValuePattern("loss", r"loss=(?P<value>\S+)")]
    )
    known = read_values(values, ["step 1/40 loss=0.5", "step 2/40 loss=0.25", "x"], {}, at(0))
    known = read_values(values, ["step 25/40"], known, at(1))
    assert known == {"progress": Value("25", "40", at(1)), "loss": Value("0.25", "", at(0))}
    assert progress_of([known]) == "62%"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("password=hunter2", MASK),
        ("connecting to https://ann:hunter2@host.example", MASK),
        ("customer-4711", MASK),
        ("step\t12", "12"),
        ("loss=0.25  ", "0.25"),
    ],
)
def test_a_value_is_masked_where_its_line_says_that_it_is_a_secret(line: str, shown: str) -> None:
    pattern = r"(?:password=|ann:|customer-|step\t|loss=)(?P<value>[\w.]+)"
    lens = Lens([], [ValuePattern("found", pattern), ValuePattern("all", r"(?P<value>\S+)\s*$")], [r"customer-\d+"])
    assert lens.read([line], NOTHING, at(0)).values["found"].text == shown
    assert "hunter2" not in lens.read([line], NOTHING, at(0)).values["all"].text


@pytest.mark.parametrize(
    ("value", "done"),
    [
        (Value("63"), 63), (Value("63%"), 63), (Value("1,200", "4,000"), 30), (Value("5", "4"), 100), (Value("-1"), 0),
        (Value("x"), None),
        (Value("nan"), None), (Value("inf", "3"), None), (Value("1", "0"), None), (Value("1", "y"), None),
    ],
)  # fmt: skip
def test_progress_is_a_percentage_or_nothing(value: Value, done: int | None) -> None:
    assert percentage(value) == done
    assert progress_of([{"progress": value}]) == ("" if done is None else f"{done}%")


def test_progress_of_many_jobs_is_their_mean() -> None:
    jobs: list[Known] = [{"progress": Value("40")}, {"progress": Value("3", "4")}, {}, {"progress": Value("x")}]
    assert progress_of(jobs) == "57%"


def test_a_pattern_without_a_value_is_refused() -> None:
    values = [ValuePattern("a", r"\d+"), ValuePattern("b", "("), ValuePattern("c", r"(?P<value>\d*)")]
    lens = Lens([], values, [])
    assert set(lens.refused) == {"value a", "value b"}
    assert not lens.read(["no digits"], NOTHING, at(0))
