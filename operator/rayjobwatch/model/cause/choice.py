"""Which of the findings is the cause: by what follows it, how it stands in the log, and the exit code."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from rayjobwatch.model.cause import words
from rayjobwatch.model.cause.find import findings_of
from rayjobwatch.model.cause.finding import Finding, Role
from rayjobwatch.model.cause.jsonlines import said_by
from rayjobwatch.model.cause.launchers import Root, root_of
from rayjobwatch.model.cause.streams import Stream, streams_of
from rayjobwatch.model.cause.window import Numbered

# Those that end a process; other exit codes above 128 are a program's own.
_SIGNALS = {*range(1, 12), 13, 14, 15, 24, 25}
_ABORTING = {4, 6, 7, 8, 11}  # ILL, ABRT, BUS, FPE, SEGV: what a broken runtime does after an exception, too
_INTERRUPT = 2
_USR1 = 10  # kills hardly ever: papermill, for one, ends with 138 of its own accord
_CLOSE_TO_END = 40  # messages of several lines stand in between, and what wrappers say
_LAST_WORDS = 12
_FEW = 3
# Ranks that lost their peers, not the one that failed.
_SECONDARY = re.compile(
    r"(?i)connection (?:reset|closed|refused|aborted)|closed by peer|peer closed|broken ?pipe|DistBackendError"
    r"|DistNetworkError|NCCL|Gloo|SIGTERM|SignalException|heartbeat|timed? ?out waiting|barrier|ConnectionResetError"
)
_QUOTED = "Original"  # as PyTorch quotes what failed in a worker
_EXCLAIMED = re.compile(r"((?:[a-z]\w*\.)*[A-Z]\w*(?:Error|Exception)): (\S.*)$")
_NO_ENDS = (Role.REPORT, Role.IGNORED)
# A signal's name alone, which Python or a shell prints after what the program said of it.
_ONLY_SIGNAL = re.compile(r"(?:Aborted|Bus error|Segmentation fault|Illegal instruction)(?: \(core dumped\))?$")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a job's log shows: all findings in order, and the driver's own lines that are in none of them."""

    findings: tuple[Finding, ...]
    plain: tuple[Numbered, ...]
    root: Root

    def after(self, finding: Finding) -> list[str]:
        """Return what the driver said after the finding, without noise."""
        return [line for number, line in self.plain if number > finding.last and not words.is_noise(line)]


def evidence_of(lines: Sequence[Numbered], *, is_cut: bool) -> Evidence:
    """Read the kept lines of a log; `is_cut`: earlier ones are missing."""
    streams = streams_of(lines)
    found = chain.from_iterable(findings_of(stream, is_cut=is_cut) for stream in streams.values())
    findings = tuple(sorted(found, key=lambda one: one.first))
    driver = streams[""]
    return Evidence(findings, tuple(_plain(driver, findings)), root_of(driver.lines))


def _plain(driver: Stream, findings: Sequence[Finding]) -> list[Numbered]:
    inside = {
        number
        for one in findings
        if not one.stream and one.role is not Role.REPORT
        for number in range(one.first, one.last + 1)
    }
    pairs = zip(driver.numbers, driver.lines, strict=True)
    return [(number, line) for number, line in pairs if number not in inside and line.strip()]


def choose(evidence: Evidence, exit_code: int | None, entrypoint: str) -> Finding | None:
    """Return the finding that is the cause; None when it is the last line or the exit code alone that tells."""
    signal = signal_of(exit_code)
    if signal and signal != _USR1:
        return _of_signal(evidence, signal)
    one_program = words.is_one_program(entrypoint)
    mine = [one for one in reversed(evidence.findings) if not one.stream and one.role not in _NO_ENDS]
    # What a thread or an unread task says as the program ends may stand after what ended it.
    for finding in sorted(mine, key=lambda one: one.role is Role.SIDE):
        if _stands(finding, evidence, exit_code, one_program=one_program):
            ended = _before_exit(finding, mine, evidence)
            return _opened(ended, evidence) if ended.wrapper else ended
    return _of_ranks(evidence) or _report(evidence) or _exclaimed(evidence)


