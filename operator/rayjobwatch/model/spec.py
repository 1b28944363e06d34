"""The spec of a RayJobWatch, read from the object that the API server sent.

The CRD's schema has refused bad objects at apply time already; what still arrives here wrong (an older CRD is
installed, say) becomes an `InvalidSpecError` that names the field.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel


class InvalidSpecError(ValueError):
    """The spec breaks a rule; the message names the field and the remedy."""


class Protocol(StrEnum):
    """Where log lines come from; None follows no log at all."""

    AUTO = "Auto"
    WEBSOCKET = "WebSocket"
    HTTP = "HTTP"
    NONE = "None"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, extra="ignore")


class RayClusterRef(_Part):
    """A RayCluster of the watch's own namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]


class DashboardRef(_Part):
    """A Ray dashboard without a RayCluster."""

    url: Annotated[str, Field(min_length=8, max_length=1024)]


class JobSelection(_Part):
    """The jobs that are watched."""

    ids: Annotated[tuple[str, ...], Field(min_length=1, max_length=50)]


class LogsSpec(_Part):
    """How logs are followed and how many lines of each are kept."""

    protocol: Protocol = Protocol.AUTO
    tail_lines: Annotated[int, Field(ge=0, le=100)] = 20


class StopSpec(_Part):
    """Which of the watched jobs are stopped. Deadlines are seconds."""

    requested: bool = False
    active_deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    pending_deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    on_deletion: bool = False


class WatchSpec(_Part):
    """`spec` of a RayJobWatch."""

    ray_cluster: RayClusterRef | None = None
    dashboard: DashboardRef | None = None
    jobs: JobSelection
    logs: LogsSpec = LogsSpec()
    stop: StopSpec = StopSpec()

    @property
    def acts_on_deletion(self) -> bool:
        """Whether something is to be done before the watch may be gone."""
        return self.stop.on_deletion

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.ray_cluster is None) == (self.dashboard is None):
            raise ValueError("set exactly one of spec.rayCluster and spec.dashboard")
        return self


def parse_spec(body: Mapping[str, Any]) -> WatchSpec:
    """Read `body["spec"]`; raise `InvalidSpecError` that names the field."""
    try:
        return WatchSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        raise InvalidSpecError("; ".join(_explain(item) for item in error.errors()[:3])) from None


def _explain(item: Mapping[str, Any]) -> str:
    where = ".".join(["spec", *(str(part) for part in item["loc"])])
    return f"{where}: {item['msg'].removeprefix('Value error, ')}"
