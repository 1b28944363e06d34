"""The sessions that are open, one a dashboard."""

import asyncio
from collections.abc import Callable

from rayjobwatch.engine.logs import WatchKey
from rayjobwatch.engine.session import ClusterSession
from rayjobwatch.engine.turns import Turns
from rayjobwatch.model.dashboard import Dashboard


class Sessions:
    """Opens a session when the first watch needs it, and closes it after the last one left."""

    def __init__(self, news: Callable[[WatchKey, bool], None], moved: Callable[[WatchKey], None]) -> None:
        self._news = news
        self._moved = moved
        self._first_readings = Turns()
        self._open: dict[Dashboard, ClusterSession] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def get(self, dashboard: Dashboard) -> ClusterSession:
        """Return the session with `dashboard`, a new one where there is none."""
        if dashboard not in self._open:
            self._open[dashboard] = ClusterSession(dashboard, self._news, self._moved, self._first_readings)
        return self._open[dashboard]

    def awaits(self, dashboard: Dashboard, ray_session: str, job_id: str) -> bool:
        """Whether any watch waits for news of a job of this Ray session, whichever way it asks its dashboard."""
        return any(
            session.awaits(job_id)
            for session in self._open.values()
            if session.dashboard == dashboard or session.cluster.session == ray_session
        )

    def leave(self, session: ClusterSession, key: WatchKey) -> None:
        """Let go of `session` for `key`."""
        session.leave(key)
        if not session.has_subscribers and self._open.get(session.dashboard) is session:
            del self._open[session.dashboard]
            task = asyncio.create_task(session.close(), name=f"close {session.dashboard.url}")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all sessions."""
        sessions = list(self._open.values())
        self._open.clear()
        await asyncio.gather(*(session.close() for session in sessions), *self._closing)
