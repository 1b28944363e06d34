"""What stands behind a secret's name and is no secret: settings, code, paths, placeholders, prose."""

import re
from itertools import pairwise

MASK = "***"


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


_NOTHING = word_set(
    """
    bcrypt argon2 argon2id pbkdf2 scrypt sha256 sha512 md5 true false yes no on off none null nil undefined
    enabled disabled required optional unset set missing empty invalid incorrect expired valid ok wrong unknown
    denied rejected accepted refused failed mismatch hidden redacted masked changed auto default string str
    bytes int float bool any object text secretstr secret optional[str] basic bearer oauth oauth2 kerberos ldap
    token password n/a na - not must is was has cannot could should will may can for from to the a an and or of
    in with please ok. loaded found ignored skipped present absent rotated revoked refreshed renewed deleted
    created updated provided configured success successful error warning rbac iam mtls local file env vault
    keyring both await yield lambda new self digest ntlm negotiate plain sasl <empty> inherit () [] {} too all
    anonymous lax strict session permissive unauthorized forbidden allowed granted raise return
    """
)
_PLACEHOLDER = re.compile(
    r"[*•.#?_-]{1,64}$|[|>][+-]?$|[xX*._-]{3,64}$|<[^<>]*>?(?::<[^<>]*>)?$|\$\{[^}]*\}?$|\$\(.*|(?-i:\$(?:[A-Z][A-Z0-9_]*|[A-Za-z_]+)$)|%[A-Za-z_]\w*%$|%(?:\(\w+\))?[sdrfq](?!\w)|\{\{.*|\{[\w.]*[!:}]|\[(?:redacted|masked|hidden|filtered|mask|pad"
    r"|cls|sep|unk|bos|eos)\]?$|(?:your|my)[-_ ](?:\w+[-_ ])*(?:key|token|password|secret|here)$|change-?me$|\*\*\*"
    r"|.{0,40}\.\.\.$|…|<\|?\w|</?s>",
    re.IGNORECASE,
)
_CALL = re.compile(r"[A-Za-z_][\w.]{0,80}\(")
_ITEM = re.compile(r"[A-Za-z_][\w.]{0,80}\[")
_ATTRIBUTE = re.compile(
    r"(?:self|cls|os|sys|config|cfg|settings|args|opts|options|env|environ|ctx|context|request|req|kwargs|params|conf"
    r"|secrets|data|payload|user|app|client|state|spec|values|var|vars|local|inputs|github|process|import_module"
    r"|getpass|credentials|creds|auth|session|response|resp|res|this|props|event|module|model|obj|parser|flags"
    r"|hparams|kwds|base64|cls|db|ray|tokenizer|each|data)(?:\.[A-Za-z_]\w{0,60}){1,8}\W{0,3}$"
)
_OWN_NAME = re.compile(
    r"(?:[a-z]+_){0,6}(?:password|passwd|pwd|pass|tok|token|secret|api_?key|key|cred(?:ential)?s?|cookie|auth|session)s?[,)\]}:;]*$",
    re.IGNORECASE,
)
_PATH = re.compile(
    r"(?:file://)?(?:~|\.{1,2}|[A-Za-z]:)?(?:[/\\][\w.@{}$ -]{1,80}){2,20}[/\\]?$|(?:~|\.{1,2})/[\w./-]{1,200}$"
    r"|/[a-z_.-]{2,40}$"
)
_FILE = re.compile(r"[\w./-]{1,100}\.(?:json|ya?ml|txt|pem|crt|key|env|toml|ini|cfg|py|db|p12|pfx|jks|csv|log)$")
_NUMBER = re.compile(r"[+-]?[\d.,_]{1,9}(?:e[+-]?\d+)?(?:/\d[\d.]*)?(?:[kKMG]i?B?|ms|s|m|h|d|min|%|x|tok/s)?$")
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ][\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?$|\d{1,2}:\d\d(?::\d\d)?$")
_WORD = re.compile(r"[A-Za-z][a-z]{1,20}(?:[-'][a-z]{1,20}){0,3}[.,:;!?)]?$")
_LOWER = re.compile(r"[a-z]{1,20}[.,:;!?)]?$")
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,20}://(?![^\s/]*@)", re.IGNORECASE)
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}$")
# Letters only: an attribute, a private name, or a constant in an expression.
_NAME_IN_CODE = re.compile(
    r"[A-Z][A-Za-z]{1,20}(?:\.[A-Z][A-Za-z]{1,20}){1,4}[,)\]}:]*$|[a-z_]{2,20}(?:\.[a-z_]{2,30}){1,4}[,)\]}:]*$"
    r"|_[a-z]{2,20}(?:_[a-z]{1,20}){0,6}[,)\]}:]*$"
)
_CONSTANT = re.compile(r"[A-Z]{2,20}(?:_[A-Z]{2,20}(?:64|32|16)?){1,6}(?:[)\]}]|,(?:\s|$)|\s[%+]|\s(?:or|if)\s)")
_TYPE_OF = re.compile(r"(?:\w{1,20}\.)?[A-Z][a-z]{1,20}(?:[A-Z][a-z]{1,20}){1,4}(?: \| (?:None|[A-Z])| =|\[)")
_TYPE = re.compile(r"(?:Optional|Union|SecretStr|Annotated|list|dict|List|Dict|Literal|Callable|Sequence)\b\[?")


