"""All that looks like a cause in one stream of a log, in order."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rayjobwatch.model.cause.finding import Finding, Role, Words
from rayjobwatch.model.cause.frames import frame_of
from rayjobwatch.model.cause.groups import GROUP, is_group
from rayjobwatch.model.cause.jsonlines import read_json
from rayjobwatch.model.cause.languages import LANGUAGES
from rayjobwatch.model.cause.native import CRASHES
from rayjobwatch.model.cause.python import HEADER, Chain, read_chain
from rayjobwatch.model.cause.shells import SHELLS
from rayjobwatch.model.cause.streams import Stream
from rayjobwatch.model.cause.styles import Styled, read_ipython, read_pytest, read_rich
from rayjobwatch.model.cause.tools import TOOLS

_IGNORED = re.compile(r"Exception ignored (?:in|on|while)|--- Logging error ---|Error in atexit")
_SIDE = re.compile(
    r"Exception in thread |Task exception was never retrieved|future: <Task|Process \S+:$|Exception in callback"
    r"|Future exception was never retrieved|handle: <|Unhandled exception in thread"
)
_REPORTED = "Error executing job with overrides:"  # so does Hydra tell what nobody caught
MOST_LINES = 5000
_STACK = re.compile(r"(?:Call stack|Stack \(most recent call last\)):$")
_TASK_ERROR = re.compile(r"(?:ray\.exceptions\.)?RayTaskError\((.+)\)$")
_READERS = (*TOOLS, *LANGUAGES, *CRASHES, *SHELLS)
_MARKS = (
    "race", "File ", "rror", "xcept", "panic", "line ", "terminate", "___", "Assert", "ault", "()", "***", ": ", "] ",
    "Timeout", "Could not ",
)  # fmt: skip


def findings_of(stream: Stream, *, is_cut: bool) -> list[Finding]:
    """Return what was found; `is_cut`: earlier lines of the log are missing, so that a traceback may lack its head."""
    return list(_found(stream, is_cut=is_cut))


def _found(stream: Stream, *, is_cut: bool) -> Iterator[Finding]:
    lines = stream.lines
    at = 0
    while at < len(lines):
        read = _read(lines, at, is_cut=is_cut)
        if read is None:
            at += 1
            continue
        found, end = read
        end = max(end, at + 1)
        if found:
            yield _placed(found, stream, at, end)
        at = end


def _read(lines: Sequence[str], at: int, *, is_cut: bool) -> tuple[Finding | None, int] | None:
    """Read what begins at `at`: a finding and the index after it, no finding for what is to be passed over."""
    line = lines[at]
    if not any(mark in line for mark in _MARKS):
        return None
    if styled := read_rich(lines, at) or read_ipython(lines, at) or read_pytest(lines, at) or read_json(line, at):
        return _of_styled(styled, _lead(lines, at)), styled.end
    if HEADER in line or is_group(line) or frame_of(line):
        return _read_python(lines, at, is_cut=is_cut)
    words = next((found for reader in _READERS if (found := reader(lines, at))), None)
    return (_of_words(words, _lead(lines, at)), words.end) if words else None


def _read_python(lines: Sequence[str], at: int, *, is_cut: bool) -> tuple[Finding | None, int] | None:
    lead = _lead(lines, at)
    if _STACK.search(lead) and HEADER not in lines[at]:
        return None, _after_frames(lines, at)
    prefix = _prefix(lines, at)
    text = _without(prefix, lines, at) if prefix else lines[at : at + MOST_LINES]
    if prefix and len(text) == 1:
        text = [HEADER, *lines[at + 1 : at + MOST_LINES]]
        lead = prefix
    chain = read_chain(_dedented(text), 0)
    if chain is None:
        return None, _after_frames(lines, at + 1)
    headless = is_cut and at < 4 and HEADER not in lines[at]
    return _of_chain(chain, lead, headless=headless), at + chain.end


def _prefix(lines: Sequence[str], at: int) -> str:
    """Return what stands before a traceback's header: a time, a name, or blanks."""
    line = lines[at]
    begin = line.find(GROUP) - 2 if GROUP in line else line.find(HEADER)
    return line[:begin] if begin > 0 and not is_group(line) else ""


def _without(prefix: str, lines: Sequence[str], at: int) -> list[str]:
    """Take a prefix of that shape off the lines that have one; numbers in it may differ, as those of a time do."""
    shape = re.compile("".join(r"\d+" if part.isdigit() else re.escape(part) for part in re.split(r"(\d+)", prefix)))
    text = []
    for line in lines[at : at + MOST_LINES]:
        found = shape.match(line) or (shape.match(f"{line} ") if line else None)
        if not found:
            break
        text.append(line[found.end() :])
    return text


def _dedented(text: Sequence[str]) -> Sequence[str]:
    """Move a traceback to the left whose frames, below an unmoved header, stand further in than two blanks."""
    frame = next((line for line in text[:2] if frame_of(line) and line.startswith("   ")), None)
    if frame is None:
        return text
    indent = " " * (len(frame) - len(frame.lstrip()) - 2)
    return [line.removeprefix(indent) for line in text]


def _after_frames(lines: Sequence[str], at: int) -> int:
    while at < len(lines) and lines[at].startswith((" ", "Message: ", "Arguments: ")) and HEADER not in lines[at]:
        at += 1
    return at


def _lead(lines: Sequence[str], at: int) -> str:
    """Return the line by which a traceback may have been logged: the one right before it."""
    for line in reversed(lines[max(0, at - 2) : at]):
        if line.strip() and line.strip() != '"""':
            return line
    return ""


def _of_chain(chain: Chain, lead: str, *, headless: bool) -> Finding:
    cause = chain.cause
    reported = lead.startswith(_REPORTED)
    lead = "" if reported else lead
    role = Role.UNCAUGHT if chain.is_uncaught or headless or reported else Role.CAUGHT
    inner = _TASK_ERROR.match(cause.type)
    kind = inner[1] if inner else cause.type
    return Finding(
        _role(role, lead), kind, cause.message, chain.location, 0, 0, lead, wrapper=cause.is_wrapper, exit_code=1
    )


def _of_styled(styled: Styled, lead: str) -> Finding:
    role = Role.UNCAUGHT if styled.is_uncaught else Role.CAUGHT
    return Finding(_role(role, lead), styled.type, styled.message, styled.location, 0, 0, lead)


def _of_words(words: Words, lead: str) -> Finding:
    logged_by = lead if words.role is Role.CAUGHT else ""
    return Finding(words.role, words.type, words.message, words.location, 0, 0, logged_by)


def _role(role: Role, lead: str) -> Role:
    if _IGNORED.search(lead):
        return Role.IGNORED
    return Role.SIDE if _SIDE.search(lead) else role


def _placed(found: Finding, stream: Stream, at: int, end: int) -> Finding:
    last = stream.numbers[min(end, len(stream.numbers)) - 1]
    return replace(found, first=stream.numbers[at], last=last, stream=stream.name)
