"""Messages of several lines whose first says too little: of JSON, YAML's marks, pydantic's list, Ray's dead actors."""

import re
from collections.abc import Sequence

_MOST = 40


def whole(lines: Sequence[str], at: int, first: str) -> tuple[str, int] | None:
    """Return such a message in one line and the index after it. `at`: the line that begins with `first`, its own part.

    None where the first line does, or the message is none of these.
    """
    return _bracketed(lines, at, first) or _marked(lines, at, first) or _listed(lines, at, first) or _dead(lines, at)


_CLOSES = re.compile(r"[]})]+[,.;]?$")


def _bracketed(lines: Sequence[str], at: int, first: str) -> tuple[str, int] | None:
    """Read what a bracket at the end of the first line opens, up to the one that closes it at the margin."""
    if not first.endswith(("{", "[", "(")):
        return None
    near = range(at + 1, min(len(lines), at + _MOST))
    end = next((i for i in near if not lines[i][:1].isspace()), None)
    if end is None or not _CLOSES.match(lines[end]):
        return None
    return " ".join([first, *(line.strip() for line in lines[at + 1 : end + 1])]), end + 1


_MARK = re.compile(r'  in ".{1,500}?", line \d+, column \d+:?$')


def _marked(lines: Sequence[str], at: int, first: str) -> tuple[str, int] | None:
    """Read what YAML says of one or two places: `while parsing a mapping`, its place, what was wrong there, its place.

    Between them can stand the text that is marked.
    """
    if at + 1 == len(lines) or not _MARK.match(lines[at + 1]):
        return None
    said, end, problems = [first], at + 1, int(first.startswith("while "))
    while end < min(len(lines), at + _MOST):
        line = lines[end]
        if not line[:1].isspace() and not (problems and line):
            break
        if _MARK.match(line) or not line[:1].isspace():
            problems -= not line[:1].isspace()
            said.append(line.strip().rstrip(":"))
        end += 1
    return " ".join(said), end


_COUNTED = re.compile(r"\d+ validation errors? for \S+$")
_INVALID = re.compile(r"  (\S.*?)(?: \[type=.*| \(type=.*)?$")


def _listed(lines: Sequence[str], at: int, first: str) -> tuple[str, int] | None:
    """Read pydantic's list: a field, and below it what is wrong with its value; the first of them is told."""
    if not _COUNTED.match(first) or at + 2 >= len(lines) or not (wrong := _INVALID.match(lines[at + 2])):
        return None
    end = at + 2
    while end < len(lines) and (lines[end][:1].isspace() or (end + 1 < len(lines) and _INVALID.match(lines[end + 1]))):
        end += 1
    return f"{first}: {lines[at + 1]}: {wrong[1]}", end


_REASON = "The actor is dead because "


def _dead(lines: Sequence[str], at: int) -> tuple[str, int] | None:
    """Read why an actor died: it stands below the actor's names."""
    if "ActorDiedError: " not in lines[at]:
        return None
    near = range(at + 1, min(len(lines), at + _MOST))
    end = next((i for i in near if not lines[i].startswith("\t")), None)
    if end is None or not lines[end].startswith(_REASON):
        return None
    return f"{lines[at].split('ActorDiedError: ', 1)[1].strip()} {lines[end].strip()}", end + 1
