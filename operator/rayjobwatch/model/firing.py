"""What log rules say to users: which fires for which job, their conditions, their Events."""

from collections.abc import Iterator, Mapping, Sequence

from rayjobwatch.model.conditions import Condition
from rayjobwatch.model.events import EventNote
from rayjobwatch.model.jobs import Job
from rayjobwatch.model.lens import Findings
from rayjobwatch.model.reasons import EventReason, Reason
from rayjobwatch.model.rules import RESTING
from rayjobwatch.model.spec import EventLevel, RuleSpec
from rayjobwatch.model.state import WatchState
from rayjobwatch.model.text import cut

Found = Mapping[str, Findings]

_MESSAGE_BYTES = 512
_ALL_MESSAGES_BYTES = 6000


def firing(found: Found) -> Iterator[tuple[str, str]]:
    """Yield (job id, name of a rule) for each rule that fires now for a job."""
    for job_id, one in found.items():
        yield from ((job_id, name) for name, state in one.rules.items() if state.firing)


def rule_conditions(found: Found, rules: Sequence[RuleSpec], refused: Mapping[str, str]) -> Iterator[Condition]:
    """Yield the condition of each rule that asks for one: True while it fires for any job."""
    asking = [rule for rule in rules if rule.condition]
    limit = min(_MESSAGE_BYTES, _ALL_MESSAGES_BYTES // max(1, len(asking)))
    now = list(firing(found))
    for rule in asking:
        ids = [job_id for job_id, name in now if name == rule.name]
        if f"rule {rule.name}" in refused:
            yield Condition(rule.condition, "Unknown", Reason.INVALID_RULE, f"rule {rule.name} cannot be used")
        elif ids:
            others = f" (and {len(ids) - 1} more)" if len(ids) > 1 else ""
            message = f"rule {rule.name} fires for job {ids[0]}{others}: {found[ids[0]].rules[rule.name].line}"
            yield Condition(rule.condition, "True", Reason.LOG_RULE_FIRING, cut(message, limit))
        else:
            yield Condition(rule.condition, "False", Reason.LOG_RULE_RESTING, f"rule {rule.name} does not fire")


def rule_events(old: WatchState, new: WatchState, rules: Sequence[RuleSpec]) -> Iterator[EventNote]:
    """Yield an Event for each rule that began to fire, or came to rest, for a job between `old` and `new`.

    Both are told in one Event a job, whose count grows: however often it happens, nobody reads more of them.
    """
    for rule in rules:
        if rule.event is EventLevel.NONE:
            continue
        for job_id, found in new.findings.items():
            before = old.findings.get(job_id, Findings()).rules.get(rule.name, RESTING)
            after = found.rules.get(rule.name, RESTING)
            job = new.jobs.get(job_id, Job(job_id))
            if after.fired > before.fired:
                message = f"rule {rule.name} fired for job {job_id}: {after.line}"
                warns = rule.event is EventLevel.WARNING
                yield _note(job, rule, EventReason.LOG_RULE_FIRED, message, after.fired, is_warning=warns)
            if after.reset > before.reset:
                message = f"rule {rule.name} rests for job {job_id}"
                yield _note(job, rule, EventReason.LOG_RULE_RESET, message, after.reset)


def _note(
    job: Job, rule: RuleSpec, reason: EventReason, message: str, count: int, *, is_warning: bool = False
) -> EventNote:
    identity = "\n".join((job.session, job.id, str(job.start_time), rule.name, reason))
    return EventNote(reason, message, identity, is_warning=is_warning, count=count)
