"""Private keys over several lines: what stands between BEGIN and END is masked, however the lines are batched."""

import re
from collections.abc import Sequence

from rayjobwatch.model.redaction.values import MASK

_BEGIN = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----[^-]{0,8}$|PuTTY-User-Key-File-\d:|Private-Lines: \d+"
)
_END = re.compile(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY|Private-MAC:")
# Alone in its line but for what loggers and Ray put before it, or so long that it is no word.
_BODY = re.compile(
    r"((?:\([^)]{1,200}\)|\[[^\]]{1,60}\]:?|[\d:.,TZ+-]{6,30}|[\s|>\"']){0,12}|.{0,120}[\s|:>](?=[A-Za-z0-9+/]{40}))"
    r"([A-Za-z0-9+/=_-]{0,200})((?:\\n)?[\"',]{0,3}\s*)$"
)
_HEADER = re.compile(r".{0,120}?\b(?:Proc-Type|DEK-Info|Version|Comment|Hash|Encryption|Public-Lines): ")
MARK = "-----BEGIN "
_MARKS = (MARK, "PuTTY-User-Key", "Private-Lines")


def without_keys(lines: Sequence[str], inside: bool) -> tuple[Sequence[str], bool]:
    """Return the lines with the bodies of private keys masked, and whether the last line is inside of one.

    `inside`: whether the line before the first was. A line that can be no part of a key ends it.
    """
    if not inside and not _begins("\n".join(lines)):
        return lines, False
    shown = []
    for line in lines:
        masked, inside = _line(line, inside)
        shown.append(masked)
    return shown, inside


def _begins(text: str) -> bool:
    return any(mark in text for mark in _MARKS)


def _line(line: str, inside: bool) -> tuple[str, bool]:
    if not inside:
        return line, _begins(line) and bool(_BEGIN.search(line.rstrip("\r\n")))
    text = line.rstrip("\r\n")
    if _END.search(text):
        return line, False
    if _HEADER.match(text):
        return line, True
    body = _BODY.match(text)
    if body is None:
        return line, False
    return (f"{body[1]}{MASK}{body[3]}" if body[2] else line), True
