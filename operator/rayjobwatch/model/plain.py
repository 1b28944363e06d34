"""A line of a log as text: without ANSI, control and invisible characters, and as a progress bar stands at last."""

import re

_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
# Control, lone surrogates, and what a terminal or page does not show or shows in another order.
_CONTROL = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f\ud800-\udfff]"
)
LONGEST_INPUT = 16_384


def plain_line(line: str) -> str:
    """Return a log line without ANSI and control characters, in the last state of a progress bar; not yet redacted."""
    text = line.rstrip("\r\n").rsplit("\r", 1)[-1][:LONGEST_INPUT]
    return _CONTROL.sub("", _ANSI.sub("", text)).rstrip()
