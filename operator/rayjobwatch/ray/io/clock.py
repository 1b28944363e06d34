"""How a dashboard's clock differs from ours, by the Date that its answers bear."""

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

AGAIN_SECONDS = 10.0
# Date has whole seconds, and an answer takes its time.
UNSURE_SECONDS = 2.0


class ServerClock:
    """Hears answers. `ahead`: seconds by which the server's clock is ahead of ours, 0 where less than 2 or unknown."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.ahead = 0.0
        self._now = now
        self._heard = float("-inf")

    def heard(self, headers: Mapping[str, str]) -> None:
        """Take the Date of an answer that has just come; now and then is enough."""
        now = self._now()
        if 0 <= now - self._heard < AGAIN_SECONDS or (date := headers.get("date")) is None:
            return
        try:
            ahead = parsedate_to_datetime(date).timestamp() + 0.5 - now
        except (ValueError, TypeError, OverflowError):
            return
        self._heard = now
        self.ahead = ahead if abs(ahead) >= UNSURE_SECONDS else 0.0
