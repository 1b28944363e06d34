"""Text from outside made fit for status and Events: clean single lines, no secrets, cut by bytes."""

import re

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ELLIPSIS = "…"
_LONGEST_INPUT = 16_384
MASK = "***"

_KEY_NAME = (
    r"(?:[a-z0-9]+[_-])*(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|credentials?)(?:[_-][a-z0-9]+)*"
)
_SECRETS = (
    # key=value, --key value, "key": "value"
    re.compile(rf"(?i)(?<![a-z0-9])({_KEY_NAME}[\"']?\s*[=:]\s*[\"']?|--{_KEY_NAME}\s+[\"']?)([^\s\"',;&]+)"),
    re.compile(r"(?i)\b((?:bearer|basic)\s+)([a-z0-9._~+/=-]{6,})"),
    re.compile(r"([a-z][a-z0-9+.-]{0,20}://)([^\s/@:]*:[^\s/@]+)(?=@)"),
    re.compile(r"()\b((?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}|hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,})"),
    re.compile(r"()\b(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)"),
)


def clean_line(line: str, limit: int = 512) -> str:
    """Make one log line fit to be shown: no ANSI, no control characters, the last state of a progress bar.

    Known forms of secrets are masked before the line is cut to `limit` bytes of UTF-8.
    """
    text = line[:_LONGEST_INPUT].rstrip("\r\n")
    text = text.rsplit("\r", 1)[-1]
    text = _CONTROL.sub("", _ANSI.sub("", text)).expandtabs(4).rstrip()
    return cut(redact(text), limit)


def redact(text: str) -> str:
    """Mask what looks like a secret: key=value pairs, bearer tokens, URL passwords, well-known key formats."""
    for pattern in _SECRETS:
        text = pattern.sub(rf"\g<1>{MASK}", text)
    return text


def cut(text: str, limit: int) -> str:
    """Cut `text` to at most `limit` bytes of UTF-8, never inside a character, marked with an ellipsis."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    room = max(0, limit - len(_ELLIPSIS.encode()))
    return (data[:room].decode("utf-8", "ignore") + _ELLIPSIS)[: max(0, limit)]


def last_line(text: str, limit: int = 512) -> str:
    """Return the last line of `text` that is not blank, cleaned and cut; empty when there is none."""
    for line in reversed(text[-_LONGEST_INPUT:].split("\n")):
        if cleaned := clean_line(line, limit):
            return cleaned
    return ""
