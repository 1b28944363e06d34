"""Secrets over several lines: what stands between BEGIN and END, or below its name, however the lines are batched."""

import re
from collections.abc import Sequence

from rayjobwatch.model.plain import plain_line
from rayjobwatch.model.redaction.names import is_secret, words_of
from rayjobwatch.model.redaction.values import MASK

_BEGIN = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----[^-]{0,8}$|PuTTY-User-Key-File-\d:|Private-Lines: \d+"
)
_END = re.compile(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY|Private-MAC:")
# Alone in its line but for what loggers and Ray put before it, or so long that it is no word.
# Possessive: what is taken is never given back, so that no line takes more than linear time.
_BODY = re.compile(
    r"([\s|>\"']*+(?:(?:\([^)]{1,200}+\)|\[[^\]]{1,60}+\]:?|(?:[\d:.,TZ+-]{6,30}+|[A-Z]{4,8}+:?|[\w./-]{1,80}:\d{1,6}:?|--?)(?=\s))"
    r"[\s|>\"']*+){0,16}+|.{0,120}[\s|:>](?=[A-Za-z0-9+/]{40}))"
    r"([A-Za-z0-9+/=_-]{0,200}+)((?:\\n)?[\"',]{0,3}\s*)$"
)
_HEADER = re.compile(r".{0,120}?\b(?:Proc-Type|DEK-Info|Version|Comment|Hash|Encryption|Public-Lines): ")
MARK = "-----BEGIN "
# Each with the rarest of its characters, which is looked for much faster.
_MARKS = {
    MARK: "B",
    "PuTTY-User-Key": "P",
    "Private-Lines": "P",
    "- name: ": "-",
    "<name>": "<",
    ": |": "|",
    ": >": ">",
}
# A name in one line and its value in the next, as in a pod's `env` and in Hadoop's settings.
_NAME = re.compile(r"(?:.{0,120}\s|^)(?:- name: [\"']?|<name>)([\w.-]{1,80})(?:[\"']?|</name>)$")
_BLOCK = re.compile(r"(?:.{0,120}\s|^)[\"']?([\w.-]{1,80})[\"']?:\s{1,4}[|>][+-]?$")
_VALUE = re.compile(r"((?:.{0,120}\s|^)(?:value: [\"']?|<value>))([^\s\"'<$]{1,500})((?:[\"']|</value>)?)$")


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
    return any(rare in text and mark in text for mark, rare in _MARKS.items())


def _line(line: str, inside: bool) -> tuple[str, bool]:
    if not inside:
        return line, _begins(line) and _opens(plain_line(line))
    text = plain_line(line)
    if _END.search(text):
        return line, False
    if _HEADER.match(text):
        return line, True
    if value := _VALUE.match(text):
        return f"{value[1]}{MASK}{value[3]}", False
    body = _BODY.match(text)
    if body is None:
        return line, _opens(text)
    return (f"{body[1]}{MASK}{body[3]}" if body[2] else line), True


def _opens(text: str) -> bool:
    """Whether the next line holds what must not be shown: the body of a key, or the value of a secret's name."""
    name = _NAME.match(text) or _BLOCK.match(text)
    return bool(_BEGIN.search(text)) or (name is not None and is_secret(words_of(name[1])))
