"""How many lines of a batch tell of errors and of warnings, in the words of the usual loggers."""

from collections.abc import Sequence
from typing import NamedTuple

from rayjobwatch.model.scan import Scanner

_FIELD = r'"?\b(?:level|lvl|levelname|severity)"?\s?[:=]\s?"?'
_ERROR = (
    r"\b(?:ERROR|CRITICAL|FATAL|SEVERE|PANIC)\b|^Traceback \(most recent call last\):|^[EF]\d{4} \d\d:"
    rf"|(?i:{_FIELD}(?:error|critical|fatal|panic)\b|\[(?:error|critical|fatal)\s*\])"
)
_WARNING = rf"\bWARN(?:ING)?\b|\b[A-Z]\w*Warning: |^W\d{{4}} \d\d:|(?i:{_FIELD}warn(?:ing)?\b|\[warn(?:ing)?\s*\])"
_SCANNER = Scanner([_ERROR, _WARNING])


class Levels(NamedTuple):
    """Numbers of lines."""

    errors: int
    warnings: int


def levels_of(lines: Sequence[str]) -> Levels:
    """Count the lines about errors and those about warnings only."""
    errors = warnings = 0
    for _, found in _SCANNER.matches(lines):
        if 0 in found:
            errors += 1
        else:
            warnings += 1
    return Levels(errors, warnings)
