"""One reading of a log for several watches, each with its own rules, from its own place."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.engine.hearing import Heard, Hearing
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.lens import NO_LENS, Lens
from rayjobwatch.model.rules import Rule
from rayjobwatch.model.status import restored, status_of
from rayjobwatch.model.values import ValuePattern
from tests.unit.observations import T0, folded, heard, row

A, B = ("ml", "a"), ("ml", "b")
OOM = Lens([Rule("oom", "oom", reset_after=timedelta(seconds=9))], [ValuePattern("step", r"(?P<value>\d+)/")], [])
DOWN = Lens([Rule("down", "down", reset_pattern="up")], [], [r"cust-\d+"])
HIDES = Lens([], [], [r"cust-\d+"])
LINES = ["oom", "down cust-1", "3/10", "up", "x" * 600 + " cust-2", "oom", "down cust-33"]


def counts(known: Heard | None) -> dict[str, int] | None:
    return None if known is None else {name: state.count for name, state in known.findings.rules.items()}


def test_each_watch_hears_its_own_rules_and_hides_its_own_words() -> None:
    hearing = Hearing(LogDigest())
    hearing.join(A, OOM, Heard())
    hearing.join(B, DOWN, Heard())
    hearing.fed(LINES, "c", T0)
    a, b = hearing.heard(A), hearing.heard(B)
    assert (counts(a), counts(b)) == ({"oom": 2}, {"down": 2})
    assert a is not None
    assert b is not None
    assert a.findings.values["step"].text == "3"
    assert a.digest.tail[-1] == "down cust-33"
    assert b.digest.tail[-1] == "down ***"
    assert not any("cust-" in line for line in b.digest.tail)
    assert (a.digest.lines, a.digest.bytes) == (b.digest.lines, b.digest.bytes)


def test_a_watch_that_is_further_waits_for_its_place() -> None:
    hearing = Hearing(LogDigest())
    hearing.join(A, OOM, Heard(LogDigest(lines=2)))
    hearing.fed(LINES[:1], "c", T0)
    assert hearing.heard(A) is None
    hearing.fed(LINES[1:], "c", T0)
    assert counts(hearing.heard(A)) == {"oom": 1}


def test_a_watch_that_only_hides_words_needs_no_earlier_lines() -> None:
    hearing = Hearing(LogDigest())
    hearing.fed(LINES, "c", T0)
    hearing.join(A, HIDES, Heard())
    known = hearing.heard(A)
    assert known is not None
    assert known.digest.tail[1] == "down ***"


def test_news_of_rules_is_told_once_and_goes_along_when_watches_move() -> None:
    hearing, other = Hearing(LogDigest()), Hearing(LogDigest())
    hearing.join(A, OOM, Heard())
    hearing.join(B, NO_LENS, Heard())
    hearing.fed(["x"], "c", T0)
    assert hearing.with_news() == set()
    hearing.fed(["oom"], "c", T0)
    assert hearing.with_news() == {A}
    hearing.fed(["oom"], "c", T0)
    assert hearing.with_news() == set()
    hearing.fed(["oom"], "c", T0 + timedelta(seconds=99))  # it rested, and fires again
    hearing.move_to(other)
    assert (hearing.keys, other.keys) == ([], [A, B])
    assert other.with_news() == {A}
    assert other.heard(A) is None
    other.fed(["x", "oom", "oom", "oom"], "c", T0)
    assert counts(other.heard(A)) == {"oom": 3}


def test_a_rule_sees_nothing_of_a_private_key() -> None:
    lens = Lens([Rule("any", "MII")], [], [])
    hearing = Hearing(LogDigest())
    hearing.join(A, lens, Heard())
    body = "MII" + "fakefakefake0000" * 4
    for line in ("-----BEGIN RSA PRIVATE " + "KEY-----", body, "-----END RSA PRIVATE " + "KEY-----"):
        hearing.fed([line], "c", T0)
    assert counts(hearing.heard(A)) == {}


@given(
    st.lists(st.sampled_from([*LINES, "-----BEGIN PRIVATE KEY-----", "a\rb"]), max_size=40),
    st.lists(st.integers(0, 40), max_size=5).map(sorted),
    st.integers(0, 40),
)
def test_what_is_heard_is_the_same_whatever_the_batches_and_survives_a_restart(
    lines: Sequence[str], cuts: Sequence[int], restart: int
) -> None:
    whole = Hearing(LogDigest())
    parts = Hearing(LogDigest())
    for hearing in (whole, parts):
        hearing.join(A, DOWN, Heard())
    whole.fed(lines, "c", T0)
    for begin, end in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        parts.fed(lines[begin:end], "c", T0)
    assert parts.heard(A) == whole.heard(A)
    before = Hearing(LogDigest())
    before.join(A, DOWN, Heard())
    before.fed(lines[:restart], "c", T0)
    after = _restarted(before)
    after.fed(lines[restart:], "c", T0)
    again, known = after.heard(A), whole.heard(A)
    assert again is not None
    assert known is not None
    assert again.findings == known.findings
    assert (again.digest.lines, again.digest.bytes, again.digest.errors) == (
        known.digest.lines, known.digest.bytes, known.digest.errors
    )  # fmt: skip


def _restarted(hearing: Hearing) -> Hearing:
    """Write what is heard into a status, and go on from that."""
    known = hearing.heard(A) or Heard()
    state = folded(replace(heard(0, row(), complete=False), findings={"a": known.findings}))
    status = status_of(state, {"a": known.digest}, tail_lines=100, previous={}, generation=1, now=T0)
    state, digests = restored(status)
    again = Hearing(digests["a"])
    again.join(A, DOWN, Heard(digests["a"], state.findings.get("a", Heard().findings)))
    return again


@pytest.mark.parametrize("lens", [OOM, DOWN, HIDES])
def test_a_watch_that_left_hears_nothing_more(lens: Lens) -> None:
    hearing = Hearing(LogDigest())
    hearing.join(A, lens, Heard())
    hearing.leave(A)
    hearing.leave(A)
    assert (A in hearing, hearing.keys) == (False, [])
