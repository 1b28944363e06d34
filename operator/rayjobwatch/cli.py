"""The command line: `rayjobwatch run`."""

import argparse
import asyncio
import logging
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from rayjobwatch.settings import ClusterKey, Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    options = _parser().parse_args(arguments)
    return _run(_settings(options), options.log_format)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rayjobwatch", description="Makes Ray jobs Kubernetes facts.")
    parser.add_argument("--version", action="version", version=version("rayjobwatch"))
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the controller until SIGTERM or SIGINT")
    run.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="how to reach the API server (default: the pod's ServiceAccount, else KUBECONFIG)",
    )
    run.add_argument(
        "--namespace",
        action="append",
        default=[],
        type=_namespace,
        metavar="NAME",
        help="watch this namespace only; may be given several times (default: all)",
    )
    run.add_argument(
        "--dashboard-override",
        action="append",
        default=[],
        type=_override,
        metavar="NAMESPACE/NAME=URL",
        help="dashboard of a RayCluster whose Service cannot be reached from here; may be given several times",
    )
    run.add_argument(
        "--use-kubernetes-proxy",
        action="store_true",
        help="ask the dashboards of RayClusters through the API server, with the kubeconfig's credentials, where their "
        "Services cannot be reached from here; needs services/proxy, see manifests/proxy (default: directly)",
    )
    run.add_argument(
        "--allow-dashboard-url",
        action="append",
        default=[],
        type=_pattern,
        metavar="PATTERN",
        help="admit spec.dashboard.url where this matches: an origin with an optional path, such as "
        "https://ray.example.com or https://*.ray.example.com/team-a, or * for every URL; may be given several "
        "times (default: none)",
    )
    run.add_argument("--cluster-domain", default="cluster.local", metavar="NAME", help="(default: %(default)s)")
    run.add_argument("--health-port", type=_port, default=0, metavar="PORT", help="serve /healthz (default: none)")
    run.add_argument("--log-format", choices=("text", "json"), default="text", help="(default: %(default)s)")
    return parser


def _namespace(text: str) -> str:
    # kopf would take patterns too, but the API server lists by names only.
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text!r}: must be the name of a namespace; give the option once for each")
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a port, 1 to 65535, or 0 for none")
    return int(text)


def _override(text: str) -> tuple[ClusterKey, str]:
    where, _, url = text.partition("=")
    namespace, _, name = where.partition("/")
    if not (namespace and name and _is_origin(url)):
        raise argparse.ArgumentTypeError(f"{text!r}: must be NAMESPACE/NAME=http://HOST:PORT")
    return (namespace, name), url


def _pattern(text: str) -> str:
    host = (urlsplit(text).hostname or "") if _is_origin(text) else ""
    if text != "*" and (not host or "*" in host.removeprefix("*.") or host.endswith(".")):
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be * or http(s)://HOST[:PORT][/PATH], where HOST may begin with *."
        )
    return text


def _is_origin(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return port_is_fine and parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        kubeconfig=options.kubeconfig,
        namespaces=tuple(options.namespace),
        dashboard_overrides=dict(options.dashboard_override),
        allowed_dashboard_urls=tuple(options.allow_dashboard_url),
        use_kubernetes_proxy=options.use_kubernetes_proxy,
        cluster_domain=options.cluster_domain,
        health_port=options.health_port,
    )


def _run(settings: Settings, log_format: str) -> int:
    # Here and not above: the help must not wait for a second of imports.
    try:
        from rayjobwatch import app, logs  # noqa: PLC0415
        from rayjobwatch.kube.client import KubeError  # noqa: PLC0415
    except ImportError as error:
        print(f"rayjobwatch: {error}: install rayjobwatch[operator]", file=sys.stderr)  # noqa: T201
        return 1
    logs.configure(log_format)
    try:
        asyncio.run(app.run(settings))
    except KubeError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
