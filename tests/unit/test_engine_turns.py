"""How soon what may wait is done when much of it is wanted at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.engine.turns import Turns
from rayjobwatch.model.pace import LONGEST_TURN, TURNS_PER_SECOND


def test_one_is_at_once_and_many_come_apart_but_none_late() -> None:
    turns = Turns()
    taken = [turns.take(100.0) for _ in range(1000)]
    assert taken[:2] == [100.0, 100.0 + 1 / TURNS_PER_SECOND]
    assert taken[-1] == 100.0 + LONGEST_TURN


def test_the_first_so_many_are_at_once_and_the_next_ones_come_apart() -> None:
    turns = Turns(at_once=3)
    assert [turns.take(100.0) for _ in range(5)] == pytest.approx([100, 100, 100, 100.1, 100.2])
    assert [turns.take(100.25) for _ in range(2)] == pytest.approx([100.3, 100.4])
    assert [turns.take(110.0) for _ in range(4)] == pytest.approx([110, 110, 110, 110.1])
    assert max(turns.take(110.0) for _ in range(1000)) == 110 + LONGEST_TURN


@given(st.lists(st.floats(0, 5), max_size=50))
def test_after_a_rush_it_is_at_once_again(gaps: list[float]) -> None:
    turns, now = Turns(), 0.0
    for gap in gaps:
        now += gap
        assert now <= turns.take(now) <= now + LONGEST_TURN
    now += LONGEST_TURN + 1 / TURNS_PER_SECOND
    assert turns.take(now) == now
