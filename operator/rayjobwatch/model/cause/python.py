"""Python's tracebacks as text: chained, nested, of Ray's tasks, with or without a header."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rayjobwatch.model.cause.frames import Frame, frame_of, location_of
from rayjobwatch.model.cause.groups import first_member, group_end, is_group, own_lines
from rayjobwatch.model.cause.message import whole

HEADER = "Traceback (most recent call last):"
_IPYTHON_HEADER = " Traceback (most recent call last)"
_NAME = r"[^\W\d]\w*"
_RAISED = re.compile(rf"((?:{_NAME}\.|<locals>\.)*{_NAME})(\([\w.<>]{{0,200}}\))?(?::(?: (.*)|\s*)?)?$")
_NAMED = re.compile(r"(?:Error|Exception|Interrupt|Exit|Warning|Group)$")
_TASK = re.compile(r"ray::\S.{0,500}\(pid=\d|.*The actor died because of an error raised in its creation task")
_LINKS = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_INPUTS = "At least one of the input arguments for this task could not be computed:"
_SYNTAX = {"SyntaxError", "IndentationError", "TabError"}
# They only tell that something else failed, and that was printed before or inside.
_WRAPPERS = {
    "RayTaskError", "ChildFailedError", "CalledProcessError", "TrainingFailedError", "TuneError", "WorkerGroupError",
    "ControllerError", "UserCodeException", "_RemoteTraceback", "RemoteTraceback", "ProcessRaisedException",
    "ProcessExitedException", "CellExecutionError", "PapermillExecutionError",
}  # fmt: skip
_WRAPPING = re.compile(
    r"Horovod detected that one or more processes|Engine core initialization failed"
    r"|Deploying application .{1,200} failed"
    r"|(?i:see (?:the )?(?:root cause|stack ?trace|traceback|errors?|logs?) above)"
)
_LOOK_AHEAD = 80
_PATIENCE = 60
_NEAR = 8
_MOST_QUOTES = 3
MAX_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception of a chain: `type` as printed, `frames` from the outermost."""

    type: str
    message: str
    frames: tuple[Frame, ...]

    @property
    def is_wrapper(self) -> bool:
        """Whether it only passes on another failure."""
        return self.type.rsplit(".", 1)[-1] in _WRAPPERS or bool(_WRAPPING.search(self.message))

    @property
    def is_tasks(self) -> bool:
        """Whether Ray made it of a task's exception, which it quotes below."""
        return "RayTaskError(" in self.type


@dataclass(frozen=True, slots=True)
class Chain:
    """Exceptions that led to one another, first raised first, and the index after their last line.

    `outer`: the frames of the traceback that was printed last, from the program's side.
    """

    raised: tuple[Raised, ...]
    outer: tuple[Frame, ...]
    end: int

    @property
    def cause(self) -> Raised:
        """The exception to name: the last one, unless that is a wrapper of an earlier one."""
        last = self.raised[-1]
        own = (one for one in reversed(self.raised) if not one.is_wrapper and (one is last or not one.is_tasks))
        return next(own, last)

    @property
    def location(self) -> str:
        """Where it was raised: a process pool re-raises what its worker printed before."""
        cause = self.cause
        same = [one for one in self.raised if (one.type, one.message) == (cause.type, cause.message)]
        places = [location_of(frames) for frames in (*(one.frames for one in same), self.outer)]
        named = (place for place in places if place and not place.startswith("<"))
        return next(named, "") or next((place for place in places if place), "")

    @property
    def is_uncaught(self) -> bool:
        """Whether it went through the program's outermost frame."""
        if self.raised[-1].type in _SYNTAX and not any(frame.function for frame in self.outer):
            return True
        return bool(self.outer) and self.outer[0].is_outermost


def is_ipythons(line: str) -> bool:
    """Whether IPython begins a traceback with this line: the exception's type, blanks, and a header without a colon."""
    return line.endswith(_IPYTHON_HEADER) and not line.startswith("Traceback")


