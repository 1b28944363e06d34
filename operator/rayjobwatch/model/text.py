"""Text from outside made fit for status and Events: clean single lines, no secrets, cut by bytes."""

from functools import lru_cache

from rayjobwatch.model.plain import LONGEST_INPUT, plain_line
from rayjobwatch.model.redaction import redact
from rayjobwatch.model.redaction.patterns import NO_PATTERNS, Patterns

_ELLIPSIS = "…"
_LONGEST_SHOWN = 4096
_LONGEST_KEPT = 1024


def clean_line(line: str, limit: int = 512, patterns: Patterns = NO_PATTERNS) -> str:
    """Make one log line fit to be shown: no ANSI, no control characters, the last state of a progress bar.

    What `patterns` match and known forms of secrets are masked before the line is cut to `limit` bytes of UTF-8.
    """
    shown = plain_line(line)
    # What is cut off anyway is not searched for secrets: that takes longer than all the rest.
    kept = shown[: max(limit, _LONGEST_SHOWN)]
    return cut(redact(patterns.redact(kept)).expandtabs(4) + (_ELLIPSIS if len(kept) < len(shown) else ""), limit)


def clean_again(line: str, limit: int = 512, patterns: Patterns = NO_PATTERNS) -> str:
    """Return what `clean_line` does, of a line that is likely to come again and again: an entrypoint, a message."""
    return clean_line(line, limit, patterns) if patterns or len(line) > _LONGEST_KEPT else _kept(line, limit)


@lru_cache(maxsize=2048)
def _kept(line: str, limit: int) -> str:
    return clean_line(line, limit)


def cut(text: str, limit: int) -> str:
    """Cut `text` to at most `limit` bytes of UTF-8, never inside a character, marked with an ellipsis if it fits."""
    if len(text) <= limit and text.isascii():
        return text  # and no copy: the same line is kept for the cause of a failure, too
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    mark = _ELLIPSIS if limit >= len(_ELLIPSIS.encode()) else ""
    room = max(0, limit - len(mark.encode()))
    return data[:room].decode("utf-8", "ignore") + mark


def last_line(text: str, limit: int = 512) -> str:
    """Return the last line of `text` that is not blank, cleaned and cut; empty when there is none."""
    for line in reversed(text[-LONGEST_INPUT:].split("\n")):
        if cleaned := clean_line(line, limit):
            return cleaned
    return ""
