from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.ray.fakedashboard import FakeDashboard
from tests.ray.flavours import FLAVOURS, Caller, make_client

if TYPE_CHECKING:
    from tests.localcluster.rayhead import RayHead


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    """Name the client's flavour: every test that uses it, or `client`, runs for both."""
    return str(request.param)


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    dashboard = FakeDashboard()
    yield dashboard
    dashboard.stop()


ClientFactory = Callable[..., Caller]


@pytest.fixture
async def new_client(flavour: str) -> AsyncIterator[ClientFactory]:
    """Make clients of the flavour under test, closed after the test."""
    made: list[Caller] = []

    def make(base_url: str, *args: Any, **options: Any) -> Caller:
        made.append(make_client(flavour, base_url, *args, **options))
        return made[-1]

    yield make
    for caller in made:
        await caller.shut()


@pytest.fixture
def client(fake: FakeDashboard, new_client: ClientFactory) -> Caller:
    """Make a client of the fake dashboard."""
    return new_client(fake.url, timeout={"connect": 2, "read": 5})


@pytest.fixture
def real(ray_head: RayHead, new_client: ClientFactory) -> Caller:
    """Make a client of the real Ray head."""
    return new_client(ray_head.dashboard_url)
