"""The ladder of a tail, decided without I/O: a scripted world answers the plan's effects."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from rayjobwatch.ray.api.records import JobDetails, job_of
from rayjobwatch.ray.errors import ClientError, NotFoundError, TailEndedError, UnavailableError
from rayjobwatch.ray.plan import Close, Open, Read, Request, Response, Wait, advance
from rayjobwatch.ray.tail.cursor import START, Cursor
from rayjobwatch.ray.tail.effects import Connected, Lookup
from rayjobwatch.ray.tail.follow import Tail
from rayjobwatch.ray.tail.handshake import _MAGIC
from rayjobwatch.ray.tail.limits import StreamLimits
from rayjobwatch.ray.tail.lines import LogBatch
from rayjobwatch.ray.tail.spec import TailSpec
from tests.unit.ray_reference import PIECES, reference_lines, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REFUSED = UnavailableError("refused")
CLOSE = Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=False)
AGENT = "http://192.0.2.2:52365"


@dataclass
class World:
    """A dashboard, an agent and a clock. What is in `broken` refuses; `cut` ends a text tail after so many bytes.

    The agent gives at most `most` bytes at a time, and says `said` where it is to say how long the log is.
    """

    log: bytes = b""
    over: bool = True
    broken: set[str] = field(default_factory=set)
    cut: int | None = None
    pieces: int = 7
    most: int | None = None
    said: str = ""
    ray: str = "2.60.0"
    now: float = 0.0
    asked: list[str] = field(default_factory=list)
    at: dict[float, Callable[[], object]] = field(default_factory=dict)
    _body: Iterator[bytes] = field(default_factory=lambda: iter(()))

    def follow(self, protocol: Any = "auto", cursor: Cursor = START, **options: Any) -> list[LogBatch]:
        spec = TailSpec(
            job_id="j", protocol=protocol, cursor=cursor, limits=StreamLimits.unbounded().but(queue_size=2),
            agents=lambda _: True, **options,
        )  # fmt: skip
        plan = Tail(spec, lambda: self.now, lambda: 0.5).run()
        batches = []
        try:
            effect = next(plan)
            while True:
                if isinstance(effect, LogBatch):
                    batches.append(effect)
                effect = advance(plan, self.outcome(effect))
        except StopIteration:
            return batches

    def change(self, **fields: Any) -> Callable[[], None]:
        """Return what changes the world, for `at`."""

        def now() -> None:
            for name, value in fields.items():
                setattr(self, name, value)

        return now

    def outcome(self, effect: Any) -> Any:
        try:
            return self.carry_out(effect)
        except ClientError as error:
            return error

    def carry_out(self, effect: Any) -> Any:
        match effect:
            case Request(path="/api/version"):
                return Response(200, body=b'{"version": "4", "ray_version": "%s"}' % self.ray.encode())
            case Lookup():
                return self.job()
            case Wait(seconds):
                self.pass_time(seconds)
                return None
            case Open(request):
                return self.open(request)
            case Read():
                return self.read(effect.quiet)
            case Close() | Connected() | LogBatch():
                return None
        raise AssertionError(effect)

    def text(self) -> Response:
        """Answer with Ray's own text of the log, which fails where the log is no UTF-8."""
        try:
            self._body = self.cut_up(json.dumps({"logs": text_of(self.log).decode()}).encode())
        except UnicodeDecodeError:
            return Response(500, body=b"UnicodeDecodeError")
        return Response(200, {"content-length": "unread"})

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < 1_000, "the tail does not end"
        for moment in sorted(moment for moment in self.at if moment <= self.now):
            self.at.pop(moment)()

    def job(self) -> JobDetails:
        if "dashboard" in self.broken:
            raise REFUSED
        if "record" in self.broken:
            raise NotFoundError("gone")
        row = {
            "type": "SUBMISSION", "submission_id": "j", "job_id": None, "driver_node_id": "a" * 56,
            "status": "SUCCEEDED" if self.over else "RUNNING", "driver_agent_http_address": AGENT,
        }  # fmt: skip
        return job_of(row, "job")

    def open(self, request: Request) -> Response:
        if request.path == "/api/jobs/j/logs":
            return self.text()
        kind = "agent" if request.origin else "socket" if request.path.endswith("/tail") else "file"
        self.asked.append(kind)
        if kind in self.broken or ("dashboard" in self.broken and kind != "agent"):
            raise REFUSED
        headers = dict(request.headers)
        if kind == "socket":
            return self.upgrade(headers["Sec-WebSocket-Key"])
        if kind == "file":
            self._body = self.cut_up(self.log)
            return Response(200, {"transfer-encoding": "chunked"})
        start = int(headers["Range"].removeprefix("bytes=").rstrip("-"))
        if start >= len(self.log):
            return Response(416, {"content-range": f"bytes */{len(self.log)}"}, b"nothing")
        part = self.log[start:][: self.most]
        self._body = self.cut_up(part)
        return Response(206, {"content-range": f"bytes {start}-{start + len(part) - 1}/{self.said or len(self.log)}"})

    def upgrade(self, key: str) -> Response:
        import base64
        import hashlib

        accept = base64.b64encode(hashlib.sha1(key.encode() + _MAGIC).digest()).decode()
        text = text_of(self.log)[: self.cut]
        frames = [Frame(Opcode.TEXT, piece).serialize(mask=False) for piece in self.cut_up(text)]
        self._body = iter([*frames, *([CLOSE] if self.over or self.cut is not None else [])])
        return Response(101, {"upgrade": "websocket", "sec-websocket-accept": accept})

    def cut_up(self, data: bytes) -> Iterator[bytes]:
        return iter([data[at : at + self.pieces] for at in range(0, len(data), self.pieces)])

    def read(self, quiet: float | None) -> bytes | None:
        piece = next(self._body, None)
        if piece is None and quiet is not None:
            self.pass_time(quiet)
            return None
        return b"" if piece is None else piece


