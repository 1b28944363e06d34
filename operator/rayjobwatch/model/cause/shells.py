"""Reports of shells, compilers and interpreters, which name a file and a line."""

import re
from collections.abc import Sequence

from rayjobwatch.model.cause.finding import Role, Words
from rayjobwatch.model.cause.frames import base_of

_CHILD = re.compile(
    r"\S{1,200}?: line \d+: +\d+ ((?:Segmentation fault|Aborted|Killed|Bus error|Illegal instruction|Floating point"
    r"|Trace/breakpoint|Terminated)[\w ]*?(?: \(core dumped\))?)(?: {2,}.*)?$"
)
_NO_SOURCE = re.compile(r"SyntaxError: (.{1,500} in file (\S.{0,500}?) on line (\d+).*)$")
_SHELL = re.compile(r"(\S{1,200}?): line (\d+): (.+)$")
_DASH = re.compile(r"(\S{1,200}?): (\d+): (.+)$")
_COMPILER = re.compile(r"(\S{1,200}?):(\d+):(?:\d+:)? (?:fatal |runtime )?error: (.+)$")
_PLACED = re.compile(r"(/\S+\.py):(\d+): (\w*(?:Error|Exception))(?:: (.*))?$")
_RUSTC = re.compile(r"error(?:\[\w+\])?: (.+)$")
_RUSTC_PLACE = re.compile(r" *--> (\S+?):(\d+):\d+$")
_DIED = re.compile(r"(.+?) at (\S+) line (\d+)\.$")
_SHELL_NAMES = {"sh", "bash", "dash", "zsh", "ksh", "environment"}


def _shell(lines: Sequence[str], at: int) -> Words | None:
    line = lines[at]
    if found := _CHILD.match(line):
        return Words(Role.REPORT, "", found[1], "", at + 1)
    if found := _SHELL.match(line) or _DASH.match(line):
        script = base_of(found[1])
        place = "" if script in _SHELL_NAMES else f"{script}:{found[2]}"
        return Words(Role.REPORT, "", found[3], place, at + 1)
    if found := _COMPILER.match(line):
        return Words(Role.REPORT, "", found[3], f"{base_of(found[1])}:{found[2]}", _after_source(lines, at))
    found = _DIED.match(line)
    return Words(Role.REPORT, "", found[1], f"{base_of(found[2])}:{found[3]}", at + 1) if found else None


def _after_source(lines: Sequence[str], at: int) -> int:
    """Return the index after the source line that a compiler shows, whose mark stands below it."""
    marked = at + 2 < len(lines) and lines[at + 2].strip(" |~-").startswith("^")
    return at + 3 if marked else at + 1


def _no_source(lines: Sequence[str], at: int) -> Words | None:
    """Read Python's word on a file in another encoding, which has no traceback."""
    found = _NO_SOURCE.match(lines[at])
    return Words(Role.UNCAUGHT, "SyntaxError", found[1], f"{base_of(found[2])}:{found[3]}", at + 1) if found else None


def _rustc(lines: Sequence[str], at: int) -> Words | None:
    found = _RUSTC.match(lines[at])
    place = _RUSTC_PLACE.match(lines[at + 1]) if found and at + 1 < len(lines) else None
    if not found or not place:
        return None
    end = next((i for i in range(at + 1, len(lines)) if not lines[i]), len(lines))
    return Words(Role.REPORT, "", found[1], f"{base_of(place[1])}:{place[2]}", end)


def _placed(lines: Sequence[str], at: int) -> Words | None:
    """Read the one line of pytest's on a failed test."""
    found = _PLACED.match(lines[at])
    if not found:
        return None
    return Words(Role.CAUGHT, found[3], found[4] or "", f"{base_of(found[1])}:{found[2]}", at + 1)


SHELLS = (_rustc, _placed, _no_source, _shell)
