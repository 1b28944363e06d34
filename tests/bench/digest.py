"""How many log lines a second the digest takes in on one core, with 20 rules and redaction, and in how much memory."""

from __future__ import annotations

import sys
import time
import tracemalloc
from datetime import UTC, datetime

from rayjobwatch.engine.hearing import Heard, Hearing
from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.lens import NO_LENS, Findings, Lens
from rayjobwatch.model.rules import Rule

LINES = 1_000_000
BATCH = 1000
LEAST = 150_000
LENS = Lens(
    [
        Rule("cuda-oom", "CUDA out of memory"),
        Rule("error", r"(?i)\berror\b"),
        Rule("traceback", "^Traceback"),
        Rule("nan", r"loss=nan\b"),
        Rule("slow", r"throughput \d{1,2} samples"),
        *(Rule(f"rule-{n}", rf"^\S+ \S+ WARN(?:ING)? .*code {n}\d\d$") for n in range(15)),
    ],
    [],
    [],
)
WITH, WITHOUT = ("ml", "with-rules"), ("ml", "without")
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def batches() -> list[list[str]]:
    """Return a thousand lines as a training job prints them: one in 200 an error, one in 200 with a secret."""
    lines = [
        f"2026-11-21 10:00:00,{n:03} INFO trainer.py:88 step {n}/40000 loss={1 / (n + 1):.4f} throughput 812 samples/s"
        for n in range(BATCH)
    ]
    lines[7::200] = ["2026-11-21 10:00:00,000 ERROR loader.py:12 shard 17 failed: connection reset"] * 5
    lines[99::200] = ["2026-11-21 10:00:00,000 INFO client.py:3 connecting with password=not-a-real-one"] * 5
    return [lines] * (LINES // BATCH)


def take_in(work: list[list[str]]) -> tuple[LogDigest, Findings]:
    """Feed all batches to a reading of a log, for one watch with the rules and one without."""
    hearing = Hearing(LogDigest())
    hearing.join(WITH, LENS, Heard())
    hearing.join(WITHOUT, NO_LENS, Heard())
    for lines in work:
        hearing.fed(lines, "cursor", NOW)
    heard = hearing.heard(WITH) or Heard()
    return heard.digest, heard.findings


def main() -> int:
    """Measure, tell, and fail where it is too slow or counts wrong."""
    work = batches()
    started = time.process_time()
    digest, found = take_in(work)
    rate = LINES / (time.process_time() - started)
    tracemalloc.start()
    kept = take_in(work[:100])
    memory, peak = tracemalloc.get_traced_memory()
    print(f"digest with 20 rules and redaction: {rate:,.0f} lines/s on one core (at least {LEAST:,})")
    print(f"memory kept after {kept[0].lines:,} lines: {memory / 1024:,.0f} KiB, at most {peak / 1024:,.0f} KiB")
    right = digest.lines == LINES and found.rules["error"].count == LINES // 200
    return 0 if right and rate >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
