"""Numbers read off a log: the last one of each pattern, and how far a job is."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from rayjobwatch.model.redaction.patterns import compiled
from rayjobwatch.model.redaction.values import MASK
from rayjobwatch.model.scan import Matches

MAX_VALUES = 16
TEXT_BYTES = 64
_LINE_BYTES = 65_536
PROGRESS = "progress"


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


Known = Mapping[str, Value]
NO_VALUES: Known = MappingProxyType({})
# From a text and its largest number of bytes to one that may be shown.
Clean = Callable[[str, int], str]


class Values:
    """The values of a watch. `patterns`, of which none may lack its value, are numbered from `first` on."""

    def __init__(self, values: Sequence[ValuePattern], first: int = 0) -> None:
        self.patterns = [one.pattern for one in values]
        self._names = [one.name for one in values]
        self._compiled = [compiled(one.pattern) for one in values]
        self._first = first

    def read(self, matches: Matches, known: Known, now: datetime, clean: Clean) -> Known:
        """Return the values after lines that came now and match, their texts made fit to be shown by `clean`."""
        last = {number: line for line, numbers in matches for number in numbers if number >= self._first}
        kept = {name: value for name, value in known.items() if name in self._names}
        for number, line in last.items():
            if value := self._value(number - self._first, line, now, clean):
                kept[self._names[number - self._first]] = value
        return kept

    def _value(self, index: int, line: str, now: datetime, clean: Clean) -> Value | None:
        found = self._compiled[index].search(line)
        groups = found.groupdict() if found else {}
        text, goal = (_shown(groups.get(name) or "", line, clean) for name in ("value", "of"))
        return Value(text, goal, now) if text else None


def _shown(text: str, line: str, clean: Clean) -> str:
    """Clean a part of a line; mask it where the line says that it is a secret, which the part alone does not."""
    shown = clean(text, TEXT_BYTES)
    whole = clean(line.replace("\t", " "), _LINE_BYTES) if shown else ""
    return shown if shown == MASK or text.strip().replace("\t", " ") in whole else MASK * bool(shown)


def lacks_value(pattern: str) -> bool:
    """Whether a pattern, one that RE2 takes, has no capture `value`."""
    return "value" not in compiled(pattern).groupindex


def percentage(value: Value) -> int | None:
    """Return how far a value is, from 0 to 100: of its goal, or of 100 where it names none; None if it is no number."""
    part, whole = _number(value.text), _number(value.of) if value.of else 100.0
    if part is None or whole is None or whole <= 0:
        return None
    return max(0, min(100, int(100 * part / whole)))


def progress_of(jobs: Iterable[Known]) -> str:
    """Return the PROGRESS column: `63%`, the mean of the jobs whose logs tell one; empty where none does."""
    told = [values[PROGRESS] for values in jobs if PROGRESS in values]
    done = [part for part in map(percentage, told) if part is not None]
    return f"{sum(done) // len(done)}%" if done else ""


def _number(text: str) -> float | None:
    try:
        number = float(text.replace(",", "").rstrip("%"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