def lines_of(batches: list[LogBatch]) -> list[str]:
    return [line for batch in batches for line in batch.lines]


@given(log=PIECES, pieces=st.integers(1, 40), broken=st.sets(st.sampled_from(["agent", "file"]), max_size=1))
def test_a_finished_log_comes_whole_from_whatever_byte_source_there_is(
    log: bytes, pieces: int, broken: set[str]
) -> None:
    world = World(log, pieces=pieces, broken=broken)
    assert lines_of(world.follow()) == reference_lines(log)
    believed = "agent" not in broken and log  # that it is empty is not an agent's to say alone
    assert world.asked == (["agent"] if believed else ["agent", "file"])


@given(log=PIECES, most=st.integers(1, 40), said=st.sampled_from(["", "*"]), over=st.booleans())
def test_an_agent_that_gives_a_log_in_parts_is_asked_for_all_of_them(
    log: bytes, most: int, said: str, over: bool
) -> None:
    world = World(log, over=over, most=most, said=said, broken={"file"})
    world.at[3.0] = world.change(over=True)
    assert lines_of(world.follow()) == reference_lines(log)


@given(log=PIECES, pieces=st.integers(1, 40), which=st.integers(0, 100), then=st.sets(st.sampled_from(["agent"])))
def test_any_cursor_goes_on_without_loss_or_repetition_on_any_source(
    log: bytes, pieces: int, which: int, then: set[str]
) -> None:
    for first in ("auto", "websocket"):
        text = first == "websocket"
        seen = World(log, pieces=pieces).follow(first)
        place = which % (len(seen) + 1)
        cursor = seen[place - 1].cursor if place else START
        again = lines_of(World(log, pieces=pieces, broken=then).follow(cursor=cursor))
        told = lines_of(seen[:place])
        if text:
            assert [*told, *lines_of(seen[place:])] == reference_lines(text_of(log))
            assert (
                text_of("\n".join([*told, *again]).encode()).split()
                == text_of("\n".join(lines_of(seen)).encode()).split()
            )
        else:
            assert [*told, *again] == reference_lines(log)


@given(log=PIECES, cut=st.integers(0, 200), pieces=st.integers(1, 40))
def test_a_text_tail_that_ends_early_is_gone_on_with_from_the_bytes(log: bytes, cut: int, pieces: int) -> None:
    """Ray closes with 1000 at an invalid byte, whatever the job does."""
    log = log.replace(b"\r", b"")
    world = World(log, over=False, broken={"agent"}, cut=cut, pieces=pieces)
    world.at[20.0] = world.change(over=True)
    assert lines_of(world.follow()) == reference_lines(log)


@given(log=PIECES, cut=st.integers(0, 200))
def test_the_explicit_text_tail_brings_all_or_says_so(log: bytes, cut: int) -> None:
    world = World(log, cut=cut)
    text = text_of(log)
    if cut < len(text):
        with pytest.raises(TailEndedError, match="before"):
            world.follow("websocket")
    else:
        assert lines_of(world.follow("websocket")) == reference_lines(text)


LONG = b"tick\n" * 300_000


@pytest.mark.parametrize(
    ("log", "broken", "asked"),
    [
        pytest.param(LONG, set(), ["socket", "agent"], id="its end tells"),
        pytest.param(LONG, {"agent"}, ["socket", "agent", "file"], id="no agent"),
        pytest.param(b"a\r\n" + LONG, set(), ["socket", "agent", "file"], id="its text is shorter than its bytes"),
        pytest.param(LONG + b"tock", set(), ["socket", "file"], id="no last line end"),
    ],
)
def test_a_long_log_is_not_read_again_to_know_that_it_was_whole(log: bytes, broken: set[str], asked: list[str]) -> None:
    world = World(log, broken=broken, pieces=1 << 16)
    assert sum(len(batch.lines) for batch in world.follow("websocket")) == len(reference_lines(text_of(log)))
    assert world.asked == asked


