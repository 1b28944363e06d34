"""What a campaign does: its jobs and its faults, a function of a seed and a moment, the same in every process."""

import random
from dataclasses import dataclass
from enum import StrEnum

from tests.bench.scale.jobs import Job
from tests.bench.scale.plans import ENDS, PENDING_SECONDS

DASHBOARDS = 10
JOBS = 100
FAULTS = 50
SUBMIT_SECONDS = 15.0
LIVES = (15.0, 70.0)
LIE_SECONDS = 2.0
FROZEN = 2
WAVE_SECONDS = 45.0
WAVE_LIVES = (10.0, 35.0)
# A further run of an id, and the time in which something wrong could be told of it.
RUN_SECONDS = 6.0
AGAIN_SECONDS = RUN_SECONDS + 4.0


class Kind(StrEnum):
    """What goes wrong with a dashboard, or with us; the value says it in words."""

    REFUSED = "connections reset"
    HANGS = "accepts and never answers"
    SLOW = "every answer 8 s late"
    ERROR_500 = "500 with a traceback"
    PROXY_PAGE = "200 with a proxy's HTML"
    BAD_GATEWAY = "502 with a proxy's HTML"
    EMPTY_BODY = "200 without a body"
    WRONG_JSON = "JSON of another shape"
    CUT_JSON = "JSON cut in the middle"
    RESET_MID_ANSWER = "reset in the middle of an answer"
    UNAUTHORIZED = "401"
    VERSION_FAILS = "version fails, jobs are listed"
    ROWS_MISSING = "a third of the rows missing"
    EMPTY_TABLE = "empty table, same head"
    EMPTY_THEN_LATE = "empty table, the list 8 s late"
    SINGLE_404 = "404 for single jobs that are listed"
    LIE = "supervisor error for jobs that run"
    LIE_THEN_HANG = "such an error, then no answer"
    NEW_HEAD = "new head, empty table"
    NEW_HEAD_IDS_AGAIN = "new head, its jobs have the old ids"
    NEW_HEAD_SAME_TABLE = "new head, old table, such an error"
    TABLE_TRIMMED = "records of ended jobs gone"
    IDS_AGAIN = "such records gone, their ids used again"
    CLOCK_BACK = "head's clock 10 minutes back"
    CLOCK_AHEAD = "head's clock 10 minutes ahead"
    LOG_RESET = "reset in the middle of a log"
    AGENT_AWAY = "agent away"
    LOG_SHORT = "logs of running jobs 5 s late"
    CONTROLLER_KILLED = "controller killed"
    EVENTS_HANG = "API server hangs at Events"


EMPTY_HEADS = frozenset({Kind.NEW_HEAD, Kind.NEW_HEAD_IDS_AGAIN})
NEW_HEADS = EMPTY_HEADS | {Kind.NEW_HEAD_SAME_TABLE}
DELETIONS = frozenset({Kind.TABLE_TRIMMED, Kind.IDS_AGAIN})
USED_AGAIN = frozenset({Kind.NEW_HEAD_IDS_AGAIN, Kind.IDS_AGAIN})


