"""The client core's own house rules: what importing it brings along. Who imports whom: `make lint`."""

from __future__ import annotations

import doctest
import subprocess
import sys

import pytest

import rayjobwatch.ray
import rayjobwatch.ray.plan


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


def test_the_example_of_a_plan_is_true() -> None:
    told = doctest.testmod(rayjobwatch.ray.plan)
    assert (told.attempted > 3, told.failed) == (True, 0)
