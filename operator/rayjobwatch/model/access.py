"""With what a watch's dashboard is asked: which Secret has its token and its CA, and what is read from it. Pure."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rayjobwatch.model.observation import Problem
from rayjobwatch.model.reasons import Reason
from rayjobwatch.model.spec import WatchSpec

if TYPE_CHECKING:
    from ssl import SSLContext

KUBERAY_TOKEN_KEY = "auth_token"  # noqa: S105 - a name
# A RayCluster of KubeRay's Kubernetes token mode is asked as this ServiceAccount of its own namespace, never as the
# controller: whoever may write the RayCluster runs what answers there, and could use whatever token it is sent.
DASHBOARD_ACCOUNT = "rayjobwatch-dashboard"
_LONGEST_NAME = 50
_TOKEN = re.compile(r"[!-~]{1,8192}")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class Relay:
    """With what the API server is asked to hand on what a dashboard is asked. `repr` shows no secret.

    authorization: the header, empty where a client certificate in `tls` speaks for us.  proxy: URL of an HTTP proxy.
    """

    authorization: str = field(default="", repr=False)
    tls: "SSLContext | None" = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """A token and the PEM of a CA for one dashboard, each empty where there is none. `repr` shows neither.

    relay: where it is asked through the API server.
    """

    token: str = field(default="", repr=False)
    ca: str = field(default="", repr=False)
    relay: Relay | None = None


NO_ACCESS = Access()


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One key of a Secret."""

    namespace: str
    name: str
    key: str

    def __str__(self) -> str:
        return f"Secret {self.namespace}/{self.name}, key {self.key}"


@dataclass(frozen=True, slots=True)
class Account:
    """A ServiceAccount whose token is asked for."""

    namespace: str
    name: str = DASHBOARD_ACCOUNT

    def __str__(self) -> str:
        return f"ServiceAccount {self.namespace}/{self.name}"


def token_source(namespace: str, spec: WatchSpec, cluster: Mapping[str, Any] | None) -> SecretKey | Account | None:
    """Return where the token comes from: as the watch says, else as its RayCluster's `authOptions` say."""
    if spec.auth:
        reference = spec.auth.token_secret_ref
        return SecretKey(namespace, reference.name, reference.key)
    options = ((cluster or {}).get("spec") or {}).get("authOptions") or {}
    if cluster is None or options.get("mode") != "token":
        return None
    if options.get("enableK8sTokenAuth"):
        return Account(namespace)
    name = options.get("secretName") or kuberay_secret_name(cluster["metadata"]["name"])
    return SecretKey(namespace, name, KUBERAY_TOKEN_KEY)


def ca_source(namespace: str, spec: WatchSpec) -> SecretKey | None:
    """Return where the dashboard's CA comes from, None for the public ones."""
    reference = spec.dashboard.ca_secret_ref if spec.dashboard else None
    return SecretKey(namespace, reference.name, reference.key) if reference else None


def kuberay_secret_name(cluster: str) -> str:
    """Return the name of the Secret that KubeRay makes for a RayCluster: the end of its name, beginning in a letter."""
    name = cluster[-_LONGEST_NAME:]
    return name if name[:1].isalpha() else f"r{name[1:]}"


def value_in(secret: Mapping[str, Any] | None, where: SecretKey) -> str | Problem:
    """Return what a Secret has at a key, as text without the white space around it."""
    data = (secret or {}).get("data") or {}
    if where.key not in data:
        lacks = "does not exist; create it with" if secret is None else "lacks"
        message = f"Secret {where.namespace}/{where.name} {lacks} the key {where.key}; it is waited for"
        return Problem(Reason.SECRET_NOT_FOUND, message)
    try:
        return base64.b64decode(data[where.key], validate=True).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def token_in(secret: Mapping[str, Any] | None, where: SecretKey) -> str | Problem:
    """Return the token in a Secret, or why there is none."""
    value = value_in(secret, where)
    if isinstance(value, Problem) or _TOKEN.fullmatch(value):
        return value
    message = f"{where} holds no token, which is printable ASCII without spaces; put the dashboard's into it"
    return Problem(Reason.INVALID_TOKEN, message)


def ca_in(secret: Mapping[str, Any] | None, where: SecretKey) -> str | Problem:
    """Return the certificates in a Secret, in PEM and without a bundle's remarks, or why there are none."""
    value = value_in(secret, where)
    if isinstance(value, Problem):
        return value
    return "\n".join(_CERTIFICATE.findall(value)) or bad_ca(where)


def bad_ca(where: SecretKey) -> Problem:
    """Say that a CA cannot be used."""
    return Problem(
        Reason.INVALID_CA, f"{where} holds no CA certificates in PEM; put those of the dashboard's CA into it"
    )


def no_account(account: Account) -> Problem:
    """Say that there is nobody to ask a dashboard of the Kubernetes token mode as."""
    message = (
        f"{account} does not exist; create it and let it use the RayCluster (verb ray:write on rayclusters), "
        "or name a Secret in spec.auth.tokenSecretRef"
    )
    return Problem(Reason.SERVICE_ACCOUNT_NOT_FOUND, message)


def refusal(problem: Problem, source: SecretKey | Account | None) -> Problem:
    """Say of a dashboard that refuses us what helps, by where the token came from."""
    if problem.reason is not Reason.UNAUTHORIZED:
        return problem
    said = f"it was asked with that of {source}" if source else "none is known: name its Secret in spec.auth"
    return Problem(problem.reason, f"{problem.message}; {said}", problem.stalled)