def begins(line: str) -> bool:
    """Whether a traceback may begin at this line: with its header or IPython's, a group's box, or a frame."""
    return line.endswith(HEADER) or is_group(line) or is_ipythons(line) or frame_of(line) is not None


def read_chain(lines: Sequence[str], at: int, quotes: int = _MOST_QUOTES) -> Chain | None:
    """Read the exceptions that begin at `at`; None where the text ends before an exception is named.

    quotes: how many messages in one another may quote a traceback.
    """
    reader = _Reader(lines, at, quotes)
    reader.run()
    if not reader.raised:
        return None
    return Chain(tuple(reader.raised), tuple(reader.outer or reader.raised[-1].frames), reader.end)


class _Reader:
    def __init__(self, lines: Sequence[str], at: int, quotes: int) -> None:
        self.lines = lines
        self.quotes = quotes
        self.at = at
        self.end = at
        self.raised: list[Raised] = []
        self.outer: list[Frame] = []
        self._frames: list[Frame] = []
        self._headed = False
        self._silent = 0
        self._strange = 0

    def run(self) -> None:
        while self.at < len(self.lines) and self._silent < _PATIENCE:
            if not self._take(self.lines[self.at]):
                break

    def _take(self, line: str) -> bool:
        """Take one line in; False where the chain has ended."""
        frame = frame_of(line)
        if frame:
            self._add(frame)
        elif line.endswith(HEADER) and not is_group(line):
            return self._take_exception(line) if self._is_quoting(line) else self._begin()
        elif is_group(line):
            return self._take_group()
        elif _TASK.match(line) or line.strip() == _INPUTS:
            self._frames = []
            self.at += 1
        elif line[:1].isspace() or not line:
            self._silent += 1
            self.at += 1
        else:
            return self._take_exception(line) or self._take_strange()
        return True

    def _take_strange(self) -> bool:
        """Pass over a line that a thread wrote between those of a traceback, as long as that has not ended."""
        self._strange += 1
        self.at += 1
        return bool(self._headed and self._frames) and self._strange <= _PATIENCE

    def _add(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._silent = 0
        self.at += 1
        if self._headed:
            self.outer = self._frames

    def _begin(self) -> bool:
        self._frames = []
        self._headed = True
        self._silent = 0
        self.at += 1
        return True

    def _is_quoting(self, line: str) -> bool:
        """Whether the line names an exception in whose message another's traceback begins."""
        found = _RAISED.match(line) if self._headed and self._frames and line != HEADER else None
        return bool(found and not Raised(found[1], line, ()).is_wrapper)

    def _take_group(self) -> bool:
        end = group_end(self.lines, self.at)
        box = self.lines[self.at : end]
        member = read_chain([HEADER, *first_member(box)], 0)
        outer = [frame for line in own_lines(box) if (frame := frame_of(line.lstrip()[1:]))]
        if member is None:
            return False
        self.raised.append(member.cause)
        self.outer = outer or self.outer
        self.end = self.at = end
        return self._goes_on()

    def _take_exception(self, line: str) -> bool:
        found = _RAISED.match(line)
        if not found or not (self._frames or self.raised or self._is_after_task()):
            return False
        if (self._strange and not _NAMED.search(found[1])) or (found[2] and not found[1].endswith("RayTaskError")):
            return False
        message, end = _message(self.lines, self.at, (found[3] or "").strip())
        message, end = self._with_detail(found[1], message, end)
        self.raised.append(Raised(_type(found[1], found[2]), message, tuple(self._frames)))
        self._frames, self._headed, self._silent = [], False, 0
        self.end = self.at = end
        return self._goes_on()

    def _with_detail(self, name: str, message: str, end: int) -> tuple[str, int]:
        """Join to the message what the traceback names that it quotes: of Ray's agent, of a child, of a server."""
        begin = self._quoted(name, message, end)
        message = message.removesuffix(HEADER).rstrip()
        quoted = None if begin is None else [HEADER, *self.lines[begin + 1 :]]
        detail = read_chain(quoted, 0, self.quotes - 1) if quoted and self.quotes else None
        if begin is None or detail is None:
            return message, end
        why = f"{detail.cause.type}: {detail.cause.message}"
        return f"{message.rstrip('.:')}: {why}"[:MAX_MESSAGE], begin + detail.end

    def _quoted(self, name: str, message: str, end: int) -> int | None:
        """Return where the traceback begins that the exception's message quotes, if it does."""
        if message.endswith(HEADER):
            return self.at
        lines = self.lines[end : end + _NEAR]
        if name.endswith("RuntimeEnvSetupError"):
            return next((end + i for i, line in enumerate(lines) if line.endswith(HEADER)), None)
        announces = self.lines[self.at].endswith(":") and not Raised(name, message, ()).is_wrapper
        return next((end + i for i, line in enumerate(lines[:2]) if line.strip() == HEADER and announces), None)

    def _is_after_task(self) -> bool:
        before = self.lines[max(0, self.at - 3) : self.at]
        return any(_TASK.match(line) or line.strip() == _INPUTS or line.endswith(HEADER) for line in before)

    def _goes_on(self) -> bool:
        """Move on to the next exception of the chain, if there is one."""
        for at in range(self.at, min(len(self.lines), self.at + _LOOK_AHEAD)):
            line = self.lines[at].strip()
            if line in _LINKS:
                self.at = at + 1
                return True
            if self._is_nested(at):
                self.at = at
                return True
            if line.endswith(HEADER):
                return False
        return False

    def _is_nested(self, at: int) -> bool:
        """Whether what Ray quotes of a task begins here: directly below the exception that quotes it."""
        line = self.lines[at]
        if at != self.at:
            return False
        quotes = _last_type(self.raised).startswith("ray.exceptions.") or "RayTaskError" in self.lines[at - 1]
        if _TASK.search(self.raised[-1].message):
            return True
        task = bool(_TASK.match(line)) or line.strip() == _INPUTS or line.startswith("ray.exceptions.")
        return task or (quotes and (frame_of(line) is not None or is_group(line)))


def _last_type(raised: list[Raised]) -> str:
    return raised[-1].type if raised else ""


def _type(name: str, inner: str | None) -> str:
    if inner and name.endswith("RayTaskError"):
        return f"{name}{inner}"
    name = name.rsplit("<locals>.", 1)[-1]
    return name.removeprefix("__main__.").removeprefix("builtins.")


def _message(lines: Sequence[str], at: int, first: str) -> tuple[str, int]:
    """Return the message in one line and the index after it: a first line that only announces gets the next one."""
    end = at + 1
    if _TASK.search(first):
        return first[:MAX_MESSAGE], end
    if all_of_it := whole(lines, at, first):
        return all_of_it[0][:MAX_MESSAGE], all_of_it[1]
    if end < len(lines) and lines[end].startswith(": "):  # py4j puts Java's exception there
        return f"{first}{lines[end].rstrip()}"[:MAX_MESSAGE], end + 1
    announces = first.endswith(":")
    if not first and lines[at].endswith(":"):
        return _below(lines, end)
    while end < len(lines) and _belongs(lines[end], announces=announces and end < at + _LOOK_AHEAD):
        end += 1
    if not first or announces:
        told = (line.strip() for line in lines[at + 1 : end] if any(char.isalnum() for char in line))
        first = f"{first} {next(told, '')}".strip()
    return first[:MAX_MESSAGE], end


def _below(lines: Sequence[str], at: int) -> tuple[str, int]:
    """Return the first line that says something of a message that begins with line ends, and the index after it."""
    for end in range(at, min(len(lines), at + _NEAR)):
        line = lines[end]
        if not _belongs(line, announces=True):
            break
        if any(char.isalnum() for char in line):
            return line.strip()[:MAX_MESSAGE], end + 1
    return "", at


def _belongs(line: str, *, announces: bool) -> bool:
    """Whether a line goes on with the message above it: it stands further in, or a colon has announced it."""
    if begins(line) or line.strip() in _LINKS or line.startswith("ray.exceptions.") or line == '"""':
        return False
    return announces or (line[:1].isspace() and bool(line.strip()))
