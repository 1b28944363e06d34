"""Ray Serve's applications one at a time, over an API that knows only all of them at once.

Ray has no request for one application, only a PUT of all declarative ones, and no compare-and-swap. So the others are
put again just as they were read the moment before: their replicas stay and serve on, those whose last deployment failed
are tried again. What somebody else deploys or deletes between the two requests is undone (the GET takes 6 to 21 ms, the
PUT 10 to 15). The other way, `serve.delete` inside of a job, has no such gap, but leaves a declarative application in
Serve's checkpoint: by its source, a controller that restarts would bring it back.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from rayjobwatch.ray.api.jobs import LAST_LOOK
from rayjobwatch.ray.api.records import Record, is_finite
from rayjobwatch.ray.errors import (
    ClientError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
    RequestTimeoutError,
    ServerError,
    last_line,
    without_variables,
)
from rayjobwatch.ray.inputs import check_seconds
from rayjobwatch.ray.plan import LARGEST_LIST, Plan, Request, Response, Wait, check_empty, error_of, fetch_json

_PATH: Final = "/api/serve/applications/"
_KEPT: Final = ("proxy_location", "http_options", "grpc_options", "logging_config", "target_capacity")
_NOWHERE: Final = "rayjobwatch_application_to_be_deleted:app"
_START_OF_SERVE: Final = 60.0


class ServeApplication(Record):
    """A Serve application: `name`, `status`, `message`, `route_prefix`, `source`, `deployments` and more."""

    @property
    def name(self) -> str:
        """Its name."""
        return str(self["name"])

    @property
    def status(self) -> str:
        """NOT_STARTED, DEPLOYING, DEPLOY_FAILED, RUNNING, UNHEALTHY or DELETING."""
        return str(self["status"])

    @property
    def message(self) -> str:
        """What Serve says about the status; for a failure a traceback."""
        return self._text("message") or ""

    @property
    def is_declarative(self) -> bool:
        """Whether it was deployed by a config, over this API."""
        return self._config is not None

    @property
    def is_going(self) -> bool:
        """Whether it is being deleted."""
        return self.status == "DELETING"

    @property
    def is_taken_over(self) -> bool:
        """Whether a deletion was cut short that had put it without its code, to leave it out then."""
        return self._config is not None and self._config.get("import_path") == _NOWHERE

    @property
    def last_deployed_time_s(self) -> float | None:
        """Seconds since the epoch, by the head's clock; also Ray's PUT of an unchanged application counts."""
        value = self.get("last_deployed_time_s")
        return float(value) if value is not None and is_finite(value) else None

    @property
    def _config(self) -> dict[str, Any] | None:
        config = self.get("deployed_app_config")
        return config if isinstance(config, dict) and self.get("source") != "imperative" else None


class _Serve:
    """The whole answer about Serve."""

    def __init__(self, answer: Any, operation: str) -> None:
        self.operation = operation
        applications = answer.get("applications") if isinstance(answer, dict) else None
        if not isinstance(applications, dict):
            raise ServerError(f"{operation}: the answer is not Ray Serve's")
        self.answer: dict[str, Any] = answer
        self.apps = {str(name): self._app(name, app) for name, app in applications.items()}

    def _app(self, name: str, app: Any) -> ServeApplication:
        if not isinstance(app, dict) or not isinstance(app.get("status"), str):
            raise ServerError(f"{self.operation}: the answer is not Ray Serve's")
        return ServeApplication(app | {"name": name})

    def get(self, name: str) -> ServeApplication:
        if name in self.apps:
            return self.apps[name]
        raise NotFoundError(f"{self.operation}: not found")

    def config(self, *, but: Collection[str], with_: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Return the config of all declarative applications, some left out and perhaps put anew."""
        others = [
            app["deployed_app_config"]
            for name, app in self.apps.items()
            if name not in but and app.is_declarative and not app.is_going  # named again, it would come back
        ]
        if _is_redacted(others):
            raise ServerError(f"{self.operation}: the dashboard masks the applications' variables; they would be lost")
        kept = {key: _without_nulls(self.answer[key]) for key in _KEPT if self.answer.get(key) is not None}
        return {**kept, "applications": [*others, *map(dict, with_)]}


def _without_nulls(value: Any) -> Any:
    return {key: each for key, each in value.items() if each is not None} if isinstance(value, dict) else value


def _is_redacted(value: Any) -> bool:
    rest = [value]  # and no recursion: a server may nest as deep as it likes
    while rest:
        each = rest.pop()
        if each == "<redacted>":
            return True
        rest += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
    return False


