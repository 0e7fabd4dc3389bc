"""StarRocks' connections: a plain client, and the Dagster resource that lends it out."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Generator, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import dagster as dg
from pydantic import PrivateAttr

from migration_assets.errors import ConnectionLimitError, UnsupportedError
from migration_assets.settings import StarRocksSettings
from migration_assets.starrocks.faults import UNKNOWN_VARIABLE
from migration_assets.starrocks.server_errors import understand

if TYPE_CHECKING:
    import pymysql
    from sqlalchemy.pool import QueuePool

    from migration_assets.starrocks.wire import Answer, TextRow, Wire

_log = logging.getLogger(__name__)

_GRACE_S = 60
"""How much longer we wait than the server itself does: its own timeout gives the better message."""

HARMLESS_IF_UNKNOWN = ("insert_max_filter_ratio", "dynamic_overwrite")
"""Session variables that an old server may lack: without the first it fails at the first filtered
row anyway, without the second it has no dynamic overwrite. All others are required."""


def session_variables(settings: StarRocksSettings) -> dict[str, str]:
    """What every session is set to, as SQL literals.

    https://docs.starrocks.io/docs/sql-reference/System_variable/
    """
    return {
        # An Iceberg timestamptz becomes a DATETIME in the session's zone, which defaults to the
        # operating system's.
        "time_zone": "'UTC'",
        # A row that does not fit (text too long, NULL into NOT NULL) fails the load …
        "enable_insert_strict": "true",
        # … the first of them: 0 is the default, but an administrator may have set it globally.
        "insert_max_filter_ratio": "0",
        # When true, an overwrite replaces the partitions that occur in the new rows: one that has
        # become empty would keep its old rows.
        "dynamic_overwrite": "false",
        # A failed cast gives NULL without a word, unless exceptions are allowed.
        "sql_mode": "'ONLY_FULL_GROUP_BY,ALLOW_THROW_EXCEPTION'",
        # Since 3.4 this one, not query_timeout, limits an INSERT.
        "insert_timeout": str(settings.insert_timeout_s),
        "query_timeout": str(settings.query_timeout_s),
    }


class StarRocks:
    """Client of one StarRocks frontend; safe to use from many threads.

    Connections are made when they are needed, closed when they are given back, and never more
    than `pool_size` at once: a step keeps none while it waits for something else. Calls nested in
    one `connection()` block share its connection, so a thread never holds two.
    """

    def __init__(self, settings: StarRocksSettings) -> None:
        """Connect to nothing yet."""
        self.settings = settings
        self._pool: QueuePool | None = None
        self._lock = threading.Lock()
        self._held = threading.local()

    @property
    def server(self) -> str:
        """`host:port`, for messages."""
        return f"{self.settings.host}:{self.settings.port}"

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    @contextlib.contextmanager
    def connection(self) -> Iterator[Wire]:
        """Lend a connection, its session set up; it is closed at the end of the outermost block.

        Raises:
            ConnectionLimitError: none of ours became free within `pool_timeout_s`, or StarRocks
                refused one more.
            ConnectionLostError: StarRocks cannot be reached.
            AccessDeniedError: user or password are wrong.
            UnsupportedError: StarRocks lacks a session variable that a safe load needs.
        """
        held: Wire | None = getattr(self._held, "wire", None)
        if held is not None:
            yield held
            return
        import sqlalchemy.exc

        try:
            lent = self._connections().connect()
        except sqlalchemy.exc.TimeoutError:
            raise ConnectionLimitError(
                f"All {self.settings.pool_size} connections to StarRocks at {self.server} stayed in "
                f"use for {self.settings.pool_timeout_s} s.",
                code="MA-SR-101",
                next_step="Raise STARROCKS_POOL_SIZE or STARROCKS_POOL_TIMEOUT_S.",
            ) from None
        wire: Wire = lent.dbapi_connection  # type: ignore[assignment] # our creator makes Wires
        self._held.wire = wire
        try:
            yield wire
        finally:
            self._held.wire = None
            # `close` would keep the connection open in the pool; `invalidate` closes it and frees
            # its place.
            lent.invalidate()

    def query(self, sql: str, *, about: str = "") -> list[tuple[Any, ...]]:
        """Run a query and return all its rows.

        Args:
            sql: the statement.
            about: the object it is about, for messages: `Table shop.orders`.

        Raises:
            MigrationError: see `faults.FAULTS`.
        """
        return list(self.execute(sql, about=about).rows)

    def execute(self, sql: str, *, about: str = "", timeout_s: float | None = None) -> Answer:
        """Run any statement.

        Args:
            sql: the statement.
            about: the object it is about, for messages.
            timeout_s: the server's own timeout for it; `query_timeout_s` unless given.

        Raises:
            MigrationError: see `faults.FAULTS`.
        """
        with self.connection() as wire:
            return self._run(wire, sql, about, timeout_s or self.settings.query_timeout_s)

    def stream(
        self, sql: str, *, about: str = "", timeout_s: int
    ) -> Generator[list[TextRow], None, None]:
        """Run a query and yield its rows in batches, as text, while they come.

        It keeps one connection, on which nothing else can be asked meanwhile, until the last batch
        or until it is closed.

        Args:
            sql: the query.
            about: the object it is about, for messages.
            timeout_s: the server's timeout until the last row was taken, our own work between the
                batches included.

        Raises:
            MigrationError: see `faults.FAULTS`.
        """
        import pymysql

        usual_s = self.settings.query_timeout_s
        with self.connection() as wire:
            self._set(wire, [f"query_timeout = {timeout_s}"])
            try:
                yield from wire.stream(sql, timeout_s=usual_s + _GRACE_S)
            except pymysql.err.Error as error:
                raise self._understood(error, about) from error
            self._set(wire, [f"query_timeout = {usual_s}"])

    def close(self) -> None:
        """Give everything up; idempotent, and the client can be used again afterwards."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is None:
            return
        if pool.checkedout():
            _log.warning("%d StarRocks connections are still in use", pool.checkedout())
        pool.dispose()

    def _connections(self) -> QueuePool:
        from sqlalchemy.pool import QueuePool

        with self._lock:
            if self._pool is None:
                self._pool = QueuePool(
                    self._connect,  # type: ignore[arg-type] # a pymysql connection is a DBAPI one
                    pool_size=self.settings.pool_size,
                    max_overflow=0,
                    timeout=self.settings.pool_timeout_s,
                    reset_on_return=None,
                )
            return self._pool

    def _connect(self) -> Wire:
        import pymysql

        from migration_assets.starrocks.wire import Wire

        try:
            wire = Wire(self.settings)
        except pymysql.err.Error as error:
            raise self._understood(error, "") from error
        try:
            self._set_up(wire)
        except BaseException:
            wire.close()
            raise
        return wire

    def _set_up(self, wire: Wire) -> None:
        variables = session_variables(self.settings)
        try:
            self._set(wire, [f"{name} = {value}" for name, value in variables.items()])
        except UnsupportedError:
            # Which one it was, the message does not say reliably: one by one.
            for name, value in variables.items():
                try:
                    self._set(wire, [f"{name} = {value}"])
                except UnsupportedError as error:
                    if name not in HARMLESS_IF_UNKNOWN or not _unknown_variable(error):
                        raise

    def _set(self, wire: Wire, assignments: Sequence[str]) -> None:
        sql = f"SET {', '.join(assignments)}"
        self._run(wire, sql, "Session", self.settings.connect_timeout_s)

    def _run(self, wire: Wire, sql: str, about: str, timeout_s: float) -> Answer:
        import pymysql

        try:
            return wire.run(sql, timeout_s=timeout_s + _GRACE_S)
        except pymysql.err.Error as error:
            raise self._understood(error, about) from error

    def _understood(self, error: pymysql.err.Error, about: str) -> Exception:
        number, message = _number_and_text(error)
        secrets = [self.settings.password, self.settings.aws_secret_access_key]
        return understand(
            number,
            message,
            subject=about,
            server=self.server,
            secrets=[secret.get_secret_value() for secret in secrets if secret is not None],
        )


