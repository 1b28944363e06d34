"""Log rules: a pattern that fires when its lines come often enough, and rests when they have stopped.

A state is folded from batches of lines and from the passing of time; nothing here knows where the lines come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from types import MappingProxyType

from rayjobwatch.model.scan import Matches

MAX_RULES = 64
# Times of matches are remembered this finely, in parts of the threshold's window.
WINDOW_PARTS = 60


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a watch: fires at `count` matching lines `within` a time (at any pace without one).

    It rests again `reset_after` the last match or at a line of `reset_pattern`; without both it fires once.
    """

    name: str
    pattern: str
    count: int = 1
    within: timedelta | None = None
    reset_after: timedelta | None = None
    reset_pattern: str = ""


@dataclass(frozen=True, slots=True)
class RuleState:
    """What is known of one rule in one log. `count` is of all matching lines, `fired` of the times it began to fire.

    `recent`: when how many of the lines came that still count towards the threshold, none while it fires. `line`: the
    one at which it began to fire, as the log has it.
    """

    count: int = 0
    fired: int = 0
    firing: bool = False
    last_match: datetime | None = None
    line: str = ""
    recent: tuple[tuple[datetime, int], ...] = ()

    @property
    def reset(self) -> int:
        """How often it came to rest again."""
        return self.fired - self.firing


RESTING = RuleState()
States = Mapping[str, RuleState]
NO_STATES: States = MappingProxyType({})


class Rules:
    """The rules of a watch. `patterns` are numbered: those of all rules, then those that reset one."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        resets = [rule for rule in rules if rule.reset_pattern]
        self.patterns = [rule.pattern for rule in rules] + [rule.reset_pattern for rule in resets]
        self._by_name = {rule.name: rule for rule in rules}
        self._roles = [(rule, False) for rule in rules] + [(rule, True) for rule in resets]

    def read(self, matches: Matches, states: States, now: datetime) -> States:
        """Return the states after lines that came now and match; each line counts once for each rule."""
        new = dict(self.rested(states, now))
        for name, lines in self._by_rule(matches).items():
            new[name] = _read(self._by_name[name], new.get(name, RESTING), lines, now)
        return {name: state for name, state in new.items() if state is not RESTING}

    def _by_rule(self, matches: Matches) -> dict[str, list[str | None]]:
        """Return each rule's matching lines in order, None for those that reset it."""
        lines: dict[str, list[str | None]] = {}
        for line, numbers in matches:
            for number in numbers:
                if number < len(self._roles):
                    rule, resets = self._roles[number]
                    lines.setdefault(rule.name, []).append(None if resets else line)
        return lines

    def rested(self, states: States, now: datetime) -> States:
        """Return the states at a time without news: what was quiet for long enough rests."""
        by_name = self._by_name
        return {name: _rested(by_name[name], state, now) for name, state in states.items() if name in by_name}

    def next_rest(self, states: States) -> datetime | None:
        """Return when the next of those that fire rests, if no line comes; None where none does by itself."""
        times = (_rests_at(self._by_name[name], state) for name, state in states.items() if name in self._by_name)
        return min((time for time in times if time), default=None)


def _read(rule: Rule, state: RuleState, lines: Sequence[str | None], now: datetime) -> RuleState:
    """Take in a rule's lines run by run, not line by line: a job may print thousands a second."""
    for is_match, run in groupby(lines, key=_is_match):
        if is_match:
            state = _matched(rule, state, [line or "" for line in run], now)
        elif state is not RESTING:
            state = _reset(state)
    return state


def _is_match(line: str | None) -> bool:
    return line is not None


def _matched(rule: Rule, state: RuleState, lines: Sequence[str], now: datetime) -> RuleState:
    count = state.count + len(lines)
    if state.firing:
        return replace(state, count=count, last_match=now)
    recent = _remembered(rule, state.recent, now, len(lines))
    spare = sum(number for _, number in recent) - rule.count
    if spare < 0:
        return replace(state, count=count, last_match=now, recent=recent)
    line = lines[max(0, len(lines) - 1 - spare)]
    return RuleState(count=count, fired=state.fired + 1, firing=True, last_match=now, line=line)


def _remembered(
    rule: Rule, recent: Sequence[tuple[datetime, int]], now: datetime, more: int
) -> tuple[tuple[datetime, int], ...]:
    """Count so many lines more, and forget those that no longer count."""
    if rule.within is None:
        return ((now, sum(count for _, count in recent) + more),)
    kept = [(time, count) for time, count in recent if timedelta(0) <= now - time < rule.within]
    if kept and now - kept[-1][0] < rule.within / WINDOW_PARTS:
        kept[-1] = (kept[-1][0], kept[-1][1] + more)
    else:
        kept.append((now, more))
    return tuple(kept)


def _reset(state: RuleState) -> RuleState:
    return replace(state, firing=False, recent=())


def _rests_at(rule: Rule, state: RuleState) -> datetime | None:
    if not state.firing or state.last_match is None or rule.reset_after is None:
        return None
    return state.last_match + rule.reset_after


def _rested(rule: Rule, state: RuleState, now: datetime) -> RuleState:
    quiet = state.last_match is not None and rule.reset_after is not None and now - state.last_match >= rule.reset_after
    return _reset(state) if quiet and (state.firing or state.recent) else state
