"""One connection's session: its state, its transaction, and the statements it runs."""

from __future__ import annotations

import contextlib
import copy
import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import duckdb

from migration_assets.sandbox.sqlserver import (
    batch,
    database_snapshots,
    dialect,
    masking,
    security,
    sql_types,
    statements,
    system_views,
    tokens,
)
from migration_assets.sandbox.sqlserver import session_functions as functions
from migration_assets.sandbox.sqlserver.answers import Change, Event, Rows
from migration_assets.sandbox.sqlserver.catalog import Database, Table, storage_name
from migration_assets.sandbox.sqlserver.conversion import Typed, convert, literal
from migration_assets.sandbox.sqlserver.engine import Engine
from migration_assets.sandbox.sqlserver.errors import (
    SqlServerError,
    from_duckdb,
    invalid_object,
    unsupported,
)  # fmt: skip
from migration_assets.sandbox.sqlserver.locks import HELD, SHARED
from migration_assets.sandbox.sqlserver.queries import QueryTranslator, column_reference
from migration_assets.sandbox.sqlserver.scope import Query, Scope, Source
from migration_assets.sandbox.sqlserver.tokens import ResultColumn

_descriptors = itertools.count(1)
_ONE_SNAPSHOT = {"REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT"}
"""Levels at which all reads of a transaction see one state; DuckDB's own transactions do."""


