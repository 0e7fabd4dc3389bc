"""The stand-in itself: what all sessions share, the listening socket, starting and stopping."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb

from migration_assets.sandbox.certificate import make_certificate
from migration_assets.sandbox.control import ControlServer, StatementLog, Switchboard
from migration_assets.sandbox.starrocks import functions
from migration_assets.sandbox.starrocks.catalogs import ExternalCatalog
from migration_assets.sandbox.starrocks.connection import Connection
from migration_assets.sandbox.starrocks.errors import StarRocksError
from migration_assets.sandbox.starrocks.privileges import Privileges
from migration_assets.sandbox.starrocks.session import Session
from migration_assets.sandbox.starrocks.tables import Metadata
from migration_assets.sandbox.starrocks.users import Users
from migration_assets.sandbox.starrocks.variables import Variables

DEFAULT_MAX_CONNECTIONS = 4096
FIRST_CONNECTION_ID = 33_554_433
_NODE = "127.0.0.1:9010"
_STARTUP_SECONDS = 30


class Shared:
    """What the sessions of one stand-in share.

    Attributes:
        max_connections: `qe_max_connection`, for all users together.
    """

    def __init__(
        self, limit: int | None, log: StatementLog, tls: ssl.SSLContext | None = None
    ) -> None:
        """Start an empty cluster.

        Args:
            limit: `max_user_connections` of each user; None for StarRocks' 1024.
            log: takes every statement.
            tls: for clients that want it; None offers none.
        """
        self.tls = tls
        self.board = Switchboard()
        self.log = log
        self.metadata = Metadata()
        self.users = Users(limit)
        self.privileges = Privileges()
        self.catalogs: dict[str, ExternalCatalog] = {}
        self.variables = Variables()
        self.max_connections = DEFAULT_MAX_CONNECTIONS
        self.workers = ThreadPoolExecutor(max_workers=256, thread_name_prefix="starrocks")
        self.duckdb = duckdb.connect(config={"temp_directory": ""})
        functions.register(self.duckdb)
        self._lock = threading.Lock()
        self._connections: dict[int, Connection] = {}
        self._per_user: dict[str, int] = {}

    def admit(self, user: str) -> StarRocksError | None:
        """Count a connection in, or return the error that refuses it (before any password)."""
        with self._lock:
            own, total = self._per_user.get(user, 0), self.board.counters.open
            found = self.users.get(user)
            if found and own >= found.max_connections:
                self.board.admit(0)  # counts it as refused
                return StarRocksError(
                    f"Reach user-level(qualifiedUser: {user}) connection limit, "
                    f"currentUserMaxConn={found.max_connections}, connectionMap.size={total}, "
                    f"connByUser.totConn={total}, user.currConn={own}, node={_NODE}"
                )
            refusing = [f.above for f in self.board.faults if f.kind == "refuse"]
            if not self.board.admit(self.max_connections):
                return StarRocksError(
                    "Reach cluster-wide connection limit, "
                    f"qe_max_connection={min([self.max_connections, *refusing])}, "
                    f"connectionMap.size={total}, node={_NODE}"
                )
            self._per_user[user] = own + 1
            return None

    def enter(self, connection_id: int, connection: Connection) -> None:
        """Remember a connection that has logged in."""
        with self._lock:
            self._connections[connection_id] = connection

    def leave(self, connection_id: int, connection: Connection | None = None) -> None:
        """Count a connection out; `connection` is None when it was never admitted."""
        with self._lock:
            self._connections.pop(connection_id, None)
            if connection is not None:
                self._per_user[connection.user] -= 1
                self.board.release()

    def sessions(self) -> list[Session]:
        """The sessions that are open, oldest first."""
        with self._lock:
            found = [c.session for _, c in sorted(self._connections.items())]
        return [session for session in found if session is not None]

    def kill(self, connection_id: int, *, query_only: bool) -> None:
        """Run KILL: stop a statement, or cut a connection (its client sees 2013)."""
        with self._lock:
            connection = self._connections.get(connection_id)
        if connection is None or connection.session is None:
            raise StarRocksError(f"Unknown thread id: {connection_id}", 1094)
        if query_only:
            error = StarRocksError(f"killed manually: KILL QUERY {connection_id}", 5609)
            connection.session.cancel(error)
        else:
            connection.loop.call_soon_threadsafe(connection.abort)

    def run_sql(self, statement: str) -> list[list[Any]] | None:
        """Run a statement on DuckDB behind all rules; StarRocks' `db`.`t` is `"db"."t"` there."""
        with self.duckdb.cursor() as cursor:
            cursor.execute(statement)
            return [list(row) for row in cursor.fetchall()] if cursor.description else None

    def abort_all(self) -> None:
        """Cut every connection."""
        with self._lock:
            connections = list(self._connections.values())
        for connection in connections:
            connection.abort()


class StarRocksStandIn:
    """A server on a loopback port that answers like a StarRocks frontend.

    It keeps its rows in DuckDB, in memory. It is not StarRocks: see the package's docstring.

    Example:
        >>> with StarRocksStandIn() as server:
        ...     pymysql.connect(host="127.0.0.1", port=server.port, user="root")
    """

    def __init__(
        self,
        port: int = 0,
        *,
        user: str = "root",
        password: str = "",
        limit: int | None = None,
        statements: Path | None = None,
        certificate: Path | None = None,
    ) -> None:
        """Prepare; nothing listens before `start`.

        Args:
            port: port to listen on; 0 for a free one.
            user: the first user.
            password: its password.
            limit: `max_user_connections` of every user; None for StarRocks' default of 1024.
            statements: directory of the statement log; None for none.
            certificate: file that its own certificate is written to; None for no TLS, which is
                what StarRocks itself has by default.
        """
        self.port = port
        self.control_url = ""
        self._user, self._password, self._limit = user, password, limit
        self._statements = statements
        self._certificate = certificate
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._problem: BaseException | None = None

    def start(self) -> StarRocksStandIn:
        """Listen, in a thread of its own; `port` and `control_url` are set when it returns.

        Raises:
            OSError: the port is taken.
        """
        print("StarRocks stand-in, not StarRocks", file=sys.stderr)  # noqa: T201 - the banner
        self._thread = threading.Thread(target=self._run, name="starrocks", daemon=True)
        self._thread.start()
        if not self._ready.wait(_STARTUP_SECONDS):
            raise TimeoutError("the StarRocks stand-in did not start")
        if self._problem is not None:
            raise self._problem
        return self

    def stop(self) -> None:
        """Cut all connections, stop what runs, close DuckDB."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> StarRocksStandIn:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as problem:  # noqa: BLE001 - start() raises it
            self._problem = problem
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tls = None
        if self._certificate is not None:
            own = make_certificate("StarRocks stand-in")
            own.write(self._certificate)
            tls = own.context()
        shared = Shared(self._limit, StatementLog(self._statements, "starrocks"), tls)
        shared.users.add(self._user, self._password)
        ids = itertools.count(FIRST_CONNECTION_ID)
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(Connection(shared, reader, writer).serve(next(ids)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        listener = await asyncio.start_server(accept, "127.0.0.1", self.port)
        self.port = listener.sockets[0].getsockname()[1]
        control = ControlServer(shared.board, shared.run_sql)
        self.control_url = control.url
        self._ready.set()
        try:
            await self._stop.wait()
        finally:
            listener.close()
            await asyncio.to_thread(control.close)
            shared.abort_all()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(shared.workers.shutdown)
            shared.duckdb.close()
            shared.log.close()
