"""No planted secret is shown, and no harmless line is spoilt."""

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rayjobwatch.model.digest import LogDigest
from rayjobwatch.model.failure import failure_of
from rayjobwatch.model.jobs import JobRow
from rayjobwatch.model.redaction import MASK, redact
from rayjobwatch.model.redaction.keys import without_keys
from rayjobwatch.model.redaction.patterns import MAX_PATTERNS, InvalidPatternError, Patterns
from rayjobwatch.model.text import clean_line

HERE = Path(__file__).parents[1] / "redaction"
HARMLESS = (HERE / "harmless.txt").read_text().splitlines()


def planted() -> list[tuple[str, str, str]]:
    """Return the kind, the secret and the line of every planted one."""
    kinds = yaml.safe_load((HERE / "secrets.yaml").read_text())
    return [
        (kind, secret, line.replace("{}", secret).replace("{{", "{").replace("}}", "}"))
        for kind, fields in kinds.items()
        for secret in ["".join(fields["value"])]
        for line in fields["lines"]
    ]


PLANTED = planted()


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(PLANTED) >= 250
    assert len({kind for kind, _, _ in PLANTED}) >= 40
    assert len(set(HARMLESS)) >= 150


@pytest.mark.parametrize(("kind", "secret", "line"), PLANTED, ids=[f"{kind}-{line[:60]}" for kind, _, line in PLANTED])
def test_a_planted_secret_is_not_shown(kind: str, secret: str, line: str) -> None:
    shown = clean_line(line, 4096)
    assert secret in line
    assert secret not in shown
    assert MASK in shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "around", ["{} ", "2026-11-21 10:00:00 INFO x.py:3 -- {}", "(f pid=1, ip=10.0.0.1) {}", "  {}"]
)
def test_a_secret_is_masked_wherever_its_line_stands(around: str) -> None:
    leaked = [line for _, secret, line in PLANTED if secret in clean_line(around.format(line), 4096)]
    assert not leaked


@pytest.mark.parametrize("line", HARMLESS)
def test_a_harmless_line_is_shown_as_it_is(line: str) -> None:
    assert redact(line) == line


