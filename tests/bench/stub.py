"""A Ray dashboard reduced to a fire hose: sends a finished job's log as fast as the socket takes it.

Runs as a process of its own (`python -m tests.bench.stub`), so that its CPU is not counted with a client's. The job id
says what to send: `short-N` is N lines of 100 bytes, `oneline-N` one line of N bytes, `silent` never answers.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import socketserver
import sys
import time
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

LINE = b"%08d " + b"x" * 90 + b"\n"
LINES_PER_FRAME = 10
BATCH_FRAMES = 64
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Request(NamedTuple):
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


def log_bytes(job_id: str) -> bytes:
    """Return the log of a job, as its id describes it."""
    kind, _, count = job_id.partition("-")
    if kind == "oneline":
        return b"y" * int(count) + b"\n"
    return b"".join(LINE % number for number in range(int(count)))


def frame(payload: bytes) -> bytes:
    """Return one unmasked text frame."""
    size = len(payload)
    if size < 126:
        return bytes([0x81, size]) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def frames(job_id: str) -> list[bytes]:
    """Return a job's log as Ray frames it (10 lines a frame), several frames in a block."""
    lines = log_bytes(job_id).splitlines(keepends=True)
    framed = [frame(b"".join(lines[at : at + LINES_PER_FRAME])) for at in range(0, len(lines), LINES_PER_FRAME)]
    return [b"".join(framed[at : at + BATCH_FRAMES]) for at in range(0, len(framed), BATCH_FRAMES)]


class Handler(socketserver.StreamRequestHandler):
    """One connection: requests in turn, until the peer leaves."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while (request := self._read_request()) is not None:
                self._answer(request)

    def _read_request(self) -> Request | None:
        start = self.rfile.readline().decode("latin-1").split()
        if len(start) != 3:
            return None
        headers: dict[str, str] = {}
        while line := self.rfile.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        url = urlsplit(start[1])
        return Request(url.path, parse_qs(url.query), headers)

    def _answer(self, request: Request) -> None:
        if match := re.fullmatch(r"/api/jobs/([\w-]+)/logs/tail", request.path):
            self._websocket(match[1], request)
        elif match := re.fullmatch(r"/api/jobs/([\w-]+)", request.path):
            self._job(match[1])
        elif match := re.fullmatch(r"/logs/job-driver-([\w-]+)\.log", request.path):
            self._range(cached_log(match[1]), request)
        elif request.path == "/api/v0/logs/file":
            self._chunked(cached_log(request.query["submission_id"][0]))
        elif request.path in {"/api/version", "/api/ray/version"}:
            self._json({"version": "4", "ray_version": "2.60.0", "ray_commit": "stub", "session_name": "stub"})
        else:
            self._send(404, b"404: Not Found")

    def _job(self, job_id: str) -> None:
        if job_id == "silent":
            time.sleep(3600)
        host, port = self.connection.getsockname()
        address = f"http://{host}:{port}"
        self._json(
            {
                "type": "SUBMISSION",
                "job_id": None,
                "submission_id": job_id,
                "status": "SUCCEEDED",
                "entrypoint": "true",
                "message": "",
                "start_time": 1,
                "end_time": 2,
                "metadata": {},
                "runtime_env": {},
                "driver_agent_http_address": address,
                "driver_node_id": "0" * 56,
                "driver_exit_code": 0,
            }
        )

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str = "text/plain", extra: str = "") -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
        self.connection.sendall(head.encode())
        self.connection.sendall(body)

    def _range(self, log: bytes, request: Request) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if match is None:
            self._send(200, log)
            return
        first, last = int(match[1]), int(match[2] or len(log) - 1)
        if first >= len(log):
            self._send(416, b"", extra=f"Content-Range: bytes */{len(log)}\r\n")
            return
        last = min(last, len(log) - 1)
        body = log[first : last + 1]
        self._send(206, body, extra=f"Content-Range: bytes {first}-{last}/{len(log)}\r\n")

    def _chunked(self, log: bytes) -> None:
        self.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(log), 1 << 16):
            part = log[at : at + (1 << 16)]
            self.connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        self.connection.sendall(b"0\r\n\r\n")

    def _websocket(self, job_id: str, request: Request) -> None:
        key = request.headers["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest()).decode()
        self.connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n"
        )
        try:
            for block in cached_frames(job_id):
                self.connection.sendall(block)
            self.connection.sendall(b"\x88\x02\x03\xe8")
            self.connection.recv(64)
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client has had enough


_logs: dict[str, bytes] = {}
_frames: dict[str, list[bytes]] = {}


def cached_log(job_id: str) -> bytes:
    if job_id not in _logs:
        _logs[job_id] = log_bytes(job_id)
    return _logs[job_id]


def cached_frames(job_id: str) -> list[bytes]:
    if job_id not in _frames:
        _frames[job_id] = frames(job_id)
    return _frames[job_id]


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    address_family = socket.AF_INET


def main() -> None:
    """Serve on a free port of 127.0.0.1, print it, end when standard input ends."""
    import threading

    with Server(("127.0.0.1", 0), Handler) as server:
        for job_id in sys.argv[1:]:
            cached_log(job_id)
            cached_frames(job_id)
        print(server.socket.getsockname()[1], flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
