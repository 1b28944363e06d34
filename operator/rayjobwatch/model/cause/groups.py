"""Exception groups: the box that Python draws around one, opened to its first exception."""

import re
from collections.abc import Sequence

GROUP = "+ Exception Group Traceback (most recent call last):"
_SPLIT = re.compile(r"\s*\+(?:-\+)?-{4,}(?: (\d+|\.\.\.) -{4,})?$")
_RAIL = re.compile(r"^\s*[|+] ?")
_MOST_LINES = 3000
MAX_DEPTH = 8


def is_group(line: str) -> bool:
    """Whether a drawn exception group begins at this line."""
    return line.lstrip().startswith(GROUP)


def group_end(lines: Sequence[str], at: int) -> int:
    """Return the index after the box that begins at `at`: further lines of a message stand outside of its rails."""
    closing = f"{_indent(lines[at])}  +{'-' * 36}"
    for end in range(at + 1, min(len(lines), at + _MOST_LINES)):
        if lines[end] == closing:
            return end + 1
        if is_group(lines[end]) and _indent(lines[end]) == _indent(lines[at]):
            break
    end = at + 1
    while end < len(lines) and lines[end].lstrip()[:1] in ("|", "+"):
        end += 1
    return end


def first_member(box: Sequence[str], depth: int = MAX_DEPTH) -> list[str]:
    """Return the traceback of the first exception in a box, undrawn, of a group in a group the innermost's."""
    begin = next((i for i, line in enumerate(box) if _numbered(line)), None)
    if begin is None:
        return ["Traceback (most recent call last):", *[_RAIL.sub("", line, count=1) for line in box[1:]]]
    depth_of_rail = box[begin].index("+-+") + 2 if "+-+" in box[begin] else box[begin].index("+")
    member: list[str] = []
    for line in box[begin + 1 :]:
        if _SPLIT.match(line) and line.find("+") <= depth_of_rail and "+-+" not in line:
            break
        member.append(line)
    if depth and any(_numbered(line) for line in member):
        return first_member(member, depth - 1)
    return [_RAIL.sub("", line, count=1) for line in member]


def own_lines(box: Sequence[str]) -> Sequence[str]:
    """Return the lines of a box before its first member: the group's own traceback."""
    begin = next((i for i, line in enumerate(box) if _numbered(line)), len(box))
    return box[:begin]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _numbered(line: str) -> bool:
    found = _SPLIT.match(line)
    return bool(found and found[1])
