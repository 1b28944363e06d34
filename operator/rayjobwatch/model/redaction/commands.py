"""Secrets that no name goes before: in URLs, behind an authentication scheme, and as arguments of known commands."""

import re

from rayjobwatch.model.redaction.values import MASK, has_both, looks_coded, looks_made

_URL = re.compile(
    r"(?i)(\b[a-z][a-z0-9+._-]{1,20}://)([^\s/\"'<>?#]*)@(?=[^\s@])|(\b[a-z][a-z0-9+._-]{1,20}://)([^\s/\"'<>@:]*:[^\s/\"'<>]*)@(?=[^\s@])"
)
_STAND_IN = r"(?:\*{3,}|\$\{?\w+\}?|<[\w-]+>|\{[\w.]+\}|%s)"
_USER = re.compile(rf"[a-z][a-z_-]{{0,20}}$|(?:[\w.-]{{0,60}}|{_STAND_IN}):{_STAND_IN}$|{_STAND_IN}$")
_CODED_URL = re.compile(
    r"(?i)(%3A%2F%2F)((?:[^\s&\"'<>%]|%(?!2F|3F|23|40))*%3A(?:[^\s&\"'<>%]|%(?!2F|3F|23|40))*)(?=%40)"
)
_PORT = re.compile(r"[\w.-]+:\d{1,5}$")
_DSN = re.compile(r"(\b[\w.-]{1,60}:)([^\s@/:\"']{1,200})(?=@(?:tcp|unix|udp)\()")
_ORACLE = re.compile(r"(\bjdbc:oracle:\w{1,10}:\w{1,60}/|\bsqlplus\s{1,4}[\"']?\w{1,60}/)([^\s@/]{1,100})(?=@)")
_PGPASS = re.compile(
    r"((?<![:\w])(?=[\w.*-]{0,60}[A-Za-z])[\w.*-]{1,60}:\d{4,5}:\w{1,60}:\w{1,60}:)([^\s:\"']{4,200}+)(?!:)"
)
_SIGNED = re.compile(
    r"(?i)([?&](?:sig|signature|x-(?:amz|goog)-(?:signature|credential|security-token)|code|key|hmac|auth)=)([^\s&\"'<>]{6,})"
)
_BEARER = re.compile(r"(?i)(\b(?:bearer|basic|ssws|auth\s(?:plain|login|xoauth2))\s{1,4})([a-z0-9._~+/=-]{6,})")
_LOGIN = re.compile(r"((?<![\w/.@-])[\w.-]{1,60}[:/])([^\s@/:\"'<>]{6,100})(?=@(?!sha\d)[\w.-]+)")
_SIGNING = re.compile(r"(AWS4-HMAC-SHA256 .{0,200}?\bSignature=)([0-9a-f]{16,})")
_COMMANDS = tuple(
    re.compile(rf"((?:{before})[\"']?)([^\s\"']{{1,500}})")
    for before in (
        r"\bsshpass\s{1,4}-p\s{0,4}",
        r"\b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump)\b[^|;&]{0,200}?(?:\s-p(?=\S)|[\"']-p(?=[^\s\"',]))",
        r"\b(?:docker|podman|helm|nerdctl|oras|az|oc|skopeo|twine)\b[^|;&]{0,200}?\s-p(?:=|\s{1,4})(?!\d+:)",
        r"\bredis-cli\b[^|;&]{0,200}?\s-a\s{1,4}",
        r"\b(?:wandb|neptune|huggingface-cli|hf)\s{1,4}login\s{1,4}(?:--relogin\s{1,4})?(?!-)(?=[a-z]{0,100}[A-Z0-9])",
        r"-pass(?:in|out)?\s{1,4}pass:",
        r"\bcurl\b[^|;&]{0,300}?\s(?:-u|--user|--proxy-user)(?:=|\s{0,4})[\"']?[^\s:\"']{1,100}:(?!//)",
        r"(?<=\s)(?:-u|--user)(?:=|\s{1,4})[\"']?[A-Za-z][\w.@-]{0,60}:(?!//|\d{1,5}(?:[\s\"']|$))",
        r"(?i:\bidentified\s{1,4}by\s{1,4})(?=[\"'])",
        r"\bkeytool\b[^|;&]{0,300}?\s-(?:store|key)pass\s{1,4}",
        r"\bPassword for [^:]{1,100}:\s{1,4}",
        r"\b(?:login|auth|\w{0,40}Auth|Client|Session)(?:\s?=\s?)?\(\s{0,4}[\"'][^\"']{1,100}[\"']\s{0,4},\s{0,4}(?=[\"'])",
        r"\blogin\((?:[^()]{0,100},)?\s{0,4}key\s?=\s?(?=[\"'])",
        r"\bClient\(\s{0,4}(?=[\"'][A-Za-z0-9]{32,100}[\"'])",
        r"\b(?:SecretStr|SecretBytes|Secret|Password)\(\s{0,4}(?:value\s?=\s?)?b?(?=[\"'])",
        r"\"username\"\s{0,4}:\s{0,4}\"[^\"]{1,100}\"\s{0,4},\s{0,4}\"key\"\s{0,4}:\s{0,4}(?=\")",
        r"\bcurl\b[^|;&]{0,300}?\s(?:-b|--cookie)(?:=|\s{1,4})[\"']?(?=[^\s\"'=]{1,60}=)",
        r"\bssh-keygen\b[^|;&]{0,200}?\s-[NP]\s{1,4}|\bcqlsh\b[^|;&]{0,200}?\s-p\s{1,4}|\bldap\w{3,10}\b[^|;&]{0,200}?\s-w\s{1,4}",
        r"(?<=\becho )(?=\S{1,500}\s{0,4}\|\s{0,4}sudo\s[^|]{0,60}-S)",
        r"\bmc\s{1,4}(?:alias|config\s{1,4}host)\s{1,4}(?:set|add)\s{1,4}\S{1,60}\s{1,4}\S{1,200}\s{1,4}\S{1,100}\s{1,4}",
        r"\b(?:zip|unzip|7z)\b[^|;&]{0,200}?\s-P\s{0,4}|\b7z\b[^|;&]{0,200}?\s-p(?=\S)",
        r"\bopenssl\s{1,4}enc\b[^|;&]{0,200}?\s-[kK]\s{1,4}",
        r"\b(?:smbclient|rpcclient|smbget)\b[^|;&]{0,200}?\s-U\s{0,4}[\"']?[^\s\"'%]{1,100}%",
        r"(?<=\becho )(?=\S{1,500}\s{0,4}\|[^|]{0,200}--password-stdin)",
    )
)


