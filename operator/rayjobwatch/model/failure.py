"""Why a failed job failed, from its row and the last lines of its log."""

from collections.abc import Sequence

from rayjobwatch.model.cause.choice import Evidence, choose, evidence_of, last_words, signal_of
from rayjobwatch.model.cause.finding import Finding, Role
from rayjobwatch.model.cause.setup import of_setup
from rayjobwatch.model.cause.tasks import FailedTask, said_by_tasks
from rayjobwatch.model.cause.window import LogWindow, Numbered
from rayjobwatch.model.jobs import Failure, JobRow
from rayjobwatch.model.redaction.keys import without_keys
from rayjobwatch.model.redaction.patterns import NO_PATTERNS, Patterns
from rayjobwatch.model.text import clean_line

# Ray's message for these quotes the driver's own log or set-up: the cause stands in it. The messages of the other
# types (the memory killer's above all) can list other tenants' command lines, and are not passed on.
_LOG_QUOTED = "JOB_ENTRYPOINT_COMMAND_ERROR"
_QUOTABLE = {_LOG_QUOTED, "JOB_ENTRYPOINT_COMMAND_START_ERROR", "RUNTIME_ENV_SETUP_FAILURE"}

_KNOWN = {
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": "the job did not start in time: no room for it, or its set-up hangs",
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": "Ray could not start the job's supervisor",
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": "no node of the cluster fits the job's resources",
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": "Ray lost the job's supervisor, for example to its memory killer",
    "JOB_SUPERVISOR_ACTOR_DIED": "the job's supervisor died, for example with its node",
}
_SIGNALS = {
    1: ("SIGHUP", "its terminal hung up"),
    2: ("SIGINT", "interrupted"),
    3: ("SIGQUIT", "told to quit"),
    4: ("SIGILL", "illegal instruction"),
    5: ("SIGTRAP", "trap"),
    6: ("SIGABRT", "aborted"),
    7: ("SIGBUS", "bus error"),
    8: ("SIGFPE", "arithmetic error"),
    9: ("SIGKILL", "killed, for example for lack of memory"),
    10: ("SIGUSR1", "told to by a signal that it does not handle"),
    11: ("SIGSEGV", "segmentation fault"),
    13: ("SIGPIPE", "wrote to a closed pipe"),
    14: ("SIGALRM", "its alarm rang"),
    15: ("SIGTERM", "terminated"),
    24: ("SIGXCPU", "over its limit of CPU time"),
    25: ("SIGXFSZ", "over its limit of file size"),
}
_TIMED_OUT = 124  # of coreutils' timeout
_EXIT_CODES = {_TIMED_OUT: "timed out", 126: "the command cannot be executed", 127: "command not found"}

MESSAGE_BYTES = 512
_ANNOUNCED = "Running entrypoint for job "
_COMPARED = 200  # characters of a line's end


def failure_of(
    row: JobRow,
    log: LogWindow | None = None,
    patterns: Patterns = NO_PATTERNS,
    tasks: Sequence[FailedTask] = (),
) -> Failure:
    """Name the failure of a FAILED row. `log`: what is kept of its log, if it was read; `patterns`: what is masked.

    tasks: those that failed; they are named where neither the log nor Ray's message tells anything.
    """
    named = _named(row, log, said_by_tasks(tasks))
    return Failure(
        message=clean_line(named.message, MESSAGE_BYTES, patterns),
        error_type=row.error_type,
        type=clean_line(named.type, 200, patterns),
        location=clean_line(named.location, 200, patterns),
    )


def wants_tasks(row: JobRow, log: LogWindow | None = None) -> bool:
    """Whether the failed tasks of a job that called `ray.init` would tell more than its FAILED row and its log."""
    return bool(row.ray_job_id) and _named(row, log, "failed tasks") != _named(row, log, "")


