"""Places in a job's log. Bytes of the file and text of the WebSocket tail are counted apart and never mixed."""

import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import Final

from rayjobwatch.ray.errors import InvalidInputError

_TEXT: Final = re.compile(r"([bt]):([0-9]{1,18}):([0-9a-f]{1,15})")


class Cursor:
    """A place after a complete line. `str(cursor)` is a short text, `Cursor.parse` reads it back."""

    __slots__ = ()

    @property
    @abstractmethod
    def text_offset(self) -> int:
        """The place in the text tail, in UTF-8 bytes."""

    @staticmethod
    def parse(text: object) -> "Cursor":
        """Read `str(cursor)` back. Anything else is an `InvalidInputError` (400)."""
        found = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise InvalidInputError("cursor must be the text of an earlier batch's cursor")
        offset, extra = int(found[2]), int(found[3], 16)
        return ByteCursor(offset, extra) if found[1] == "b" else TextCursor(offset, extra)


@dataclass(frozen=True, slots=True)
class ByteCursor(Cursor):
    """After `offset` bytes of the log file, `crlf` pairs of CR LF among them (each one character in the text tail)."""

    offset: int = 0
    crlf: int = 0

    @property
    def text_offset(self) -> int:
        """The same place in the text tail."""
        return self.offset - self.crlf

    def __str__(self) -> str:
        return f"b:{self.offset}:{self.crlf:x}"


@dataclass(frozen=True, slots=True)
class TextCursor(Cursor):
    """After `offset` UTF-8 bytes of the text tail, where every line end is LF. `anchor` is the last line's CRC-32.

    A live tail may bring one line end more than its own replay does (a CR that stood at the end of the file for
    a second before its LF came); the anchor finds the place again.
    """

    offset: int = 0
    anchor: int = 0

    @property
    def text_offset(self) -> int:
        """The place itself."""
        return self.offset

    def __str__(self) -> str:
        return f"t:{self.offset}:{self.anchor:x}"


START: Final = ByteCursor()
