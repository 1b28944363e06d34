"""Checks a value against the subset of OpenAPI that our CRD uses, as strictly as the API server would."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CRD = Path(__file__).parents[2] / "crds" / "rayjobwatches.rayjobwatch.dev.yaml"
_TYPES: Mapping[str, type] = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
_INT32 = 2**31


@cache
def status_schema() -> Mapping[str, Any]:
    """Return the schema of `status`."""
    crd = yaml.safe_load(CRD.read_text())
    schema: Mapping[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    return schema


def faults(value: Any, schema: Mapping[str, Any], path: str = "status") -> Iterator[str]:
    """Yield what the API server would refuse, and fields that it would drop."""
    kind = schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{path}: {value!r} is not of type {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is not in {schema['enum']}"
    yield from _CHECKS.get(kind, _nothing)(value, schema, path)


def _object(value: dict[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties") or dict.fromkeys(value, schema["additionalProperties"])
    yield from (f"{path}.{key}: missing" for key in schema.get("required", ()) if key not in value)
    yield from (f"{path}.{key}: unknown field" for key in value if key not in properties)
    for key in value.keys() & properties.keys():
        yield from faults(value[key], properties[key], f"{path}.{key}")


def _array(value: list[Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if len(value) > schema["maxItems"]:
        yield f"{path}: {len(value)} items"
    keys = [tuple(item[key] for key in schema.get("x-kubernetes-list-map-keys", ())) for item in value]
    if any(keys) and len(set(keys)) < len(keys):
        yield f"{path}: keys repeated"
    for number, item in enumerate(value):
        yield from faults(item, schema["items"], f"{path}[{number}]")


def _string(value: str, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield f"{path}: {len(value)} characters"
    if schema.get("format") == "date-time" and datetime.fromisoformat(value).tzinfo is None:
        yield f"{path}: {value!r} has no zone"


def _integer(value: int, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if value < schema.get("minimum", value) or (schema.get("format") == "int32" and not -_INT32 <= value < _INT32):
        yield f"{path}: {value} is out of range"


def _nothing(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    yield from ()


_CHECKS: Mapping[str, Callable[[Any, Mapping[str, Any], str], Iterator[str]]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
}
# Now, and not in the first example of a property, which would take longer than hypothesis allows.
status_schema()
