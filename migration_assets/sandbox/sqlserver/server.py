"""`SqlServerStandIn`: the listening socket, its connections and the loading of data."""

from __future__ import annotations

import contextlib
import itertools
import re
import select
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from migration_assets.sandbox.certificate import make_certificate
from migration_assets.sandbox.control import ControlServer, StatementLog, Switchboard
from migration_assets.sandbox.sqlserver import batch, dml
from migration_assets.sandbox.sqlserver.answers import Rows
from migration_assets.sandbox.sqlserver.catalog import Column, quoted, storage_name
from migration_assets.sandbox.sqlserver.connection import Connection, Shared
from migration_assets.sandbox.sqlserver.conversion import Typed, macro, store
from migration_assets.sandbox.sqlserver.encryption import Encryption, Offer
from migration_assets.sandbox.sqlserver.engine import Engine
from migration_assets.sandbox.sqlserver.errors import from_duckdb, invalid_column
from migration_assets.sandbox.sqlserver.session import Session
from migration_assets.sandbox.sqlserver.sql_types import MAX, SqlType

FAKE_PASSWORD = "Stand-in-0nly"  # noqa: S105 - a stand-in's password, known to everybody
_LET_GO_SECONDS = 2.0
_JOIN_SECONDS = 5.0


class SqlServerStandIn:
    """A stand-in for SQL Server on a loopback port; not SQL Server.

    It speaks TDS 7.4 and 8.0, encrypted as the client wishes, with a certificate that it signs
    itself at its start, and runs a subset of T-SQL on DuckDB in memory. Statements
    that it does not know are error 50001. What it does not honour is listed in the package's text.

    Args:
        port: TCP port on 127.0.0.1; 0 for a free one.
        user: the one login.
        password: its password.
        database: the user database.
        statements: directory of the statement log, see `StatementLog`.
        limit: connections above which new ones are refused.
        without: catalog views that answer error 208, e.g. `sys.dm_db_partition_stats`.
        deny: catalog views that answer a permission error.
        replay: regular expression; a matching statement's answer is encoded once and replayed.
        encryption: what it does about TLS.
        certificate: file that its certificate is written to; None for none.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        user: str = "sa",
        password: str = FAKE_PASSWORD,
        database: str = "shop",
        statements: Path | None = None,
        limit: int | None = None,
        without: tuple[str, ...] = (),
        deny: tuple[str, ...] = (),
        replay: str | None = None,
        encryption: Offer = Offer.OFFERED,
        certificate: Path | None = None,
    ) -> None:
        """Create the databases; nothing listens before `start`."""
        self.user = user
        self.password = password
        self.database = database
        self.board = Switchboard()
        self.engine = Engine(
            user, password, database,
            {name.lower() for name in without}, {name.lower() for name in deny},
        )  # fmt: skip
        self._limit = limit
        self._wanted_port = port
        self._log = StatementLog(statements, "sqlserver")
        own = make_certificate("SSL_Self_Signed_Fallback")
        if certificate is not None:
            own.write(certificate)
        self._shared = Shared(
            self.engine,
            self.board,
            self._log,
            self._watch,
            Encryption(encryption, own),
            re.compile(replay, re.I | re.S) if replay else None,
        )
        self._listener: socket.socket | None = None
        self._control: ControlServer | None = None
        self._connections: dict[int, Connection] = {}
        self._busy: set[Connection] = set()
        self._lock = threading.Condition()
        self._stopping = False
        self._session: Session | None = None
        self._threads: list[threading.Thread] = []

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> SqlServerStandIn:
        """Listen and serve in daemon threads; returns itself."""
        self._listener = socket.create_server(("127.0.0.1", self._wanted_port))
        self._control = ControlServer(self.board, self._run_duckdb)
        for target in (self._accept, self._watch_attentions):
            thread = threading.Thread(
                target=target, name=f"sqlserver-{target.__name__}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
        return self

    def stop(self) -> None:
        """Close the port and all connections, then DuckDB."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
            connections = list(self._connections.values())
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for connection in connections:
            if connection.session is not None:
                connection.session.interrupt()
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(timeout=max(deadline - time.monotonic(), 0.0))
        if self._control is not None:
            self._control.close()
        if self._session is not None:
            self._session.close()
        self.engine.close()

    def __enter__(self) -> SqlServerStandIn:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    @property
    def port(self) -> int:
        """The port listened on.

        Raises:
            RuntimeError: before `start`.
        """
        if self._listener is None:
            raise RuntimeError("the stand-in has not been started")
        return int(self._listener.getsockname()[1])

    @property
    def control_url(self) -> str:
        """Address of the control server.

        Raises:
            RuntimeError: before `start`.
        """
        if self._control is None:
            raise RuntimeError("the stand-in has not been started")
        return self._control.url

    # -- connections -----------------------------------------------------------------------------

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101 - started
        for spid in itertools.count(51):
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, spid, self._shared)
            self._let_go()
            if not self.board.admit(self._limit):
                most = self.board.counters.open
                threading.Thread(target=connection.refuse, args=(most,), daemon=True).start()
                continue
            with self._lock:
                self._connections[spid] = connection
            thread = threading.Thread(
                target=self._serve, args=(connection,), name=f"tds-{spid}", daemon=True
            )
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            self.board.release()
            with self._lock:
                self._connections.pop(connection.spid, None)
                self._busy.discard(connection)
                self._lock.notify_all()

    def _let_go(self) -> None:
        """Wait for connections that clients have closed, so that they are not counted any more.

        A client may close one connection and open the next faster than a thread here is woken.
        """
        with self._lock:
            closed = [n for n, c in self._connections.items() if _is_closed(c.socket)]
            self._lock.wait_for(
                lambda: not any(number in self._connections for number in closed),
                timeout=_LET_GO_SECONDS,
            )

    def _watch(self, connection: Connection, running: bool) -> None:  # noqa: FBT001 - a callback
        with self._lock:
            if running:
                self._busy.add(connection)
                self._lock.notify_all()
            else:
                self._busy.discard(connection)

    def _watch_attentions(self) -> None:
        """Interrupt DuckDB where a client that waits sends an attention or goes away."""
        while True:
            with self._lock:
                while not self._busy and not self._stopping:
                    self._lock.wait()
                if self._stopping:
                    return
                # Under the lock: a connection in the set still runs when it is interrupted.
                try:
                    ready = _readable([c.socket for c in self._busy])
                except (OSError, ValueError):
                    ready = []
                for connection in self._busy:
                    if connection.socket in ready and connection.session is not None:
                        connection.session.interrupt()
                self._lock.wait(timeout=0.05)

    # -- data ------------------------------------------------------------------------------------

    def _own_session(self) -> Session:
        if self._session is None:
            self._session = Session(self.engine, spid=1)
        return self._session

    def execute_script(self, text: str) -> None:
        """Run a T-SQL script, its batches separated by lines that say GO.

        Raises:
            SqlServerError: of the first statement that fails.
        """
        session = self._own_session()
        for part in batch.scripts(text):
            for event in session.run(part):
                if isinstance(event, Rows):
                    for _ in event.batches:
                        pass

    def load_arrow(self, schema: str, table: str, rows: pa.Table) -> int:
        """Append rows to a table that T-SQL created; returns how many.

        Args:
            schema: of the table.
            table: its name.
            rows: columns by name. Text goes through T-SQL's own conversions (padding, code page,
                length); other values must be of the storage types of `sql_types.TYPES` (dates and times
                in microseconds whatever their scale), where datetimeoffset is a struct of `utc` (timestamp) and `off` (minutes), or a timestamp
                with time zone, which then has offset 0. Identity values are taken as given; left
                out, they are generated, as rowversion always is. Computed columns are left out.

        Raises:
            SqlServerError: 208 for a missing table, 207 for a missing column, and what storing gives.
        """
        session = self._own_session()
        database, found = session.find_table([schema, table])
        known = {column.name.lower() for column in found.columns if column.computed is None}
        unknown = [name for name in rows.column_names if name.lower() not in known]
        if unknown:
            raise invalid_column(unknown[0])
        with self.engine.lock:
            session.cursor.register("ss_loaded", rows)
            names, values = [], []
            for column in found.columns:
                if column.computed is not None:
                    continue
                given = next(
                    (n for n in rows.column_names if n.lower() == column.name.lower()), None
                )
                if given is not None:
                    values.append(_loaded(quoted(given), rows.schema.field(given).type, column))
                else:
                    values.append(
                        dml.generated(database, found, column)
                        or f"CAST(NULL AS {column.type.duckdb})"
                    )
                names.append(quoted(column.name))
            storage = storage_name(database.name, found.schema, found.name)
            try:
                session.fetch(
                    f"INSERT INTO {storage} ({', '.join(names)}) SELECT {', '.join(values)} FROM ss_loaded"
                )
            except duckdb.Error as error:
                raise from_duckdb(error) from error
            finally:
                session.cursor.unregister("ss_loaded")
            identity = found.identity
            explicit = identity is not None and identity.name.lower() in {
                n.lower() for n in rows.column_names
            }
            dml.note_identity(session, found, storage, rows.num_rows, explicit=explicit)
            database.changed(rows.num_rows)
        return int(rows.num_rows)

    def _run_duckdb(self, sql: str) -> Any:
        """What the control server runs: DuckDB SQL, in a cursor of its own."""
        cursor = self.engine.cursor()
        try:
            return [list(row) for row in cursor.execute(sql).fetchall()]
        finally:
            cursor.close()


