"""Crashes: what a runtime, an allocator or a sanitizer says as it ends the process."""

import re
from collections.abc import Sequence

from rayjobwatch.model.cause.finding import Role, Words
from rayjobwatch.model.cause.frames import base_of, frame_of, location_of

_FATAL = re.compile(r"(?:Fatal Python error: (?:\w+: )?|(?=Timeout \(\d+:\d\d:\d\d))(.+)$")
_RECENT = "(most recent call first):"


def _fatal_python(lines: Sequence[str], at: int) -> Words | None:
    found = _FATAL.match(lines[at])
    if not found:
        return None
    begin = next((i for i in range(at, min(len(lines), at + 12)) if lines[i].endswith(_RECENT)), at)
    end = begin + 1
    frames = []
    while end < len(lines) and (frame := frame_of(lines[end])):
        frames.append(frame)
        end += 1
    return Words(Role.CRASH, "", found[1], location_of(frames[::-1]), end)


_THROWN = re.compile(r"terminate called after throwing an instance of '(.+)'$")
_ACTIVE = re.compile(r"terminate called (.+)$")


def _terminate(lines: Sequence[str], at: int) -> Words | None:
    line = lines[at]
    if found := _THROWN.match(line):
        what = lines[at + 1].strip() if at + 1 < len(lines) else ""
        if what.startswith("what():"):
            return Words(Role.CRASH, found[1], what.removeprefix("what():").strip(), "", at + 2)
        return Words(Role.CRASH, found[1], "", "", at + 1)
    found = _ACTIVE.match(line)
    return Words(Role.CRASH, "", found[0], "", at + 1) if found else None


_SANITIZER = re.compile(r"=*\d*=*(?:ERROR|WARNING): (\w+Sanitizer): (.+?)(?: \(pid=\d+\))?$")
_SANITIZER_END = re.compile(r"SUMMARY: \w+Sanitizer|==\d+==ABORTING")
_SANITIZER_FRAME = re.compile(r"\s+#\d+ (?:0x[0-9a-f]+ in )?\S.{0,500} (/\S{1,500}?):(\d+)(?::\d+)?$")
_REPORT_LINES = 400


def _sanitizer(lines: Sequence[str], at: int) -> Words | None:
    found = _SANITIZER.match(lines[at])
    if not found:
        return None
    near = range(at + 1, min(len(lines), at + _REPORT_LINES))
    end = next((i for i in near if _SANITIZER_END.match(lines[i])), at)
    while end + 1 < len(lines) and _SANITIZER_END.match(lines[end + 1]):
        end += 1
    places = (_SANITIZER_FRAME.match(line) for line in lines[at:end])
    mine = next((place for place in places if place and "sanitizer" not in place[1]), None)
    location = f"{base_of(mine[1])}:{mine[2]}" if mine else ""
    return Words(Role.CRASH, "", f"{found[1]}: {found[2]}", location, end + 1)


# Google's logging library (and what logs like it, as Kubernetes' does), and Ray's own C++, whose places tell a user
# nothing.
_CHECKED = re.compile(
    r"(?:F\d{4} [\d:.]+ +\d+ (\S+?):(\d+)\]|[\d-]+ [\d:.]+: F \S+:\d+\]"
    r"|\[[\d-]+ [\d:,]+ [CF] \d+ \d+\](?: \([^)]*\))? \S+?:\d+:) +(\S.*)$"
)


def _check(lines: Sequence[str], at: int) -> Words | None:
    found = _CHECKED.match(lines[at])
    if not found:
        return None
    return Words(Role.CRASH, "", found[3], f"{base_of(found[1])}:{found[2]}" if found[1] else "", at + 1)


_ASSERTION = re.compile(r"(?:\S+: )?(\S+?):(\d+): .*?(Assertion [`'].+ failed\.?)$")
_ABORTS = re.compile(
    r"(?:free|malloc|realloc|munmap_chunk)\(\): .+|double free or corruption.*|corrupted (?:size|double).*"
    r"|\*\*\* (?:stack smashing detected|buffer overflow detected).*|.*Check failed: .+"
    r"|ERROR: Unexpected .+ encountered in worker\..*"
    r"|(?:[Ff]atal|FATAL) error: (?!.*No such file).+|Out of memory: .+|OOMKilled.*|Bus error.*|Illegal instruction.*"
)


def _abort(lines: Sequence[str], at: int) -> Words | None:
    line = lines[at]
    if found := _ASSERTION.match(line):
        return Words(Role.CRASH, "", found[3], f"{base_of(found[1])}:{found[2]}", at + 1)
    found = _ABORTS.match(line)
    return Words(Role.CRASH, "", line.strip(), "", at + 1) if found else None


CRASHES = (_fatal_python, _terminate, _sanitizer, _check, _abort)
