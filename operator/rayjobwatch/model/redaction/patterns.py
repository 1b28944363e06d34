"""The user's own patterns, on top of the built-in rules: RE2, so that none can hang the controller."""

from collections.abc import Iterator, Sequence
from typing import Any

import re2

from rayjobwatch.model.redaction.values import MASK

MAX_PATTERNS = 32
MAX_PROGRAM = 2000
_MEMORY_BYTES = 1 << 20


class InvalidPatternError(ValueError):
    """RE2 refuses a pattern; the text is RE2's reason, with the pattern."""


class Patterns:
    """Compiled patterns. Of a match its groups are masked, or all of it where the pattern has none."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Compile at most MAX_PATTERNS; InvalidPatternError for one that RE2 refuses."""
        if len(texts) > MAX_PATTERNS:
            raise InvalidPatternError(f"{len(texts)} patterns, at most {MAX_PATTERNS} are taken")
        self._patterns = [compiled(text) for text in texts]
        self._any = set_of(texts)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def redact(self, text: str) -> str:
        """Mask what the patterns find in clean text (without surrogates)."""
        if not self._patterns or not self._any.Match(text.encode(errors="replace")):
            return text
        for pattern in self._patterns:
            text = _masked(text, pattern)
        return text


def set_of(texts: Sequence[str]) -> Any:
    """Return what tells in one pass which of the patterns, all taken by RE2, match."""
    options = re2.Options()
    options.never_capture = True
    options.log_errors = False
    found = re2.Set.SearchSet(options)
    for text in texts:
        found.Add(text)
    found.Compile()
    return found


def compiled(text: str) -> Any:
    """Compile one pattern; InvalidPatternError with RE2's reason where it refuses."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    try:
        pattern = re2.compile(text, options)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0]
        said = reason.decode(errors="replace") if isinstance(reason, bytes) else str(error)
        raise InvalidPatternError(said) from None
    if pattern.programsize > MAX_PROGRAM:
        raise InvalidPatternError(
            f"the pattern compiles to {pattern.programsize} steps, at most {MAX_PROGRAM} are taken"
        )
    return pattern


def _masked(text: str, pattern: Any) -> str:
    kept: list[str] = []
    done = 0
    for begin, end in _spans(text, pattern):
        if begin < done or text[begin:end] == MASK:
            continue
        kept += (text[done:begin], MASK)
        done = end
    return "".join([*kept, text[done:]])


def _spans(text: str, pattern: Any) -> Iterator[tuple[int, int]]:
    """Yield what is to be masked; a match of nothing masks nothing."""
    for found in pattern.finditer(text):
        groups = range(1, pattern.groups + 1) if pattern.groups else (0,)
        for begin, end in sorted(found.span(group) for group in groups):
            if 0 <= begin < end:
                yield begin, end


NO_PATTERNS = Patterns(())
# Where it is not known what is to be masked.
EVERYTHING = Patterns([r"(?s:.+)"])
