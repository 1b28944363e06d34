"""Submitting a job: the request, the packages that go before it, and what an unclear answer means."""

import json
import math
import secrets
import shlex
from collections.abc import Mapping
from typing import Any, Final

from rayjobwatch.ray.api.jobs import get_job
from rayjobwatch.ray.api.packaging import Package, pack
from rayjobwatch.ray.errors import (
    InvalidInputError,
    JobStateError,
    NotFoundError,
    RequestTimeoutError,
    ServerError,
    UnavailableError,
    last_line,
    without_variables,
)
from rayjobwatch.ray.inputs import check_new_id
from rayjobwatch.ray.plan import Blocking, Plan, Request, Response, check_empty, error_of, is_missing, json_of, send

_UPLOAD_SECONDS: Final = 600.0
_NUMBERS: Final = ("entrypoint_num_cpus", "entrypoint_num_gpus", "entrypoint_memory")
_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


def entrypoint_of(*arguments: Any) -> str:
    """Return a shell command that runs a program with exactly these arguments, for `submit_job`."""
    if not arguments or not all(isinstance(each, str) and "\0" not in each for each in arguments):
        raise InvalidInputError("entrypoint_of takes one or more texts without NUL")
    return shlex.join(arguments)


def new_submission_id() -> str:
    """Return an id such as Ray itself makes."""
    return "raysubmit_" + "".join(secrets.choice(_LETTERS) for _ in range(16))


def job_request(
    entrypoint: Any, submission_id: str | None, runtime_env: Any, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """Check what a job is made of and return the body of the request; fields that were not given are left out."""
    if not isinstance(entrypoint, str) or not entrypoint.strip() or "\0" in entrypoint:
        raise InvalidInputError("entrypoint must be a shell command that is not empty")
    if runtime_env is not None and not isinstance(runtime_env, Mapping):
        raise InvalidInputError("runtime_env must be a mapping")
    _check_texts((runtime_env or {}).get("env_vars"), "runtime_env['env_vars']")
    _check_texts(fields.get("metadata"), "metadata")
    _check_texts(fields.get("entrypoint_label_selector"), "entrypoint_label_selector")
    for name in _NUMBERS:
        _check_number(fields.get(name), name)
    _check_resources(fields.get("entrypoint_resources"))
    given = {name: value for name, value in fields.items() if value is not None}
    job_id = new_submission_id() if submission_id is None else check_new_id(submission_id)
    body = {"entrypoint": entrypoint, "submission_id": job_id, **given}
    return body if runtime_env is None else {**body, "runtime_env": dict(runtime_env)}


def _check_texts(value: Any, name: str) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping) or not all(
        isinstance(key, str) and isinstance(text, str) for key, text in value.items()
    ):
        raise InvalidInputError(f"{name} must map texts to texts")


def _check_number(value: Any, name: str) -> None:
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (name.endswith("memory") and value != int(value)):
        raise InvalidInputError(f"{name} must be a finite number from 0 on (memory: whole bytes)")


def _check_resources(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidInputError("entrypoint_resources must map names to numbers")
    for key, number in value.items():
        if number is None:
            raise InvalidInputError("entrypoint_resources must map names to numbers")
        _check_number(number, f"entrypoint_resources[{key!r}]")


def submit_job(body: Mapping[str, Any]) -> Plan[str]:
    """Upload what the cluster does not have yet, then submit; return the job's id. `body` is a `job_request`."""
    job_id = str(body["submission_id"])
    env, packages = yield Blocking(lambda: pack(body.get("runtime_env")))
    body = body if env is None else {**body, "runtime_env": env}
    operation = f"submit_job({job_id!r})"
    try:
        text = json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        text = b""
    if not text:
        raise InvalidInputError(f"{operation}: runtime_env must hold only what JSON can say")
    for package in packages:
        yield from _upload(package, operation)
    headers = (("Content-Type", "application/json"),)
    request = Request(operation=operation, method="POST", path="/api/jobs/", headers=headers, body=text)
    return (yield from _submit(request, body, job_id))


def _upload(package: Package, operation: str) -> Plan[None]:
    path = f"/api/packages/gcs/{package.name}"
    response: Response = yield Request(operation=operation, path=path)
    if response.status == 200:
        check_empty(response, operation)
    else:
        if not is_missing(response):
            raise error_of(response, operation)
        content: bytes = yield Blocking(package.content)
        uploading = f"{operation}: uploading {package.name}"
        put = Request(operation=uploading, method="PUT", path=path, body=content, total=_UPLOAD_SECONDS)
        check_empty((yield from send(put)), uploading)


def _submit(request: Request, body: Mapping[str, Any], job_id: str) -> Plan[str]:
    try:
        response: Response = yield request
    except (UnavailableError, RequestTimeoutError) as error:
        failure: Exception = error
    else:
        if response.status == 200:
            return _id_of(json_of(response, request.operation), job_id, request.operation)
        reason = last_line(response.body) if response.status in {400, 500} else ""
        if response.status in {400, 500} and b"already exists" in response.body[-4096:]:
            raise JobStateError(f"{request.operation}: a job with this id already exists; take another one")
        shown = without_variables(reason, body.get("runtime_env")) if response.status == 400 else ""
        failure = error_of(response, request.operation, shown)
        if response.status < 500:
            raise failure
    if (yield from _is_there(job_id, body)):
        return job_id
    raise failure


def _id_of(answer: Any, job_id: str, operation: str) -> str:
    if isinstance(answer, dict) and answer.get("submission_id") == job_id:
        return job_id
    raise ServerError(f"{operation}: the answer is not Ray's")


def _is_there(job_id: str, body: Mapping[str, Any]) -> Plan[bool]:
    """After an unclear answer: whether the job was taken all the same."""
    try:
        job = yield from get_job(job_id)
    except (NotFoundError, UnavailableError, RequestTimeoutError, ServerError):
        return False
    return job.entrypoint in {body["entrypoint"], ""} and dict(job.metadata) == dict(body.get("metadata") or {})
