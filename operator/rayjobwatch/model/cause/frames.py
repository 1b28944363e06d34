"""Frames of a Python traceback, and which of them are the user's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_FRAME = re.compile(r'\s*>?\s*File "([^"\n]{1,1000})", line (\d{1,9})(?:,? in (.{1,300}))?$')
# Not the user's: the standard library, installed packages, frozen and compiled modules, Ray's own.
_LIBRARY = re.compile(
    r"/(?:site|dist)-packages/|/lib(?:64)?/python\d|^<frozen |^<__array_function__|\.(?:pyx|pxi|pxd)$|^python/ray/"
    r"|/ray/(?:_private|util|actor|serve|train|tune|data|dashboard)/"
)
_PROGRAM = re.compile(r"/bin/[^/]+$|/Scripts/[^/]+$")
_NO_FILE = re.compile(r"^<.*>$")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; `function` is empty where the traceback names none, as for a SyntaxError."""

    path: str
    line: int
    function: str = ""

    @property
    def location(self) -> str:
        """`train.py:88`."""
        return f"{base_of(self.path)}:{self.line}"

    @property
    def is_users(self) -> bool:
        """Whether the frame is in a file of the user's."""
        return not (_LIBRARY.search(self.path) or _PROGRAM.search(self.path) or _NO_FILE.match(self.path))

    @property
    def is_outermost(self) -> bool:
        """Whether nothing of Python's is above the frame: what comes through it has ended the program."""
        return self.function in ("<module>", "_run_module_as_main", "<cell line>") or bool(_PROGRAM.search(self.path))


def base_of(path: str) -> str:
    """Return the file's name of a path, of Windows too."""
    return path.replace(chr(92), "/").rsplit("/", 1)[-1]


def frame_of(text: str) -> Frame | None:
    """Read a line `  File "train.py", line 88, in main`."""
    if 'File "' not in text:
        return None
    found = _FRAME.match(text)
    return Frame(found[1], int(found[2]), found[3] or "") if found else None


def location_of(frames: Sequence[Frame]) -> str:
    """Return where in the user's code the innermost of `frames` (outermost first) is; empty where none is theirs."""
    mine = next((frame for frame in reversed(frames) if frame.is_users), None)
    typed = next((frame for frame in reversed(frames) if _NO_FILE.match(frame.path) and _is_text(frame)), None)
    found = mine or typed
    return found.location if found else ""


def _is_text(frame: Frame) -> bool:
    return not frame.path.startswith(("<frozen", "<__array"))
