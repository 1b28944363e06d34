"""Which names name a secret: DB_PASSWORD and x-api-key do; tokenizer, pad_token_id and RAY_AUTH_TOKEN_PATH do not."""

import re

from rayjobwatch.model.redaction.values import word_set

# Found first, then widened to the whole name.
CORE = re.compile(
    r"(?i)pass(?:w|p|c|_|\b|$)|pass(?=[=:])|pwd|secret|token|credential|auth|cookie|jwt|(?<=[a-z_. -])key|psk"
    r"|connection.?string|sas\b|pw(?=[=: ])|otp\b|sess(?:ion)?id|passe\b|kennwort|contrase|macaroon|creds\b"
    r"|\bkey(?=[\"'=:])"
)
_WORDS = re.compile(r"[A-Z]{2,}(?=[A-Z][a-z]|[^A-Za-z]|$)|[A-Z]?[a-z]+|[A-Z]+|\d+")
MAX_NAME = 80

_SECRET_WORDS = word_set(
    """
    password passwords passwd passphrase passcode pwd secret secrets token tokens credential credentials cookie
    cookies apikey authtoken jwt authorization psk sas passwort userpass passkey pw otp totp sessionid sessid
    jsessionid phpsessid passe kennwort contrasena
    bindpw rootpw userpw macaroon creds
    """
)
_SECRET_ENDS = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "secretkey", "privatekey", "authkey",
    "credential", "credentials", "accountkey", "sharedkey",
)  # fmt: skip
# `api key`, `AccountKey`, `signing_key`: a key is a secret only of these.
_KEY_OF = word_set(
    """
    api access account auth encryption encrypt master private signing sign secret shared storage license deploy
    app application consumer session admin hmac aes cipher webhook write ingest fernet subscription service ssh
    crypto security wandb openai root decryption client server tls ssl project team kaggle
    """
)
# What follows the word makes it something else.
_NO_SECRET_AFTER = word_set(
    """
    namespace kind label labels group role roles path paths file files filename dir directory url uri endpoint
    host port ttl length len count counts counter ids idx type types expiry expires expired expiration expire
    exp enabled enable mode manager provider version policy limit limits size sizes index max min ref refs
    header headers field format prefix rotation timeout age lifetime per usage used budget rate scope scopes
    issuer audience class status error errors source store arn backend required valid loaded bucket mask
    embedding embeddings classification generation level seconds ms sec sha name names env vocab dropout
    throughput pos position positions window strategy checksum fingerprint algorithm method service server
    exists present set configured changed updated attempts retries reset hint quota total cost price alias
    domain probs logits accuracy loss acc mapping map order column columns attempt mount
    bits encryption fd py pyc md go rs js java cc cpp
    """
)
# Words of language models and paging, of which there is a token without any secret.
_NO_SECRET_BEFORE = word_set(
    """
    pad eos bos unk sep cls mask special next stop start end first last max min num total n avg mean image audio
    video prompt completion input output generated new per page continuation sync cancel cancellation batch text
    label primary foreign partition sort cache public enable disable use uses has is require requires needs
    allow reserved added padding current remaining target context no invalid valid missing unexpected expected
    unknown wrong bad csrf sampled tgt src decoder encoder trained seen processed cached reasoning thinking
    """
)
_WEAK = {"token", "tokens", "cookie", "cookies", "secrets", "auth", "sas", "credentials", "creds", "pass"}


def words_of(name: str) -> list[str]:
    """Split a name at its separators and changes of case, in lower case."""
    return [word.lower() for word in _WORDS.findall(name)]


def is_secret(words: list[str]) -> bool:
    """Whether a name of these words names a secret."""
    at = _secret_word(words)
    if at is None:
        return False
    after = [word for word in words[at + 1 :] if not word.isdigit()]
    if after[:1] == ["id"] or after[:1] == ["ids"]:
        return words[at] == "secret"
    if any(word in _NO_SECRET_AFTER for word in after):
        return False
    before = words[at - 1] if at else ""
    if words[at] == "tokens":
        return bool(before) and before in ("access", "refresh", "auth", "api")
    return not (words[at] in _WEAK and before in _NO_SECRET_BEFORE)


def may_be_secret(words: list[str]) -> bool:
    """Whether the name is of some key, so that its value is a secret if it looks like one."""
    known = len(words) > 1 and words[-2] in _NO_SECRET_BEFORE
    return (bool(words) and words[-1] == "key" and not known) or words[-2:] in (["csrf", "token"], ["csrftoken"])


def is_weak(words: list[str]) -> bool:
    """Whether the name is also that of things that are none: a token may be a word of a text."""
    at = _secret_word(words)
    return at is not None and words[at] in _WEAK


def takes_all(words: list[str]) -> bool:
    """Whether the value goes on to the end of the line or quotes, as that of a header does."""
    return bool(words) and words[-1] in ("authorization", "cookie")


def _secret_word(words: list[str]) -> int | None:
    """Return the index of the last word that makes the name one of a secret."""
    for at in range(len(words) - 1, -1, -1):
        word = words[at]
        if word in _SECRET_WORDS or (len(word) > 6 and word.endswith(_SECRET_ENDS)):
            return at
        if word in ("key", "keys") and at and words[at - 1] in _KEY_OF:
            return at
        if word in ("phrase", "word", "code") and at and words[at - 1] == "pass":
            return at
        if word == "pass" and (at == len(words) - 1 or words[at + 1].isdigit()):
            return at
        if word == "auth" and at == len(words) - 1 and words[:at] in ([], ["npm"], ["http"], ["basic"]):
            return at
        if word == "string" and at and words[at - 1] == "connection":
            return at
    return None
