"""Masking what looks like a secret, in every text that leaves the process.

    names.py     which names name a secret           values.py    what behind one is none after all
    pairs.py     key=value and its kin               commands.py  URLs, schemes, arguments of commands
    formats.py   keys that are known by their look   keys.py      secrets over several lines
    patterns.py  the user's own patterns

In doubt it is masked: a lost word costs less than a leaked password. Yet a line that a person needs to read must stay
as it is: paths, code, settings and prose are no secrets.
"""

import re2

from rayjobwatch.model.redaction.commands import redact_commands
from rayjobwatch.model.redaction.formats import redact_formats
from rayjobwatch.model.redaction.pairs import redact_pairs
from rayjobwatch.model.redaction.values import MASK as MASK

# One pass that tells most lines to hold nothing at all.
_HINTS = (
    r"pass|pwd|secret|token|credential|auth|cookie|jwt|psk|key|connection.?string|sas\b|://[^\s/]*@|[?&](?:sig|code|hmac)"
    r"|bearer|basic |ssws |login|identified|@(?:tcp|unix|udp)\(|:\d{4,5}:\w+:|-u|--user|-p|redis-cli|BEGIN |signature"
    r"|AKIA|ASIA|ABIA|ACCA|gh[pousr]_|github_pat|gl\w{2,6}-|hf_|api_org|sk-|[prs]k_|whsec_|rzp_|xox|xapp-|AIza|ya29"
    r"|GOCSPX|1//0|npm_|pypi-|rubygems_|dckr_|SG\.|SK[0-9a-f]{8}|do[opr]_v1|dapi|gl[sc]a?_|NRAK|shp\w\w_|sq0|EAA|hv[sbr]\."
    r"|\bs\.\w{24}|atlasv1|pscale|sbp_|nfp_|fo1_|HRKU|lin_api|ntn_|figd_|PMAK|pat\w{14}|dp\.\w\w|pul-|sntry|AT[ABC][A-Z]"
    r"|r8_|gsk_|pplx-|xai-|nvapi|AGE-|LTAI|AKID|\d{8,10}:AA|[MNO]\w{23,27}\.|8Q~|eyJ|hooks\.slack|discord|webhook|telegram"
    r"|[A-Za-z0-9+/]{60}|xkeysib|pw[=: ]|otp|sess(?:ion)?id|passe|kennwort|contrase|\w[:/][^\s@/:]{6,}@"
    r"|lsv2_|-us\d|AKCp|cmVmdGtu|a(?:sh|es|ph)0_|\"kty|b3BlbnNz|LS0tLS1C|MII|Client\(|login\(|openssl|smbclient|-U|7z"
    r"|jdbc:|macaroon|creds|ssh-keygen|curl|cqlsh|ldap|sudo|mc |Session\(|sqlplus|%3A%2F%2F"
)


def _hints() -> "re2.Set":
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    hints = re2.Set.SearchSet(options)
    hints.Add(_HINTS)
    hints.Compile()
    return hints


# What is masked can make a header of what stood before it; a second pass finds no more in nearly all lines.
_MOST_PASSES = 5
_SEARCH = _hints()


def redact(text: str) -> str:
    """Mask what looks like a secret; the rest stays as it is, and masking twice is masking once."""
    if not _SEARCH.Match(text.encode(errors="replace")):
        return text
    for _ in range(_MOST_PASSES):
        masked = redact_formats(redact_commands(redact_pairs(text)), MASK)
        if masked == text:
            break
        text = masked
    return text
