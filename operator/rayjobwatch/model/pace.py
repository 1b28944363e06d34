"""How soon the next poll, log read and status write come: by what is at stake and what it costs. All in seconds.

A poll comes up to 5 % later than said here: those of many dashboards come apart.

| what                                   | how soon                        | why                                  |
| -------------------------------------- | ------------------------------- | ------------------------------------ |
| poll, youngest open job under 50 s     | 0.5                             | who waits for it notices seconds     |
| poll, youngest open job older          | 1 % of its age, at most 3       | an hour's job may end 3 s late       |
| poll, a job Ray does not know yet      | as if as old as the waiting     | it may come at any moment            |
| poll, an end or a loss to be confirmed | 0.5                             | a verdict waits for it               |
| poll, jobs that are asked for anew     | 0.5                             | a first word or a deletion waits     |
| table of a new head that lacks jobs    | believed when listed again      | they are Lost then, for good         |
|                                        | after 2                         |                                      |
| poll after two that took long          | 4 times that, at most 15        | no huge table keeps a head busy      |
| poll after failures                    | 0.5, doubled each time, to 15   | a head that restarts is spared       |
| poll, no job open                      | never                           | nothing can happen                   |
| poll, no job open, others may come     | 5                               | few wait for a job that is not there |
| read of a log that just moved          | 2                               | more will come                       |
| read of a quiet log                    | half of its silence, at most 15 | what was quiet long stays quiet      |
| read of a log after the first          | as if quiet for 1/10 of its age | nobody knows when it moved last      |
| read of a log that only comes whole    | 1 s more per 2 MB, at most 60   | every read sends the whole file      |
| read after failures                    | 1, doubled each time, to 30     | as above                             |
| read while the dashboard is away       | of what an agent serves alone   | a probe comes first                  |
| reads of one dashboard's logs          | at most 20 a second together    | agents share their nodes with jobs   |
| last read, with the job's end          | at once                         | the verdict waits for it             |
| write of a job's end                   | at once                         | somebody waits for it                |
| write of any other change of state     | at once; on a slow API server   | what changes again within that time  |
|                                        | after 20 of its writes, at most | is one write less, and ends come     |
|                                        | 2                               | sooner                               |
| write of what a log rule does         | at once, but 2 after a write    | one that flaps must not flood us     |
| write of a log's progress alone        | 5, more from 50 watches, to 15  | 10 a second, as etcd rewrites it all |
| write that all Events are posted       | 0.1 for each watch at work, as  | nobody waits for it                  |
|                                        | for logs from 50                |                                      |
| wait for Events before a status        | 0.1; on a slow API server as    | a status waits for no Event that     |
|                                        | long as 5 of its writes, to 1   | hangs, nor tells of it needlessly    |
| first reading of a running job's log,  | when its state is written; of   | of many watches all get a state soon |
| Events that are not of ends            | all watches 10 a second, or 10  |                                      |
|                                        | later; 100 Events at once       |                                      |
| first write for a watch                | when its jobs were listed, or 2 | one write instead of two             |
| nodes, while a RUNNING row is doubted  | 5; after failures doubled, to   | a verdict waits for it               |
|                                        | 30                              |                                      |
| nodes, after a head may have changed   | at once, then 20 for a minute   | Ray may need 13 to call a node DEAD  |
| facts about the cluster                | 60 after the last, the first    | nobody waits for them                |
|                                        | after 15; 100 times what asking |                                      |
|                                        | took, at most 900               |                                      |
| write of such facts alone              | 60, more from 600 watches, to   | they come with the next write anyway |
|                                        | 300                             |                                      |
| read of a Secret that is missing       | 10                              | somebody may be making it            |
| read of one whose token was refused    | at once, then 1, doubled to 15  | it may have been changed, or may be  |
| read of one whose token works          | 300                             | its owner may have taken it back     |
"""

import math
from collections.abc import Iterable
from datetime import datetime

FASTEST_POLL = 0.5
SLOWEST_POLL = 3.0
SLOWEST_ANYWAY = 15.0
LOOK_AGAIN = 5.0
SHARE_OF_AGE = 0.01
POLL_COST_FACTOR = 4.0
NEW_HEAD_AGAIN = 2.0

FASTEST_READ = 2.0
SLOWEST_READ = 15.0
SLOWEST_WHOLE_READ = 60.0
WHOLE_BYTES_PER_SECOND = 2e6
READS_PER_SECOND = 20.0
TURNS_PER_SECOND = 10.0
LONGEST_TURN = 10.0
EVENTS_AT_ONCE = 100
_QUIET_SHARE = 0.1

NODES_AGAIN = 5.0
NODES_AFTER_DOUBT = 20.0
SLOWEST_NODES = 30.0

FACTS_FIRST = 15.0
FACTS_AGAIN = 60.0
SLOWEST_FACTS = 900.0
FACTS_COST_FACTOR = 100.0
FACTS_WRITE = 60.0
SLOWEST_FACTS_WRITE = 300.0

SECRET_MISSING = 10.0
SECRET_AGAIN = 300.0
SLOWEST_SECRET = 15.0

