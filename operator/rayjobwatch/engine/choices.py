"""Which rows of a dashboard's table its watches want that do not name their jobs by ids.

A table may have 10,000 rows: a row is matched once for each such watch, and one that is over for good for all of them
costs a comparison.
"""

import math
from collections.abc import Collection, Iterable
from datetime import datetime

from rayjobwatch.engine.objects import Key
from rayjobwatch.model.selector import Selector
from rayjobwatch.ray import JobDetails

_TERMINAL = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})


class Choice:
    """What one watch selects, since when (loop time), and whether it was told of a table since."""

    def __init__(self, selector: Selector, since: float) -> None:
        self.selector = selector
        self.key = selector.key
        self.since = since
        self.is_told = False
        self.floor = 0.0
        self._matched: dict[str, tuple[int | None, bool]] = {}

    def move(self, floor: datetime | None) -> None:
        """Want no job that was over before `floor`, unless it is known by its id."""
        self.floor = floor.timestamp() * 1000 if floor else 0.0

    def wants(self, job: JobDetails, ids: Collection[str]) -> bool:
        """Return whether the watch wants a row; `ids` are the jobs that are asked for."""
        return (job.job_id in ids or _over_at(job) >= self.floor) and self._matches(job)

    def _matches(self, job: JobDetails) -> bool:
        known = self._matched.get(job.job_id)
        if known is None or known[0] != job.start_time:
            known = job.start_time, self.selector.matches(job.entrypoint, job.metadata)
            self._matched[job.job_id] = known
        return known[1]

    def tidy(self, ids: Collection[str]) -> None:
        """Remember what was matched of `ids` at least, and not much more."""
        if len(self._matched) > 2 * len(ids):
            self._matched = {id_: known for id_, known in self._matched.items() if id_ in ids}


class Choices:
    """The choices of all watches on one dashboard."""

    def __init__(self) -> None:
        self._of: dict[Key, Choice] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def get(self, key: Key) -> Choice | None:
        """Return what a watch selects, None where it names its jobs."""
        return self._of.get(key)

    @property
    def since(self) -> float:
        """Since when the last of them is made (loop time)."""
        return max((choice.since for choice in self._of.values()), default=-math.inf)

    def set(self, key: Key, selector: Selector | None, now: float) -> bool:
        """Take note of what a watch selects; return whether it is something new."""
        if selector is None:
            return self._of.pop(key, None) is not None
        known = self._of.get(key)
        if known and known.key == selector.key:
            return False
        self._of[key] = Choice(selector, now)
        return True

    def rows(self, table: Iterable[JobDetails], ids: Collection[str]) -> dict[str, JobDetails]:
        """Return the rows of `ids` and those that a watch selects."""
        choices = list(self._of.values())
        floor = min((choice.floor for choice in choices), default=math.inf)
        near = {job.job_id: job for job in table if job.job_id in ids or (choices and _over_at(job) >= floor)}
        for choice in choices:
            choice.tidy(near.keys())
        return {
            id_: job for id_, job in near.items() if id_ in ids or any(choice.wants(job, ids) for choice in choices)
        }


def _over_at(job: JobDetails) -> float:
    """Return when a job was over, in Ray's milliseconds: not yet, or unknown and long ago."""
    if job["status"] not in _TERMINAL:
        return math.inf
    return job.end_time or job.start_time or -1.0
