"""An S3 that keeps nothing: `python -m benchmarks.sink`, ends with its stdin.

moto takes a second of CPU for 100 MB and half a second to join the parts of an upload, which on a
machine with two cores is the client's time. This one reads what it is sent and acknowledges it, so
that what a benchmark shows is the client. Nothing can be read back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from benchmarks import server

_CHUNK_BYTES = 1 << 20
_STARTED = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
_COMPLETED = '<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>'
_DELETED = "<DeleteResult></DeleteResult>"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        """An object, or a part of one."""
        self._discard()
        self._answer(200, "")

    def do_POST(self) -> None:
        """Begin or complete an upload, or delete objects."""
        query = urlsplit(self.path).query
        self._discard()
        if query.startswith("uploads"):
            self._answer(200, _STARTED)
        else:
            self._answer(200, _DELETED if query.startswith("delete") else _COMPLETED)

    def do_HEAD(self) -> None:
        """There is nothing."""
        self._answer(404, "")

    do_GET = do_HEAD  # noqa: N815 - the name that the base calls

    def _discard(self) -> None:
        left = int(self.headers.get("Content-Length") or 0)
        buffer = memoryview(bytearray(_CHUNK_BYTES))
        while left:
            count = self.rfile.readinto(buffer[: min(left, _CHUNK_BYTES)])  # type: ignore[attr-defined]
            if not count:
                return
            left -= count

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("ETag", '"e"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """Start it in a process of its own and yield its settings."""
    with server.running("benchmarks.sink") as port:
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "sink",
            "AWS_SECRET_ACCESS_KEY": "sink",
            "AWS_REGION": "us-east-1",
            "S3_BUCKET": "sink",
        }


def main() -> None:
    """Serve until stdin ends."""
    import threading

    sink = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    server.serve(sink.server_port)
    sink.shutdown()


if __name__ == "__main__":
    main()