def redact_commands(text: str) -> str:
    """Mask credentials in URLs, behind schemes and in the arguments of well-known commands."""
    if "://" in text:
        text = _URL.sub(_url, text)
    if "%2" in text:
        text = _CODED_URL.sub(_second, text)
    text = _SIGNED.sub(_second, text)
    text = _BEARER.sub(_bearer, text)
    text = _LOGIN.sub(_login, text)
    for pattern in (_DSN, _ORACLE, _PGPASS, _SIGNING, *_COMMANDS):
        text = pattern.sub(_second, text)
    return text


def _second(found: re.Match[str]) -> str:
    kept = found[2].startswith(MASK) or found[2].startswith(("$", "<", "{"))
    return found[0] if kept else f"{found[1]}{MASK}"


def _url(found: re.Match[str]) -> str:
    scheme, user = found[1] or found[3], found[2] if found[1] else found[4]
    return found[0] if not user or _USER.match(user) else f"{scheme}{MASK}@"


def _login(found: re.Match[str]) -> str:
    return f"{found[1]}{MASK}" if looks_made(found[2]) or has_both(found[2]) else found[0]


def _bearer(found: re.Match[str]) -> str:
    if found[2].endswith("=") and found[0][-1:] == "=" and found[2].rstrip("=").isalpha() and len(found[2]) < 12:
        return found[0]  # Bearer realm="…"
    return f"{found[1]}{MASK}" if looks_coded(found[2]) or len(found[2]) >= 24 else found[0]
