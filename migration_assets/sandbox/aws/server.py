"""The HTTP server in front of moto: keep-alive connections, faults, counters, a statement log.

A *statement* here is a request, written as faults match it and as the log shows it:

- S3: `PUT /lake/warehouse/shop/orders/data/x.parquet` (with the query string, if any);
- Glue: `POST / AWSGlue.UpdateTable shop.orders`.

What the faults mean here (`alter`, `then` and `late` mean nothing):

- `refuse`: a connection above the limit is closed at once.
- `drop` with `after_queries`: the connection's next request is not executed and it is closed;
  without: the request is executed, `after_bytes` of its content are sent, then it is closed (0 sends
  nothing at all, so the client cannot know that it was executed).
- `delay`: waits before the request is executed. If the client is gone by then, it is not executed.
- `unavailable`: 503, not executed. `error`: `number` is the status, `message` is `Code: text`.
"""

from __future__ import annotations

import io
import itertools
import json
import select
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

from migration_assets.sandbox.aws.glue import lock_updates
from migration_assets.sandbox.certificate import make_certificate
from migration_assets.sandbox.control import Fault, StatementLog, Switchboard

REGION = "us-east-1"


class _Dispatcher(DomainDispatcherApplication):
    """moto's choice of the service by host, remembered: it lists a directory for each request."""

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        self._backends: dict[str | None, Any] = {}

    def get_backend_for_host(self, host: str | None) -> Any:
        """The name of the service that answers for a host. moto calls it under its own lock."""
        if host not in self._backends:
            self._backends[host] = super().get_backend_for_host(host)
        return self._backends[host]


