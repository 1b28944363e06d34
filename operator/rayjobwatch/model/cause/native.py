"""Last words that are not Python exceptions: crashes, other languages, shells, compilers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rayjobwatch.model.cause.finding import Role
from rayjobwatch.model.cause.frames import frame_of, location_of


@dataclass(frozen=True, slots=True)
class Words:
    """What a program said as it ended. An empty `type`: the exit code or signal is the type."""

    role: Role
    type: str
    message: str
    location: str
    end: int


def read_native(lines: Sequence[str], at: int) -> Words | None:
    """Read what begins at `at`; None where it is nothing that is known."""
    return next((found for reader in _READERS if (found := reader(lines, at))), None)


_FATAL = re.compile(r"Fatal Python error: (?:\w+: )?(.+)$")
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


_ASSERTION = re.compile(r"(?:\S+: )?(\S+?):(\d+): .*?(Assertion [`'].+ failed\.?)$")
_ABORTS = re.compile(
    r"(?:free|malloc|realloc|munmap_chunk)\(\): .+|double free or corruption.*|corrupted (?:size|double).*"
    r"|\*\*\* (?:stack smashing detected|buffer overflow detected).*|.*Check failed: .+|.*ERROR: AddressSanitizer: .+"
    r"|(?:fatal|FATAL) error: (?!.*No such file).+|Out of memory: .+|OOMKilled.*|Bus error.*|Illegal instruction.*"
)


def _abort(lines: Sequence[str], at: int) -> Words | None:
    line = lines[at]
    if found := _ASSERTION.match(line):
        return Words(Role.CRASH, "", found[3], f"{_base(found[1])}:{found[2]}", at + 1)
    found = _ABORTS.match(line)
    return Words(Role.CRASH, "", line.strip(), "", at + 1) if found else None


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
    location = f"{_base(mine[1])}:{mine[2]}" if mine else ""
    return Words(Role.UNCAUGHT, "panic", found[1] or found[2], location, end)


_JAVA = re.compile(r'Exception in thread "[^"]{1,200}" ([\w.$]+)(?:: (.*))?$|Caused by: ([\w.$]+)(?:: (.*))?$')
_JAVA_FRAME = re.compile(r"\s+at \S+\((\w+\.(?:java|scala|kt)):(\d+)\)")


def _java(lines: Sequence[str], at: int) -> Words | None:
    line = lines[at]
    found = _JAVA.match(line)
    if not found or (line.startswith("Caused by") and at == 0):
        return None
    end = at + 1
    place = ""
    while end < len(lines) and lines[end].startswith(("\t", "    at ", "Caused by:")):
        if cause := _JAVA.match(lines[end]):
            found, place = cause, ""
        elif not place and (frame := _JAVA_FRAME.match(lines[end])):
            place = f"{frame[1]}:{frame[2]}"
        end += 1
    return Words(Role.UNCAUGHT, found[1] or found[3], found[2] or found[4] or "", place, end)


_NODE = re.compile(r"(?:Uncaught )?([A-Z]\w*(?:Error|Exception)|Error)(?: \[\w+\])?: (.*)$")
_NODE_FRAME = re.compile(r"    at (?:.*\()?(?:file://)?(/[^:()]+):(\d+):\d+\)?(?: \{)?$")
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
    return Words(Role.UNCAUGHT, found[1], found[2], f"{_base(mine[1])}:{mine[2]}" if mine else "", end)


_RUST = re.compile(r"thread '.{1,100}'(?: \(\d+\))? panicked at (?:'(.+)', )?(\S+?):(\d+):\d+:?$")


def _rust(lines: Sequence[str], at: int) -> Words | None:
    found = _RUST.match(lines[at])
    if not found:
        return None
    message = found[1] or (lines[at + 1].strip() if at + 1 < len(lines) else "")
    return Words(Role.UNCAUGHT, "panic", message, f"{_base(found[2])}:{found[3]}", at + (1 if found[1] else 2))


_SHELL = re.compile(r"(\S{1,200}?): line (\d+): (?!\s*\d+ (?:Killed|Aborted|Segmentation|Terminated))(.+)$")
_DASH = re.compile(r"(\S{1,200}?): (\d+): (.+)$")
_COMPILER = re.compile(r"(\S{1,200}?):(\d+):(?:\d+:)? (?:fatal )?error: (.+)$")
_DIED = re.compile(r"(.+?) at (\S+) line (\d+)\.$")
_SHELL_NAMES = {"sh", "bash", "dash", "zsh", "ksh", "environment"}


def _shell(lines: Sequence[str], at: int) -> Words | None:
    line = lines[at]
    if found := _SHELL.match(line) or _DASH.match(line):
        script = _base(found[1])
        place = "" if script in _SHELL_NAMES else f"{script}:{found[2]}"
        return Words(Role.REPORT, "", found[3], place, at + 1)
    if found := _COMPILER.match(line):
        return Words(Role.REPORT, "", found[3], f"{_base(found[1])}:{found[2]}", at + 1)
    found = _DIED.match(line)
    return Words(Role.REPORT, "", found[1], f"{_base(found[2])}:{found[3]}", at + 1) if found else None


def _base(path: str) -> str:
    return path.rsplit("/", 1)[-1]


_READERS = (_fatal_python, _terminate, _go, _abort, _java, _node, _rust, _shell)