_MICROSECONDS = SqlType("datetime2", scale=6)


def _loaded(name: str, given: Any, column: Column) -> str:
    kind = column.type
    if (
        pa.types.is_string(given)
        or pa.types.is_large_string(given)
        or pa.types.is_dictionary(given)
    ):
        text = Typed(f"CAST({name} AS VARCHAR)", SqlType("nvarchar", MAX, collation=kind.collation))
        return store(text, kind, column.name)
    if kind.family == "offset" and pa.types.is_timestamp(given):
        utc = f"{name} AT TIME ZONE 'UTC'" if given.tz else name
        return store(Typed(f"CAST({utc} AS TIMESTAMP)", _MICROSECONDS), kind, column.name)
    if kind.family == "offset" and pa.types.is_struct(given):
        held = SqlType("datetimeoffset", scale=6)
        return store(Typed(f"CAST({name} AS {held.duckdb})", held), kind, column.name)
    if kind.family == "binary" and kind.info.padded and kind.length != MAX:
        return store(Typed(name, SqlType("varbinary", MAX)), kind, column.name)
    if kind.name in {"datetime2", "time"}:
        held = replace(kind, scale=6)
        return store(Typed(f"CAST({name} AS {held.duckdb})", held), kind, column.name)
    cast = f"CAST({name} AS {kind.duckdb})"
    return macro("to_datetime", cast) if kind.name == "datetime" else cast


def _is_closed(sock: socket.socket) -> bool:
    """Whether the other side has closed the connection."""
    hung_up = getattr(select, "POLLRDHUP", select.POLLHUP)  # Linux alone has the former
    poll = select.poll()
    if sock.fileno() < 0:
        return True
    poll.register(sock, hung_up)
    return bool(poll.poll(0))


def _readable(sockets: list[socket.socket]) -> list[socket.socket]:
    """Sockets with something to read; poll, since select ends at descriptor 1023."""
    poll = select.poll()
    by_number = {sock.fileno(): sock for sock in sockets}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(0)]
