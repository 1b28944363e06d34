"""How a dashboard is asked: directly, or through the API server, which hands on what it is asked."""

from typing import Any

from rayjobwatch.engine.credentials import trusting
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.ray import AsyncRayClient
from rayjobwatch.ray.inputs import AgentFilter

TIMEOUT = {"connect": 3.0, "read": 10.0}


def client_for(dashboard: Dashboard, agents: AgentFilter) -> AsyncRayClient:
    """Return a client of a dashboard. agents: which of its agents may be asked."""
    token = dashboard.access.token or None
    return AsyncRayClient(
        dashboard.url, token, timeout=TIMEOUT, agents=agents, connect_to=dashboard.place, **_options(dashboard)
    )


def _options(dashboard: Dashboard) -> dict[str, Any]:
    access = dashboard.access
    if access.relay is None:
        return {"verify": trusting(access.ca) if access.ca else True}
    # The header is for the API server alone, which takes it off; Ray's own token goes under another name.
    headers = {"Authorization": access.relay.authorization} if access.relay.authorization else {}
    return {"verify": access.relay.tls or True, "headers": headers, "proxy": access.relay.proxy}
