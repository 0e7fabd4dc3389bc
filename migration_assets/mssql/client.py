"""Connections to SQL Server: pooled pymssql for metadata and counts, mssql-python for Arrow.

Where pymssql cannot sign in (Entra ID, Kerberos), mssql-python is used for both.

Drivers are imported inside methods: `definitions.py` imports this module, and loading definitions
must not load a driver. Dagster is not imported at all: Spark's executors use this client, too.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from migration_assets.errors import (
    AccessDeniedError,
    ConnectionLimitError,
    ConnectionLostError,
    MigrationError,
    ObjectNotFoundError,
    PermanentError,
    ServerBusyError,
)
from migration_assets.mssql import freetds
from migration_assets.mssql.driver_errors import (
    is_doubtful,
    is_driver_error,
    is_wordless,
    translate,
)
from migration_assets.mssql.odbc import (
    connection_string,
    odbc_error,
    require_odbc_libraries,
    run_through_odbc,
    token_error,
)
from migration_assets.mssql.select import GIVE_WAY
from migration_assets.setting_choices import ApplicationIntent, Authentication, EncryptMode
from migration_assets.settings import MssqlSettings

if TYPE_CHECKING:
    import mssql_python
    import pymssql

    from migration_assets.mssql.costs import QueryCosts

    Borrowed = pymssql.Connection | mssql_python.Connection

APPLICATION_NAME = "migration_assets"
MAX_IDLE_S = 30.0
"""An idle connection older than this is closed, not used: firewalls and servers drop such."""

_odbc_lock = threading.Lock()


class SqlServer:
    """Client of one SQL Server database.

    At most `MSSQL_POOL_SIZE` connections exist at once in a process, both kinds and idle ones
    counted. Safe to use from many threads. `close` it, or use it as a context manager.
    """

    def __init__(self, settings: MssqlSettings) -> None:
        """Keep the settings; no connection is opened before the first use."""
        self.settings = settings
        self._slots = threading.BoundedSemaphore(settings.pool_size)
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Borrowed]] = []
        self._closings = 0
        self.costs: QueryCosts | None = None

    def __enter__(self) -> SqlServer:
        """Nothing to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close every idle connection, and each one in use when it comes back. Idempotent.

        The client can be used again afterwards.
        """
        with self._lock:
            self._closings += 1
            idle, self._idle = self._idle, []
        for _, connection in idle:
            _close(connection)

    @contextmanager
    def connection(self, doing: str = "") -> Iterator[Borrowed]:
        """Lend a connection in autocommit mode: pymssql's, or mssql-python's where that cannot.

        It goes back to the pool, or is closed when the block raised: its state is unknown then.

        Args:
            doing: what for, for messages: `Counting dbo.Orders`.

        Raises:
            ConnectionLimitError: none became free within `MSSQL_POOL_TIMEOUT_S`.
            MigrationError: whatever a driver's error means, also of the block.
        """
        with self._translated(doing), self._slot():
            lent_at = self._closings
            connection = self._reuse() or self._connect()
            try:
                yield connection
            except BaseException:
                _close(connection)
                raise
            with self._lock:
                keep = self._closings == lent_at
                if keep:
                    self._idle.append((time.monotonic(), connection))
            if not keep:
                _close(connection)

    def query(
        self, sql: str, params: Sequence[Any] = (), *, doing: str = ""
    ) -> list[tuple[Any, ...]]:
        """Run one statement on a pooled connection and fetch all its rows; for small results.

        Args:
            sql: T-SQL; with `params`, `%s` marks each and `%%` is a percent sign.
            params: values that the driver quotes, or sends apart.
            doing: what for, for messages.

        Raises:
            MigrationError: whatever the driver's error means.
        """
        with self.connection(doing) as connection:
            started = time.monotonic()
            try:
                return run(connection, sql, params)
            finally:
                if self.costs is not None:
                    self.costs.add(doing, time.monotonic() - started)

    @contextmanager
    def arrow_connection(self, doing: str = "") -> Iterator[mssql_python.Connection]:
        """Open an mssql-python connection in autocommit mode and close it in any case.

        Never pooled: it holds a session's isolation level, and a step keeps none idle.

        Raises:
            ConfigurationError: the ODBC driver cannot be loaded.
            ConnectionLimitError: none became free within `MSSQL_POOL_TIMEOUT_S`.
            MigrationError: whatever a driver's error means, also of the block.
        """
        with self._translated(doing), self._slot():
            # Idle ones count as well, so they make room.
            self.close()
            connection = self._connect_odbc()
            try:
                yield connection
            finally:
                _close(connection)

    def translated(self, error: BaseException, doing: str = "") -> MigrationError:
        """What a driver's error becomes, with this server's name in it."""
        settings = self.settings
        return translate(
            error,
            server=settings.server,
            database=settings.database,
            user=settings.login,
            doing=doing,
        )

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not is_driver_error(error):
                raise
            # Not `from error`: what a driver says may quote statements, hence data.
            raise self.translated(error, doing) from None

    @contextmanager
    def _slot(self) -> Iterator[None]:
        timeout = self.settings.pool_timeout_s
        if not self._slots.acquire(timeout=timeout):
            raise ConnectionLimitError(
                f"All {self.settings.pool_size} connections to SQL Server {self.settings.server} "
                f"were in use for {timeout} s.",
                code="MA-MS-101",
                next_step="Raise MSSQL_POOL_SIZE or MSSQL_POOL_TIMEOUT_S.",
            )
        try:
            yield
        finally:
            self._slots.release()

    def _reuse(self) -> Borrowed | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                since, connection = self._idle.pop()
            if time.monotonic() - since <= MAX_IDLE_S:
                return connection
            _close(connection)

    def _connect(self) -> Borrowed:
        if self.settings.authentication is not Authentication.SQL_PASSWORD:
            return self._connect_odbc()
        import pymssql

        try:
            connection = self._open(self.settings.database)
        except pymssql.Error as error:
            raise self._explained(self._asked_again(error)) from None
        self._give_way(connection)
        return connection

    def _give_way(self, connection: Borrowed) -> None:
        """Be the one that a deadlock ends; a server that knows no such wish is not asked twice."""
        try:
            with connection.cursor() as cursor:
                cursor.execute(GIVE_WAY)
        except Exception as error:
            if is_driver_error(error) and isinstance(self.translated(error), PermanentError):
                return
            _close(connection)
            raise

    def _asked_again(self, error: Exception) -> Exception:
        """What ODBC says, where pymssql does not say what the matter is.

        One more attempt to connect, of a login that failed anyway. Where ODBC itself is missing,
        pymssql's word stands; also where ODBC gets in, unless there is no word.
        """
        if not is_doubtful(error):
            return error
        try:
            _close(self._open_odbc())
        except Exception as other:  # noqa: BLE001 - whatever ODBC has, ours goes before it
            return other if is_driver_error(other) else error
        if not is_wordless(error):
            return error
        return ServerBusyError(
            f"SQL Server {self.settings.server} refused a login for a reason that the driver does "
            "not pass on, and accepted one right after.",
            code="MA-MS-102",
            next_step="If it comes back, look at the server's error log.",
        )

    def _explained(self, error: Exception) -> Exception:
        """Tell a wrong database from a wrong password, and say what `strict` needs.

        SQL Server refuses the login for both, with two messages of which the drivers keep one. A
        login without a database tells; it costs one more attempt, of a login that failed anyway.
        """
        settings = self.settings
        if not is_driver_error(error):
            return error
        if (refused := token_error(error, settings)) is not None:
            return refused
        meaning = self.translated(error)
        if settings.encrypt is EncryptMode.STRICT and isinstance(meaning, ConnectionLostError):
            hint = "MSSQL_ENCRYPT=strict needs SQL Server 2022 or later."
            return ConnectionLostError(
                meaning.found, code=meaning.code, next_step=f"{meaning.next_step} {hint}"
            )
        if not isinstance(meaning, AccessDeniedError):
            return error
        try:
            _close(self._open_anywhere())
        except Exception as other:
            if not is_driver_error(other):
                raise
            if settings.authentication is Authentication.SQL_PASSWORD:
                return error
            return AccessDeniedError(
                meaning.found,
                code=meaning.code,
                next_step="Check MSSQL_AUTHENTICATION, MSSQL_USER where it needs one, and that the "
                "database has a user for it (docs/signing-in.md).",
            )
        return ObjectNotFoundError(
            f"SQL Server {settings.server} has no database {settings.database!r} that user "
            f"{settings.login!r} may open.",
            code="MA-MS-004",
            next_step="Check MSSQL_DATABASE, and that the login has a user in it.",
        )

    def _open_anywhere(self) -> Borrowed:
        """Sign in to the login's own database."""
        if self.settings.authentication is Authentication.SQL_PASSWORD:
            return self._open("")
        return self._open_odbc(self.settings.model_copy(update={"database": ""}))

    def _open(self, database: str) -> pymssql.Connection:
        import pymssql

        settings = self.settings
        with freetds.configured(settings):
            return pymssql.connect(
                server=settings.host,
                port=str(settings.port),
                user=settings.user,
                password=settings.password.get_secret_value(),
                database=database,
                login_timeout=settings.login_timeout_s,
                timeout=settings.query_timeout_s,
                appname=APPLICATION_NAME,
                encryption=freetds.encryption(settings),
                read_only=settings.application_intent is ApplicationIntent.READ_ONLY,
                tds_version="7.4",
                autocommit=True,
            )

    def _connect_odbc(self) -> mssql_python.Connection:
        try:
            connection = self._open_odbc()
        except (ImportError, OSError, RuntimeError) as error:
            raise odbc_error(f"The ODBC driver for SQL Server cannot be loaded: {error}.") from None
        except Exception as error:
            if not is_driver_error(error):
                raise
            raise self._explained(error) from None
        connection.timeout = self.settings.query_timeout_s
        self._give_way(connection)
        return connection

    def _open_odbc(self, settings: MssqlSettings | None = None) -> mssql_python.Connection:
        freetds.export_authorities(self.settings)
        return _odbc_connect()(
            connection_string(settings or self.settings),
            autocommit=True,
            timeout=self.settings.login_timeout_s,
        )


def run(connection: Borrowed, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement on a borrowed connection and fetch all its rows; none without a result."""
    with connection.cursor() as cursor:
        if type(connection).__module__.startswith("mssql_python"):
            return run_through_odbc(cursor, sql, params)
        if params:
            cursor.execute(sql, tuple(params))
        else:
            cursor.execute(sql)
        return [] if cursor.description is None else list(cursor.fetchall())


def _odbc_connect() -> Callable[..., mssql_python.Connection]:
    """Load mssql-python once per process, its own pool switched off: it would keep sockets."""
    with _odbc_lock:
        require_odbc_libraries()
        try:
            import mssql_python
        except (ImportError, OSError) as error:
            raise odbc_error(f"The ODBC driver for SQL Server cannot be loaded: {error}.") from None
        mssql_python.pooling(enabled=False)
        return mssql_python.connect


def _close(connection: Any) -> None:
    # A connection that broke raises while it is closed; it is gone all the same.
    with contextlib.suppress(Exception):
        connection.close()