class Session:
    """State and statements of one connection; used by one thread, but for `interrupt`."""

    engine: Engine
    program: str
    host: str
    encrypted: bool
    read_only: bool
    login: str
    transactions: int
    rowcount: int

    def __init__(self, engine: Engine, spid: int = 51, database: str | None = None) -> None:
        """Open a session in a database.

        Raises:
            SqlServerError: 4060 when there is no such database.
        """
        self.engine = engine
        self.spid = spid
        self.program = ""
        self.host = ""
        self.encrypted = False
        self.read_only = False
        self.login = ""
        name = database or engine.default_database
        if name.lower() not in engine.databases:
            raise SqlServerError(
                4060, f'Cannot open database "{name}" requested by the login. The login failed.', 11
            )
        self.database = engine.databases[name.lower()]
        self.cursor = engine.cursor()
        self.variables: dict[str, Typed] = {}
        self.cancelled = threading.Event()
        self.transactions = 0
        self.reset()

    def reset(self) -> None:
        """Back to the state after login; an open transaction is rolled back."""
        if self.transactions:
            self._roll_back()
        self.transactions = 0
        self.descriptor = 0
        self.isolation = "READ COMMITTED"
        self.implicit = False
        self.nocount = False
        self.rowcount = 0
        self.lock_timeout_ms = -1
        self.scope_identity: int | None = None
        self.identity_insert: Table | None = None
        self.in_duckdb = False
        self._saved: dict[str, Database] | None = None
        self.engine.locks.release(self)

    def close(self) -> None:
        """Roll back and give up the DuckDB cursor."""
        try:
            if self.in_duckdb:
                self._roll_back()
        finally:
            self.engine.locks.release(self)
            self.cursor.close()

    def interrupt(self) -> None:
        """Stop what runs in DuckDB or waits; called by another thread."""
        self.cancelled.set()
        with contextlib.suppress(duckdb.ConnectionException):  # closed in the meantime
            self.cursor.interrupt()

    # -- batches ---------------------------------------------------------------------------------

    def run(self, text: str, variables: dict[str, Typed] | None = None) -> Iterator[Event]:
        """Run a batch.

        Args:
            text: T-SQL.
            variables: parameters of an RPC, by lower-case name without `@`.

        Yields:
            What happened, in order. The batches of a result set must be read before the next event.

        Raises:
            SqlServerError: of the statement that failed; those behind it did not run.
        """
        self.variables = dict(variables or {})
        self.cancelled.clear()
        try:
            for statement in batch.split(text):
                yield from statements.run(self, statement)
                self._release_locks()
        except SqlServerError:
            self._after_error()
            raise
        except duckdb.Error as error:
            self._after_error()
            raise from_duckdb(error) from error
        except RecursionError as error:
            raise SqlServerError(
                191, "Some part of your SQL statement is nested too deeply.", 15
            ) from error
        finally:
            self._release_locks()

    def _release_locks(self) -> None:
        """Locks last as long as the transaction, which without BEGIN is the statement."""
        if not self.transactions:
            self.engine.locks.release(self)

    def lock(self, database: Database, table: Table, mode: str) -> None:
        """Wait for a lock of a table, as long as SET LOCK_TIMEOUT says.

        Raises:
            SqlServerError: 1222.
        """
        self.engine.locks.take(
            self,
            (database.name.lower(), table.object_id),
            mode,
            timeout_ms=self.lock_timeout_ms,
            stopped=self.cancelled.is_set,
        )

    def hint(self, hints: set[str], parts: list[str]) -> None:
        """Heed TABLOCK with HOLDLOCK of a table in FROM; other hints change nothing here."""
        if "TABLOCK" in hints and hints & HELD:
            self.lock(*self.find_table(parts), SHARED)

    def _after_error(self) -> None:
        """DuckDB ends a transaction at most run-time errors; then so does the session."""
        if not self.in_duckdb:
            return
        try:
            self.cursor.execute("SELECT 1").fetchall()
        except duckdb.Error:
            self._end_of_transaction()

    def lose_transaction(self) -> None:
        """What a deadlock victim suffers: its transaction is rolled back."""
        self._end_of_transaction()

    def _end_of_transaction(self) -> None:
        if self.transactions:
            self._roll_back()
            self.transactions = 0

    # -- transactions ----------------------------------------------------------------------------

    def begin(self) -> Iterator[Event]:
        """BEGIN TRANSACTION."""
        self.transactions += 1
        if self.transactions == 1:
            self.descriptor = next(_descriptors)
            yield Change(tokens.env_transaction(8, self.descriptor))

    def commit(self) -> Iterator[Event]:
        """COMMIT TRANSACTION.

        Raises:
            SqlServerError: 3902 without a transaction.
        """
        if not self.transactions:
            raise SqlServerError(
                3902, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION."
            )
        self.transactions -= 1
        if self.transactions == 0:
            if self.in_duckdb:
                self.in_duckdb = False
                self._saved = None
                self.cursor.execute("COMMIT")
            yield Change(tokens.env_transaction(9, self.descriptor))

    def rollback(self) -> Iterator[Event]:
        """ROLLBACK TRANSACTION.

        Raises:
            SqlServerError: 3903 without a transaction.
        """
        if not self.transactions:
            raise SqlServerError(
                3903, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION."
            )
        self._roll_back()
        self.transactions = 0
        yield Change(tokens.env_transaction(10, self.descriptor))

    def _roll_back(self) -> None:
        if self.in_duckdb:
            self.in_duckdb = False
            self.cursor.execute("ROLLBACK")
        if self._saved is not None:
            with self.engine.lock:
                self.engine.databases.update(self._saved)
            self.database = self.engine.databases[self.database.name.lower()]
            self._saved = None

    def enter(self, *, writes: bool, defines: bool = False) -> None:
        """Before a statement touches data: open DuckDB's transaction where one is due.

        Reads under READ COMMITTED see what others committed meanwhile, so they stay outside until
        the transaction writes for the first time; from then on it sees one state.
        """
        if writes and not defines:
            database_snapshots.refuse_writing(self.database)
        if not self.transactions:
            return
        if not self.in_duckdb and (writes or self.isolation in _ONE_SNAPSHOT):
            self.cursor.execute("BEGIN TRANSACTION")
            self.in_duckdb = True
        if defines and self._saved is None:
            with self.engine.lock:
                self._saved = {self.database.name.lower(): copy.deepcopy(self.database)}

    def begin_implicitly(self) -> Iterator[Event]:
        """What SET IMPLICIT_TRANSACTIONS ON does before a statement."""
        if self.implicit and not self.transactions:
            yield from self.begin()

    # -- what translators ask --------------------------------------------------------------------

    def variable(self, name: str) -> Typed:
        """A variable or parameter.

        Raises:
            SqlServerError: 137 when it was not declared.
        """
        found = self.variables.get(name.lower().lstrip("@"))
        if found is None:
            raise SqlServerError(137, f'Must declare the scalar variable "@{name}".', severity=15)
        return found

    def global_variable(self, name: str) -> Typed:
        """A `@@NAME`."""
        return functions.global_variable(self, name)

    def has_function(self, name: str) -> bool:
        """Whether a function depends on the session or the catalog."""
        return name in functions.FUNCTIONS

    def call_function(self, name: str, arguments: list[Typed]) -> Typed:
        """Call such a function."""
        return functions.FUNCTIONS[name](self, arguments)

    def find_database(self, name: str) -> Database:
        """A database by name; the current one for an empty name.

        Raises:
            SqlServerError: 911.
        """
        if not name:
            return self.database
        found = self.engine.databases.get(name.lower())
        if found is None:
            raise SqlServerError(
                911,
                f"Database '{name}' does not exist. Make sure that the name is entered correctly.",
            )
        return found

    def find_table(self, parts: list[str]) -> tuple[Database, Table]:
        """A user table by its one to three part name.

        Raises:
            SqlServerError: 208.
        """
        catalog, schema, name = ([""] * (3 - len(parts)) + parts)[-3:]
        database = self.find_database(catalog)
        table = database.table(schema or "dbo", name)
        if table is None:
            raise invalid_object(".".join(parts))
        return database, table

    def relation(
        self, translator: QueryTranslator, catalog: str, schema: str, name: str, alias: str
    ) -> tuple[list[tuple[str, Typed]], str]:
        """Columns of a table, view or catalog view, and what to put into FROM for it.

        Raises:
            SqlServerError: 208, or 371 for a denied catalog view, or 3952.
        """
        database = self.find_database(catalog)
        full = f"{schema}.{name}" if schema else name
        if schema.lower() in {"sys", "information_schema"}:
            return system_views.relation(self, database, f"{schema}.{name}".lower(), alias)
        self.check_snapshot(database)
        synonym = database.synonyms.get(((schema or "dbo").lower(), name.lower()))
        if synonym is not None:
            base = ([""] * 3 + synonym[3])[-3:]
            return self.relation(translator, base[0], base[1], base[2], alias)
        table = database.table(schema or "dbo", name)
        if table is not None:
            return self._table(translator, database, table, alias)
        view = database.view(schema or "dbo", name)
        if view is None:
            raise invalid_object(full)
        query = translator.query(dialect.parse(view.query), Scope())
        columns = [
            (column.name, Typed(f"{alias}.{output}", typed.type, typed.nullable))
            for column, typed, output in zip(
                view.columns, query.columns, query.outputs, strict=True
            )
        ]
        return columns, f"({query.sql})"

    def _table(
        self, translator: QueryTranslator, database: Database, table: Table, alias: str
    ) -> tuple[list[tuple[str, Typed]], str]:
        """A table as the login sees it: rows that policies let through, masked columns masked."""
        storage = storage_name(database.name, table.schema, table.name)
        bare = self.columns_of(translator, table, "unfiltered")
        conditions = security.conditions(translator, database, table, bare)
        if conditions:
            storage = f"(SELECT * FROM {storage} AS unfiltered WHERE {' AND '.join(conditions)})"
        columns = self.columns_of(translator, table, alias)
        for column, (position, (name, typed)) in zip(
            table.columns, enumerate(columns), strict=True
        ):
            allowed = database.permissions.allows("UNMASK", table.full_name, name)
            if column.masking and not allowed:
                shown = masking.masked(typed, column.masking)
                columns[position] = (name, replace(typed, sql=shown))
        return columns, storage

    def denied_columns(self, catalog: str, schema: str, name: str) -> frozenset[str]:
        """Columns of a table that the login may not read, in lower case.

        Raises:
            SqlServerError: 229 when it may read none.
        """
        database = self.find_database(catalog)
        synonym = database.synonyms.get(((schema or "dbo").lower(), name.lower()))
        if synonym is not None:
            base = ([""] * 3 + synonym[3])[-3:]
            return self.denied_columns(base[0], base[1], base[2])
        table = database.table(schema or "dbo", name)
        return frozenset() if table is None else database.permissions.check_select(database, table)

    def check_snapshot(self, database: Database) -> None:
        """Refuse data access under SNAPSHOT where the database does not allow it.

        Raises:
            SqlServerError: 3952.
        """
        if self.isolation == "SNAPSHOT" and not database.snapshot:
            raise SqlServerError(
                3952,
                f"Snapshot isolation transaction failed accessing database '{database.name}' because "
                "snapshot isolation is not allowed in this database. Use ALTER DATABASE to allow "
                "snapshot isolation.",
            )

    def columns_of(
        self, translator: QueryTranslator, table: Table, alias: str
    ) -> list[tuple[str, Typed]]:
        """A table's columns; a computed one is its expression over the others."""
        stored = [
            (
                column.name,
                Typed(
                    column_reference(alias, column.name), column.type, column.nullable,
                    identity=column.identity is not None, name=column.name,
                ),
            )
            for column in table.columns
            if column.computed is None
        ]  # fmt: skip
        scope = Scope([Source("", stored)])
        by_name = dict(stored)
        columns = []
        for column in table.columns:
            if column.computed is not None:
                value = translator.expression(dialect.parse_expression(column.computed), scope)
                sql = f"({convert(value, column.type)})"
                by_name[column.name] = Typed(
                    sql, column.type, column.nullable, computed=True, name=column.name
                )
            columns.append((column.name, by_name[column.name]))
        return columns

    def table_function(
        self, name: str, arguments: list[Typed], alias: str
    ) -> tuple[list[tuple[str, Typed]], str]:
        """Columns and FROM item of a table-valued function."""
        return system_views.table_function(self, name.lower(), arguments, alias)

    # -- SELECT ----------------------------------------------------------------------------------

    def rows(self, query: Query) -> Rows:
        """Run a translated query and stream its rows.

        Raises:
            SqlServerError: 50001 for a column of a type without a format on the wire.
        """
        for name, column in zip(query.names, query.columns, strict=True):
            if column.type.family in sql_types.EXTENDED:
                raise unsupported(
                    f"a result column of type {column.type.declaration} ('{name}'): select an "
                    "expression over it, such as CONVERT(nvarchar(max), …) or .ToString()"
                )
        columns = [
            ResultColumn(name, c.type, c.nullable, c.identity, c.computed)
            for name, c in zip(query.names, query.columns, strict=True)
        ]
        wide = any(c.type.length == sql_types.MAX for c in columns)
        relation = self.cursor.sql(query.sql)
        reader = relation.to_arrow_reader(4096 if wide else 65_536)
        return Rows(columns, iter(reader))

    def value(self, typed: Typed) -> Typed:
        """Evaluate an expression now; the result is a literal."""
        cast = (
            f"hex({typed.sql})"
            if typed.type.family in {"binary", "clr"}
            else f"CAST({typed.sql} AS VARCHAR)"
        )
        (text,) = self.fetch(f"SELECT {cast}")[0]
        return literal(text, typed.type)

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Run DuckDB SQL and fetch all rows."""
        rows: list[tuple[Any, ...]] = self.cursor.execute(sql).fetchall()
        return rows

    def truth(self, condition: str) -> bool:
        """Evaluate a T-SQL condition."""
        node = dialect.parse_condition(condition)
        translated = QueryTranslator(self).condition(node, Scope())
        return bool(self.fetch(f"SELECT {translated}")[0][0])
