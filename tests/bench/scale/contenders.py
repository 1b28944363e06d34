"""Who can be measured: a program that follows Ray jobs for objects of its own kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.scale.kube import Json
from tests.cluster.controller import Program
from tests.localcluster.controlplane import ControlPlane


class Shown(NamedTuple):
    """What a status says: the state as RayJobWatches name it, empty while there is none; whether the job is over."""

    state: str
    is_finished: bool


class Start(NamedTuple):
    """What a program is started with.

    dashboards: URLs by NAMESPACE/NAME of the RayCluster. proxy: an HTTP proxy that knows them by their Services' names.
    """

    kubeconfig: Path
    log: Path
    dashboards: Mapping[str, str]
    proxy: str
    arguments: Sequence[str]


@dataclass(frozen=True, slots=True)
class Contender:
    """A program and its objects.

    account: its ServiceAccount, (namespace, name). api, resource: where its objects are.
    install: what an administrator does before. program: how it is started.
    body: an object, by its name, RayCluster and job. shown: what a status of it says.
    cluster: what the specs of RayClusters must have more.
    tells_all: it reads logs and posts an Event at a job's end.
    """

    name: str
    account: tuple[str, str]
    api: str
    resource: str
    install: Callable[[ControlPlane], None]
    program: Callable[[Start], Program]
    body: Callable[[str, str, str], Json]
    shown: Callable[[Json], Shown]
    cluster: Mapping[str, Any] = field(default_factory=dict)
    tells_all: bool = False

    @property
    def user(self) -> str:
        """Its name in the audit log."""
        return f"system:serviceaccount:{self.account[0]}:{self.account[1]}"

    def path(self, namespace: str) -> str:
        """Return where its objects are."""
        return f"apis/{self.api}/namespaces/{namespace}/{self.resource}"
