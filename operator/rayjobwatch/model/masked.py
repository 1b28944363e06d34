"""What is known of a watch as those who read it may see it: without what its own patterns match.

New texts are masked where they come in, before they are cut. This masks those that were there before the patterns.
"""

from dataclasses import replace

from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.jobs import Job
from rayjobwatch.model.lens import Findings
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.redaction.patterns import EVERYTHING, Patterns
from rayjobwatch.model.state import WatchState


def masked_state(state: WatchState, patterns: Patterns) -> WatchState:
    """Return `state` without what `patterns` match in its texts."""
    if not patterns:
        return state
    return replace(
        state,
        jobs={id_: _masked_job(job, patterns) for id_, job in state.jobs.items()},
        problem=_masked_problem(state.problem, patterns),
        unreachable=_masked_problem(state.unreachable, patterns),
        findings={id_: _masked_findings(found, patterns) for id_, found in state.findings.items()},
    )


def masked_digest(digest: LogDigest, patterns: Patterns) -> LogDigest:
    """Return `digest` without what `patterns` match in its texts."""
    if not patterns:
        return digest
    return replace(digest, tail=tuple(map(patterns.redact, digest.tail)))


def _masked_job(job: Job, patterns: Patterns) -> Job:
    failure = job.failure and replace(
        job.failure,
        type=patterns.redact(job.failure.type),
        message=patterns.redact(job.failure.message),
        location=patterns.redact(job.failure.location),
    )
    stop = job.stop and replace(job.stop, message=patterns.redact(job.stop.message))
    return replace(job, entrypoint=patterns.redact(job.entrypoint), failure=failure, stop=stop)


def _masked_problem(problem: Problem | None, patterns: Patterns) -> Problem | None:
    # What the controller itself says helps to mend things, and is not hidden with the texts of jobs.
    if problem is None or patterns is EVERYTHING:
        return problem
    return replace(problem, message=patterns.redact(problem.message))


def _masked_findings(found: Findings, patterns: Patterns) -> Findings:
    rules = {name: replace(one, line=patterns.redact(one.line)) for name, one in found.rules.items()}
    values = {
        name: replace(one, text=patterns.redact(one.text), of=patterns.redact(one.of))
        for name, one in found.values.items()
    }
    return Findings(rules, values)
