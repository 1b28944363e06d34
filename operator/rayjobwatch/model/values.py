"""Numbers read off a log: the last one of each pattern, and how far a job is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rayjobwatch.model.redaction.patterns import compiled
from rayjobwatch.model.scan import Scanner, refusals
from rayjobwatch.model.text import clean_line

MAX_VALUES = 16
TEXT_BYTES = 64
PROGRESS = "progress"
_NO_VALUE = "the pattern has no capture (?P<value>…)"


@dataclass(frozen=True, slots=True)
class ValuePattern:
    """Where a value stands: the named capture `value`, and `of` for what it is to reach."""

    name: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Value:
    """A value as the log last said it, in its own words; `of` is empty where the log names no goal."""

    text: str
    of: str = ""
    time: datetime | None = None


class Values:
    """The values of a watch. `refused` has the reason by the name of each pattern that cannot be used."""

    def __init__(self, patterns: Sequence[ValuePattern]) -> None:
        """Compile at most MAX_VALUES."""
        self.refused = _refused(patterns[:MAX_VALUES])
        self._patterns = [one for one in patterns[:MAX_VALUES] if one.name not in self.refused]
        self._scanner = Scanner([one.pattern for one in self._patterns])

    def read(self, lines: Sequence[str], known: Mapping[str, Value], now: datetime) -> Mapping[str, Value]:
        """Return the values after `lines`, which came now."""
        last = {number: line for line, numbers in self._scanner.matches(lines) for number in numbers}
        read = {self._patterns[number].name: self._value(number, line, now) for number, line in last.items()}
        return {**known, **{name: value for name, value in read.items() if value}}

    def _value(self, number: int, line: str, now: datetime) -> Value | None:
        found = self._scanner.patterns[number].search(line)
        groups = found.groupdict() if found else {}
        text = clean_line(groups.get("value") or "", TEXT_BYTES)
        return Value(text, clean_line(groups.get("of") or "", TEXT_BYTES), now) if text else None


def _refused(patterns: Sequence[ValuePattern]) -> dict[str, str]:
    refused = refusals({one.name: (one.pattern,) for one in patterns})
    usable = (one for one in patterns if one.name not in refused)
    without = {one.name: _NO_VALUE for one in usable if "value" not in compiled(one.pattern).groupindex}
    return refused | without


def percentage(value: Value) -> int | None:
    """Return how far a value is, from 0 to 100: of its goal, or of 100 where it names none; None if it is no number."""
    part, whole = _number(value.text), _number(value.of) if value.of else 100.0
    if part is None or whole is None or whole <= 0:
        return None
    return max(0, min(100, int(100 * part / whole)))


def progress_of(values: Mapping[str, Value]) -> str:
    """Return the PROGRESS column: `63%`; empty where the log tells none."""
    value = values.get(PROGRESS)
    done = percentage(value) if value else None
    return "" if done is None else f"{done}%"


def _number(text: str) -> float | None:
    try:
        number = float(text.replace(",", "").rstrip("%"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
