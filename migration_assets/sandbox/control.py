"""How tests and demos reach behind a stand-in: fault switches, counters and a statement log.

Each stand-in runs one `ControlServer` (HTTP, loopback, JSON) beside its wire protocol:

- `GET /state`: the counters, see `Counters`.
- `GET /faults`, `PUT /faults`: the list of armed faults; a PUT replaces the list.
- `POST /sql`: runs a statement on the DuckDB behind the stand-in, where there is one, bypassing
  all its rules. It is how a test falsifies a value that no client could falsify.

`Control` is the client of it.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

PASSWORD_VARIABLE = "MIGRATION_SANDBOX_PASSWORD"  # noqa: S105 - a name
"""Environment variable from which a stand-in takes its password."""

FaultKind = Literal[
    "refuse", "drop", "delay", "withhold", "error", "alter", "then", "unavailable", "late"
]


@dataclass
class Fault:
    """One armed fault. Which fields matter depends on `kind`.

    Attributes:
        kind: `refuse` connections above `above`; `drop` the socket after `after_bytes` of an answer
            or after `after_queries` statements of a connection; `delay` an answer by `seconds`,
            or until the faults are replaced: what was asked is done afterwards; `withhold` the
            answer likewise: it was done before (not SQL Server); answer with `error` (`number`, `message`); `alter` the first value of `column` in a
            result set; `then` run `sql` on the backing DuckDB after the statement succeeded;
            `unavailable`: answer `percent` of the requests with 503 (S3), all of them when it is 0;
            `late`: report a load as committed, and visible only `seconds` later (StarRocks).
        match: regular expression that the statement (or the request path) must contain. A login is
            `LOGIN <database>` in SQL Server, `LOGIN <user>` in StarRocks; only `delay` and `error`
            with a `match` strike it.
        times: how often it strikes; None for always.
        struck: how often it did, as the stand-in says.
    """

    kind: FaultKind
    match: str = ""
    times: int | None = None
    above: int = 0
    after_bytes: int = 0
    after_queries: int = 0
    seconds: float = 0.0
    number: int = 0
    message: str = ""
    column: str = ""
    sql: str = ""
    percent: float = 0.0
    struck: int = 0


@dataclass
class Counters:
    """What a stand-in counted since its start.

    Attributes:
        opened: connections accepted.
        open: connections that are open now.
        max_open: the most that were open at once.
        refused: connections refused because of a limit.
        statements: statements received.
    """

    opened: int = 0
    open: int = 0
    max_open: int = 0
    refused: int = 0
    statements: int = 0


class Switchboard:
    """Faults and counters of one stand-in; safe to use from many threads."""

    def __init__(self) -> None:
        """Start with no fault armed and all counters at zero."""
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._dice = random.Random(0)  # noqa: S311 - a seed makes a test run repeatable
        self.counters = Counters()

    @property
    def faults(self) -> list[Fault]:
        """A copy of the armed faults."""
        with self._lock:
            return list(self._faults)

    def arm(self, faults: list[Fault]) -> None:
        """Replace all armed faults."""
        with self._lock:
            self._faults = faults

    def strike(self, kind: FaultKind, text: str = "", *, aimed: bool = False) -> Fault | None:
        """Return the first armed fault of this kind that matches, and use up one of its `times`.

        Args:
            kind: of the fault.
            text: what happens.
            aimed: only a fault that has a `match`.
        """
        with self._lock:
            for fault in self._faults:
                if fault.kind != kind or fault.times == 0 or (aimed and not fault.match):
                    continue
                if fault.match and not re.search(fault.match, text, re.IGNORECASE | re.DOTALL):
                    continue
                if fault.percent and self._dice.uniform(0, 100) >= fault.percent:
                    continue
                if fault.times is not None:
                    fault.times -= 1
                fault.struck += 1
                return fault
            return None

    def hold(self, fault: Fault, stopped: Callable[[], bool] = lambda: False) -> None:
        """Wait as a `delay` or `withhold` fault says, or until the faults are replaced, or `stopped`."""
        deadline = time.monotonic() + fault.seconds
        while (left := deadline - time.monotonic()) > 0 and not stopped():
            if not any(armed is fault for armed in self.faults):
                return
            time.sleep(min(0.02, left))

    def admit(self, limit: int | None = None) -> bool:
        """Count a new connection in; False, counted as refused, when it exceeds a limit.

        Args:
            limit: the stand-in's own limit; an armed `refuse` fault can only lower it.
        """
        with self._lock:
            limits = [fault.above for fault in self._faults if fault.kind == "refuse"]
            if limit is not None:
                limits.append(limit)
            if limits and self.counters.open >= min(limits):
                self.counters.refused += 1
                return False
            self.counters.opened += 1
            self.counters.open += 1
            self.counters.max_open = max(self.counters.max_open, self.counters.open)
            return True

    def release(self) -> None:
        """Count an admitted connection out."""
        with self._lock:
            self.counters.open -= 1

    def count_statement(self) -> None:
        """Count one statement."""
        with self._lock:
            self.counters.statements += 1


class StatementLog:
    """One JSON line per statement a stand-in received; writes nothing when `directory` is None."""

    def __init__(self, directory: Path | None, name: str) -> None:
        """Open `<directory>/<name>.jsonl` for appending."""
        self._lock = threading.Lock()
        self._file = None
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = (directory / f"{name}.jsonl").open("a", encoding="utf-8")

    @contextmanager
    def record(self, connection: int, statement: str, **more: Any) -> Iterator[dict[str, Any]]:
        """Time a statement; what the body puts into the yielded dict goes into the line.

        Args:
            connection: its number.
            statement: its text.
            more: what else to say of the connection.
        """
        entry: dict[str, Any] = {"at": time.time(), "connection": connection, **more}
        entry |= {"statement": statement, "outcome": "ok"}
        started = time.perf_counter()
        self._write({**entry, "outcome": "received"})
        try:
            yield entry
        except BaseException as error:
            entry["outcome"] = "error"
            entry.setdefault("error", str(error))
            raise
        finally:
            entry["seconds"] = round(time.perf_counter() - started, 6)
            self._write(entry)

    def close(self) -> None:
        """Close the file; what comes after is not written."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, entry: dict[str, Any]) -> None:
        with self._lock:
            if self._file is None:
                return
            self._file.write(json.dumps(entry, default=str) + "\n")
            self._file.flush()


