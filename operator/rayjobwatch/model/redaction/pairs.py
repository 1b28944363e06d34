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
    r"(?P<close>\\{0,8}[\"'`]\]?|%5[dD]|\]?)"
    r"(?P<sep>\s{0,4},?\s{0,4}\\{0,8}[\"']?value\\{0,8}[\"']?\s{0,4}[=:]\s{0,4}|\s{0,40}(?:=>|->|:=|={1,2}|!=|:)\s{0,40}"
    r"|%3[dD]|(?:\s{1,4}(?:is|was|set to):?\s{1,4})(?=\S)|\s{1,4}(?=['\"])"
    r"|\s{0,4},\s{0,4}(?=b?\\{0,8}[\"'])|</name>\s{0,8}<value>|>|\s{1,40}[|│┃]\s{1,40})"
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
_IN = {'"': re.compile(r'(?:\\.|[^"\\])*'), "'": re.compile(r"(?:\\.|[^'\\])*"), "`": re.compile(r"[^`]*")}
_IN_ESCAPED = re.compile(r"[^\"'\\]*")
_BARE = re.compile(r"(?:[^\s\"'&;,<]|[\"'](?=\S)|[&;,](?!\s|$|[\w.% -]{1,40}[=:]|[\"'])|<(?!/))+")
_TO_END = re.compile(r"(?:=\"[^\"]*\"|[^\"'\\]|\\(?!\\{0,3}(?:[\"']|r\\{1,4}n)))*")
_SCHEME = re.compile(
    r"(?i)(?:bearer|basic|token|apikey|api-key|negotiate|digest|aws4-hmac-sha256|key|splunk|ssws|hmac)\s{1,4}"
)
_MADE = re.compile(r"\\{0,8}[\"']?\s{0,4}[=:]?\s{0,4}\\{0,8}[\"']?([\w.+~=-]{8,300}+(?:[+/][\w+/=]{1,300}+)?)")
_MADE_REST = re.compile(r"[\w.+~=-]*+(?![(\[/])")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{32,}={0,2}$")
_ITEM = re.compile(r"b?\\{0,8}[\"'](?P<item>[^\"'\\]{0,300}+)\\{0,8}[\"']?\s{0,4}(?P<end>.?)")
_PARAMETER = re.compile(r":(?:param|type|keyword|arg|ivar|var)\s(?:\w{1,40}\s)?$")
_SAID = re.compile(
    r"\s{1,40}(?:(?:for|of)\s\S{1,60}\s(?:is|was):?\s|(?:generated|created|changed|reset)(?:\sto)?:?\s)?([^\s/\\(){}<>:\"'=|]{6,200}+)(?=\s|$)"
)
_CELL = re.compile(r"([^\s|│┃]{4,200})(?=\s{0,200}(?:[|│┃]|$))")
_BRACED = re.compile(r"\{(?=[^}]{0,200}(?:\d|\}\}))(?:[^}]|\}\}){1,200}+\}(?=;|$)")
_TEXT = re.compile(r"(?i)\b(?:next|special|generated|predicted|sampled|first|last|stop|pad|eos|bos|unk|mask)[ -]$")
_HEAD = 300
_PASSWORDS = (["password"], ["passwd"], ["passphrase"])
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
    done = masked = 0
    for core in CORE.finditer(text):
        if core.start() < done:
            continue
        begin, end = _widened(text, core.start(), core.end(), masked)
        words = words_of(text[begin:end])
        value = _found(text, begin, end, words)
        done = max(done, end)
        if value:
            yield value
            done = masked = value[1]


def _found(text: str, begin: int, end: int, words: list[str]) -> tuple[int, int] | None:
    secret = is_secret(words) and not _PARAMETER.search(text, max(0, begin - 60), begin)
    if secret and is_weak(words) and _TEXT.search(text, max(0, begin - 20), begin):
        return _made(text, end, strict=False)  # of a language model: no secret, unless it looks like one
    value = _value(text, begin, end, words) if secret else None
    if value is None and (secret or may_be_secret(words)):
        # `secret "db-2" not found` is about a Secret of Kubernetes.
        value = _made(text, end, strict=is_weak(words) or not secret or words == ["secret"])
    return value or (_said(text, end) if secret and words[-1:] in _PASSWORDS else None)


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
    if text[begin - 1 : begin] == "%" and text[begin : begin + 2] in ("5B", "5b"):
        begin += 2
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
    if (separator == "," and not (after["close"] and _is_pair(text, begin, after.end()))) or (
        separator == ":" and text[:begin].endswith("://")
    ):
        return None
    if not separator and not (words[-1] == "password" and after["close"] == ""):
        return _of_flag(text, begin, end, words)
    if separator in ("|", "│", "┃"):
        return _cell(text, begin, after.end(), words, ruled=separator != "|")
    if separator in ("==", "!="):
        compared = None if _OPEN.match(text, after.end()) is None else _quoted(text, after.end(), words)
        return None if compared and is_weak(words) and not _is_mixed(text[slice(*compared)]) else compared
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
    coded = looks_random(value) and _BASE64.match(value)
    if found is None or not (coded or looks_made(value) or (not strict and has_both(value))):
        return None
    rest = _MADE_REST.match(text, found.end())
    return (found.start(1), len(text[: rest.end()].rstrip("."))) if rest else None