class _Deadline:
    """Until when a call may take; `wait` None for as long as its requests may."""

    def __init__(self, wait: float | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.until = None if wait is None else clock() + check_seconds(wait, "wait")

    @property
    def left(self) -> float | None:
        """Seconds that are left, below 0 after it; None for any number."""
        return None if self.until is None else self.until - self._clock()

    @property
    def at_most(self) -> float | None:
        """Seconds that a request may take: the last look may go a second beyond the deadline."""
        return None if self.left is None else max(self.left, LAST_LOOK)

    def pause(self, most: float) -> Wait:
        """Wait `most` seconds, or what is left."""
        return Wait(most if self.left is None else min(most, max(self.left, 0.01)))

    @property
    def passed(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.left is None or self.left <= 0


def _look(operation: str, at_most: float | None = None) -> Plan[_Serve]:
    request = Request(operation=operation, path=_PATH, max_body=LARGEST_LIST, at_most=at_most)
    return _Serve((yield from fetch_json(request)), operation)


def list_applications() -> Plan[list[ServeApplication]]:
    """Ask for all applications; none where Serve does not run."""
    return list((yield from _look("list_serve_applications")).apps.values())


def get_application(name: str) -> Plan[ServeApplication]:
    """Ask for one application."""
    return (yield from _look(f"get_serve_application({_checked(name)!r})")).get(name)


def _checked(name: Any) -> str:
    if not isinstance(name, str) or not name or len(name) > 1000:
        raise InvalidInputError("name must be the name of a Serve application")
    return name


def deploy_application(config: Any, wait: float | None, clock: Callable[[], float]) -> Plan[ServeApplication]:
    """Add or change one application by putting the others again as they are."""
    if not isinstance(config, Mapping) or not isinstance(config.get("import_path"), str):
        raise InvalidInputError("config must hold name and import_path, as an application in a Serve config file does")
    name = _checked(config.get("name"))
    if "/" in name or "\0" in name:  # Serve takes it, and then its controller fails for all applications
        raise InvalidInputError("a Serve application's name must hold neither '/' nor NUL")
    deadline = _Deadline(wait, clock)
    operation = f"deploy_serve_application({name!r})"
    serve = yield from _look(operation, deadline.at_most)
    yield from _put(serve.config(but=(name,), with_=(config,)), operation, deadline.at_most)
    while True:
        app = (yield from _look(operation, deadline.at_most)).apps.get(name)
        if app is not None and (wait is None or app.status == "RUNNING"):
            return app
        if app is not None and app.status == "DEPLOY_FAILED":
            reason = without_variables(last_line(app.message.encode()), config.get("runtime_env"))
            raise RefusedError(f"{operation}: {reason or 'the deployment failed'}")
        if deadline.passed:
            state = "not there yet" if app is None else app.status
            if wait is None and app is None:
                return ServeApplication(name=name, status="NOT_STARTED", message="", source="declarative")
            raise RequestTimeoutError(f"{operation}: after {wait:g} s it is {state}")
        yield deadline.pause(0.5)


def _put(config: Mapping[str, Any], operation: str, at_most: float | None) -> Plan[None]:
    try:
        body = json.dumps(config, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        body = b""
    if not body:
        raise InvalidInputError(f"{operation}: the config must hold only what JSON can say")
    headers = (("Content-Type", "application/json"),)
    request = Request(
        operation=operation, method="PUT", path=_PATH, headers=headers, body=body,
        read=_START_OF_SERVE, total=_START_OF_SERVE, at_most=at_most,
    )  # fmt: skip
    response: Response = yield request
    if response.status == 200:
        check_empty(response, operation)
    else:
        reason = last_line(response.body) if response.status == 400 else ""
        for app in config["applications"]:
            reason = without_variables(reason, app.get("runtime_env"))
        raise error_of(response, operation, reason)


def delete_application(name: str, wait: float | None, clock: Callable[[], float]) -> Plan[None]:
    """Delete one application and leave the others as they are."""
    operation = f"delete_serve_application({_checked(name)!r})"
    deadline = _Deadline(wait, clock)
    serve = yield from _look(operation, deadline.at_most)
    serve.get(name)
    yield from _leave_out(serve, (name,), operation, deadline)
    if wait is not None:
        yield from _wait_until_gone((name,), operation, wait, deadline)


def delete_applications(
    names: Collection[str], wait: float | None, clock: Callable[[], float]
) -> Plan[list[ServeApplication]]:
    """Delete those of `names` that there are, all at once; return them as they were."""
    wanted = sorted({_checked(name) for name in names})
    operation = "delete_serve_applications"
    deadline = _Deadline(wait, clock)
    serve = yield from _look(operation, deadline.at_most)
    yield from _leave_out(serve, wanted, operation, deadline)
    if wait is not None:
        yield from _wait_until_gone(wanted, operation, wait, deadline)
    return [serve.apps[name] for name in wanted if name in serve.apps]


def _leave_out(serve: _Serve, names: Collection[str], operation: str, deadline: _Deadline) -> Plan[None]:
    """Put all declarative applications but `names`, right after they were read."""
    there = [serve.apps[name] for name in names if name in serve.apps and not serve.apps[name].is_going]
    if taken := [app.name for app in there if not app.is_declarative]:
        # Ray's API deletes only what a config holds: take these over, then leave them out. Without a route, for the
        # default "/" may be another's, and Ray refuses two.
        nowhere = [{"name": name, "import_path": _NOWHERE, "route_prefix": None} for name in taken]
        yield from _put(serve.config(but=names, with_=nowhere), operation, deadline.at_most)
        serve = yield from _look(operation, deadline.at_most)  # somebody may have deployed meanwhile
    if there:
        yield from _put(serve.config(but=names), operation, deadline.at_most)


def _wait_until_gone(names: Collection[str], operation: str, wait: float, deadline: _Deadline) -> Plan[None]:
    while True:
        try:
            left = (yield from _look(operation, deadline.at_most)).apps.keys() & set(names)
        except ClientError as error:
            if not error.transient or deadline.passed:
                raise
        else:
            if not left:
                return
        if deadline.passed:
            raise RequestTimeoutError(f"{operation}: after {wait:g} s it is not gone yet")
        yield deadline.pause(0.25)
