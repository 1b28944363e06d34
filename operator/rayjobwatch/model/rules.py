"""Log rules: a pattern that fires when its lines come often enough, and rests when they have stopped.

A state is folded from batches of lines and from the passing of time; nothing here knows where the lines come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from rayjobwatch.model.scan import Scanner, refusals
from rayjobwatch.model.text import clean_line

MAX_RULES = 64
# Times of matches are remembered this finely, in parts of the threshold's window.
WINDOW_PARTS = 60
LINE_BYTES = 256


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
    """What is known of one rule. `count` is of all matching lines, `fired` of the times it began to fire.

    `recent`: when how many of the lines came that still count towards the threshold. `line`: the last match, clean.
    """

    count: int = 0
    fired: int = 0
    firing: bool = False
    last_match: datetime | None = None
    line: str = ""
    recent: tuple[tuple[datetime, int], ...] = ()


RESTING = RuleState()
States = Mapping[str, RuleState]
NO_STATES: States = MappingProxyType({})


class Rules:
    """The rules of a watch. `refused` has RE2's reason by the name of each rule it refuses; the others work."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Compile at most MAX_RULES."""
        self.refused = refusals({rule.name: (rule.pattern, rule.reset_pattern) for rule in rules[:MAX_RULES]})
        self._rules = [rule for rule in rules[:MAX_RULES] if rule.name not in self.refused]
        resets = [rule for rule in self._rules if rule.reset_pattern]
        self._roles = [(rule, False) for rule in self._rules] + [(rule, True) for rule in resets]
        self._scanner = Scanner([rule.pattern for rule in self._rules] + [rule.reset_pattern for rule in resets])

    def read(self, lines: Sequence[str], states: States, now: datetime) -> States:
        """Return the states after `lines`, which came now; each line counts once for each rule."""
        new = dict(self.rested(states, now))
        for line, numbers in self._scanner.matches(lines):
            for number in numbers:
                rule, resets = self._roles[number]
                state = new.get(rule.name, RESTING)
                new[rule.name] = _reset(state) if resets else _matched(rule, state, line, now)
        return _with_clean_lines(new, states)

    def rested(self, states: States, now: datetime) -> States:
        """Return the states at a time without news: what was quiet for long enough rests."""
        by_name = {rule.name: rule for rule in self._rules}
        return {name: _rested(by_name[name], state, now) for name, state in states.items() if name in by_name}


def _matched(rule: Rule, state: RuleState, line: str, now: datetime) -> RuleState:
    recent = _remembered(rule, state.recent, now)
    fires = not state.firing and sum(count for _, count in recent) >= rule.count
    return RuleState(
        count=state.count + 1,
        fired=state.fired + fires,
        firing=state.firing or fires,
        last_match=now,
        line=line,
        recent=recent,
    )


def _remembered(rule: Rule, recent: Sequence[tuple[datetime, int]], now: datetime) -> tuple[tuple[datetime, int], ...]:
    """Count one more line, and forget those that no longer count."""
    if rule.within is None:
        return ((now, sum(count for _, count in recent) + 1),)
    kept = [(time, count) for time, count in recent if timedelta(0) <= now - time < rule.within]
    if kept and now - kept[-1][0] < rule.within / WINDOW_PARTS:
        kept[-1] = (kept[-1][0], kept[-1][1] + 1)
    else:
        kept.append((now, 1))
    return tuple(kept)


def _reset(state: RuleState) -> RuleState:
    return replace(state, firing=False, recent=())


def _rested(rule: Rule, state: RuleState, now: datetime) -> RuleState:
    quiet = state.last_match is not None and rule.reset_after is not None and now - state.last_match >= rule.reset_after
    return _reset(state) if quiet and (state.firing or state.recent) else state


def _with_clean_lines(new: dict[str, RuleState], old: States) -> States:
    """Clean the last matching line of each rule once a batch, not once a line."""
    for name, state in new.items():
        if state.count != old.get(name, RESTING).count:
            new[name] = replace(state, line=clean_line(state.line, LINE_BYTES))
    return new
