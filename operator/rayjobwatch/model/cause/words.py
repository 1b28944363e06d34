"""What the words of a log line tell of its role beside an exception."""

import re
from collections.abc import Sequence

_LEVEL = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL|WARN(?:ING)?|EXCEPTION|error|critical|fatal|warn(?:ing)?|Error)\b|\w+Warning: $"
)
_RAYS = re.compile(r"\d{4}-\d\d-\d\d [\d:,.]+\s+(?:INFO|WARNING|ERROR|ERR|WARN)\s+[\w.]+:\d+ -- ")
_GOES_ON = re.compile(
    r"(?i)\b(?:continu(?:e|es|ing)|retry\w*|retries|skipp?(?:ed|ing)|ignor(?:ed|ing)|resum(?:ed|ing)|recover(?:ed|ing)"
    r"|fall\w*[ -]?back|proceed\w*|anyway|go(?:ing|es)? on|carry\w* on|mov(?:e|ing) on|handled|try(?:ing)? again"
    r"|attempt \d+|degraded|best[- ]effort|non-?fatal|not fatal)\b"
    r"|^.{0,40}\bwithout\b.{0,30}$"
)
_COUNTS = re.compile(r"(?i)\b(?:step|epoch|iter(?:ation)?|batch|round|trial|shard|phase)\b[ :=#]{0,4}\d")
_WORKS = re.compile(
    r"(?i)^(?:.{0,60}\b(?:INFO|DEBUG)\b[^a-z]{0,40})?(?:(?:re)?(?:load|build|start|process|compar|run|train|evaluat"
    r"|creat|download|fetch|initiali[sz]|comput|merg|prepar|launch|connect"
    r"|tokeniz|pars|validat)(?:n?ing|ed)|using|built"
    r"|reading|entering|now|as expected)\b(?! error)"
)
_ADVISES = re.compile(
    r"(?:To|Please|You|If|Try|Make sure|Consider|See|For|Check|Note|Refer|Set|Use|Ensure|Alternatively|Otherwise|When"
    r"|Did you|This (?:may|can|could|usually|is))\b"
)
_FORESEEN = re.compile(
    r"(?i)\b(?:expected|ignor(?:ed|ing)|handled|harmless) (?:failure|error|exception|traceback)|known (?:issue|problem)"
)
# A note to an exception, or the tidying of what is numbered.
_NO_PROGRESS = re.compile(
    r"(?i)^\s*(?:while|when|during|from|in|for|at) "
    r"|\b(?:clos|releas|flush|remov|delet|disconnect|unlock|tear|clean|join|dispos|destroy|detach|unmount"
    r"|unregister|purg|drain|unload|stop|shut)\w*\b"
)
# Words that a message may hold as well; beside a logged exception they tell that it was expected.
_MAY_GO_ON = re.compile(
    r"(?i)\b(?:using|default(?:s|ing)?|instead|next|starting|restart\w*|expected|without|skip|ignore)\b"
)
_GIVES_UP = re.compile(
    r"(?i)giv(?:e|es|en|ing) up|\babort|\bexit|\bfatal|\bterminat|\bshut|\bquit|unrecover|can(?:no|')t continue"
    r"|\bstopp(?:ed|ing)|\bleaving\b|\bas failed\b|\bcritical|no more (?:retries|attempts)"
    r"|\bfail(?:ed|ing|ure)?\s*(?:with|[:!.]?\s*$)"
    r"|status=fail|^FAILED \S+::|^ERROR \S+\.py\b"
    r"|\bended with|\breturn(?:ed)? code|\b(?:job|run|training|pipeline|stage|main)\b.{0,30}\bfailed"
)
_NO_MORE = re.compile(
    r"(?i)\bg(?:iv(?:e|es|en|ing)|ave) up\b|no more (?:retries|attempts|tries)|(?:retries|attempts) exhausted"
)
_CLEANS_UP = re.compile(
    r"(?i)\b(?:clean\w*|clos(?:e|ed|ing)|upload\w*|flush\w*|sav(?:e|ed|ing)|teardown|tear\w* down|finali[sz]\w*"
    r"|releas\w*|shut\w*|bye|goodbye|remov(?:e|ed|ing)|delet(?:e|ed|ing)|stopp(?:ed|ing)|disconnect\w*|sync\w*"
    r"|collect\w*|archiv\w*|wandb|mlflow|elapsed|took \d|finish\w*|unlock\w*|atexit|on exit|at exit|cleanup|freed"
    r"|freeing|dump(?:ed|ing)|join(?:ed|ing)|dispos\w*|destroy\w*|detach\w*|unmount\w*|(?:un|de)register\w*"
    r"|purg\w*|drain\w*|evict\w*|unload\w*|report\w*|notif\w*)\b"
)
# Lines that stand after a cause and are nobody's last words.
_NOISE = re.compile(
    r"^(?:make(?:\[\d+\])?: \*\*\* \[|exit status \d|Aborted(?: \(core dumped\))?$"
    r"|Killed\b|Terminated\b|Segmentation fault|Bus error"
    r"|Trace/|\[\d+\][+-]?\s+(?:Exit|Done|Killed)|npm (?:ERR!|error)|real\t|user\t|sys\t|\s*$|Node\.js v|core dumped"
    r"|srun: |slurmstepd: |error: Recipe |\*\*\* SIG|ERROR conda\.cli|Command exited with|[=*#~+_. -]{4,}$"
    r"|[WIE]\d{4} [\d:.]+ .{0,80}(?:api|multiprocessing)\.py:|Root Cause|Extension modules:|\+ "
    r"|wandb:|Process \S+:$"
    r"|(?i:(?:stack ?trace(?:back)?|call ?stack(?: \(.*\))?|(?:error termination\. )?backtrace):?$)"
    r"|#\d+ +0x|\s*(?:full_key: |object_type=)"
    r"|Set the environment variable HYDRA_FULL|Error executing job with|During handling|[│╭╰─╮╯╷╵├┤┬┴┼|]+\s*$"
    r"|An exception has occurred, use|To exit: use|Primary job |a non-zero exit code|\s*at (?:node:|java\.)"
    r"|\s+@ +0x|\S+\.so[\d.]*\(|[\w/.-]+\(\+0x|If you (?:suspect|are)|\[ERROR\] (?:To see|Re-run|For more|\[Help|$)"
    r"|\[ERROR\]$|For (?:more|detailed) information|Use --help|Pass --help|Try ['`]"
    r"|[Uu]sage: |Execution halted|Calls: |collect2: error: ld |-- Configuring incomplete|.{0,60}\d{1,3}%\|"
    r"|error: (?:aborting due to|compilation failed)|\d+ errors?(?: generated\.)?$"
    r"|BUILD FAILED in|\d+\+\d+ records |\d+ bytes .*copied|Exiting because a job|\d+ derived errors ignored"
    r"|\* Try:|> (?:Run with|Get more help)"
    r"|tar(?: \(child\))?: (?:Child returned|Error is not recoverable)"
    r"|=+ .* =+$|\d+ (?:failed|passed|errors?)\b.* in [\d.]+s"
    # Ray Tune's table of trials, and what it says around it.
    r"|Trial \S+ (?:started|errored|completed|finished) |Error file: /|Trial status: \d|Current time: .* Total running"
    r"|Logical resource usage: |Number of errored trials: |│ Trial name |│ \w+_[0-9a-f]{5}_\d{5} "
    r"|Ran \d+ tests? in|FAILED \(|Exception ignored |Exception in thread |Task exception was never|future: <Task"
    r"|\s*\d* \| |\S+: note: )"
    r"|^\d{4}-\d\d-\d\d [\d:,.]+\s+(?:INFO|WARNING|ERROR|ERR|WARN)\s+[\w.]+:\d+ -- "
    r"|^\[\d{4}-\d\d-\d\d [\d:,.]+ [A-Z] \d"
    r"|^\S+:\d+: \w*Warning: |^  warnings\.warn|^sys:1: |^(?:Current thread|Thread) 0x|^Tip: |^hint: |^note: "
    r"|^(?:Running entrypoint for job|Job supervisor|View a detailed)|resource_tracker|^subprocess\.CalledProcessError"
)
_ERROR = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL|PANIC|SEVERE)\b|^(?:[\w./-]+: )?(?:[Ee]rror|fatal)\b|^[A-Z]\w*(?:Error|Exception): "
    r"|\b(?:level|lvl|severity)=\"?(?:error|fatal|critical|panic)"
    r"|\"(?:level\w*|severity|log\.level)\": ?\"(?i:error|fatal|crit)"
)
_INFORMS = re.compile(
    r"\b(?:INFO|DEBUG|NOTICE|TRACE)\b|\b(?:level|lvl|severity)=\"?(?:info|debug|trace)|^[I]\d{4} [\d:.]+"
    r"|\"(?:level\w*|severity|log\.level)\": ?\"(?i:info|debug|trace)"
)
# What a shell's trap tells (`Error on line 7`), and what a command does before (`cp: cannot stat 'a'`).
_TRAP = re.compile(r"(?i)\b(?:error|fail\w*|exit\w*|abort\w*)\b.{0,60}\bline:? ?\d+\b")
_COMMAND = re.compile(r"[\w./+-]{1,80}: \S")
_REFERS = re.compile(r"(?i)^(?:see|visit|read|docs?|help|hint|more)\b.*https?://|^https?://")
_NPM = re.compile(r"npm (?:ERR!|error) (?:[a-z]\w* )?([A-Z](?! complete log).{10,})$")
_ENTRYPOINT = re.compile(r"^\s*(?:\w+=\S+\s+)*(?:\S*/)?python[\d.]*\s[^;&|`]*$")


