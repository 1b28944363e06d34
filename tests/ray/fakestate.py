"""The part of the fake dashboard that is not about jobs: nodes, tasks, actors, and Serve applications."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ray.wire import Exchange

LIMIT = 10_000
DEPLOYED = 1795168357.73


def node(node_id: str, state: str = "ALIVE", *, head: bool = False, **resources: float) -> dict[str, Any]:
    """Return a row of `/api/v0/nodes`."""
    return {
        "node_id": node_id,
        "node_ip": "192.0.2.2",
        "is_head_node": head,
        "state": state,
        "state_message": None,
        "node_name": node_id[:8],
        "resources_total": resources or {"CPU": 4.0, "memory": 1e9},
        "labels": {"ray.io/node-id": node_id},
    }


def task(task_id: str, attempt: int = 0, state: str = "FINISHED", name: str = "work") -> dict[str, Any]:
    """Return a row of `/api/v0/tasks`."""
    return {
        "task_id": task_id,
        "attempt_number": attempt,
        "name": name,
        "state": state,
        "job_id": "01000000",
        "type": "NORMAL_TASK",
        "node_id": "a" * 56,
        "error_type": None,
    }


def application(name: str, source: str = "declarative", status: str = "RUNNING") -> dict[str, Any]:
    """Return an application as `/api/serve/applications/` shows it."""
    config = {"name": name, "route_prefix": f"/{name}", "import_path": "sapp:app"}
    return {
        "name": name,
        "route_prefix": f"/{name}",
        "docs_path": None,
        "status": status,
        "message": "",
        "last_deployed_time_s": DEPLOYED,
        "source": source,
        "deployed_app_config": config if source == "declarative" else None,
        "deployments": {},
    }


@dataclass
class ClusterState:
    """Rows of the state API and the applications of Serve, as the routes below show them."""

    nodes: list[dict[str, Any]] = field(default_factory=lambda: [node("a" * 56, head=True)])
    tasks: list[dict[str, Any]] = field(default_factory=list)
    actors: list[dict[str, Any]] = field(default_factory=list)
    placement_groups: list[dict[str, Any]] = field(default_factory=list)
    driver_jobs: list[dict[str, Any]] = field(default_factory=list)
    applications: dict[str, dict[str, Any]] = field(default_factory=dict)
    serve_puts: list[dict[str, Any]] = field(default_factory=list)

    def routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        return [
            ("GET", r"/api/v0/(nodes|tasks|actors|placement_groups)", self._list),
            ("GET", r"/api/serve/applications/", self._serve_get),
            ("PUT", r"/api/serve/applications/", self._serve_put),
            ("DELETE", r"/api/serve/applications/", self._serve_delete),
        ]

    async def _list(self, exchange: Exchange, kind: str) -> None:
        rows = list(getattr(self, kind))
        query = exchange.request.query
        total = len(rows)
        keys, values = query.get("filter_keys", []), query.get("filter_values", [])
        for key, predicate, value in zip(keys, query.get("filter_predicates", []), values, strict=False):
            rows = [row for row in rows if (str(row.get(key)).lower() == value.lower()) is (predicate == "=")]
        limit = int(exchange.request.param("limit", "100"))
        if limit > LIMIT:
            await exchange.json({"result": False, "msg": "limit too large", "data": {"result": None}}, 400)
            return
        result = {
            "total": total,
            "num_after_truncation": min(total, LIMIT),
            "num_filtered": len(rows),
            "result": rows[:limit],
            "partial_failure_warning": "",
            "warnings": None,
        }
        await exchange.json({"result": True, "msg": "", "data": {"result": result}})

    async def _serve_get(self, exchange: Exchange) -> None:
        await exchange.json(
            {
                "controller_info": {"actor_name": "SERVE_CONTROLLER_ACTOR"} if self.applications else {},
                "proxy_location": "EveryNode",
                "http_options": {"host": "127.0.0.1", "port": 8000},
                "grpc_options": {"port": 9000},
                "proxies": {},
                "applications": self.applications,
                "target_capacity": None,
            }
        )

    async def _serve_put(self, exchange: Exchange) -> None:
        body = exchange.request.json()
        self.serve_puts.append(body)
        if "applications" not in body:
            await exchange.send(400, "Traceback (most recent call last):\nValidationError: applications missing")
            return
        routes = [route for app in body["applications"] if (route := app.get("route_prefix", "/")) is not None]
        if len(routes) > len(set(routes)):
            await exchange.send(400, 'ValueError: Found duplicate applications for route prefix "/".')
            return
        kept = {name: app for name, app in self.applications.items() if app["source"] == "imperative"}
        now = {"last_deployed_time_s": DEPLOYED + 10 * len(self.serve_puts)}  # also of what is put as it was
        for config in body["applications"]:
            kept[config["name"]] = application(config["name"]) | {"deployed_app_config": config} | now
        self.applications = kept
        await exchange.send(200)

    async def _serve_delete(self, exchange: Exchange) -> None:
        self.applications = {}
        await exchange.send(200)