def _before_exit(last: Finding, mine: Sequence[Finding], evidence: Evidence) -> Finding:
    """Return what ended the program where `last` is what a handler at exit caught right after that.

    mine: the findings of the driver, the newest first.
    """
    earlier = mine[mine.index(last) + 1 :]
    if last.role is not Role.CAUGHT or not earlier or words.gives_up(last.lead):
        return last
    uncaught = earlier[0]
    if uncaught.wrapper or uncaught.message.endswith(":") or last.lead.strip() == _QUOTED:
        return last
    between = [line for line in _between(evidence, uncaught, last) if line != last.lead and not words.is_noise(line)]
    return uncaught if uncaught.role is Role.UNCAUGHT and uncaught.exit_code == 1 and not between else last


def signal_of(exit_code: int | None) -> int:
    """Return the signal that an exit code tells of; 0 for none."""
    if exit_code is None:
        return 0
    signal = -exit_code if exit_code < 0 else exit_code - 128
    return signal if signal in _SIGNALS else 0


def _of_signal(evidence: Evidence, signal: int) -> Finding | None:
    mine = [one for one in evidence.findings if not one.stream and one.role not in _NO_ENDS]
    if not mine:
        return _before_abort(evidence) if signal in _ABORTING else None
    last = mine[-1]
    if last.role is Role.CRASH and signal in _ABORTING:
        return _telling(mine)
    if evidence.after(last):
        return None
    interrupted = signal == _INTERRUPT and last.type == "KeyboardInterrupt"
    return last if interrupted or (signal in _ABORTING and last.role is Role.UNCAUGHT) else None


def _before_abort(evidence: Evidence) -> Finding | None:
    """Return the error that the program told with its last words before it aborted."""
    plain = [(number, line) for number, line in evidence.plain if not words.is_noise(line)][-_FEW:]
    told = next(((number, line) for number, line in reversed(plain) if words.is_error(line)), None)
    return Finding(Role.CRASH, "", told[1], "", told[0], told[0]) if told else None


def _telling(crashes: Sequence[Finding]) -> Finding:
    """Return the last crash; what was said just before it, where it only names the signal."""
    *earlier, last = crashes
    if earlier and earlier[-1].role is Role.CRASH and _ONLY_SIGNAL.match(last.message):
        return replace(earlier[-1], location=earlier[-1].location or last.location)
    return last


def _stands(finding: Finding, evidence: Evidence, exit_code: int | None, *, one_program: bool) -> bool:
    """Whether the program ended with the finding, as far as its last lines tell."""
    after = evidence.after(finding)
    if not after:
        return True
    if words.ends_retries(after[-1]) and len(after) <= _FEW and finding.role is Role.UNCAUGHT:
        return True
    if any(words.goes_on(line) for line in after) or words.is_foreseen(finding.lead):
        return False
    if all(words.gives_up(line) for line in after) and len(after) <= _FEW:
        return True
    tidied = all(words.cleans_up(line) or words.gives_up(line) for line in after)
    if finding.role is Role.CAUGHT or words.is_logged_at_level(finding.lead):
        lead = "" if words.is_noise(finding.lead) else finding.lead
        return tidied and not any(words.may_go_on(line) for line in (lead, *after))
    if finding.role is Role.SIDE:
        return tidied
    if exit_code not in (None, 1) and (one_program or (finding.exit_code == 1 and _untidy(after) >= _FEW)):
        return tidied
    return tidied or len(after) <= _CLOSE_TO_END


def _untidy(lines: Sequence[str]) -> int:
    return sum(not words.cleans_up(line) and not words.gives_up(line) for line in lines)


def _opened(wrapper: Finding, evidence: Evidence) -> Finding:
    """Return what a launcher's exception stands for, at least what the launcher tells of it."""
    inner = _inner(wrapper, evidence)
    if inner:
        return replace(inner, location=inner.location or wrapper.location)
    said = ": ".join(part for part in (wrapper.message, evidence.root.said) if part)
    return replace(wrapper, message=said)


