"""The databases behind all sessions: one DuckDB in memory, and what it cannot remember itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb

from migration_assets.sandbox.sqlserver import macros, natives
from migration_assets.sandbox.sqlserver.catalog import SYSTEM_DATABASES, Database, quoted
from migration_assets.sandbox.sqlserver.errors import SqlServerError
from migration_assets.sandbox.sqlserver.locks import TableLocks

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.statistics import Statistics

VERSION_TEXT = (
    "Microsoft SQL Server 2022 (stand-in, not SQL Server: DuckDB behind the TDS protocol) - "
    "16.0.1000.6 (X64)"
)


@dataclass
class Engine:
    """Everything that sessions share.

    Attributes:
        user: the one login.
        password: its password.
        default_database: where a login without a database goes.
        without: lower-case names of catalog views that answer error 208.
        denied: lower-case names of catalog views that answer error 371.
        dropped: lower-case names of dropped databases, whose place in DuckDB is used again.
        statistics: those made so far, by database, object id and column.
        lock: held while the catalog or an identity value changes.
        locks: what sessions hold of tables.
    """

    user: str
    password: str
    default_database: str
    without: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    databases: dict[str, Database] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    statistics: dict[tuple[str, int, str], Statistics] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    locks: TableLocks = field(default_factory=TableLocks)

    def __post_init__(self) -> None:
        """Open DuckDB and create the databases every server has, and the default one."""
        self.duckdb = duckdb.connect(":memory:")
        self.duckdb.execute("SET TimeZone = 'UTC'")
        # Rows come in the order of insertion from a heap or a key, as users expect; also steady.
        natives.register(self.duckdb)
        for statement in macros.statements():
            self.duckdb.execute(statement)
        for name in [*SYSTEM_DATABASES, self.default_database]:
            self.create_database(name)

    def create_database(self, name: str) -> Database:
        """Create a database that sessions can use.

        Raises:
            SqlServerError: 1801 when there is one of that name.
        """
        with self.lock:
            if name.lower() in self.databases:
                raise SqlServerError(
                    1801, f"Database '{name}' already exists. Choose a different name."
                )
            if name.lower() in {"memory", "system", "temp"}:
                raise SqlServerError(
                    1802, f"The stand-in keeps the database name '{name}' for itself."
                )
            number = 1 + max((d.database_id for d in self.databases.values()), default=0)
            database = Database(name, number)
            # DuckDB detaches none that a cursor may still look at, so their places are kept.
            if name.lower() not in self.dropped:
                self.duckdb.execute(f"ATTACH ':memory:' AS {quoted(name)}")
                self.duckdb.execute(f"CREATE SCHEMA {quoted(name)}.dbo")
            self.databases[name.lower()] = database
            return database

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the shared DuckDB."""
        cursor = self.duckdb.cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        cursor.execute(f"USE {quoted(self.default_database)}")
        return cursor

    def close(self) -> None:
        """Close DuckDB; sessions must be closed before."""
        self.duckdb.close()
