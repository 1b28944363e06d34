"""What a user sees of text that came from a log: one clean line, no secrets, never too long."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.model.redaction import MASK, redact
from rayjobwatch.model.text import clean_again, clean_line, cut, last_line

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=300)
LIMITS = st.integers(-5, 80)
LONGEST_LINE = 16_384
SECRET = "S3CR3Tq7"
# What turns text around, or is there and not to be seen.
INVISIBLE = "\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\ufffb\U000e0041"


@given(ANY_TEXT, LIMITS)
def test_a_shown_line_is_one_printable_line_within_its_limit(text: str, limit: int) -> None:
    shown = clean_line(text, limit)
    assert len(shown.encode("utf-8")) <= max(0, limit)
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in INVISIBLE for char in shown)
    assert len(shown.splitlines()) <= 1


@given(ANY_TEXT, LIMITS)
def test_a_cut_text_keeps_to_its_bytes_and_to_its_beginning(text: str, limit: int) -> None:
    shown = cut(text, limit)
    assert len(shown.encode("utf-8")) <= max(0, limit)
    assert text.encode("utf-8", "replace").decode().startswith(shown.removesuffix("…"))


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "…"),
        ("abcd", 2, "ab"),
        ("abcd", 1, "a"),
        ("abcd", 0, ""),
        ("abcd", -1, ""),
        ("😀😀", 7, "😀…"),
        ("😀😀", 6, "…"),
        ("😀😀", 2, ""),
    ],
)
def test_a_cut_never_halves_a_character(text: str, limit: int, shown: str) -> None:
    assert cut(text, limit) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "link"),
        ("PASSWORD\x1b(B\x1b[m is set", "PASSWORD is set"),
        ("\x9b31mred\x9b0m \x1b7\x1b[1;1Htop\x1b8", "red top"),
        ("\x1bPq#0\x1b\\image \x1b_hidden\x1b\\end", "image end"),
        (f"in{INVISIBLE}visible", "invisible"),
        ("10%\r20%\r30%\r\n", "30%"),
        ("x" * 20_000 + "\r100% done", "100% done"),
        ("a\tb", "a   b"),
        ("nul\x00 bell\x07 del\x7f", "nul bell del"),
        ("two\u2028lines\u2029in\x85one\x0bor\x0cmore", "twolinesinoneormore"),
        ("half \ud83d of a pair", "half  of a pair"),
        ("turn \u202eback", "turn back"),
        ("trailing   \n", "trailing"),
        ("日本語 ログ", "日本語 ログ"),
    ],
    ids=["colour", "link", "character set", "C1 and places", "device", "invisible", "progress bar",
         "long progress bar", "tab", "control", "line ends", "surrogate", "bidi",
         "blank end", "other scripts"],
)  # fmt: skip
def test_a_terminals_line_is_shown_as_a_person_would_have_read_it(line: str, shown: str) -> None:
    assert clean_line(line) == shown


@pytest.mark.parametrize(
    "line",
    [
        "export AWS_SECRET_ACCESS_KEY={}",
        "AWS_SESSION_TOKEN={} aws s3 ls",
        "HF_TOKEN={} python train.py",
        "DB_PASS={}",
        "MYSQL_PASSWORD=abc,{}",
        "API_KEY_PROD={}",
        "password2: {}",
        "password = '{} with more words {}'",
        "password => {}",
        "token := {}",
        'token="{}',
        "token=b'{}' x",
        "Config(token=SecretStr('{}'), lr=1)",
        'password="escaped \\" quote {}" a=1',
        '{{"password": "{}", "user": "bob"}}',
        '{{"accessToken":"{}"}}',
        "{{'api_key': '{}', 'n': 1}}",
        '{{\\"clientSecret\\": \\"{}\\"}}',
        "python train.py --api-key {} --lr 3",
        "python train.py --wandb-api-key={} --lr 3",
        "run --password '{} {}'",
        "postgres://user:{}@db:5432/x",
        "postgres://user:a@{}@db:5432/x",
        "REDIS://:{}@h:6379",
        "https://{}@github.com/x",
        "https://h/p?access_token={}&a=1",
        "https://x.blob.core.windows.net/c?sv=1&sig={}&se=2",
        "https://b.s3.amazonaws.com/k?X-Amz-Signature={}",
        "DefaultEndpointsProtocol=https;AccountKey={};EndpointSuffix=y",
        "Server=h;Password={};Database=d",
        'curl -H "Authorization: Bearer {}" https://x',
        "curl -H 'x-api-key: {}' https://x",
        "Authorization: Basic {}==",
        "authorization: token {}",
        "x-ray-authorization: Bearer {}",
        "got Bearer {} from the client",
        "got Basic {}== from the client",
        "Cookie: session={}; other={}",
        "'Set-Cookie': '{}'",
    ],
)
def test_a_secret_is_never_shown(line: str) -> None:
    assert SECRET not in clean_line(line.replace("{}", SECRET).replace("{{", "{").replace("}}", "}"))


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + "A1B2C3D4" * 2,
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2_" * 9,
        "glpat-" + "a1B2c" * 4,
        "hf_" + "aBcD" * 8,
        "sk-proj-" + "a1B2" * 9,
        "sk_live_" + "a1B2" * 5,
        "xoxb-123456789012-abcdef",
        "AIza" + "a1B2c" * 7,
        "npm_" + "a1B2" * 9,
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
    ],
)
@pytest.mark.parametrize("line", ["{}", "using key {} now", 'x = "{}"', "[{}]"])
def test_a_well_known_key_is_masked_wherever_it_stands(secret: str, line: str) -> None:
    assert redact(line.format(secret)) == line.format(MASK)


@pytest.mark.parametrize(
    "line",
    [
        "step 1200/5000 loss=0.1234 tokens=512 tokens/s=12345 max_tokens: 8",
        "pad_token_id=0 eos_token_id: 2 token_count=7",
        "tokenizer=bert secretary: bob passed=3",
        "PWD=/home/ray OLDPWD=/tmp",
        "basic configuration loaded, bearer of bad news",
        "fetching https://example.com:8265/a?b=c#d for bob@example.com",
        "password authentication failed for user bob",
        "  File \"train.py\", line 88, in <module>  # the secret is 'try again'",
        "pip install scikit-learn disk-usage-of-the-whole-cluster",
        "git@github.com:ray-project/ray.git",
        "keyboard=1 monkey: 2 turkey=3 cache_key=abc primary-key: id",
    ],
)
def test_an_ordinary_line_is_shown_as_it_is(line: str) -> None:
    assert clean_line(line) == line


def test_the_words_around_a_secret_stay() -> None:
    assert redact("run --api-key abcdef --lr 3") == "run --api-key *** --lr 3"
    assert redact('{"password": "x y", "user": "bob"}') == '{"password": "***", "user": "bob"}'
    assert redact("Server=h;Password=x;Database=d") == "Server=h;Password=***;Database=d"


_WORDS = ["token", "password", "=", ": ", '"', "'", "\\", " ", "--", "a", "_", "://", "@", "Bearer ", "Basic dXNlcjpw",
          "eyJ", ".", "key", "api_", "***", "&sig=", "cookie", "(", "\t", "é"]  # fmt: skip


@given(st.lists(st.sampled_from(_WORDS), max_size=25).map("".join))
def test_masking_twice_shows_the_same_as_masking_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


HOSTILE = [
    "a_", "-", "a-", "token", "token_", "token ", "token=", 'token"', 'token="', 'token="\\', "password_a_", "_pass",
    "--token ", "--", "-- ", "api_key", "private_", "a", "eyJ", "-eyJaaaaaaaa", "eyJaaaaaaaa.", "bearer ", "Basic ",
    "a://", "a://b:", "://", "@", "&sig=", "sk-", "xoxb-", "cookie:", 'authorization="', "\x1b[", "\x1b]", "\t", " ",
    "\r", "é", "😀", "\\", '\\"', "PWD={1", "key=", "auth=(",
]  # fmt: skip


def _seconds(line: str) -> float:
    started = time.thread_time()
    clean_line(line)
    return time.thread_time() - started


@pytest.mark.parametrize("prefix", ["", "token", "password=a(", "Basic ", "\x1b[", "a://"], ids=repr)
@pytest.mark.parametrize("unit", HOSTILE, ids=repr)
def test_no_line_holds_the_controller_up(prefix: str, unit: str) -> None:
    line = (prefix + unit * LONGEST_LINE)[:LONGEST_LINE]
    assert any(_seconds(line) < 0.05 for _ in range(3))


def _least_seconds(text: str) -> float:
    """Return what masking costs at best, in seconds of this thread."""
    costs = []
    for _ in range(3):
        started = time.thread_time()
        redact(text)
        costs.append(time.thread_time() - started)
    return max(min(costs), 2e-5)


@pytest.mark.parametrize("prefix", ["", "password=a("], ids=repr)
@pytest.mark.parametrize(
    "unit", [*HOSTILE, "authorization: ", "curl ", "hooks.slack.com/services/", "login "], ids=repr
)
def test_masking_four_times_as_much_costs_about_four_times_as_much(prefix: str, unit: str) -> None:
    text = prefix + unit * 4000
    # Where the cost grew with the square of the length, it would be 16 times as much.
    assert any(_least_seconds(text[:4000]) < 8 * _least_seconds(text[:1000]) for _ in range(3))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("\n\n  \n", ""),
        ("one\ntwo\n\n \x1b[0m\n", "two"),
        ("one\ntwo\r\n", "two"),
        ("x" * 40_000 + "\nend", "end"),
    ],
    ids=["empty", "blank", "blank end", "windows", "long"],
)
def test_the_last_line_is_the_last_that_says_something(text: str, shown: str) -> None:
    assert last_line(text) == shown


def test_a_line_that_is_fine_is_not_kept_twice() -> None:
    line = "2026-11-25 12:00:00,001 INFO train.py:8 -- step 12 loss=0.25"
    assert clean_line(line) is line


@given(ANY_TEXT, LIMITS)
def test_a_line_that_comes_again_is_shown_as_the_first_time(text: str, limit: int) -> None:
    assert {clean_again(text, limit) for _ in range(3)} == {clean_line(text, limit)}
