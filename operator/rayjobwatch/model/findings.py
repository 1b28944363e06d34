"""What was found in a job's log, as its row in status shows it."""

import json
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

from rayjobwatch.model.fields import RULE, VALUE, Room
from rayjobwatch.model.lens import Findings

_OMITTED = "omitted"
_FRAME_BYTES = len(f', "{_OMITTED}": 999, "rules": [], "values": []')


def write_findings(found: Findings, room: Room) -> dict[str, list[dict[str, Any]]]:
    """Return the fields of a row, by name: what rules and values have found."""
    rules = [{"name": name} | RULE.write(one, room) for name, one in sorted(found.rules.items())]
    values = [{"name": name} | VALUE.write(one, room) for name, one in sorted(found.values.items())]
    return {key: items for key, items in (("rules", rules), ("values", values)) if items}


def read_findings(row: Mapping[str, Any]) -> Findings:
    """Return what `write_findings` wrote."""
    rules = {str(item["name"]): RULE.read(item) for item in row.get("rules") or []}
    return Findings(rules, {str(item["name"]): VALUE.read(item) for item in row.get("values") or []})


def cut_findings(written: Mapping[str, list[dict[str, Any]]], most_bytes: int) -> dict[str, Any]:
    """Return as much of `written` as fits, rules that fire first; `omitted` counts what is left out."""
    kept = {key: list[dict[str, Any]]() for key in written}
    left = most_bytes - _FRAME_BYTES
    omitted = 0
    for key, item in sorted(_items(written), key=_weight):
        size = len(json.dumps(item, ensure_ascii=False).encode()) + len(", ")
        if size > left:
            omitted += 1
            continue
        left -= size
        kept[key].append(item)
    shown = {key: sorted(items, key=itemgetter("name")) for key, items in kept.items() if items}
    return shown | ({_OMITTED: omitted} if omitted else {})


def _items(written: Mapping[str, list[dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((key, item) for key, items in written.items() for item in items)


def _weight(entry: tuple[str, dict[str, Any]]) -> tuple[bool, bool]:
    key, item = entry
    return not item.get("firing"), key != "rules"