def is_logged_at_level(line: str) -> bool:
    """Whether the line is one that a logger of the program's, not Ray's, wrote about something bad."""
    return bool(_LEVEL.search(line)) and not _RAYS.match(line)


def goes_on(line: str) -> bool:
    """Whether the line says that the program went on."""
    if gives_up(line) or _ADVISES.match(line):
        return False
    counts = _COUNTS.search(line) and not _NO_PROGRESS.search(line)
    works = _WORKS.search(line) and not cleans_up(line) and not line.endswith(".")  # of a message's advice
    return bool(_GOES_ON.search(line) or counts or works)


def may_go_on(line: str) -> bool:
    """Whether the line, which was logged beside an exception, says that the program went on."""
    return goes_on(line) or (bool(_MAY_GO_ON.search(line)) and not gives_up(line))


def is_foreseen(line: str) -> bool:
    """Whether the line, which stands before an exception, says that it does no harm."""
    return bool(_FORESEEN.search(line))


def gives_up(line: str) -> bool:
    """Whether the line says that the program ends."""
    return bool(_GIVES_UP.search(line))


def ends_retries(line: str) -> bool:
    """Whether the line says that nothing is tried any more."""
    return bool(_NO_MORE.search(line))


def cleans_up(line: str) -> bool:
    """Whether the line sounds like the end's tidying: handlers at exit, traps of a shell."""
    return bool(_CLEANS_UP.search(line))


