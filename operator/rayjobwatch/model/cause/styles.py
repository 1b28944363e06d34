"""Tracebacks in other clothes: rich, IPython, pytest; each reader takes lines and an index."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rayjobwatch.model.cause.frames import Frame, frame_of, location_of


@dataclass(frozen=True, slots=True)
class Styled:
    """An exception in another style; `end` is the index after its last line."""

    type: str
    message: str
    location: str
    end: int
    is_uncaught: bool = False


NAME = r"[^\W\d][\w.]{0,200}"
_RAISED = re.compile(rf"({NAME})(?:: ?(.*))?$")
_BOX_LINKS = ("The above exception was the direct cause", "During handling of the above exception")

# --- rich: a panel with one line a frame -----------------------------------------------------------------------------
_PANEL = re.compile(r"(.*?)[╭+][─-]+ ?Traceback \(most recent call last\) ?[─-]+[╮+]")
_PANEL_FRAME = re.compile(r"(?:in )?(\S.*?\.\w+|<[\w ]+>):(\d+) ?in ?(\S.*)$")
_SOURCE = re.compile(r"\s*│ +(\S.*):(\d+) *│?$")
_PANEL_CODE = re.compile(r"❱|\d+ |[╭╰]")


def read_rich(lines: Sequence[str], at: int) -> Styled | None:
    """Read a panel of rich; the exception stands below it, wrapped to the panel's width."""
    found = _PANEL.match(lines[at])
    if not found:
        return None
    left = len(found[1])
    width = len(lines[at].rstrip()) - left
    end = next((i for i in range(at + 1, len(lines)) if _closes(lines[i][left:], width)), len(lines) - 1)
    frames = _panel_frames([line[left:].strip() for line in lines[at + 1 : end]])
    end, frames = _with_source(lines, end, frames)
    named, count = _unwrapped([line[left:] for line in lines[end + 1 : end + 20]], width)
    raised = _RAISED.match(named)
    if not raised:
        return None
    after = _chained_panel(lines, end + 1 + count)
    if after is not None and (later := read_rich(lines, after)):
        return later
    outermost = bool(frames) and frames[0].function in ("<module>", "_run_module_as_main")
    return Styled(raised[1], raised[2] or "", location_of(frames), end + 1 + count, outermost)


def _with_source(lines: Sequence[str], end: int, frames: list[Frame]) -> tuple[int, list[Frame]]:
    """Read a second panel, which shows the source of a SyntaxError: the index of its last line, and its place."""
    if end + 2 >= len(lines) or not lines[end + 1].lstrip().startswith("╭─"):
        return end, frames
    place = _SOURCE.match(lines[end + 2])
    last = next((i for i in range(end + 2, len(lines)) if lines[i].lstrip().startswith("╰─")), end)
    return last, [*frames, Frame(place[1], int(place[2]))] if place else frames


def _closes(line: str, width: int) -> bool:
    line = line.rstrip()
    return line[:1] in ("╰", "+") and line[-1:] in ("╯", "+") and len(line) >= width


def _panel_frames(inside: Sequence[str]) -> list[Frame]:
    """Read the frames of a panel: paragraphs, in which a long path is broken over lines."""
    frames = []
    paragraph = ""
    for line in [*(line.strip("│| \t") for line in inside), ""]:
        if line and not _PANEL_CODE.match(line):
            paragraph += line
            continue
        if found := _PANEL_FRAME.match(paragraph):
            frames.append(Frame(found[1], int(found[2]), found[3]))
        paragraph = ""
    return frames


def _unwrapped(lines: Sequence[str], width: int) -> tuple[str, int]:
    """Return the first line and how many lines it was wrapped into: one that ends short of the width is the last."""
    text = ""
    for count, line in enumerate(lines, 1):
        following = lines[count].strip() if count < len(lines) else ""
        text = f"{text} {line.strip()}".strip()
        first = following.split(" ", 1)[0]
        if not first or len(line.rstrip()) + 1 + len(first) <= width:
            return text, count
    return text, len(lines)


def _chained_panel(lines: Sequence[str], at: int) -> int | None:
    near = range(at, min(len(lines), at + 8))
    if not any(lines[i].strip().startswith(_BOX_LINKS) for i in near):
        return None
    return next((i for i in range(at, min(len(lines), at + 12)) if _PANEL.match(lines[i])), None)