class AwsStandIn:
    """S3, Glue and Secrets Manager on a loopback port, with one bucket.

    moto keeps its state per process: run one of these in a process of its own.
    """

    def __init__(
        self,
        port: int,
        bucket: str,
        board: Switchboard,
        log: StatementLog,
        certificate: Path | None = None,
    ) -> None:
        """Bind; nothing is answered until `serve`.

        Args:
            port: loopback port, 0 for a free one.
            bucket: the bucket that is there from the start.
            board: faults and counters.
            log: where each request is written.
            certificate: file that its own certificate is written to; None for plain HTTP.
        """
        tls = None
        if certificate is not None:
            own = make_certificate("AWS stand-in")
            own.write(certificate)
            tls = own.context()
        lock_updates()
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(bucket, REGION)
        handler = type("BoundHandler", (_Handler,), {"board": board, "statements": log})
        self._http = make_server(
            "127.0.0.1", port, _Dispatcher(), threaded=True, request_handler=handler,
            ssl_context=tls,
        )  # fmt: skip
        self.port: int = self._http.server_address[1]

    def serve(self) -> None:
        """Answer requests until `close`, one thread per connection."""
        self._http.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Stop `serve`, from another thread. Requests in flight are abandoned."""
        self._http.shutdown()


@dataclass(frozen=True)
class _Answer:
    """An answer to one request; of `content` only the first `cut_at` bytes are sent."""

    status: int
    headers: list[tuple[str, str]]
    content: bytes
    cut_at: int | None = None


class _Handler(MotoRequestHandler):
    """One connection. werkzeug's own handler closes it after each request; this one keeps it."""

    board: Switchboard
    statements: StatementLog
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    _numbers = itertools.count(1)

    def handle(self) -> None:
        """Answer the requests of this connection until the client closes it."""
        if not self.board.admit():
            return
        self._number = next(self._numbers)
        self._requests = 0
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        finally:
            self.board.release()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: the statement log is the log."""

    def run_wsgi(self) -> None:
        """Answer one request. The base class calls this for every HTTP method."""
        environ = self.make_environ()
        body = self._read_body(environ)
        statement = _statement(environ, body)
        self._requests += 1
        self.board.count_statement()
        try:
            # Logged before it is sent: whoever has an answer finds it in the log.
            with self.statements.record(self._number, statement) as entry:
                entry["method"] = self.command
                entry["path"] = environ["RAW_URI"]
                if target := environ.get("HTTP_X_AMZ_TARGET"):
                    entry["target"] = target
                answer = self._answer(environ, statement)
                entry["status"] = answer.status
                if answer.cut_at is not None:
                    entry["outcome"] = "dropped"
                elif answer.status >= HTTPStatus.BAD_REQUEST:
                    entry["outcome"] = "error"
            if withheld := self.board.strike("withhold", statement):
                self.board.hold(withheld)
            self._send(answer)
        except ConnectionError:
            self.close_connection = True

    def _read_body(self, environ: dict[str, Any]) -> bytes:
        """Read the whole body: what is left of it would be taken for the next request."""
        if environ.get("wsgi.input_terminated"):
            body: bytes = environ["wsgi.input"].read()
        else:
            body = self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        return body

    def _answer(self, environ: dict[str, Any], statement: str) -> _Answer:
        """Let the faults and then moto answer.

        Raises:
            ConnectionError: nothing was executed and the connection is to be closed, because of a
                fault or because the client went away.
        """
        drop = self._strike_drop(statement)
        if drop and drop.after_queries:
            raise ConnectionError("dropped by a fault before it was executed")
        if delay := self.board.strike("delay", statement):
            self.board.hold(delay)
            if self._client_is_gone():
                raise ConnectionError("the client went away before it was executed")
        if fault := self.board.strike("unavailable", statement):
            # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
            text = fault.message or "SlowDown: Please reduce your request rate."
            return _error(environ, HTTPStatus.SERVICE_UNAVAILABLE, text)
        if fault := self.board.strike("error", statement):
            return _error(environ, fault.number, fault.message)
        try:
            answer = _call(self.server.app, environ)
        except Exception as error:  # noqa: BLE001 - a defect of moto must reach the client as a 500
            text = f"InternalFailure: {type(error).__name__}: {error}"
            return _error(environ, HTTPStatus.INTERNAL_SERVER_ERROR, text)
        return replace(answer, cut_at=drop.after_bytes) if drop else answer

    def _strike_drop(self, statement: str) -> Fault | None:
        """Strike with `drop` only once the connection's requests exceed the fault's number."""
        armed = [fault for fault in self.board.faults if fault.kind == "drop"]
        if any(self._requests > fault.after_queries for fault in armed):
            return self.board.strike("drop", statement)
        return None

    def _client_is_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except ConnectionError:
            return True

    def _send(self, answer: _Answer) -> None:
        """Send an answer, or what a `drop` fault leaves of it.

        Raises:
            ConnectionError: a `drop` fault closes the connection.
        """
        if answer.cut_at != 0:
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            names = {name.lower() for name, _ in answer.headers}
            if "content-length" not in names and answer.status not in {204, 304}:
                self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.content[: answer.cut_at])
        if answer.cut_at is not None:
            raise ConnectionError("dropped by a fault within the answer")


def _statement(environ: dict[str, Any], body: bytes) -> str:
    """The text that faults match and the log shows; see the module's docstring."""
    method, target = environ["REQUEST_METHOD"], environ.get("HTTP_X_AMZ_TARGET")
    if target is None:
        return f"{method} {environ['RAW_URI']}"
    parts = [method, environ["RAW_URI"], target]
    try:
        asked = json.loads(body)
    except ValueError:
        asked = {}
    if isinstance(asked, dict):
        database = asked.get("DatabaseName") or asked.get("DatabaseInput", {}).get("Name")
        name = asked.get("TableInput", {}).get("Name") or asked.get("Name")
        if named := [part for part in dict.fromkeys((database, name)) if part]:
            parts.append(".".join(named))
    return " ".join(parts)


def _error(environ: dict[str, Any], status: int, message: str) -> _Answer:
    """Put `Code: text` into the form of the service asked: JSON for Glue, XML for S3."""
    code, _, text = message.partition(": ")
    if "HTTP_X_AMZ_TARGET" in environ:
        content = json.dumps({"__type": code, "message": text})
        return _Answer(status, [("Content-Type", "application/x-amz-json-1.1")], content.encode())
    content = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(text)}</Message></Error>"
    )
    return _Answer(status, [("Content-Type", "application/xml")], content.encode())


def _call(app: Any, environ: dict[str, Any]) -> _Answer:
    """Call a WSGI application and read its whole answer."""
    started: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> None:
        started["status"] = int(status.split(" ", 1)[0])
        started["headers"] = headers

    chunks: Iterable[bytes] = app(environ, start_response)
    try:
        content = b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    return _Answer(started["status"], started["headers"], content)


def serve_in_thread(stand_in: AwsStandIn) -> threading.Thread:
    """Start `stand_in.serve` in a daemon thread; `stand_in.close` ends it."""
    thread = threading.Thread(target=stand_in.serve, name="aws", daemon=True)
    thread.start()
    return thread