def _number_and_text(error: BaseException) -> tuple[int, str]:
    """Number and text of a driver error; those that carry none are about the connection."""
    match error.args:
        case (int(number), str(text), *_):
            return number, text
        case (int(number), *_):
            return number, ""
        case _:
            return 0, str(error)


def _unknown_variable(error: BaseException) -> bool:
    cause = error.__cause__
    return cause is not None and _number_and_text(cause)[0] == UNKNOWN_VARIABLE


class StarRocksResource(dg.ConfigurableResource):  # type: ignore[type-arg] # Dagster's own default
    """Lends `StarRocks` to assets; set up opens nothing, tear down closes everything.

    Give the required fields as `dg.EnvVar`, so that the UI shows the variables and never their
    values; everything else comes from the settings when the client is first used.
    """

    host: str
    user: str
    password: str = ""

    _client: StarRocks | None = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def client(self) -> StarRocks:
        """The client, made at first use; the resource closes it.

        Raises:
            ConfigurationError: a setting is missing or malformed.
        """
        with self._lock:
            if self._client is None:
                given = {"host": self.host, "user": self.user, "password": self.password}
                named = {name: value for name, value in given.items() if value}
                self._client = StarRocks(StarRocksSettings.load(**named))
            return self._client

    def teardown_after_execution(
        self,
        context: dg.InitResourceContext,  # noqa: ARG002 - Dagster's signature
    ) -> None:
        """Close the client, after success, failure and interruption alike."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