LOG_WRITE = 5.0
SLOWEST_LOG_WRITE = 15.0
LOG_WRITES_PER_SECOND = 10.0
FIRST_WRITE = 2.0
RULE_WRITE = 2.0
SLOW_WRITE = 0.05
LONGEST_HOLD = 2.0
_HELD_WRITES = 20
EVENTS_FIRST = 0.1
LONGEST_EVENTS_FIRST = 1.0
_WAITED_WRITES = 5

VERSION_AGAIN = 60.0
LIST_AGAIN = 60.0
_CHEAP_LIST = 0.1
_MOST_DOUBLINGS = 8
_GOES_PER_SECOND = 10


def poll_pause(ages: Iterable[float], took: float, failures: int, *, looks_for_jobs: bool = False) -> float | None:
    """Return how long to wait after a poll that `took` so long; None: until something is open.

    ages: of the open jobs; 0 for one whose end or loss is to be confirmed.  failures: polls that failed in a row.
    looks_for_jobs: whether jobs are watched that nobody knows yet.
    """
    youngest = min(ages, default=None)
    if youngest is None and not looks_for_jobs:
        return None
    pause = LOOK_AGAIN if youngest is None else max(FASTEST_POLL, min(SLOWEST_POLL, youngest * SHARE_OF_AGE))
    return min(SLOWEST_ANYWAY, max(pause, took * POLL_COST_FACTOR, backed_off(FASTEST_POLL, failures, SLOWEST_ANYWAY)))


def asks_by_job(open_jobs: int, list_seconds: float, job_seconds: float) -> bool:
    """Return whether asking for `open_jobs` jobs one by one is cheaper than asking for the whole table.

    Each takes as long as it took last, 0 where it was not tried: a single job is never worth a table, and a table
    that takes less than 0.1 s is not worth counting.
    """
    return open_jobs == 1 or (list_seconds > _CHEAP_LIST and open_jobs * job_seconds < list_seconds)


def read_pause(silence: float, whole_bytes: int = 0) -> float:
    """Return how long to wait after reading a log that moved `silence` ago.

    whole_bytes: its size, where the source sends it from its start every time.
    """
    pause = max(FASTEST_READ, min(SLOWEST_READ, silence / 2))
    return min(SLOWEST_WHOLE_READ, pause + whole_bytes / WHOLE_BYTES_PER_SECOND)


def first_silence(age: float) -> float:
    """Return since when a log is taken to be quiet that was never read before, of a job of that age."""
    return min(2 * SLOWEST_READ, max(0.0, age) * _QUIET_SHARE)


def log_write_pause(watches: int) -> float:
    """Return how long after the last write of a status its logs alone are written, with so many watches at work."""
    return max(LOG_WRITE, min(SLOWEST_LOG_WRITE, watches / LOG_WRITES_PER_SECOND))


def events_told_pause(watches: int) -> float:
    """Return how long after the last write of a status it is written that its Events are posted."""
    return min(log_write_pause(watches), watches / LOG_WRITES_PER_SECOND)


def facts_pause(took: float) -> float:
    """Return how long the facts about a cluster are not asked for again after asking `took` so long."""
    return max(FACTS_AGAIN, min(SLOWEST_FACTS, took * FACTS_COST_FACTOR))


def facts_write_pause(watches: int) -> float:
    """Return how long after the last write of a status such facts alone are written, with so many watches at work."""
    return max(FACTS_WRITE, min(SLOWEST_FACTS_WRITE, watches / LOG_WRITES_PER_SECOND))


def state_write_pause(write_seconds: float) -> float:
    """Return how long a change of state that is no end is held back, where a write takes so long these days."""
    return min(LONGEST_HOLD, _HELD_WRITES * write_seconds) if write_seconds > SLOW_WRITE else 0.0


def events_pause(write_seconds: float) -> float:
    """Return how long a status waits for the Events that say the same, where a write takes so long these days."""
    return max(EVENTS_FIRST, min(LONGEST_EVENTS_FIRST, _WAITED_WRITES * write_seconds))


def secret_pause(refusals: int) -> float:
    """Return how long a Secret is not read again after so many readings in a row gave what was refused again."""
    return backed_off(1.0, refusals, SLOWEST_SECRET)


def backed_off(first: float, failures: int, longest: float) -> float:
    """Return the wait after so many failures in a row: none after none, then `first`, doubled up to `longest`."""
    return min(longest, first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)) if failures else 0.0


def seconds_until(due: datetime | None, now: datetime, longest: float) -> float:
    """Return how long until `due`, which was set at most `longest` ago; 0 for now, and after a clock was set back."""
    seconds = (due - now).total_seconds() if due else 0.0
    return seconds if 0 < seconds <= longest else 0.0


def together(moment: float) -> float:
    """Return the next tenth of a second: what need not be prompt is done in one go, at half the cost of a wake each."""
    return math.ceil(moment * _GOES_PER_SECOND) / _GOES_PER_SECOND


def jittered(seconds: float, chance: float, spread: float = 0.5) -> float:
    """Return `seconds` less up to the share `spread` of it, by `chance` (0 to 1): those that wait come apart."""
    return seconds * (1.0 - spread * chance)
