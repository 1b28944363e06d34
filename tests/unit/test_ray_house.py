"""The client core's own house rules: what importing it brings along, and that what decides does no I/O."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rayjobwatch.ray

FOLDER = Path(rayjobwatch.ray.__file__).parent


def imported(statement: str) -> set[str]:
    """Return the top-level modules that a statement brings into a new interpreter."""
    code = f"import sys; {statement}; print(' '.join(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_importing_the_package_brings_nothing_but_itself() -> None:
    assert imported("import rayjobwatch.ray").isdisjoint({"httpx", "kopf", "kubernetes", "ray", "asyncio", "ssl"})


def test_using_a_client_needs_neither_ray_nor_kubernetes_nor_a_websocket_library() -> None:
    brought = imported(
        "from rayjobwatch.ray import AsyncRayClient, RayClient; RayClient('http://h'); AsyncRayClient('http://h')"
    )
    assert "httpx" in brought
    assert brought.isdisjoint({"kopf", "kubernetes", "ray", "aiohttp", "websockets", "websocket", "pydantic"})


def test_every_exported_name_is_there() -> None:
    assert {name for name in rayjobwatch.ray.__all__ if getattr(rayjobwatch.ray, name, None) is None} == set()
    assert set(rayjobwatch.ray.__all__) <= set(dir(rayjobwatch.ray))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = rayjobwatch.ray.nonsense


DECIDING = (
    "lines seek frames cursor limits wire endpoints tail tail_state tail_bytes tail_text job_plans submit state serve"
)


@pytest.mark.parametrize("name", DECIDING.split())
def test_what_decides_does_no_io(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    io = {"httpx", "httpcore", "socket", "asyncio", "threading", "time", "os", "logging", "ssl"}
    assert modules.isdisjoint(io)
