"""What a watch looks for in its jobs' logs and what it does not show of them: rules, values and redaction, compiled."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

from rayjobwatch.model.redaction.patterns import EVERYTHING, InvalidPatternError, Patterns, compiled
from rayjobwatch.model.rules import NO_STATES, Rule, Rules, RuleState, States
from rayjobwatch.model.scan import MAX_STEPS, Scanner
from rayjobwatch.model.text import clean_line
from rayjobwatch.model.values import NO_VALUES, Known, ValuePattern, Values, lacks_value

LINE_BYTES = 256
REASON_BYTES = 256
_KEPT_LENSES = 64


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in one job's log, up to the place where its digest stands."""

    rules: States = field(default_factory=lambda: NO_STATES)
    values: Known = field(default_factory=lambda: NO_VALUES)

    def __bool__(self) -> bool:
        return bool(self.rules or self.values)

    @property
    def fired(self) -> dict[str, tuple[int, bool]]:
        """How often each rule began to fire, and whether it does now: what is worth telling at once."""
        return {name: (state.fired, state.firing) for name, state in self.rules.items() if state.fired}


NOTHING = Findings()


class Lens:
    """Finds in one pass over a log what `rules` and `values` say, and masks what `redact` matches.

    refused: why patterns are not used, by the name they go under (`rule oom`); the others are. While one of `redact`
    is refused every text is masked whole: nobody knows what it should have hidden.
    """

    def __init__(self, rules: Sequence[Rule], values: Sequence[ValuePattern], redact: Sequence[str]) -> None:
        self.refused: dict[str, str] = {}
        self._steps = MAX_STEPS
        self._rules = Rules([one for one in rules if self._takes(f"rule {one.name}", one.pattern, one.reset_pattern)])
        usable = [one for one in values if self._takes_value(one)]
        self._values = Values(usable, first=len(self._rules.patterns))
        self._scanner = Scanner([*self._rules.patterns, *self._values.patterns])
        known = [text for number, text in enumerate(redact) if self._takes_redaction(f"redact[{number}]", text)]
        self.patterns = Patterns(known) if len(known) == len(redact) else EVERYTHING

    @property
    def looks(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._scanner.patterns)

    def read(self, lines: Sequence[str], known: Findings, now: datetime) -> Findings:
        """Return what is found after `lines`, which came now."""
        found = list(self._scanner.matches(lines))
        if not found and not known:
            return known
        rules = self._rules.read(found, known.rules, now)
        rules = {name: self._shown(state, known.rules.get(name)) for name, state in rules.items()}
        return Findings(rules, self._values.read(found, known.values, now, self.clean))

    def rested(self, known: Findings, now: datetime) -> Findings:
        """Return what is found at a time without news: rules that were quiet for long enough rest."""
        return replace(known, rules=self._rules.rested(known.rules, now)) if known.rules else known

    def next_rest(self, known: Findings) -> datetime | None:
        """Return when a rule rests next, if no line comes; None where none does."""
        return self._rules.next_rest(known.rules)

    def clean(self, text: str, limit: int) -> str:
        """Make a text of a log fit to be shown to those who may read the watch."""
        return clean_line(text, limit, self.patterns)

    def _shown(self, state: RuleState, before: RuleState | None) -> RuleState:
        """Clean the line of a rule that has begun to fire: once a batch, not once a line."""
        if before is not None and before.line == state.line:
            return state
        return replace(state, line=self.clean(state.line, LINE_BYTES))

    def _takes(self, name: str, *texts: str) -> bool:
        try:
            steps = sum(compiled(text).programsize for text in texts)
        except InvalidPatternError as error:
            self.refused[name] = clean_line(str(error), REASON_BYTES)
            return False
        if steps > self._steps:
            self.refused[name] = f"the patterns before it leave no room for its {steps} steps, of {MAX_STEPS} for all"
            return False
        self._steps -= steps
        return True

    def _takes_value(self, one: ValuePattern) -> bool:
        name = f"value {one.name}"
        if not self._takes(name, one.pattern):
            return False
        if lacks_value(one.pattern):
            self.refused[name] = "the pattern has no capture (?P<value>…)"
        return name not in self.refused

    def _takes_redaction(self, name: str, text: str) -> bool:
        try:
            compiled(text)
        except InvalidPatternError as error:
            self.refused[name] = clean_line(
                f"{error}; until it is mended, all texts of the jobs are masked", REASON_BYTES
            )
        return name not in self.refused


NO_LENS = Lens((), (), ())


@lru_cache(maxsize=_KEPT_LENSES)
def lens_of(rules: tuple[Rule, ...], values: tuple[ValuePattern, ...], redact: tuple[str, ...]) -> Lens:
    """Return the lens for these; watches with the same ones share it."""
    return Lens(rules, values, redact) if rules or values or redact else NO_LENS
