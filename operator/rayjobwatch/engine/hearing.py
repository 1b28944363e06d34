"""What one reading of a log tells each of the watches that it is read for."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from rayjobwatch.engine.objects import Key
from rayjobwatch.model.digest import LogDigest, joined
from rayjobwatch.model.lens import NO_LENS, NOTHING, Findings, Lens
from rayjobwatch.model.redaction.keys import without_keys


@dataclass(frozen=True, slots=True)
class Heard:
    """What a watch knows of a log: its digest, and what its lens has found up to the same place."""

    digest: LogDigest = field(default_factory=LogDigest)
    findings: Findings = NOTHING


@dataclass(slots=True)
class _Ear:
    """A watch with a lens. It has heard `lines` lines; `tail` are the last of them without what it does not show."""

    lens: Lens
    lines: int
    findings: Findings
    tail: tuple[str, ...]
    news: bool = False

    def hear(self, first: int, lines: Sequence[str], now: datetime) -> None:
        """Take in `lines`, of which the first is that after `first` others."""
        new = lines[max(0, self.lines - first) :]
        if not new:
            return
        before, self.findings = self.findings, self.lens.read(new, self.findings, now)
        self.news = self.news or before.fired != self.findings.fired
        self.lines = first + len(lines)
        if self.lens.patterns:
            self.tail = joined(self.tail, new, self.lens.patterns)


class Hearing:
    """A log as far as it was read: its digest, the same for all watches, and what each one's lens has found in it.

    A watch that is further already, for it was read to before, hears nothing until its place is reached.
    """

    def __init__(self, seed: LogDigest) -> None:
        self.digest = seed
        self._ears: dict[Key, _Ear | None] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._ears

    @property
    def keys(self) -> list[Key]:
        """The watches that it is read for."""
        return list(self._ears)

    def join(self, key: Key, lens: Lens, known: Heard) -> None:
        """Read for `key` too, which knows so much already."""
        ear = _Ear(lens, known.digest.lines, known.findings, known.digest.tail)
        if not lens.looks and ear.lines < self.digest.lines:
            ear.lines, ear.tail = self.digest.lines, tuple(map(lens.patterns.redact, self.digest.tail))
        self._ears[key] = None if lens is NO_LENS else ear

    def leave(self, key: Key) -> None:
        """Read for `key` no more."""
        self._ears.pop(key, None)

    def move_to(self, other: "Hearing") -> None:
        """Let all watches hear `other` from now on, which is not further than this."""
        other._ears |= self._ears  # noqa: SLF001
        self._ears = {}

    def heard(self, key: Key) -> Heard | None:
        """Return what `key` knows at the place of the digest, None where it was further already."""
        ear = self._ears.get(key)
        if ear is None:
            return Heard(self.digest)
        if ear.lines != self.digest.lines:
            return None
        digest = replace(self.digest, tail=ear.tail) if ear.lens.patterns else self.digest
        return Heard(digest, ear.findings)

    def fed(self, lines: Sequence[str], cursor: str, now: datetime) -> None:
        """Take in the next lines, which were read up to `cursor`."""
        before = self.digest
        self.digest = before.fed(lines, cursor, now)
        ears = [ear for ear in self._ears.values() if ear]
        if ears:
            shown, _ = without_keys(lines, before.in_key)
            for ear in ears:
                ear.hear(before.lines, shown, now)

    def looked_back(self, lines: Sequence[str]) -> None:
        """Take in the last lines once more, to find the cause of a failure in."""
        self.digest = self.digest.looked_back(lines)

    def closed(self) -> None:
        """Take note that the log was read to its end."""
        self.digest = self.digest.closed()

    def failing(self, message: str) -> None:
        """Take note of why reading does not go on; an empty message: it does again."""
        self.digest = self.digest.failing(message)

    def with_news(self) -> set[Key]:
        """Return the watches of which a rule has begun to fire, or rests, since this was asked last."""
        keys = {key for key, ear in self._ears.items() if ear and ear.news}
        for ear in self._ears.values():
            if ear:
                ear.news = False
        return keys