def _named(row: JobRow, log: LogWindow | None, tasks: str) -> Failure:
    if not _is_quotable(row):
        return _of_ray(row, tasks)
    if row.exit_code == _TIMED_OUT and "timeout" in row.entrypoint:
        return _failure(row, "", f"exit code {_TIMED_OUT}: {_EXIT_CODES[_TIMED_OUT]}", "")
    evidence = _evidence(row, log)
    if row.error_type == "RUNTIME_ENV_SETUP_FAILURE":
        found = of_setup(_quoted(row.message), evidence.findings)
    else:
        found = choose(evidence, row.exit_code, row.entrypoint)
    if found and found.type:
        return _failure(row, found.type, _with_code(row, found), found.location)
    return _of_exit(row, evidence, found, tasks)


def _of_exit(row: JobRow, evidence: Evidence, found: Finding | None, tasks: str) -> Failure:
    signal = signal_of(row.exit_code)
    if signal:
        name, meaning = _SIGNALS[signal]
        said = found.message if found else meaning
        return _failure(row, name, f"{said} (exit code {row.exit_code})", found.location if found else "")
    said = (found.message if found else last_words(evidence)) or tasks or _EXIT_CODES.get(row.exit_code or 0, "")
    if row.exit_code is None:
        return _failure(row, "", said or "Ray gives no reason", "")
    ended = f"exit code {row.exit_code}"
    return _failure(row, "", f"{ended}: {said}" if said else ended, found.location if found else "")


def _with_code(row: JobRow, found: Finding) -> str:
    crashed = found.role is Role.CRASH and row.exit_code is not None
    return f"{found.message} (exit code {row.exit_code})".strip() if crashed else found.message


def _failure(row: JobRow, kind: str, message: str, location: str) -> Failure:
    return Failure(message, row.error_type, kind, location)


def _of_ray(row: JobRow, tasks: str) -> Failure:
    known = row.error_type and (_KNOWN.get(row.error_type) or f"Ray reports {row.error_type}")
    cause = "; ".join(part for part in (known, tasks) if part)
    if row.exit_code is None:
        return _failure(row, "", cause or "Ray gives no reason", "")
    ended = f"exit code {row.exit_code}"
    return _failure(row, "", f"{ended}: {cause}" if cause else ended, "")


def _is_quotable(row: JobRow) -> bool:
    # Old Ray sends no error_type; these words begin the messages of the types that are not passed on.
    if row.error_type is None:
        return not row.message.startswith("Unexpected error occurred")
    return row.error_type in _QUOTABLE


def _evidence(row: JobRow, log: LogWindow | None) -> Evidence:
    quoted = _quoted(row.message)
    if log and row.error_type in (_LOG_QUOTED, None) and _reaches_further(log, quoted):
        lines, is_cut = log.lines, not log.has_all
    else:
        lines, is_cut = list(enumerate(quoted)), _is_cut(row.message)
    return evidence_of(_without_entrypoint(lines, row.entrypoint), is_cut=is_cut)


def _without_entrypoint(lines: list[Numbered], entrypoint: str) -> list[Numbered]:
    """Leave out the further lines of an entrypoint of several, which Ray quotes before its output."""
    first, *further = entrypoint.split("\n")
    at = next((at for at, (_, line) in enumerate(lines) if _ANNOUNCED in line and line.endswith(first)), None)
    if at is None or not further or [line for _, line in lines[at + 1 : at + 1 + len(further)]] != further:
        return lines
    return lines[: at + 1] + lines[at + 1 + len(further) :]


def _quoted(message: str) -> list[str]:
    """Return the lines that Ray's message quotes, without Ray's own first one."""
    head, _, rest = message.partition("\n")
    lines = (rest if head.startswith("Job entrypoint command failed") else message).split("\n")
    return list(without_keys(lines, False)[0])


def _is_cut(message: str) -> bool:
    return len(message) >= 20_000  # Ray quotes the log's last 20,000 characters


def _reaches_further(log: LogWindow, quoted: Sequence[str]) -> bool:
    """Whether the log was read to the end that Ray quotes (lines of workers may follow) and from further back."""
    last = next((line.strip()[-_COMPARED:] for line in reversed(quoted) if line.strip()), "")
    lines = [line for _, line in log.lines]
    reached = any(line.strip().endswith(last) for line in reversed(lines))
    return reached and (log.has_all or len(lines) >= len(quoted))