def _is_pair(text: str, begin: int, at: int) -> bool:
    """Whether a list's next item is the value of the one before it, and not one word among many."""
    opened = _ITEM.match(text, at)
    if opened is None or opened["item"].startswith("-"):
        return False
    flag = text[begin] == "-"
    alone = text[: begin - 1].rstrip("bru\\")[-1:] in ("(", "[", "") and opened["end"] in (")", "]")
    return flag or alone or _is_mixed(opened["item"]) or " " in opened["item"]


def _said(text: str, end: int) -> tuple[int, int] | None:
    """Take the word after `password`, where it is none of a language: `with password hunter2!x`."""
    found = _SAID.match(text, end)
    value = found[1].rstrip(".,;)]") if found else ""
    return (found.start(1), found.start(1) + len(value)) if found and _is_mixed(value) else None


def _cell(text: str, begin: int, at: int, words: list[str], *, ruled: bool) -> tuple[int, int] | None:
    """Take the cell of a table beside the name's: `| password | hunter2 |`. `ruled`: not with what is a pipe, too."""
    found = _CELL.match(text, at)
    alone = ruled or text[:begin].strip()[-1:] in ("", "|")
    harmless = found and is_harmless(found[1], weak=is_weak(words), quoted=False, colon=False, following="")
    return found.span(1) if found and alone and not harmless and _is_mixed(found[1]) else None


def _is_mixed(value: str) -> bool:
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _read(text: str, at: int, words: list[str], separator: str, spaced: str) -> tuple[int, int] | None:
    if takes_all(words):
        return _of_header(text, at)
    if separator.rstrip(":") in ("is", "was", "set to") and not _tells(text, at):
        return None
    if _OPEN.match(text, at):
        return _quoted(text, at, words)
    if words[-1] in ("pwd", "password") and separator == "=" and (braced := _BRACED.match(text, at)):
        return braced.span()
    found = _bare(text, at, words, colon=separator != "=" or spaced.endswith(" "))
    coded = text.find("%26", *found) if found and separator in ("%3D", "%3d") else -1
    return (at, coded) if coded > at else found


def _tells(text: str, at: int) -> bool:
    """Whether what follows `the password is` can be one: a word with a digit, to the line's end or a mark."""
    return any(char.isdigit() for char in text[at : at + 200].split(" ", 1)[0])


def _quoted(text: str, at: int, words: list[str]) -> tuple[int, int] | None:
    opened = _OPEN.match(text, at)
    if opened is None:
        return None
    begin = opened.end()
    inside = _IN_ESCAPED if opened["escape"] else _IN[opened["quote"]]
    head = inside.match(text, begin, begin + _HEAD)
    value = head[0] if head else ""
    code = opened["quote"] == "`" and " " in value
    if (
        code
        or _is_own(value, words)
        or not value.strip(" )]},;:")
        or is_harmless(value, weak=is_weak(words), quoted=True, colon=False, following="")
    ):
        return None
    body = inside.match(text, begin)
    return (begin, body.end()) if body else None


def _is_own(value: str, words: list[str]) -> bool:
    """Whether a value is its name again, as in `access_token=access_token`."""
    own = words_of(value[:MAX_NAME].partition(")")[0])
    return len(own) > 1 and own == words[-len(own) :] and not any(map(str.isdigit, value))


def _bare(text: str, at: int, words: list[str], *, colon: bool) -> tuple[int, int] | None:
    # What is none is judged by its beginning: a line of names would be read to its end for each of them.
    head = _BARE.match(text, at, at + _HEAD)
    if (
        head is None
        or _is_own(head[0], words)
        or is_harmless(
            head[0], weak=is_weak(words), quoted=False, colon=colon, following=text[head.end() : head.end() + 80]
        )
    ):
        return None
    if head[0].startswith(("***", "-----BEGIN")) or (words == ["pwd"] and head[0][:1] in "/~"):
        return None
    found = _BARE.match(text, at) or head
    value = found[0].rstrip(")]},.:>\"'")
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
    found = _BARE.match(text, spaced.end(), spaced.end() + _HEAD)
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
        and following[0].replace("'", "").isalpha()
        and "--" not in text[end:]
        and not text[:begin].strip().endswith("\\")
    )