def is_noise(line: str) -> bool:
    """Whether the line says nothing of its own: of make, of a shell about a signal, of Ray's own logger."""
    return bool(_NOISE.search(line))


def is_one_program(entrypoint: str) -> bool:
    """Whether the entrypoint is one Python program, so that its uncaught exception ends the log."""
    return bool(_ENTRYPOINT.match(entrypoint))


def is_error(line: str) -> bool:
    """Whether the line tells an error, by its level or its first word."""
    return bool(_ERROR.search(line)) and not goes_on(line)


def is_trap(line: str) -> bool:
    """Whether the line tells where a script failed, as its trap does; the command has told why."""
    return bool(_TRAP.search(line))


def is_commands(line: str) -> bool:
    """Whether a command may have told with the line what is wrong: its name stands first."""
    return bool(_COMMAND.match(line))


def is_detail(line: str) -> bool:
    """Whether the line only adds to what was said: it is indented, of a level below an error's, or a link."""
    return line[:1].isspace() or bool(_INFORMS.search(line) or _REFERS.search(line))


def said_by_tool(lines: Sequence[str]) -> str:
    """Return what a tool says in lines that say nothing beside others: npm's own sentence, else its first error."""
    sentence = next((found[1] for line in lines if (found := _NPM.match(line))), "")
    return sentence or next((line for line in lines if is_error(line)), "")
