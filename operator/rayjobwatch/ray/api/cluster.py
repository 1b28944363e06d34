"""What Ray is asked about the cluster: its version, nodes, tasks, actors, placement groups, and resources."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from rayjobwatch.ray.api.records import RayVersion, Record, is_finite, version_of
from rayjobwatch.ray.errors import InvalidInputError, NotFoundError, ServerError, last_line
from rayjobwatch.ray.inputs import check_count, check_id
from rayjobwatch.ray.plan import (
    LARGEST_LIST,
    Plan,
    Request,
    Response,
    error_of,
    fetch_json,
    json_of,
    proxy_message,
)

MOST_ROWS: Final = 10_000
_UNHEALTHY: Final = b"Health check failed"
Filter = tuple[str, str, Any]
Filters = Sequence[Filter]
Resources = dict[str, float]
RowT = TypeVar("RowT", bound=Record)


class NodeDetails(Record):
    """A node: `node_id`, `node_ip`, `state` (ALIVE or DEAD), `alive` (bool), `is_head_node`, `resources_total`."""

    @property
    def node_id(self) -> str:
        """56 hex digits."""
        return str(self["node_id"])

    @property
    def state(self) -> str:
        """ALIVE or DEAD."""
        return str(self["state"])

    @property
    def alive(self) -> bool:
        """Whether the node is alive."""
        return self.get("state") == "ALIVE"


class StateRow(Record):
    """A row of the state API; its keys are Ray's."""

    @property
    def state(self) -> str | None:
        """Ray's name of the state."""
        return self._text("state")


class StateList(list[RowT], Generic[RowT]):
    """Rows of the state API.

    total: how many there are on the cluster, before filters that the server applies late; matching: how many after all
    of them.  truncated: whether the server left rows out (it gives at most 10,000 and has no pages: narrow the question
    by filters).  warnings: what else it says is missing.
    """

    def __init__(
        self, rows: Iterable[RowT], total: int, matching: int, *, truncated: bool, warnings: Sequence[str] = ()
    ) -> None:
        super().__init__(rows)
        self.total = total
        self.matching = matching
        self.truncated = truncated
        self.warnings = tuple(warnings)


def get_version() -> Plan[RayVersion]:
    """Ask for the versions of Ray and of its API."""
    operation = "get_version"
    return version_of((yield from fetch_json(Request(operation=operation, path="/api/version"))), operation)


def list_state(
    resource: str,
    row_type: type[RowT],
    *,
    filters: Filters = (),
    detail: bool = False,
    limit: int = MOST_ROWS,
) -> Plan[StateList[RowT]]:
    """Ask for rows of `nodes`, `tasks`, `actors` or `placement_groups`."""
    operation = f"list_{resource}"
    query = [("limit", str(check_count(limit, "limit", 1, MOST_ROWS))), *_filter_query(filters)]
    if detail:
        query.append(("detail", "true"))
    request = Request(operation=operation, path=f"/api/v0/{resource}", query=tuple(query), max_body=LARGEST_LIST)
    response: Response = yield request
    if response.status != 200:
        reason = _message(response) if response.status == 400 else ""
        raise error_of(response, operation, reason)
    return _rows(json_of(response, operation), row_type, limit, operation)


def _filter_query(filters: Any) -> list[tuple[str, str]]:
    """Say each filter by all three of its parts: Ray ignores filters without a predicate, silently."""
    if not isinstance(filters, (list, tuple)):
        raise InvalidInputError("filters must be a list of (key, '=' or '!=', value)")
    query = []
    for each in filters:
        if not isinstance(each, (list, tuple)) or len(each) != 3 or each[1] not in {"=", "!="}:
            raise InvalidInputError("filters must be a list of (key, '=' or '!=', value)")
        key, predicate, value = each
        if not isinstance(key, str) or not re.fullmatch(r"\w+", key) or not isinstance(value, (str, int, float)):
            raise InvalidInputError("a filter's key must be a column's name, its value text or a number")
        query += [("filter_keys", key), ("filter_predicates", predicate), ("filter_values", str(value))]
    return query


def _message(response: Response) -> str:
    try:
        message = json_of(response, "").get("msg")
    except (ServerError, AttributeError):
        message = None
    return last_line(message.encode()) if isinstance(message, str) else ""


def _rows(answer: Any, row_type: type[RowT], limit: int, operation: str) -> StateList[RowT]:
    table = answer.get("data") if isinstance(answer, dict) else None
    table = table.get("result") if isinstance(table, dict) else None
    rows = table.get("result") if isinstance(table, dict) else None
    if not isinstance(table, dict) or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ServerError(f"{operation}: the answer is not Ray's")
    total, kept = table.get("total"), table.get("num_after_truncation")
    total = total if isinstance(total, int) else len(rows)
    kept = kept if isinstance(kept, int) else total
    filtered = table.get("num_filtered")
    matching = filtered if isinstance(filtered, int) else len(rows)
    # A filter that matches nothing may come with total 1 and num_after_truncation 0.
    truncated = (total > kept >= MOST_ROWS) or (matching > len(rows) >= limit)
    warnings = [*_texts([table.get("partial_failure_warning") or ""]), *_texts(table.get("warnings"))]
    made = [_row(row, row_type, operation) for row in rows]
    return StateList(made, total, matching, truncated=truncated, warnings=[each for each in warnings if each])


