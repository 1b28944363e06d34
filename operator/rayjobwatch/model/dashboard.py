"""Where a watch's dashboard is: from a RayCluster and its head Service, or from an allowed URL. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from rayjobwatch.model.access import NO_ACCESS, Access
from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason

DASHBOARD_PORT_NAME = "dashboard"
_HOST = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]+")


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard that may be asked, and with what: who has not the same may not see what it answers.

    `place` is where to connect to, whatever the name in `url` leads to (None: there). `agent_host` is the only host
    whose Ray agent may be asked (empty: none). `relayed`: the API server hands on what it is asked.
    """

    url: str
    cluster_uid: str = ""
    agent_host: str = ""
    access: Access = NO_ACCESS
    place: tuple[str, int] | None = None
    relayed: bool = False


def head_service_name(cluster: Mapping[str, Any]) -> str:
    """Return the head Service of a RayCluster: as its status says, else as its spec does, else by KubeRay's naming."""
    status = (cluster.get("status") or {}).get("head") or {}
    spec = (cluster.get("spec") or {}).get("headGroupSpec") or {}
    service = (spec.get("headService") or {}).get("metadata") or {}
    return status.get("serviceName") or service.get("name") or f"{cluster['metadata']['name']}-head-svc"


def service_url(service: Mapping[str, Any], cluster_domain: str) -> str | Problem:
    """Return the dashboard's in-cluster URL from the head Service, or why there is none."""
    meta = service["metadata"]
    for port in (service.get("spec") or {}).get("ports") or []:
        if port.get("name") == DASHBOARD_PORT_NAME:
            return f"http://{meta['name']}.{meta['namespace']}.svc.{cluster_domain}:{port['port']}"
    return Problem(
        Reason.DASHBOARD_PORT_NOT_FOUND,
        f"Service {meta['name']} has no port named {DASHBOARD_PORT_NAME!r}: declare containerPort 8265 with that name "
        "in the RayCluster's head container",
    )


def dashboard_of(cluster: Mapping[str, Any], url: str, place: tuple[str, int] | None = None) -> Dashboard:
    """Return the dashboard at `url` of a RayCluster whose head is up; its agent is there, or where its status says."""
    head = (cluster.get("status") or {}).get("head") or {}
    host = place[0] if place else head.get("podIP") or ""
    return Dashboard(url, cluster["metadata"].get("uid", ""), host, place=place)


def is_allowed(url: str, patterns: Iterable[str]) -> bool:
    """Whether an administrator's pattern admits `url`.

    A pattern is an origin, perhaps with a path: `https://ray.example.com`, `https://*.ray.example.com/team-a`,
    `http://10.0.0.7:8265`. Scheme and port must be the same, `*.` stands for one or more labels, and a path admits
    itself and what lies below it. A lone `*` admits every http(s) URL. A user, query or fragment is never admitted.
    """
    return any(_admits(pattern, url) for pattern in patterns)


def _admits(pattern: str, url: str) -> bool:
    try:
        wanted, given = urlsplit(pattern), urlsplit(url)
        if not _is_plain(url, given):
            return False
        same_port = _port(wanted) == _port(given)
    except ValueError:
        return False
    if pattern == "*":
        return True
    return wanted.scheme == given.scheme and same_port and _host_matches(wanted, given) and _path_matches(wanted, given)


def _is_plain(text: str, url: SplitResult) -> bool:
    """Whether every reader of `text` sees the same origin and path in it."""
    odd = not text.isascii() or not text.isprintable() or any(sign in text for sign in "@?#\\ ")
    return not odd and url.scheme in ("http", "https") and bool(_HOST.fullmatch(url.hostname or "")) and url.port != 0


def _port(url: SplitResult) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def _host_matches(pattern: SplitResult, url: SplitResult) -> bool:
    wanted, host = pattern.hostname or "", url.hostname or ""
    if wanted.startswith("*."):
        return host.endswith(wanted[1:]) and len(host) > len(wanted) - 1
    return host == wanted


def _path_matches(pattern: SplitResult, url: SplitResult) -> bool:
    prefix = pattern.path.rstrip("/")
    inside = url.path == prefix or url.path.startswith(f"{prefix}/") or not prefix
    return inside and ".." not in url.path and "%" not in url.path
