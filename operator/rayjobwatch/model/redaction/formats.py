"""Keys and tokens that are known by their look, wherever they stand."""

import re

# One line a vendor or kind: what the key looks like, begun by letters that nothing else begins with.
_KINDS = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
    r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}",
    r"gl(?:pat|dt|rt|cbt|ptt|soat|ft|imt|agent)-[\w.-]{20,}",
    r"(?:hf|api_org)_[A-Za-z0-9]{20,}",
    r"(?<!-)sk-(?=[\w-]{0,100}\d)[\w-]{20,}",
    r"[prs]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,}|rzp_(?:live|test)_\w{10,}",
    r"xox[abceprs]-[A-Za-z0-9-]{10,}|xapp-\d-[\w-]{10,}",
    r"AIza[\w-]{30,}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}|1//0[\w-]{20,}",
    r"npm_[A-Za-z0-9]{30,}|pypi-(?:AgE[\w-]{20,}|[\w-]{50,})|rubygems_[0-9a-f]{20,}|dckr_(?:pat|oat)_[\w-]{20,}",
    r"SG\.[\w-]{16,64}\.[\w-]{16,}|SK[0-9a-f]{32}|key-[0-9a-f]{32}|xkeysib-[0-9a-f-]{20,}",
    r"do[opr]_v1_[0-9a-f]{20,}|dapi[0-9a-f]{32}(?:-\d)?|gl(?:sa|c)_[\w+/=-]{20,}|NRAK-[A-Z0-9]{20,}",
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{20,}|sq0(?:atp|csp|idp)-[\w-]{20,}|EAA[A-Za-z0-9]{40,}",
    r"hv[sbr]\.[\w-]{20,}|s\.[A-Za-z0-9]{24}|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,}",
    r"pscale_(?:tkn|pw|oauth)_[\w.-]{20,}|sbp_[0-9a-f]{20,}|nfp_[A-Za-z0-9]{20,}|fo1_[\w-]{20,}|HRKU-[\w-]{20,}",
    r"lin_api_[A-Za-z0-9]{20,}|ntn_[A-Za-z0-9]{20,}|secret_[A-Za-z0-9]{40,}|figd_[\w-]{20,}|PMAK-[0-9a-f-]{20,}",
    r"pat[A-Za-z0-9]{14}\.[0-9a-f]{40,}|dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{20,}|pul-[0-9a-f]{40}|sntry[su]_\w{20,}",
    r"ATATT3[\w=-]{20,}|ATBB[A-Za-z0-9]{20,}|ATCTT3[\w=-]{20,}",
    r"r8_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|pplx-[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{20,}|nvapi-[\w-]{20,}",
    r"tskey-[\w-]{15,}|AGE-SECRET-KEY-1[A-Z0-9]{20,}|LTAI[A-Za-z0-9]{12,24}|AKID[A-Za-z0-9]{13,40}",
    r"\d{8,10}:AA[\w-]{32,}|[MNO][A-Za-z\d_-]{23,27}\.[\w-]{6}\.[\w-]{27,}|[\w~.-]{3}8Q~[\w~.-]{31,34}",
    r"lsv2_(?:pt|sk)_[\w]{20,}|[0-9a-f]{32}-us\d{1,2}(?![\w-])|AKCp[A-Za-z0-9]{40,}|cmVmdGtu[\w+/=-]{20,}|a(?:sh|es|ph)0_\w{30,}",
    r"b3BlbnNzaC1rZXktdjE[\w+/=]*|LS0tLS1CRUdJTi(?:BQUklWQVRF|BSU0Eg|BFQyBQ|BPUEVOU1NI|BFTkNSWVBU|BEU0Eg)[\w+/=]*",
    r"MII[\w+/]{5}BADANBgkqhkiG9w0BAQEFAASC[\w+/=]*",
    r"(?<!-)eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){0,3}",
)
_KNOWN = re.compile(rf"(?<![A-Za-z0-9_])(?:{'|'.join(_KINDS)})")
# `hooks.slack.com/services/T0/B0/x`: who knows the address may post.
_WEBHOOKS = re.compile(
    r"(hooks\.slack\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/webhooks/\d{1,25}/"
    r"|webhook\.office\.com/webhookb2/|outlook\.office(?:365)?\.com/webhook/|api\.telegram\.org/bot)[^\s\"'<>]+"
)
_KEY_IN_A_LINE = re.compile(
    r"(-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----)(?!\*\*\*).+?(?=-----END [A-Z0-9 ]{0,30}PRIVATE KEY|$)"
)
_JWK = re.compile(r"(\\{0,8}\"(?:d|p|q|dp|dq|qi|k)\\{0,8}\"\s{0,4}:\s{0,4}\\{0,8}\")[\w-]{16,}")
_KEY_BODY = re.compile(r"(\s*(?:\|\s+)?[\"']?)[A-Za-z0-9+/]{60,80}={0,2}((?:\\n)?[\"',]*\s*)$")


def redact_formats(text: str, mask: str) -> str:
    """Mask what is known by its look."""
    text = _KNOWN.sub(mask, text)
    text = _WEBHOOKS.sub(rf"\g<1>{mask}", text)
    text = _KEY_IN_A_LINE.sub(rf"\g<1>{mask}", text)
    if '"kty' in text:
        text = _JWK.sub(rf"\g<1>{mask}", text)
    body = _KEY_BODY.match(text)
    return f"{body[1]}{mask}{body[2]}" if body and _is_base64(text) else text


def _is_base64(line: str) -> bool:
    """Whether a long line holds what only base64 does: digits and letters of both cases, so no hash in hex."""
    return any(char.isdigit() for char in line) and line.lower() != line and line.upper() != line
