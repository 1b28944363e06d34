"""What a launcher of several processes tells of the one that failed first: torchrun's `Root Cause`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_BEGIN = "Root Cause (first observed failure)"
_FIELD = re.compile(r"\s*(rank|exitcode|traceback)\s*: (-?\w.*)$")
_LINES = 9


@dataclass(frozen=True, slots=True)
class Root:
    """The rank that failed first, and how, in words; both empty where no launcher tells."""

    rank: str = ""
    said: str = ""


def root_of(lines: Sequence[str]) -> Root:
    """Read the driver's lines."""
    at = next((i for i, line in enumerate(lines) if line.startswith(_BEGIN)), None)
    if at is None:
        return Root()
    fields = {found[1]: found[2] for line in lines[at : at + _LINES] if (found := _FIELD.match(line))}
    rank = fields.get("rank", "").split(" ", 1)[0]
    signal = fields.get("traceback", "")
    ended = signal if signal.startswith("Signal ") else f"exit code {fields.get('exitcode', '').split(' ', 1)[0]}"
    return Root(rank, f"rank {rank}: {ended}")
