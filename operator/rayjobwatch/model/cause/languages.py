"""Uncaught exceptions of other languages than Python."""

import re
from collections.abc import Sequence
from dataclasses import replace

from rayjobwatch.model.cause.finding import Role, Words
from rayjobwatch.model.cause.frames import base_of

_NEAR = 12

_GO = re.compile(r"panic: (.+?)(?: \[recovered\])?$|fatal error: (.+)$")
_GO_FRAME = re.compile(r"\t(\S+\.go):(\d+)")


def _go(lines: Sequence[str], at: int) -> Words | None:
    line = lines[at]
    found = _GO.match(line)
    near = range(at + 1, min(len(lines), at + 8))
    begin = next((i for i in near if lines[i].startswith("goroutine ")), None)
    if not found or begin is None:
        return None
    end = begin + 1
    while end < len(lines) and lines[end].strip():
        end += 1
    places = [place for one in lines[begin:end] if (place := _GO_FRAME.match(one))]
    mine = next((place for place in places if "/src/runtime/" not in place[1] and "/pkg/mod/" not in place[1]), None)
    location = f"{base_of(mine[1])}:{mine[2]}" if mine else ""
    return Words(Role.UNCAUGHT, "panic", found[1] or found[2], location, end)


_JAVA = re.compile(r'Exception in thread "[^"]{1,200}" ([\w.$]+)(?:: (.*))?$|Caused by: ([\w.$]+)(?:: (.*))?$')
_JAVA_FRAME = re.compile(r"\s+at (?:[\w.@-]*/)*([\w.$<>]+)\((\w+\.(?:java|scala|kt)):(\d+)\)")
_JAVA_LIBRARY = re.compile(
    r"(?:javax?|jdk|sun|com\.sun|scala|kotlinx?|akka|io\.(?:netty|ray|grpc)|com\.(?:google|fasterxml|databricks)"
    r"|org\.(?:apache|springframework|hibernate|junit|eclipse|codehaus|jboss))\."
)


def _java(lines: Sequence[str], at: int) -> Words | None:
    found = _JAVA.match(lines[at])
    if not found or (lines[at].startswith("Caused by") and at == 0):
        return None
    return _stack(lines, at, found[1] or found[3], found[2] or found[4] or "")


def _stack(lines: Sequence[str], at: int, kind: str, message: str) -> Words:
    """Read the frames below an exception, and what it was caused by."""
    end = at + 1
    place, is_new = "", True
    while end < len(lines) and lines[end].startswith(("\t", "    at ", "Caused by:")):
        if cause := _JAVA.match(lines[end]):
            kind, message, is_new = cause[3], cause[4] or "", True
        elif is_new and (frame := _JAVA_FRAME.match(lines[end])) and not _JAVA_LIBRARY.match(frame[1]):
            place, is_new = f"{frame[2]}:{frame[3]}", False
        end += 1
    return Words(Role.UNCAUGHT, kind, message, place, end)


_LOGGED = re.compile(r"((?:[a-z]\w*\.)+[A-Z][\w$]*(?:Exception|Error|Throwable))(?:: (.*))?$")


def _logged_java(lines: Sequence[str], at: int) -> Words | None:
    found = _LOGGED.match(lines[at])
    if not found or at + 1 == len(lines) or not _JAVA_FRAME.match(lines[at + 1]):
        return None
    return replace(_stack(lines, at, found[1], found[2] or ""), role=Role.CAUGHT)


_NODE = re.compile(r"(?:Uncaught )?([A-Z]\w*(?:Error|Exception)|Error|UnhandledPromiseRejection)(?: \[\w+\])?: (.*)$")
_NODE_FRAME = re.compile(r"    at (?:.*\()?(?:file://)?(/[^:()]+):(\d+):\d+\)?(?: \{)?$")
_NODE_PLACE = re.compile(r"(?:file://)?(/\S+?):(\d+)$")
_NODE_MORE = re.compile(r"Require stack:|- |\s|$")


def _node(lines: Sequence[str], at: int) -> Words | None:
    found = _NODE.match(lines[at])
    near = range(at + 1, min(len(lines), at + 10))
    begin = next((i for i in near if lines[i].startswith("    at ")), None)
    if not found or begin is None or any(not _NODE_MORE.match(line) for line in lines[at + 1 : begin]):
        return None
    end = begin
    while end < len(lines) and lines[end].startswith(("    at ", "  ", "}")):
        end += 1
    places = [place for one in lines[begin:end] if (place := _NODE_FRAME.match(one))]
    mine = next((place for place in places if "/node_modules/" not in place[1]), None)
    mine = mine or next((place for one in lines[max(0, at - 6) : at] if (place := _NODE_PLACE.match(one))), None)
    return Words(Role.UNCAUGHT, found[1], found[2], f"{base_of(mine[1])}:{mine[2]}" if mine else "", end)


