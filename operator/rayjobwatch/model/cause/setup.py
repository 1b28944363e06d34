"""Why a runtime environment could not be set up: the end of a long traceback of Ray's own, or of a tool's output."""

import re
from collections.abc import Sequence

from rayjobwatch.model.cause.finding import Finding, Role

_OUTPUT = re.compile(r"\s*Last \d+ lines of stdout:")
_TOLD = re.compile(r"\s*(?:ERROR|error|Error|fatal)\b:? ?\S|\s*\w+(?:Error|Exception): ")


def of_setup(lines: Sequence[str], findings: Sequence[Finding]) -> Finding | None:
    """Return the cause that the message of a failed set-up names; `findings`: those of the same lines."""
    raised = next((one for one in reversed(findings) if one.role is not Role.REPORT), None)
    said = _said(lines)
    if not said:
        return raised
    kind, last = (raised.type, raised.last) if raised else ("", len(lines) - 1)
    return Finding(Role.CAUGHT, kind, said, "", 0, last)


def _said(lines: Sequence[str]) -> str:
    """Return the line in which pip, conda or uv says what is wrong; empty where no output of a tool is quoted."""
    begin = next((i for i, line in enumerate(lines) if _OUTPUT.match(line)), None)
    if begin is None:
        return ""
    output = [line.strip() for line in lines[begin + 1 :] if line.strip()]
    told = [line for line in output if _TOLD.match(line)]
    return (told or output or [""])[-1]