def _inner(wrapper: Finding, evidence: Evidence) -> Finding | None:
    """Return the failure that a launcher's child printed just before; of an application, what Serve printed."""
    before = [one for one in evidence.findings if one.last < wrapper.first and one.role not in _NO_ENDS]
    if wrapper.message.startswith("Deploying application"):
        return next((one for one in reversed(before) if one.stream.startswith("(Serve")), None)
    before = [one for one in before if not one.stream.startswith("(")]
    ranks = [one for one in before if one.stream]
    if ranks:
        return _first_rank(ranks, evidence.root.rank)
    nearest = before[-1] if before else None
    if nearest and not any(words.goes_on(line) for line in _between(evidence, nearest, wrapper)):
        return nearest
    return None


def _between(evidence: Evidence, first: Finding, second: Finding) -> list[str]:
    return [line for number, line in evidence.plain if first.last < number < second.first]


def _of_ranks(evidence: Evidence) -> Finding | None:
    ranks = [one for one in evidence.findings if one.stream.startswith("[") and one.role is not Role.REPORT]
    return _first_rank(ranks, evidence.root.rank) if ranks else None


def _first_rank(ranks: Sequence[Finding], root: str) -> Finding:
    """Return the failure of the rank that failed first; the others only lost it."""
    ranks = _ends(ranks)
    named = [one for one in ranks if root and re.search(rf"\D{root}\D*$", one.stream)]
    primary = [one for one in ranks if not _SECONDARY.search(f"{one.type}: {one.message}")]
    return next((one for one in named if one in primary), (primary or named or list(ranks))[0])


def _ends(ranks: Sequence[Finding]) -> list[Finding]:
    """Return what ended each rank: the last that nobody caught, else the last."""
    last = {one.stream: one for one in ranks}
    last |= {one.stream: one for one in ranks if one.role in (Role.UNCAUGHT, Role.CRASH)}
    return sorted(last.values(), key=lambda one: one.first)


def _report(evidence: Evidence) -> Finding | None:
    """Return a shell's or compiler's report if it is all that the program said at its end."""
    reports = [one for one in evidence.findings if one.role is Role.REPORT and not one.stream]
    if not reports:
        return None
    last = reports[-1]
    after = evidence.after(last)
    if any(not words.cleans_up(line) for line in after) and "error" not in last.message.lower() and len(after) > 1:
        return None
    same = [one for one in reports if one.last >= last.last - _FEW]
    return same[0]


def _exclaimed(evidence: Evidence) -> Finding | None:
    """Return the exception that the program named with its last words, without a traceback."""
    found = _EXCLAIMED.match(last_words(evidence))
    return Finding(Role.CAUGHT, found[1], found[2], "", 0, 0) if found else None


def last_words(evidence: Evidence) -> str:
    """Return the last line of the driver's that says something; tidying up is no last word where another line is."""
    plain = [line for _, line in evidence.plain if not words.is_noise(line)][-_LAST_WORDS:]
    telling = (i for i in reversed(range(len(plain))) if words.gives_up(plain[i]) or not words.cleans_up(plain[i]))
    at = next(telling, len(plain) - 1)
    if plain and words.is_detail(plain[at]):
        at = next((i for i in reversed(range(at)) if words.is_error(plain[i])), at)
    if at > 0 and words.is_trap(plain[at]) and words.is_commands(plain[at - 1]):
        return f"{plain[at - 1]} ({plain[at].strip()})"
    line = _with_head(plain, at) if plain else words.said_by_tool([line for _, line in evidence.plain])
    return said_by(line) or line.strip("│╭╰─╮╯ ") or line


def _with_head(lines: Sequence[str], at: int) -> str:
    """Return the line at `at`; of a list or of details, the line above them with their first."""
    head = next((i for i in range(at, -1, -1) if not lines[i][:1].isspace()), at)
    announces = lines[head].endswith(":")
    if head + 1 < len(lines) and lines[head + 1][:1].isspace() and (announces or head < at):
        return f"{lines[head]}{'' if announces else ':'} {lines[head + 1].strip()}"
    return lines[at]