_RUST = re.compile(r"thread '.{1,100}'(?: \(\d+\))? panicked at (?:'(.+)', )?(\S+?):(\d+):\d+:?$")


def _rust(lines: Sequence[str], at: int) -> Words | None:
    found = _RUST.match(lines[at])
    if not found:
        return None
    message = found[1] or (lines[at + 1].strip() if at + 1 < len(lines) else "")
    return Words(Role.UNCAUGHT, "panic", message, f"{base_of(found[2])}:{found[3]}", at + (1 if found[1] else 2))


_JULIA = re.compile(r"ERROR: (?:LoadError: )*(?:(\w+(?:Error|Exception))(?:: |\b))?(.*)$")
_JULIA_PLACE = re.compile(r"\s+@ (?:\S+ )?(\S+\.jl):(\d+)|in expression starting at (\S+\.jl):(\d+)")


def _julia(lines: Sequence[str], at: int) -> Words | None:
    found = _JULIA.match(lines[at])
    near = range(at + 1, min(len(lines), at + _NEAR))
    end = next((i for i in near if lines[i] == "Stacktrace:"), None)
    if not found or end is None:
        return None
    while end < len(lines) and (not lines[end] or lines[end].startswith((" ", "Stacktrace:", "in expression"))):
        end += 1
    places = [place for one in lines[at:end] if (place := _JULIA_PLACE.match(one))]
    mine = next(
        (place for place in places if not (place[1] or "").startswith("./") and "/.julia/" not in place[0]), None
    )
    location = f"{base_of(mine[1] or mine[3])}:{mine[2] or mine[4]}" if mine else ""
    return Words(Role.UNCAUGHT, found[1] or "", found[2], location, end)


_R = re.compile(r"Error(?: in .{1,500}?(?: \(from (\S{1,200}?)#(\d+)\))?)? ?: *(.*)$")
_HALTED = "Execution halted"


def _r(lines: Sequence[str], at: int) -> Words | None:
    found = _R.match(lines[at])
    near = range(at + 1, min(len(lines), at + 2 * _NEAR))
    end = next((i for i in near if lines[i].startswith(_HALTED)), None)
    if not found or end is None:
        return None
    location = f"{base_of(found[1])}:{found[2]}" if found[1] else ""
    return Words(Role.UNCAUGHT, "", found[3] or lines[at + 1].strip(), location, end + 1)


_RUBY = re.compile(r"(\S+\.rb):(\d+):in [`'][^']{1,200}': (.{0,1000}?) ?\(([A-Z]\w*(?:::\w+)*)\)$")


def _ruby(lines: Sequence[str], at: int) -> Words | None:
    found = _RUBY.match(lines[at])
    if not found:
        return None
    end = at + 1
    while end < len(lines) and lines[end].startswith("\tfrom "):
        end += 1
    return Words(Role.UNCAUGHT, found[4], found[3], f"{base_of(found[1])}:{found[2]}", end)


_NET = re.compile(r"Unhandled exception\. ([\w.]+)(?:: (.*))?$")
_NET_FRAME = re.compile(r"\s+at .{1,500} in (\S.{0,500}):line (\d+)$")


def _net(lines: Sequence[str], at: int) -> Words | None:
    found = _NET.match(lines[at])
    if not found:
        return None
    end = at + 1
    while end < len(lines) and lines[end].startswith("   "):
        end += 1
    mine = next((place for one in lines[at:end] if (place := _NET_FRAME.match(one))), None)
    return Words(Role.UNCAUGHT, found[1], found[2] or "", f"{base_of(mine[1])}:{mine[2]}" if mine else "", end)


_PHP = re.compile(r"(?:PHP )?Fatal error: +Uncaught ([\w\\]+): (.{0,1000}) in (\S{1,500}):(\d+)$")


def _php(lines: Sequence[str], at: int) -> Words | None:
    found = _PHP.match(lines[at])
    if not found:
        return None
    near = range(at + 1, min(len(lines), at + 5 * _NEAR))
    end = next((i for i in near if lines[i].startswith("  thrown in ")), at)
    return Words(Role.UNCAUGHT, found[1], found[2], f"{base_of(found[3])}:{found[4]}", end + 1)


LANGUAGES = (_go, _java, _logged_java, _node, _rust, _julia, _r, _ruby, _net, _php)
