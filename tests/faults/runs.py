"""Ids that are used again: the runs that a job's id stands for, one after the other."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.bench.scale.jobs import FAILED, SUCCEEDED, Job, Part
from tests.bench.scale.plans import PENDING_SECONDS
from tests.faults.plan import RUN_SECONDS, USED_AGAIN, Fault, Kind


@dataclass(frozen=True, slots=True)
class Rerun(Job):
    """A further run of an id. Its log goes on in the file that has the one `before`, as Ray's does."""

    before: bytes = b""

    def log(self, now: float, start: int = 0) -> Part:
        """Return the file from byte `start` on, as it is at `now`."""
        own = Job.log(self, now, max(0, start - len(self.before)))
        return Part(len(self.before) + own.size, self.before[start:] + own.data)


def runs_of(job: Job, faults: Iterable[Fault]) -> list[Job]:
    """Return the runs of a job's id, the job first; `faults` are its dashboard's, in the order in which they begin.

    None of the further ones ends as the job does.
    """
    runs = [job]
    for fault in faults:
        if fault.kind in USED_AGAIN and fault.takes(runs[-1]):
            runs.append(_rerun(job, runs[-1], fault))
    return runs


def _rerun(job: Job, last: Job, fault: Fault) -> Rerun:
    return Rerun(
        id=job.id,
        dashboard=job.dashboard,
        submitted=fault.end,
        started=fault.end + PENDING_SECONDS,
        ended=fault.end + RUN_SECONDS,
        end=SUCCEEDED if job.end == FAILED else FAILED,
        line_seconds=job.line_seconds,
        before=last.log(last.ended).data if fault.kind is Kind.IDS_AGAIN else b"",
    )
