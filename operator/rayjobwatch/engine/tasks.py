"""Background tasks that neither vanish silently nor outlive their owner."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

RESTART_SECONDS = 5.0
STOP_SECONDS = 5.0

logger = logging.getLogger(__name__)


def start(name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """Run `work` as a task until it returns; a crash is logged and `work` started again."""
    return asyncio.create_task(_supervised(name, work), name=name)


async def stop(*tasks: asyncio.Task[None]) -> None:
    """Cancel `tasks` and wait, for a limited time, until they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=STOP_SECONDS)


async def _supervised(name: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await work()
        except Exception:
            logger.exception("%s failed and is started again", name)
            await asyncio.sleep(RESTART_SECONDS)
