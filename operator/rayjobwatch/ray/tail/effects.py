"""What a tail wants done beside what every plan may want: looking at its job, and handing out lines."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from rayjobwatch.ray.api.records import JobDetails
from rayjobwatch.ray.plan import Effect
from rayjobwatch.ray.tail.lines import LogBatch

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lookup:
    """Ask for the job's present state; returns `JobDetails`."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The tail has found its source (only a mark: nothing is done)."""


TailEffect: TypeAlias = Effect | Lookup | Connected | LogBatch
TailPlan: TypeAlias = Generator[TailEffect, Any, T]


def look_up(job_id: str) -> TailPlan[JobDetails]:
    """Ask for the state of a job."""
    job: JobDetails = yield Lookup(job_id)
    return job
