"""Masking what looks like a secret. In doubt it is masked: a lost word costs less than a leaked password.

Every repetition is bounded or cannot fail after having matched, so that no input takes more than linear time.
"""

import re

MASK = "***"

# Unbounded to the left on purpose: DB_PASSWORD, accessToken and x-api-key all end in one of these.
# `tokens=512` and `token_count: 7` are none: language models log such all day.
_NAME = (
    r"(?:pass(?:word|wd|phrase)|(?<=[_-])pass(?==)|pwd(?!=/)|secret|credentials?"
    r"|(?:api|access|account|auth|encryption|master|private|signing)[_-]?key"
    r"|token(?![_-](?:ids?|types?|counts?|index|len|length|limit|size)(?![a-z0-9])))"
    r"[0-9]{0,4}(?:[_-][a-z0-9]{1,20}){0,3}"
)
_QUOTED = r"(?P<open>(?:[brfu]{1,2}|[\w.]{1,30}\()?\\?(?P<quote>[\"']))(?:\\.|(?!(?P=quote))[^\\])*"
_KNOWN_FORMATS = (
    r"(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{20,}"
    r"|sk-[\w-]{20,}|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|xox[abeprs]-[A-Za-z0-9-]{10,}|AIza[\w-]{35}"
    r"|ya29\.[\w-]{20,}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,}"
)
_SECRETS = (
    # Authorization: …, Cookie: … (all of the value)
    re.compile(r"(?i)(?P<keep>(?:authorization|cookie)\\?[\"']?\s{0,4}[:=]\s{0,4}\\?[\"']?)[^\"'\\\s][^\"'\\]*"),
    # key=value, "key": "value", key: b'value', key=SecretStr('value')
    re.compile(rf"(?i)(?P<keep>{_NAME}\\?[\"']?\s{{0,4}}[:=]{{1,2}}>?\s{{0,4}})(?:{_QUOTED}|[^\s\"'&;]+)"),
    # --key value
    re.compile(rf"(?i)(?P<keep>(?<![\w-])--[\w-]{{0,40}}{_NAME}\s{{1,4}})(?:{_QUOTED}|(?!-)[^\s\"'&;]+)"),
    re.compile(r"(?i)(?P<keep>\bbearer\s{1,4})[a-z0-9._~+/=-]{6,}"),
    # Base64 shows by a digit, padding or a change of case; `basic configuration` is prose.
    re.compile(r"(?P<keep>\b[Bb]asic\s{1,4})(?=\S{0,200}?(?:[0-9=]|[a-z][A-Z]))[A-Za-z0-9+/]{8,}={0,2}"),
    re.compile(r"(?i)(?P<keep>[a-z][a-z0-9+.-]{0,20}://)[^\s/\"'<>]+(?=@)"),
    re.compile(r"(?i)(?P<keep>[?&](?:sig|x-(?:amz|goog)-signature)=)[^\s&\"']+"),
    re.compile(rf"(?P<keep>\b)(?:{_KNOWN_FORMATS})"),
    re.compile(r"(?P<keep>(?<![\w-]))eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
)


def redact(text: str) -> str:
    """Mask key=value pairs, credentials in headers, flags and URLs, and well-known formats of keys and tokens."""
    for pattern in _SECRETS:
        text = pattern.sub(_masked, text)
    return text


def _masked(found: re.Match[str]) -> str:
    groups = found.groupdict()
    return f"{groups['keep']}{groups.get('open') or ''}{MASK}"