class ControlServer:
    """Serves a `Switchboard` over HTTP on a free loopback port, in a daemon thread."""

    def __init__(self, board: Switchboard, run_sql: Callable[[str], object] | None = None) -> None:
        """Bind and start serving.

        Args:
            board: what is shown and switched.
            run_sql: runs a statement on the backing DuckDB and returns rows or None.
        """
        handler = _handler(board, run_sql)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, name="control", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()


def _handler(
    board: Switchboard, run_sql: Callable[[str], object] | None
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/faults":
                self._answer([asdict(fault) for fault in board.faults])
            else:
                self._answer(asdict(board.counters))

        def do_PUT(self) -> None:
            board.arm([Fault(**fault) for fault in self._body()])
            self._answer({"armed": len(board.faults)})

        def do_POST(self) -> None:
            if run_sql is None:
                self._answer({"error": "this stand-in has no DuckDB"}, status=404)
                return
            try:
                self._answer({"rows": run_sql(self._body()["sql"])})
            except Exception as error:  # noqa: BLE001 - whatever DuckDB says goes to the caller
                self._answer({"error": str(error)}, status=400)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Say nothing: the statement log is the log."""

        def _body(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: object, status: int = 200) -> None:
            payload = json.dumps(body, default=str).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

    return Handler


@dataclass(frozen=True)
class Control:
    """Client of a `ControlServer`."""

    url: str

    def state(self) -> Counters:
        """Fetch the counters."""
        return Counters(**self._call("GET", "/state"))

    def arm(self, *faults: Fault) -> None:
        """Replace the armed faults; with no argument, disarm all."""
        self._call("PUT", "/faults", [asdict(fault) for fault in faults])

    def faults(self) -> list[Fault]:
        """Fetch the armed faults with the `times` they have left."""
        return [Fault(**fault) for fault in self._call("GET", "/faults")]

    def sql(self, statement: str) -> list[list[Any]]:
        """Run a statement on the backing DuckDB."""
        rows: list[list[Any]] = self._call("POST", "/sql", {"sql": statement})["rows"]
        return rows

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)