# How long a fault of a kind lasts, and when after the campaign's beginning it may begin. A lie that ends with a hang
# lasts for longer than such a lie is held back; a head that is new has had jobs before. A row that is missing for 3 s
# is gone. When ids are used again, it is at the end of the fault.
_LENGTHS = {
    Kind.HANGS: (5.0, 20.0),
    Kind.SLOW: (8.0, 16.0),
    Kind.VERSION_FAILS: (5.0, 15.0),
    Kind.ROWS_MISSING: (0.3, 1.5),
    Kind.EMPTY_TABLE: (1.0, 2.0),
    Kind.EMPTY_THEN_LATE: (8.0, 12.0),
    Kind.LIE: (1.0, 6.0),
    Kind.LIE_THEN_HANG: (36.0, 40.0),
    Kind.NEW_HEAD: (3.0, 6.0),
    Kind.NEW_HEAD_IDS_AGAIN: (3.0, 6.0),
    Kind.NEW_HEAD_SAME_TABLE: (3.5, 6.0),
    Kind.CLOCK_BACK: (20.0, 40.0),
    Kind.CLOCK_AHEAD: (20.0, 40.0),
    Kind.TABLE_TRIMMED: (0.0, 0.0),
    Kind.IDS_AGAIN: (0.0, 5.0),
    Kind.CONTROLLER_KILLED: (0.0, 0.0),
    Kind.EVENTS_HANG: (8.0, 16.0),
}
_ANY_LENGTH = (2.0, 10.0)
_BEGINS = {Kind.LIE_THEN_HANG: (20.0, 45.0), **dict.fromkeys(NEW_HEADS, (25.0, 70.0))}
_ANY_BEGIN = (5.0, 75.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one dashboard, `begin` to `end` (seconds since the epoch)."""

    kind: Kind
    dashboard: int
    begin: float
    end: float

    @property
    def over(self) -> float:
        """When it has had all its consequences."""
        return self.end + (AGAIN_SECONDS if self.kind in USED_AGAIN else 0.0)

    def takes(self, job: Job) -> bool:
        """Whether it takes the record of a job of its dashboard from the table for good."""
        if self.kind in EMPTY_HEADS:
            return job.submitted < self.begin
        return self.kind in DELETIONS and job.ended <= self.begin


@dataclass(frozen=True, slots=True)
class Campaign:
    """Jobs by the names of their watches, and faults in the order in which they begin."""

    jobs: dict[str, Job]
    faults: tuple[Fault, ...]

    @property
    def end(self) -> float:
        """When all jobs and all faults are over."""
        return max([job.ended for job in self.jobs.values()] + [fault.over for fault in self.faults])


def campaign(seed: int, base: float) -> Campaign:
    """Return the campaign of a seed that begins at `base` (seconds since the epoch)."""
    chance = random.Random(seed)
    jobs = [_job(number, base, chance) for number in range(JOBS)]
    deck = [kind for _ in range(1 + FAULTS // len(Kind)) for kind in chance.sample(list(Kind), len(Kind))]
    faults = [_fault(kind, number % DASHBOARDS, base, chance) for number, kind in enumerate(deck[:FAULTS])]
    return Campaign(
        {f"job-{number:05d}": job for number, job in enumerate(jobs)},
        tuple(sorted(faults, key=lambda fault: fault.begin)),
    )


def frozen(seed: int, base: float) -> Campaign:
    """Return jobs in two waves of the same kind; in the second wave's time some dashboards accept and never answer."""
    chance = random.Random(seed)
    jobs = [
        _job(number, base + wave * WAVE_SECONDS, chance, WAVE_LIVES, SUBMIT_SECONDS / 3)
        for wave in range(2)
        for number in range(JOBS)
    ]
    begin = base + WAVE_SECONDS
    faults = [Fault(Kind.HANGS, number, begin, begin + WAVE_SECONDS) for number in range(FROZEN)]
    return Campaign({f"job-{number:05d}": job for number, job in enumerate(jobs)}, tuple(faults))


PLANS = {"campaign": campaign, "frozen": frozen}


def _job(
    number: int,
    base: float,
    chance: random.Random,
    lives: tuple[float, float] = LIVES,
    spread: float = SUBMIT_SECONDS,
) -> Job:
    submitted = base + spread * number / JOBS
    return Job(
        id=f"raysubmit_{number:05d}{chance.getrandbits(44):011x}",
        dashboard=number % DASHBOARDS,
        submitted=submitted,
        started=submitted + PENDING_SECONDS,
        ended=submitted + chance.uniform(*lives),
        end=chance.choices(list(ENDS), list(ENDS.values()))[0],
        line_seconds=chance.uniform(0.25, 1.0),
    )


def _fault(kind: Kind, dashboard: int, base: float, chance: random.Random) -> Fault:
    begin = base + chance.uniform(*_BEGINS.get(kind, _ANY_BEGIN))
    return Fault(kind, dashboard, begin, begin + chance.uniform(*_LENGTHS.get(kind, _ANY_LENGTH)))
