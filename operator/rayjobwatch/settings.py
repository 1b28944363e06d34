"""What an administrator may set. The command line fills it (`cli.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ClusterKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one controller.

    kubeconfig: file to reach the API server with; None: the pod's ServiceAccount, else KUBECONFIG.
    namespaces: namespaces to watch; empty: all.
    dashboard_overrides: dashboard URL of RayClusters that cannot be reached by their Service, by (namespace, name).
    allowed_dashboard_urls: patterns that admit a `spec.dashboard.url` (see `model.dashboard.is_allowed`).
    use_kubernetes_proxy: ask the dashboards of RayClusters through the API server, but for those with an override.
    cluster_domain: domain of the cluster's Services.
    health_port: port of /healthz; 0: none.
    """

    kubeconfig: Path | None = None
    namespaces: tuple[str, ...] = ()
    dashboard_overrides: Mapping[ClusterKey, str] = field(default_factory=dict)
    allowed_dashboard_urls: tuple[str, ...] = ()
    use_kubernetes_proxy: bool = False
    cluster_domain: str = "cluster.local"
    health_port: int = 0
