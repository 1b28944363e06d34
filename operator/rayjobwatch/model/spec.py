"""The spec of a RayJobWatch, read from the object that the API server sent.

The CRD's schema has refused bad objects at apply time already; what still arrives here wrong (an older CRD is
installed, say) becomes an `InvalidSpecError` that names the field.
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from rayjobwatch.model.lens import Lens, lens_of
from rayjobwatch.model.redaction.patterns import MAX_PATTERNS, compiled
from rayjobwatch.model.rules import MAX_RULES, Rule
from rayjobwatch.model.values import MAX_VALUES, ValuePattern


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


class SecretKeyRef(_Part):
    """One key of a Secret of the watch's own namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    key: Annotated[str, Field(min_length=1, max_length=253)]


class DashboardRef(_Part):
    """A Ray dashboard without a RayCluster."""

    url: Annotated[str, Field(min_length=8, max_length=1024)]
    ca_secret_ref: SecretKeyRef | None = None


class AuthSpec(_Part):
    """With what the dashboard is asked."""

    token_secret_ref: SecretKeyRef


class JobSelection(_Part):
    """The jobs that are watched: those of `ids`, else all that `metadata` and `entrypoint` select."""

    ids: Annotated[tuple[str, ...], Field(min_length=1, max_length=50)] = ()
    metadata: Annotated[dict[str, str], Field(max_length=16)] = Field(default_factory=dict)
    entrypoint: Annotated[str, Field(max_length=1024)] = ""
    include_finished: bool = False

    @field_validator("entrypoint")
    @classmethod
    def _is_re2(cls, pattern: str) -> str:
        compiled(pattern)
        return pattern

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.ids and (self.metadata or self.entrypoint or self.include_finished):
            raise ValueError("remove metadata, entrypoint and includeFinished, or remove ids")
        return self


class EventLevel(StrEnum):
    """What kind of Event a log rule posts."""

    NORMAL = "Normal"
    WARNING = "Warning"
    NONE = "None"


Pattern = Annotated[str, Field(min_length=1, max_length=1024)]
Name = Annotated[str, Field(min_length=1, max_length=63)]


class ThresholdSpec(_Part):
    """How many matching lines within how long a time make a rule fire."""

    count: Annotated[int, Field(ge=1, le=1_000_000)]
    within_seconds: Annotated[int, Field(ge=1, le=86_400)]


class RuleAction(StrEnum):
    """What is done when a rule fires, beside telling it."""

    STOP_JOB = "StopJob"


class RuleSpec(_Part):
    """A log rule. Without threshold one line is enough; without reset it fires once."""

    name: Name
    pattern: Pattern
    event: EventLevel = EventLevel.WARNING
    condition: Annotated[str, Field(max_length=63)] = ""
    threshold: ThresholdSpec | None = None
    reset_after_seconds: Annotated[int, Field(ge=10, le=86_400)] | None = None
    reset_pattern: Annotated[str, Field(max_length=1024)] = ""
    action: RuleAction | None = None

    @property
    def rule(self) -> Rule:
        """The rule in the model's own words."""
        threshold = self.threshold
        return Rule(
            name=self.name,
            pattern=self.pattern,
            count=threshold.count if threshold else 1,
            within=timedelta(seconds=threshold.within_seconds) if threshold else None,
            reset_after=timedelta(seconds=self.reset_after_seconds) if self.reset_after_seconds else None,
            reset_pattern=self.reset_pattern,
        )


class ValueSpec(_Part):
    """A number to be read off the log."""

    name: Name
    pattern: Pattern


class LogsSpec(_Part):
    """How logs are followed, what is kept of them and what is looked for in them."""

    protocol: Protocol = Protocol.AUTO
    tail_lines: Annotated[int, Field(ge=0, le=100)] = 20
    redact: Annotated[tuple[Pattern, ...], Field(max_length=MAX_PATTERNS)] = ()
    rules: Annotated[tuple[RuleSpec, ...], Field(max_length=MAX_RULES)] = ()
    values: Annotated[tuple[ValueSpec, ...], Field(max_length=MAX_VALUES)] = ()

    @cached_property
    def lens(self) -> Lens:
        """What is looked for, and what is not shown, compiled."""
        values = tuple(ValuePattern(one.name, one.pattern) for one in self.values)
        return lens_of(tuple(one.rule for one in self.rules), values, self.redact)


class StopSpec(_Part):
    """Which of the watched jobs are stopped. Deadlines are seconds."""

    requested: bool = False
    active_deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    pending_deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    on_deletion: bool = False


class ServeCleanup(StrEnum):
    """When the Serve applications of a watch are deleted."""

    NEVER = "Never"
    ON_FINISHED = "OnFinished"
    ON_FAILED = "OnFailed"
    ON_DELETION = "OnDeletion"


class ServeSpec(_Part):
    """Which Serve applications are deleted, by name or glob, and when."""

    applications: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    cleanup: ServeCleanup = ServeCleanup.NEVER

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if self.cleanup is not ServeCleanup.NEVER and not self.applications:
            raise ValueError("cleanup needs applications: name those that may be deleted")
        return self


class RetentionSpec(_Part):
    """How long jobs' records in Ray and the watch itself are kept after their end, in seconds; None: for good."""

    delete_record_after_seconds: Annotated[int, Field(ge=10)] | None = None
    ttl_seconds_after_finished: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _watch_outlives_records(self) -> Self:
        ttl, age = self.ttl_seconds_after_finished, self.delete_record_after_seconds
        if ttl is not None and age is not None and ttl < age:
            raise ValueError("ttlSecondsAfterFinished must not be less than deleteRecordAfterSeconds")
        return self


class WatchSpec(_Part):
    """`spec` of a RayJobWatch."""

    ray_cluster: RayClusterRef | None = None
    dashboard: DashboardRef | None = None
    auth: AuthSpec | None = None
    jobs: JobSelection = JobSelection()
    logs: LogsSpec = LogsSpec()
    stop: StopSpec = StopSpec()
    serve: ServeSpec = ServeSpec()
    retention: RetentionSpec = RetentionSpec()

    @property
    def acts_on_deletion(self) -> bool:
        """Whether something is to be done before the watch may be gone."""
        return self.stop.on_deletion or self.serve.cleanup is ServeCleanup.ON_DELETION

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.ray_cluster is None) == (self.dashboard is None):
            raise ValueError("set exactly one of spec.rayCluster and spec.dashboard")
        return self

    @model_validator(mode="after")
    def _stops_what_is_named(self) -> Self:
        if self.stop != StopSpec() and not (self.jobs.ids or self.jobs.metadata or self.jobs.entrypoint):
            raise ValueError("spec.stop needs ids, metadata or entrypoint in spec.jobs")
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
