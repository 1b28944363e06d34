"""Which rows of Ray's table a watch selects that does not name its jobs by their ids."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rayjobwatch.model.fold import state_of
from rayjobwatch.model.jobs import JobRow
from rayjobwatch.model.redaction.patterns import compiled
from rayjobwatch.model.spec import JobSelection

_LONGEST_ENTRYPOINT = 16_384
_KEY_LENGTH = 16
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Selector:
    """A job is selected by every pair of `metadata` and by `pattern`, a compiled RE2; empty and None select all.

    `since`: when the watch was created. A job that was over before is selected with `include_finished` only.
    `key` is the same for the same selection.
    """

    key: str
    metadata: Mapping[str, str]
    pattern: Any | None
    since: datetime | None
    include_finished: bool = False

    def matches(self, entrypoint: str, metadata: Mapping[str, str]) -> bool:
        """Return whether a job of this command and metadata is selected, whenever it ran."""
        if any(metadata.get(key) != value for key, value in self.metadata.items()):
            return False
        return self.pattern is None or bool(self.pattern.search(_searchable(entrypoint)))

    def floor(self, until: datetime | None) -> datetime | None:
        """Return when a job must have been over at the earliest to be new, None where any is.

        until: what was over then or before is known already. All times in whole seconds, as Ray's rows have them.
        """
        since = None if self.include_finished else self.since
        times = [time for time in (since, until and until + SECOND) if time]
        return max(times, default=None)


def selector_of(jobs: JobSelection, created: datetime | None) -> Selector | None:
    """Return the selector of a watch that was created then, None where it names its jobs by their ids."""
    if jobs.ids:
        return None
    said = json.dumps([jobs.metadata, jobs.entrypoint, jobs.include_finished], sort_keys=True)
    key = hashlib.sha256(said.encode()).hexdigest()[:_KEY_LENGTH]
    pattern = compiled(jobs.entrypoint) if jobs.entrypoint else None
    return Selector(key, jobs.metadata, pattern, created, jobs.include_finished)


def is_open(row: JobRow) -> bool:
    """Return whether Ray does not say that a job is over."""
    state = state_of(row)
    return state is None or not state.is_over


def over_at(row: JobRow) -> datetime | None:
    """Return when a job was over, as far as its row tells."""
    return row.end_time or row.start_time


def is_wanted(row: JobRow, floor: datetime | None) -> bool:
    """Return whether a matching row that is not known yet is one of the selection's jobs."""
    if row.is_ghost:
        return False
    if is_open(row):
        return True
    over = over_at(row)
    return over is not None and (floor is None or over >= floor)


def _searchable(text: str) -> str:
    """Return what RE2 can read of a text: no halves of characters, and not megabytes."""
    return text[:_LONGEST_ENTRYPOINT].encode("utf-8", "replace").decode()
