"""Which lines of a batch match which patterns: all patterns of a watch in one pass over many lines at once."""

import re
from collections.abc import Iterable, Iterator, Sequence

from rayjobwatch.model.plain import plain_line
from rayjobwatch.model.redaction.patterns import compiled, set_of

# A line and the numbers of the patterns that it matches, of each line that matches any.
Matches = Iterable[tuple[str, Sequence[int]]]

MAX_PATTERNS = 200
BLOCK_LINES = 64
# Steps of all patterns together: with as many, the most hostile ones take 1 ms a line.
MAX_STEPS = 20_000
# Inside a block these mean another place than in a single line, so that blocks would hide matches.
_ABSOLUTE = re.compile(r"\\[AzC]|\(\?[a-zA-Z]*-[a-zA-Z]*m")


class Scanner:
    """Patterns by number. The patterns are RE2's and must be ones that it takes (`compiled` tells)."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Compile `patterns`, at most MAX_PATTERNS of them."""
        self.patterns = [compiled(text) for text in patterns[:MAX_PATTERNS]]
        self._lines = set_of(patterns[:MAX_PATTERNS])
        self._blocks = None
        if not any(_ABSOLUTE.search(text) for text in patterns):
            self._blocks = set_of([f"(?m:{text})" for text in patterns[:MAX_PATTERNS]])

    def matches(self, lines: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
        """Yield each matching line, without colours and control characters, and the numbers of its patterns."""
        if not self.patterns:
            return
        for begin in range(0, len(lines), BLOCK_LINES):
            block = _plain(lines[begin : begin + BLOCK_LINES])
            if self._blocks is not None and not self._blocks.Match("\n".join(block).encode(errors="replace")):
                continue
            for line in block:
                if found := self._lines.Match(line.encode(errors="replace")):
                    yield line, found


def _plain(lines: Sequence[str]) -> Sequence[str]:
    # Line by line: what stands beside a line must not change what is found in it.
    if "".join(lines).isprintable():
        return lines
    return [line if line.isprintable() else plain_line(line) for line in lines]
