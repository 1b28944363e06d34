"""Values behind a secret's name: key=value, "key": "value", --key value, headers, XML, connection strings.

One pass from left to right. Every pattern is anchored and bounded, so that no line takes more than linear time.
"""

import re
from collections.abc import Iterator

from rayjobwatch.model.redaction.names import (
    CORE,
    MAX_NAME,
    is_secret,
    is_weak,
    may_be_secret,
    takes_all,
    words_of,
)
from rayjobwatch.model.redaction.values import MASK, has_both, is_harmless, is_placeholder, looks_made, looks_random

_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_AFTER = re.compile(
    r"(?P<close>\\{0,8}[\"'`]\]?|\]?)"
    r"(?P<sep>\s{0,4},?\s{0,4}\\{0,8}[\"']?value\\{0,8}[\"']?\s{0,4}[=:]\s{0,4}|\s{0,8}(?:=>|->|:=|={1,2}|!=|:)\s{0,8}"
    r"|%3[dD]|(?:\s{1,4}(?:is|was|set to):?\s{1,4})(?=\S)|\s{1,4}(?=['\"])"
    r"|\s{0,4},\s{0,4}(?=b?\\{0,8}[\"'])|>)"
)
_FLAG = re.compile(r"\s{1,8}(?![-|&;>])")
_TYPED = re.compile(
    r"(?:str|bytes|SecretStr|Optional\[(?:str|bytes|SecretStr)\]|(?:str|bytes|SecretStr) \| None|string|String)"
    r"\s{0,4}=\s{0,4}"
)
_WRAP = re.compile(
    r"(?:\{\s{0,4}[\"']value[\"']:\s{0,4}|\[|\("
    r"|(?:\w{1,20}\.)?(?:SecretStr|SecretBytes|Secret|Password|Token|str|bytes|quote|String)\()(?=[bru]?\\{0,8}[\"'])"
)
_OPEN = re.compile(r"[bBrRuUfF]{0,2}(?P<escape>\\{0,8})(?P<quote>[\"'`])")
_IN_DOUBLE = re.compile(r'(?:\\.|[^"\\])*')
_IN_SINGLE = re.compile(r"(?:\\.|[^'\\])*")
_IN_TICKS = re.compile(r"[^`]*")
_IN_ESCAPED = re.compile(r"[^\"'\\]*")
_BARE = re.compile(r"(?:[^\s\"'&;,<]|[\"'](?=\S)|[&;,](?!\s|$|[\w.% -]{1,40}[=:]|[\"'])|<(?!/))+")
_TO_END = re.compile(r"(?:=\"[^\"]*\"|[^\"'\\]|\\(?![\"']))*")
_SCHEME = re.compile(
    r"(?i)(?:bearer|basic|token|apikey|api-key|negotiate|digest|aws4-hmac-sha256|key|splunk|ssws|hmac)\s{1,4}"
)
_MADE = re.compile(r"\\{0,8}[\"']?\s{0,4}[=:]?\s{0,4}\\{0,8}[\"']?([\w.+~=-]{8,200})(?![(\[/\w])")
_HEAD = 300
_NETRC = re.compile(r"\blogin\s{1,4}\S{1,200}\s{1,4}$|^\s{0,8}(?:ENV|ARG)\s{1,4}$")


def redact_pairs(text: str) -> str:
    """Mask the values of all pairs whose name names a secret."""
    kept: list[str] = []
    done = 0
    for begin, end in _secrets(text):
        kept += (text[done:begin], MASK)
        done = end
    return "".join([*kept, text[done:]])


def _secrets(text: str) -> Iterator[tuple[int, int]]:
    """Yield where secrets begin and end, in order and apart."""
    done = 0
    for core in CORE.finditer(text):
        if core.start() < done:
            continue
        begin, end = _widened(text, core.start(), core.end(), done)
        words = words_of(text[begin:end])
        value = _value(text, begin, end, words) if is_secret(words) else None
        if value is None and (is_secret(words) or may_be_secret(words)):
            value = _made(text, end, strict=is_weak(words) or not is_secret(words))
        done = max(done, end)
        if value:
            yield value
            done = value[1]


def _widened(text: str, begin: int, end: int, floor: int) -> tuple[int, int]:
    """Return the bounds of the whole name around a part of it; `api key` has a blank inside."""
    least = max(floor, begin - MAX_NAME)
    while begin > least and text[begin - 1] in _NAME_CHARS:
        begin -= 1
    most = min(len(text), end + MAX_NAME)
    while end < most and text[end] in _NAME_CHARS:
        end += 1
    while text[end - 1] in "-.":
        end -= 1
    if text[begin:end].lower() in ("key", "string") and begin > least and text[begin - 1] == " ":
        begin -= 1
        while begin > least and text[begin - 1].isalpha():
            begin -= 1
    return begin, end


