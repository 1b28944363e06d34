"""Reports of tools that give up in words of their own: a panel, or a report of several lines."""

import re
from collections.abc import Sequence

from rayjobwatch.model.cause.finding import Role, Words

_NEAR = 40

# --- Typer, rich-click: a panel, which wraps the sentence ------------------------------------------------------------
_PANEL = re.compile(r"╭─+ Error ─+╮$")


def _panel(lines: Sequence[str], at: int) -> Words | None:
    if not _PANEL.match(lines[at]):
        return None
    near = range(at + 1, min(len(lines), at + _NEAR))
    end = next((i for i in near if lines[i].startswith("╰")), None)
    if end is None:
        return None
    said = " ".join(line.strip("│ ") for line in lines[at + 1 : end])
    return Words(Role.REPORT, "", said.strip(), "", end + 1)


# --- Hydra: what is wrong, advice, and at the end how to see the whole stack ------------------------------------------
_HYDRA = re.compile(r"(?:In '.{1,200}': )?Could not (?:override|append|delete|find|load|merge)\b.*$")
_HYDRA_END = "Set the environment variable HYDRA_FULL_ERROR=1"


def _hydra(lines: Sequence[str], at: int) -> Words | None:
    if not _HYDRA.match(lines[at]):
        return None
    near = range(at + 1, min(len(lines), at + _NEAR))
    end = next((i for i in near if lines[i].startswith(_HYDRA_END)), None)
    if end is None:
        return None
    why = next((f": {line}" for line in lines[at:end] if line.startswith("Key '")), "")
    return Words(Role.REPORT, "", f"{lines[at].strip().rstrip('.')}{why}", "", end + 1)


# --- Snakemake: what the rule's command said stands above ------------------------------------------------------------
_RULE = re.compile(r"Error in (rule \w+):$")
_DATED = re.compile(r"\[\w{3} \w{3} +\d+ [\d:]+ \d{4}\]$")


def _snakemake(lines: Sequence[str], at: int) -> Words | None:
    found = _RULE.match(lines[at])
    if not found:
        return None
    end = at + 1
    while end < len(lines) and lines[end].startswith("    "):
        end += 1
    above = next((line for line in reversed(lines[:at]) if not _DATED.match(line)), "")
    said = "" if not above or above[0].isspace() else f": {above}"
    return Words(Role.REPORT, "", f"error in {found[1]}{said}", "", end)


# --- MATLAB: the function that raised, its message, then the callers; the first of them is the user's for sure --------
_USING = re.compile(r"\{?Error using (?:\S+[>/])?(.+?)(?: \(line (\d+)\))?$")
_CALLER = re.compile(r"Error in (?:\S+[>/])?(\w+) \(line (\d+)\)$")


def _matlab(lines: Sequence[str], at: int) -> Words | None:
    found = _USING.match(lines[at])
    if not found or at + 1 == len(lines) or not lines[at + 1].strip():
        return None
    end = at + 2
    places = []
    for i in range(end, min(len(lines), at + _NEAR)):
        if caller := _CALLER.match(lines[i]):
            places.append((caller[1], caller[2]))
            end = min(i + 2, len(lines))  # the caller's source stands below
    places += [(found[1], found[2])] if found[2] else []
    location = f"{places[0][0]}.m:{places[0][1]}" if places else ""
    return Words(Role.UNCAUGHT, "", lines[at + 1].strip(), location, end)


TOOLS = (_panel, _hydra, _snakemake, _matlab)