@pytest.mark.parametrize("missing", [b"tick\n", b"tick\n" * 1000, b"tock", b"\n"])
@pytest.mark.parametrize("head", [b"", b"a\r\n", b"a\r\n" * 5])
def test_a_long_log_of_the_same_line_again_and_again_is_not_whole_before_its_end(head: bytes, missing: bytes) -> None:
    log = head + LONG
    world = World(log + missing, cut=len(text_of(log)), pieces=1 << 16)
    with pytest.raises(TailEndedError, match=f" {len(missing)} bytes before"):
        world.follow("websocket")


@pytest.mark.parametrize("protocol", ["websocket", "auto"])
@pytest.mark.parametrize("over", [True, False])
def test_a_text_tail_without_proof_of_its_end_never_ends_well(protocol: str, over: bool) -> None:
    """Ray before 2.40 cuts it at an invalid byte, and there is no agent that could tell."""
    log = b"one\ntwo\n\xff\nthree\n"
    world = World(log, over=over, ray="2.9.3", broken={"agent"}, cut=8)
    world.at[3.0] = world.change(over=True)
    with pytest.raises(TailEndedError, match="nothing tells" if over else "ended the log tail"):
        world.follow(protocol)
    assert world.now < 60


def test_lines_come_as_they_are_written_and_the_end_is_read_after_it_is_known() -> None:
    world = World(b"one\n", over=False)
    world.at[3.0] = world.change(log=b"one\ntwo\nthr")
    world.at[5.0] = world.change(log=b"one\ntwo\nthree\nlast", over=True)
    batches = world.follow()
    assert [batch.lines for batch in batches] == [("one",), ("two",), ("three",), ("last",)]
    assert [batch.unterminated for batch in batches] == [False, False, False, True]
    assert world.now < 6.1
    assert set(world.asked) == {"agent"}


def test_a_dashboard_that_is_away_for_a_while_does_not_end_a_tail() -> None:
    world = World(b"one\n", over=False, broken=set())
    world.at[2.0] = world.change(broken={"dashboard"})
    world.at[20.0] = world.change(log=b"one\ntwo\n")
    world.at[25.0] = world.change(broken=set(), over=True)
    assert lines_of(world.follow()) == ["one", "two"]


@pytest.mark.parametrize("protocol", ["auto", "websocket", "http"])
def test_a_dashboard_that_stays_away_ends_it_with_503_after_the_stated_time(protocol: str) -> None:
    world = World(b"one\n", over=False, broken=set())
    world.at[2.0] = world.change(broken={"dashboard", "agent"})
    with pytest.raises(UnavailableError):
        world.follow(protocol, reconnect=30.0)
    assert 30 <= world.now <= 60


@pytest.mark.parametrize("protocol", ["auto", "websocket", "http"])
def test_what_never_worked_is_not_tried_again(protocol: str) -> None:
    world = World(b"one\n", over=False, broken={"agent", "socket", "file"})
    with pytest.raises(UnavailableError):
        world.follow(protocol)
    assert world.now == 0
    assert len(world.asked) == len(set(world.asked))


def test_a_record_that_is_deleted_ends_the_tail_after_the_lines_that_are_left() -> None:
    world = World(b"one\n", over=False)
    world.at[2.0] = world.change(log=b"one\ntwo\n", broken={"record"})
    with pytest.raises(NotFoundError, match="vanished"):
        world.follow()
    assert world.now < 4


def test_silence_ends_a_tail_only_where_asked() -> None:
    world = World(b"one\n", over=False)
    world.at[300.0] = world.change(over=True)
    assert lines_of(world.follow()) == ["one"]
    world = World(b"one\n", over=False)
    with pytest.raises(ClientError) as caught:
        world.follow(idle_timeout=20.0)
    assert caught.value.status_code == 408
    assert 20 <= world.now < 22


def test_the_file_of_an_old_ray_is_not_read_for_it_holds_bytes_that_are_not_the_logs() -> None:
    assert lines_of(World(b"one\ntwo", ray="2.9.3").follow()) == ["one", "two"]
    assert lines_of(World(b"one\ntwo", ray="2.9.3", broken={"agent"}).follow()) == ["one", "two"]
    assert lines_of(World(b"one\ntwo", ray="2.9.3").follow("websocket")) == ["one", "two"]
    assert lines_of(World(b"one\ntwo", ray="2.9.3", broken={"agent"}).follow("websocket")) == ["one", "two"]
    old = World(b"one\ntwo", ray="2.9.3", broken={"agent"})
    with pytest.raises(ClientError, match=r"2\.9"):
        old.follow("http")
    assert "file" not in old.asked
