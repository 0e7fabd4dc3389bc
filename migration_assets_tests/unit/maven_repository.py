"""A Maven repository on loopback with two jars, which misbehaves as it is told."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from migration_assets.spark.jars import Jar, Limits

CONTENT = {
    "org.one:first:1.0": b"first " * 50_000,
    "com.two.deep:second-4.1_2.13:1.12.0": b"second " * 1_000,
}
HASTE = Limits(silence_s=0.3, total_s=20, attempts=3, longest_wait_s=0.01)


def jar_of(coordinate: str) -> Jar:
    content = CONTENT[coordinate]
    group, artifact, version = coordinate.split(":")
    return Jar(group, artifact, version, hashlib.sha256(content).hexdigest(), len(content))


FIRST, SECOND = map(jar_of, CONTENT)


Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def whole(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def corrupt(request: BaseHTTPRequestHandler, content: bytes) -> None:
    whole(request, content[:-1] + b"?")


def longer(request: BaseHTTPRequestHandler, content: bytes) -> None:
    whole(request, content + b"and more")


def truncated(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[: len(content) // 2])
    request.close_connection = True


def silent(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[:10])
    request.wfile.flush()
    time.sleep(4 * HASTE.silence_s)


def trickling(request: BaseHTTPRequestHandler, content: bytes) -> None:
    """Never silent for long, and never done."""
    request.send_response(200)
    request.end_headers()
    for byte in content[:400]:
        request.wfile.write(bytes([byte]))
        time.sleep(0.05)


def status(code: int) -> Answer:
    def answer(request: BaseHTTPRequestHandler, content: bytes) -> None:
        request.send_response(code)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def moved(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(302)
    request.send_header("Location", f"/elsewhere{request.path}")
    request.send_header("Content-Length", "0")
    request.end_headers()


class Repository(ThreadingHTTPServer):
    """A Maven repository on loopback.

    Attributes:
        answers: to the requests of a jar, in turn; then it is given whole.
        requests: how often each path was asked for.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[Jar, list[Answer]] = {}
        self.requests: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/maven2"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up on a slow answer is expected."""


class _Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        for coordinate, content in CONTENT.items():
            jar = jar_of(coordinate)
            if self.path.removeprefix("/elsewhere") == f"/maven2/{jar.repository_path}":
                waiting = self.server.answers.get(jar)
                (waiting.pop(0) if waiting else whole)(self, content)
                return
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""