def _value(text: str, begin: int, end: int, words: list[str]) -> tuple[int, int] | None:
    after = _AFTER.match(text, end)
    if after is None:
        return _of_flag(text, begin, end, words)
    separator = after["sep"].strip()
    if separator == ">" and text[begin - 1 : begin] != "<" and not text[:begin].endswith("</"):
        return None
    if separator == "," and not after["close"]:
        return None
    if not separator and not (words[-1] == "password" and after["close"] == ""):
        return None
    if separator in ("==", "!="):
        return None if _OPEN.match(text, after.end()) is None else _quoted(text, after.end(), words)
    at = after.end()
    typed = _TYPED.match(text, at)
    if typed and separator == ":":
        at = typed.end()
    wrapped = _WRAP.match(text, at)
    return _read(text, wrapped.end() if wrapped else at, words, separator, after["sep"])


def _made(text: str, end: int, *, strict: bool) -> tuple[int, int] | None:
    """Take what looks like a secret of itself, right behind the name: `using token Zx9…`, `"key": "Zx9…"`."""
    found = _MADE.match(text, end)
    value = found[1].rstrip(".") if found else ""
    looks = looks_made(value) or (not strict and has_both(value))
    return (found.start(1), found.start(1) + len(value)) if found and looks else None


def _read(text: str, at: int, words: list[str], separator: str, spaced: str) -> tuple[int, int] | None:
    if takes_all(words):
        return _of_header(text, at)
    if separator.rstrip(":") in ("is", "was", "set to") and not _tells(text, at):
        return None
    if _OPEN.match(text, at):
        return _quoted(text, at, words)
    return _bare(text, at, words, colon=separator != "=" or spaced.endswith(" "))


def _tells(text: str, at: int) -> bool:
    """Whether what follows `the password is` can be one: a word with a digit, to the line's end or a mark."""
    return any(char.isdigit() for char in text[at : at + 200].split(" ", 1)[0])


def _quoted(text: str, at: int, words: list[str]) -> tuple[int, int] | None:
    opened = _OPEN.match(text, at)
    if opened is None:
        return None
    inside = {'"': _IN_DOUBLE, "'": _IN_SINGLE, "`": _IN_TICKS}[opened["quote"]]
    body = (_IN_ESCAPED if opened["escape"] else inside).match(text, opened.end())
    value = body[0] if body else ""
    code = opened["quote"] == "`" and " " in value
    if (
        code
        or not value.strip(" )]},;:")
        or is_harmless(value, weak=is_weak(words), quoted=True, colon=False, following="")
    ):
        return None
    return opened.end(), opened.end() + len(value)


def _bare(text: str, at: int, words: list[str], *, colon: bool) -> tuple[int, int] | None:
    found = _BARE.match(text, at)
    if found is None:
        return None
    value = found[0].rstrip(")]},.:>\"'")
    if value.startswith("***") or (words == ["pwd"] and value[:1] in "/~"):
        return None
    if is_harmless(
        found[0], weak=is_weak(words), quoted=False, colon=colon, following=text[found.end() : found.end() + 80]
    ):
        return None
    return (at, at + len(value)) if value else None


def _of_header(text: str, at: int) -> tuple[int, int] | None:
    """Mask all of a header's value, its scheme too: a cookie has blanks inside."""
    opened = _OPEN.match(text, at)
    begin = opened.end() if opened else at
    # Its end is only looked for where it is masked: a line of headers would be read to its end for each of them.
    if not _is_header_secret(_to_end(text[begin : begin + _HEAD])):
        return None
    value = _to_end(text[begin:])
    return (begin, begin + len(value)) if value else None


def _is_header_secret(value: str) -> bool:
    scheme = _SCHEME.match(value)
    if scheme and is_placeholder(value[scheme.end() :].strip("\"' ")):
        return False
    if scheme and not value[scheme.end() :].startswith(MASK):
        return True
    first, _, rest = value.partition(" ")
    return not (scheme or is_harmless(first, weak=True, quoted=False, colon=True, following=rest))


def _to_end(text: str) -> str:
    found = _TO_END.match(text)
    return found[0].rstrip() if found else ""


def _of_flag(text: str, begin: int, end: int, words: list[str]) -> tuple[int, int] | None:
    """Read `--password value`, `-password value` and netrc's `login user password value`."""
    flag = text[begin] == "-" and (begin == 0 or text[begin - 1] in " \t\"'[,")
    spaced = _FLAG.match(text, end)
    if spaced is None or not (flag or _NETRC.search(text, max(0, begin - 220), begin)):
        return None
    if _OPEN.match(text, spaced.end()):
        return _quoted(text, spaced.end(), words)
    found = _BARE.match(text, spaced.end())
    word = found[0] if found else ""
    prose = word.islower() and word.isalpha() and len(word) < 20 and text[spaced.end() + len(word) :][:1] == " "
    if prose and _is_talk(text, begin, spaced.end() + len(word)) and not looks_random(word):
        return None
    return _bare(text, spaced.end(), words, colon=False)


def _is_talk(text: str, begin: int, end: int) -> bool:
    """Whether words, not a command, stand around a flag: `pass --token to log in`."""
    following = text[end : end + 60].split()
    return (
        bool(following)
        and following[0].isalpha()
        and "--" not in text[end:]
        and not text[:begin].strip().endswith("\\")
    )
