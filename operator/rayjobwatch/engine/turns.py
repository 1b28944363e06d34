"""Turns for what may wait a little where much of it is wanted at once, as after a start of the controller."""

from rayjobwatch.model import pace


class Turns:
    """Gives out moments that are apart from one another, none late (`model.pace`), the first so many at once."""

    def __init__(self, at_once: int = 1) -> None:
        self._ahead = (at_once - 1) / pace.TURNS_PER_SECOND
        self._next = float("-inf")

    def take(self, now: float) -> float:
        """Return the next free moment (loop time): `now`, or as much later as it must and may be."""
        place = min(max(self._next, now), now + pace.LONGEST_TURN + self._ahead)
        self._next = place + 1 / pace.TURNS_PER_SECOND
        return max(now, place - self._ahead)