def _texts(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _row(row: dict[str, Any], row_type: type[RowT], operation: str) -> RowT:
    made = row_type(row)
    if isinstance(made, NodeDetails):
        if not isinstance(row.get("node_id"), str) or not isinstance(row.get("state"), str):
            raise ServerError(f"{operation}: the answer is not a node of Ray")
        made["alive"] = made.alive
    return made


def get_node(node_id: str) -> Plan[NodeDetails]:
    """Ask for one node."""
    nodes = yield from list_state("nodes", NodeDetails, filters=[("node_id", "=", check_id(node_id, "node_id"))])
    return _only(nodes, "node_id", node_id, f"get_node({node_id!r})")


def get_row(resource: str, column: str, row_id: str) -> Plan[StateRow]:
    """Ask for one actor or placement group, in detail."""
    filters = [(column, "=", check_id(row_id, column))]
    rows = yield from list_state(resource, StateRow, filters=filters, detail=True)
    return _only(rows, column, row_id, f"{column} {row_id!r}")


def get_task(task_id: str, attempt: int | None) -> Plan[StateRow]:
    """Ask for one attempt of a task, the newest unless said otherwise."""
    if attempt is not None:
        check_count(attempt, "attempt", 0)
    filters = [("task_id", "=", check_id(task_id, "task_id"))]
    rows = yield from list_state("tasks", StateRow, filters=filters, detail=True)
    wanted = [row for row in rows if attempt is None or row.get("attempt_number") == attempt]
    wanted.sort(key=lambda row: row._number("attempt_number") or 0)  # noqa: SLF001
    return _only(wanted[-1:], "task_id", task_id, f"get_task({task_id!r})")


def _only(rows: Sequence[RowT], column: str, wanted: str, operation: str) -> RowT:
    for row in rows:
        if str(row.get(column)).lower() == wanted.lower():
            return row
    raise NotFoundError(f"{operation}: not found")


def cluster_resources() -> Plan[Resources]:
    """Add up what the nodes that are alive have."""
    nodes = yield from list_state("nodes", NodeDetails)
    return _sum(_total(node) for node in nodes if node.alive)


def available_resources() -> Plan[Resources]:
    """Add up what the nodes have free."""
    nodes = yield from node_resources()
    return _sum(node["available"] for node in nodes.values())


def node_resources() -> Plan[dict[str, dict[str, Resources]]]:
    """Return total and free resources of each node that is alive."""
    nodes = yield from list_state("nodes", NodeDetails)
    used = _used(
        (yield from fetch_json(Request(operation="node_resources", path="/api/cluster_status", max_body=LARGEST_LIST))),
        "node_resources",
    )
    return {node.node_id: _with_free(_total(node), used.get(node.node_id, {})) for node in nodes if node.alive}


def _total(node: NodeDetails) -> Resources:
    total = node.get("resources_total")
    if not isinstance(total, dict) or not all(is_finite(value) for value in total.values()):
        raise ServerError("the answer names no resources of a node")
    return {name: float(value) for name, value in total.items()}


def _sum(parts: Iterable[Resources]) -> Resources:
    total: Counter[str] = Counter()
    for part in parts:
        for name, value in part.items():
            total[name] += value  # type: ignore[assignment]
    return dict(total)


def _used(answer: Any, operation: str) -> dict[str, dict[str, float]]:
    """Read the usage of each node, under the names that the dashboard's page gives to resources."""
    for key in ("data", "clusterStatus", "loadMetricsReport", "usageByNode"):
        answer = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(answer, dict):
        raise ServerError(
            f"{operation}: the dashboard knows no usage; the head is starting, or has no monitor (--no-monitor)"
        )
    return {
        str(node): {name: pair[0] for name, pair in usage.items() if _is_pair(pair)}
        for node, usage in answer.items()
        if isinstance(usage, dict)
    }


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and is_finite(pair[0])


def _with_free(total: Resources, used: Mapping[str, float]) -> dict[str, Resources]:
    free = {name: value - used.get(name, used.get(camel_case(name), 0.0)) for name, value in total.items()}
    return {"total": total, "available": free}


def camel_case(name: str) -> str:
    """Spell a key as the dashboard does for its own pages: `object_store_memory` is `objectStoreMemory`."""
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def is_healthy() -> Plan[bool]:
    """Ask whether the dashboard reaches the cluster's control store."""
    response: Response = yield Request(operation="is_healthy", path="/api/gcs_healthz")
    if (response.status, response.body.strip()) == (200, b"success"):
        return True
    if response.status == 503 and _UNHEALTHY in response.body and proxy_message(response) is None:
        return False
    raise error_of(response, "is_healthy")