# --- IPython: a rule, the exception's name, then arrows --------------------------------------------------------------
_IPYTHON = re.compile(rf"({NAME})\s+Traceback \(most recent call last\)$")
_CELL = re.compile(
    r"(?:File (\S.*?):(\d+)(?:,|$| in)|(?:Cell |Input )?In ?\[(\d+)\](?:, in <cell line: (\d+)>|, line (\d+)))"
)
_FAULT = re.compile(r" +(?:File (\S.*?):(\d+)|Cell In ?\[(\d+)\], line (\d+))$")
_SYNTAX = re.compile(r"(SyntaxError|IndentationError|TabError): (.*)$")
_OLD_FRAME = re.compile(r"(\S.*?\.py|<ipython-input-\S+>) in (\S+)\(")
_ARROW = re.compile(r"-+> ?(\d+) ")
_MOST = 400


def read_ipython(lines: Sequence[str], at: int) -> Styled | None:
    """Read a traceback of IPython: the exception's type stands in its first line, the message in its last."""
    found = _IPYTHON.match(lines[at])
    if not found:
        return _ipython_syntax(lines, at)
    kind = found[1]
    frames: list[Frame] = []
    for i in range(at + 1, min(len(lines), at + _MOST)):
        line = lines[i]
        if line == kind or line.startswith(f"{kind}: "):
            return Styled(kind, line[len(kind) + 2 :], location_of(frames), i + 1, True)
        frames = _with_ipython_frame(frames, line)
    return None


def _ipython_syntax(lines: Sequence[str], at: int) -> Styled | None:
    place = _FAULT.match(lines[at])
    near = range(at + 1, min(len(lines), at + 6)) if place else ()
    for i in near:
        if place and (raised := _SYNTAX.match(lines[i])):
            where = Frame(place[1] or f"Cell In[{place[3]}]", int(place[2] or place[4]))
            return Styled(raised[1], raised[2], where.location, i + 1, True)
    return None


def _with_ipython_frame(frames: list[Frame], line: str) -> list[Frame]:
    if found := _CELL.match(line):
        path = found[1] or f"Cell In[{found[3]}]"
        return [*frames, Frame(path, int(found[2] or found[4] or found[5] or 0), "?")]
    if found := _OLD_FRAME.match(line):
        return [*frames, Frame(found[1], 0, found[2])]
    if frames and (found := _ARROW.match(line)) and not frames[-1].line:
        return [*frames[:-1], Frame(frames[-1].path, int(found[1]), frames[-1].function)]
    return frames


# --- pytest: E lines, then file:line: Type ---------------------------------------------------------------------------
_PYTEST = re.compile(r"ImportError while loading conftest .*|_{3,} (?:ERROR (?:at \w+ of |collecting ))?\S.*? _{3,}$")
_PYTEST_E = re.compile(r"E {1,80}(\S.*)?$")
_PYTEST_PLACE = re.compile(rf"(\S[^:]*\.py):(\d+): (?:in \S+|({NAME}))?$")
_PYTEST_END = re.compile(r"={3,} .*(?:failed|error|passed|summary).* ={3,}$|_{3,} \S.* _{3,}$|\d+ failed|={10,}$")


def read_pytest(lines: Sequence[str], at: int) -> Styled | None:
    """Read the report of one failed test."""
    if not _PYTEST.match(lines[at]):
        return None
    said, places, kind = [], [], ""
    end = at + 1
    while end < len(lines) and not _PYTEST_END.match(lines[end]):
        if found := _PYTEST_E.match(lines[end]):
            said.append(found[1] or "")
        elif found := _PYTEST_PLACE.match(lines[end]):
            places.append(Frame(found[1], int(found[2]), "?"))
            kind = found[3] or kind
        end += 1
    if not said:
        return None
    return _tested(said, places, kind, end)


def _tested(said: list[str], places: list[Frame], kind: str, end: int) -> Styled:
    if at_fault := frame_of(said[0]):  # of a SyntaxError
        said, places = said[-1:], [at_fault]
    raised = re.match(
        rf"({NAME}(?:Error|Exception|Warning|Interrupt|Exit|Failed|{re.escape(kind) or 'x'})):? ?(.*)$", said[0]
    )
    if raised:
        return Styled(raised[1], raised[2], location_of(places), end, True)
    return Styled(kind or "AssertionError", said[0], location_of(places), end, True)
