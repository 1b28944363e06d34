"""Turns for what may wait a little where much of it is wanted at once, as after a start of the controller."""

from rayjobwatch.model import pace


class Turns:
    """Gives out moments that are apart from one another, the first at once, none late (`model.pace`)."""

    def __init__(self) -> None:
        self._next = float("-inf")

    def take(self, now: float) -> float:
        """Return the next free moment (loop time): `now`, or as much later as it must and may be."""
        turn = min(max(now, self._next), now + pace.LONGEST_TURN)
        self._next = turn + 1 / pace.TURNS_PER_SECOND
        return turn