def is_harmless(value: str, *, weak: bool, quoted: bool, colon: bool, following: str) -> bool:
    """Whether `value`, found behind a secret's name, is no secret.

    `weak`: the name is also that of things that are none.  `colon`: it stands behind a colon, as words do in prose;
    `following` is the text after it.
    """
    bare = value.strip()
    if not bare or bare.lower().rstrip(".,;:)]}!") in _NOTHING or _PLACEHOLDER.match(bare):
        return True
    if (_PATH.match(bare) and not looks_random(bare)) or _FILE.match(bare) or _URL.match(bare):
        return True
    if weak and (_NUMBER.match(bare.rstrip(",)]};")) or _TIME.match(bare) or _COLOUR.match(bare)):
        return True
    if quoted:
        return weak and len(bare.split()) > 2 and all(_WORD.match(word) for word in bare.split())
    if weak and (_NAME_IN_CODE.match(bare) or (colon and _CONSTANT.match(f"{bare}{following}"))):
        return True
    if colon and _TYPE_OF.match(f"{bare}{following}"):
        return True
    return _is_code(bare, colon=colon) or (colon and _is_prose(bare, following))


def _is_code(value: str, *, colon: bool) -> bool:
    if _CALL.match(value) or _ITEM.match(value) or _ATTRIBUTE.match(value) or _OWN_NAME.match(value):
        return True
    return value[:1] in "([{<|?" or (colon and bool(_TYPE.match(value)))


def _is_prose(value: str, following: str) -> bool:
    """Whether a sentence begins: a lower-case word, and words after it."""
    after = following.split(None, 2)[:2]
    return bool(_LOWER.match(value)) and bool(after) and all(_WORD.match(word) or word == "a" for word in after)


def looks_random(text: str) -> bool:
    """Whether a text looks as only machines write: long, with digits among letters of both cases."""
    return (
        len(text) >= 20
        and any(char.isdigit() for char in text)
        and any(char.isupper() for char in text)
        and any(char.islower() for char in text)
    )


def looks_made(text: str) -> bool:
    """Whether a word is one that no person would write: digits among letters of both cases, and no path or number."""
    return (
        len(text) >= 8
        and any(char.isdigit() for char in text)
        and any(char.isupper() for char in text)
        and any(char.islower() for char in text)
        and not any(char in "/\\(){}<>:" for char in text)
    )


def has_both(text: str) -> bool:
    """Whether a word has digits and letters, as passwords have and words of a language do not."""
    return len(text) >= 8 and text.isalnum() and not text.isdigit() and any(char.isdigit() for char in text)


def is_placeholder(text: str) -> bool:
    """Whether a text only stands for a secret: `$TOKEN`, `<token>`, `{token}`, `***`."""
    return bool(_PLACEHOLDER.match(text))


def looks_coded(text: str) -> bool:
    """Whether a word is none of a language: digits, marks, or a change of case inside."""
    return any(char.isdigit() or char in "._~+/=-" for char in text.rstrip(".,;:")) or any(
        one.islower() and other.isupper() for one, other in pairwise(text)
    )