WORDS = [
    *("token", "password", "=", ": ", '"', "'", "\\", " ", "--", "a", "_", "://", "@", "Bearer ", "eyJ", ".", "key"),
    *("api_", "***", "&sig=", "cookie", "(", ")", "Zx9Qw7Tt5R", "authorization: ", "value", "is ", ">", "<", "pass"),
    *(",", ";", ":5432:a:b:", "login", "-u ", "curl ", "[", "{", "}", "str = ", "$X", "%s", "/etc/x", "é", "\ud800"),
    *(
        " | ",
        "%3A%2F%2F",
        "%3A",
        "%40",
        "PWD={",
        "auth=(",
        "secret ",
        "Client(",
        "next ",
        "hunter2!x",
        "Session('",
        "%26",
    ),
    *("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "hooks.slack.com/services/", "AKIA"),
]


@given(st.lists(st.sampled_from(WORDS), max_size=14).map("".join))
def test_masking_twice_is_masking_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


KEY = [
    *("-----BEGIN RSA PRIVATE " + "KEY-----", "Proc-Type: 4,ENCRYPTED", ""),
    *("MIIfakefakefake0000" * 3 + "abcdefg", "fakeLine2+/", "Zm="),
    "-----END RSA PRIVATE " + "KEY-----",
]
LOG = [
    "before",
    *KEY,
    "after",
    "password=Zx9Qw7Tt5R",
    *[f"(f pid=1) {line}" for line in KEY],
    "-----BEGIN CERTIFICATE-----",
    "ok",
]
SHOWN = [line.rstrip() for line in LOG if not any(body in line for body in ("MIIfake", "fakeLine2", "Zm=", "Zx9"))]


@given(st.lists(st.integers(0, len(LOG)), max_size=6).map(sorted))
def test_a_key_over_several_lines_is_masked_however_they_are_batched(cuts: list[int]) -> None:
    digest = LogDigest()
    for begin, end in zip([0, *cuts], [*cuts, len(LOG)], strict=True):
        digest = digest.fed(LOG[begin:end], "c")
    text = "\n".join(digest.tail)
    assert not any(secret in text for secret in ("MIIfake", "fakeLine2", "Zm=", "Zx9"))
    assert all(line in digest.tail for line in SHOWN)
    assert not any("fakeLine2" in line for _, line in digest.window.lines)


def test_a_job_that_ends_with_its_key_does_not_show_it_as_the_cause() -> None:
    digest = LogDigest().fed(KEY[:5], "c")
    row = JobRow(
        "a", "FAILED", exit_code=1, error_type="JOB_ENTRYPOINT_COMMAND_ERROR", message="\n".join(["x", *KEY[:5]])
    )
    assert "fakeLine2" not in failure_of(row, digest.window).text
    assert "fakeLine2" not in failure_of(row).text


@pytest.mark.parametrize(
    "unit", ["1:", "1", "-", " ", "|", "(a)", "[a]", "a:1 ", "INFO ", "11111111 ", "value: ", "0a"]
)
@pytest.mark.parametrize("times", [40, 8000])
def test_no_line_inside_of_a_key_holds_the_controller_up(unit: str, times: int) -> None:
    def seconds() -> float:
        started = time.thread_time()
        without_keys([KEY[0], unit * times + "!"], False)
        return time.thread_time() - started

    assert any(seconds() < 0.05 for _ in range(3))


@pytest.mark.parametrize(
    "around",
    [
        "2026-11-21 10:00:00 INFO {}",
        "[2026-11-21 10:00:00,123] WARNING x.py:3 -- {}",
        "\x1b[36m(f pid=1)\x1b[0m {}\x1b[0m",
    ],
)
def test_a_key_is_masked_to_its_short_last_line_whatever_a_logger_puts_before_it(around: str) -> None:
    tail = LogDigest().fed([around.format(line) for line in [*KEY, "after"]], "c").tail
    assert not any(secret in "\n".join(tail) for secret in ("MIIfake", "fakeLine2", "Zm="))
    assert tail[-1].endswith(" after")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("    - name: DB_PASSWORD", "      value: hunter2x", "      value: ***"),
        ('- name: "HF_TOKEN"', '  value: "hunter2x"', '  value: "***"'),
        ("INFO - name: API_KEY", "INFO   value: hunter2x", "INFO   value: ***"),
        ("  <name>fs.s3a.secret.key</name>", "  <value>hunter2x</value>", "  <value>***</value>"),
        ("api_key: >-", "  hunter2x", "  ***"),
        ('"password": |', "  hunter2x", "  ***"),
        ("notes: |", "  hunter2x", "  hunter2x"),
        ("- name: DB_PASSWORD", "  valueFrom:", "  valueFrom:"),
        ("- name: DB_PASSWORD", "  value: $(OTHER)", "  value: $(OTHER)"),
        ("- name: BATCH_SIZE", "  value: 32", "  value: 32"),
        ("- name: db-credentials", "- name: run", "- name: run"),
    ],
)
def test_a_value_below_the_name_of_a_secret_is_masked(name: str, value: str, shown: str) -> None:
    assert LogDigest().fed([name], "c").fed([value, "the next line"], "c").tail == (name, shown, "the next line")


def test_a_begin_without_an_end_hides_no_more_than_what_could_be_a_key() -> None:
    lines = [KEY[0], "MIIfake", "the key was not read", "next line"]
    assert LogDigest().fed(lines, "c").tail == (KEY[0], MASK, "the key was not read", "next line")


@pytest.mark.parametrize(
    ("pattern", "text", "shown"),
    [
        (r"token=(\S+)", "token=a b token=c", "token=*** b token=***"),
        (r"\bcust-\d+", "é cust-12 and cust-3", "é *** and ***"),
        (r"(\d+)-(\d+)", "card 12-34", "card ***-***"),
        (r"x*", "axxb", "a***b"),
        (r"(a)|b", "ab", "***b"),
    ],
)
def test_a_users_pattern_masks_its_groups_or_all(pattern: str, text: str, shown: str) -> None:
    assert Patterns([pattern]).redact(text) == shown


@pytest.mark.parametrize("pattern", ["a(b", r"(a)\1", "(?=a)", "a{1001}", "\ud800"])
def test_a_pattern_that_re2_refuses_is_told_with_its_reason(pattern: str) -> None:
    with pytest.raises(InvalidPatternError, match=r"\w"):
        Patterns([pattern])


def test_patterns_are_bounded() -> None:
    with pytest.raises(InvalidPatternError, match="at most"):
        Patterns(["a"] * (MAX_PATTERNS + 1))
