"""One connection's session: its state, its transaction, and the statements it runs."""

from __future__ import annotations

import contextlib
import copy
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
from sqlglot import exp

from migration_assets.sandbox.sqlserver import answers, batch, ddl, dialect, dml, sql_types
from migration_assets.sandbox.sqlserver import session_functions as functions
from migration_assets.sandbox.sqlserver import system_views, tokens
from migration_assets.sandbox.sqlserver.answers import Change, Done, Event, Notice, Rows
from migration_assets.sandbox.sqlserver.batch import Reader, Statement
from migration_assets.sandbox.sqlserver.catalog import Database, Table, storage_name
from migration_assets.sandbox.sqlserver.conversion import Typed, convert
from migration_assets.sandbox.sqlserver.engine import Engine
from migration_assets.sandbox.sqlserver.errors import (
    SqlServerError, from_duckdb, invalid_object, unsupported,
)  # fmt: skip
from migration_assets.sandbox.sqlserver.queries import QueryTranslator, column_reference
from migration_assets.sandbox.sqlserver.scope import Query, Scope, Source
from migration_assets.sandbox.sqlserver.tokens import ResultColumn

_descriptors = itertools.count(1)
_ISOLATION = {
    "READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT",
}  # fmt: skip
_ONE_SNAPSHOT = {"REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT"}
"""Levels at which all reads of a transaction see one state; DuckDB's own transactions do."""


class Session:
    """State and statements of one connection; used by one thread, but for `interrupt`."""

    def __init__(self, engine: Engine, spid: int = 51, database: str | None = None) -> None:
        """Open a session in a database.

        Raises:
            SqlServerError: 4060 when there is no such database.
        """
        self.engine = engine
        self.spid = spid
        self.program = ""
        self.host = ""
        self.cursor = engine.cursor()
        name = database or engine.default_database
        if name.lower() not in engine.databases:
            raise SqlServerError(
                4060, f'Cannot open database "{name}" requested by the login. The login failed.', 11
            )
        self.database = engine.databases[name.lower()]
        self.variables: dict[str, Typed] = {}
        self.cancelled = threading.Event()
        self.reset()

    def reset(self) -> None:
        """Back to the state after login; an open transaction is rolled back."""
        if getattr(self, "transactions", 0):
            self._roll_back()
        self.transactions = 0
        self.descriptor = 0
        self.isolation = "READ COMMITTED"
        self.implicit = False
        self.nocount = False
        self.rowcount = 0
        self.scope_identity: int | None = None
        self.identity_insert: Table | None = None
        self._in_duckdb = False
        self._saved: dict[str, Database] | None = None

    def close(self) -> None:
        """Roll back and give up the DuckDB cursor."""
        try:
            if self._in_duckdb:
                self._roll_back()
        finally:
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
                yield from self._statement(statement)
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

    def _statement(self, statement: Statement) -> Iterator[Event]:
        handler = _STATEMENTS.get(statement.keyword)
        if handler is None:
            raise unsupported(f"statement {statement.text[:60]!r}")
        try:
            yield from handler(self, statement)
        except SqlServerError as error:
            error.line = max(error.line, statement.line)
            raise

    def _after_error(self) -> None:
        """DuckDB ends a transaction at most run-time errors; then so does the session."""
        if not self._in_duckdb:
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
            if self._in_duckdb:
                self._in_duckdb = False
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
        if self._in_duckdb:
            self._in_duckdb = False
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
        if not self.transactions:
            return
        if not self._in_duckdb and (writes or self.isolation in _ONE_SNAPSHOT):
            self.cursor.execute("BEGIN TRANSACTION")
            self._in_duckdb = True
        if defines and self._saved is None:
            with self.engine.lock:
                self._saved = {self.database.name.lower(): copy.deepcopy(self.database)}

    def _implicit_begin(self) -> Iterator[Event]:
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
        table = database.table(schema or "dbo", name)
        if table is not None:
            return self.columns_of(translator, table, alias), storage_name(
                database.name, table.schema, table.name
            )
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
        """Run a translated query and stream its rows."""
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
            if typed.type.family == "binary"
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

    def select(self, statement: Statement) -> Iterator[Event]:
        """SELECT, or WITH … SELECT."""
        node = dialect.parse(statement.text)
        if isinstance(node, (exp.Insert, exp.Update, exp.Delete, exp.Merge)):
            yield from dml.run(self, node)
            return
        yield from self._implicit_begin()
        self.enter(writes=False)
        query = QueryTranslator(self).query(node, Scope())
        targets = _assigned(node)
        if targets is None:
            yield self.rows(query)
            return
        listed = ", ".join(
            f"hex({o})" if c.type.family == "binary" else f"CAST({o} AS VARCHAR)"
            for o, c in zip(query.outputs, query.columns, strict=True)
        )
        found = self.fetch(f"SELECT {listed} FROM ({query.sql})")
        for name, text, column in zip(
            targets, found[-1] if found else (), query.columns, strict=False
        ):
            self._assign(name, literal(text, column.type))
        yield Done(answers.SELECT, len(found))

    def _assign(self, name: str, value: Typed) -> None:
        kind = self.variable(name).type
        self.variables[name.lower()] = self.value(Typed(convert(value, kind), kind))

    # -- other statements ------------------------------------------------------------------------

    def set_option(self, statement: Statement) -> Iterator[Event]:
        """SET of an option, the isolation level or a variable."""
        reader = Reader(statement.text)
        reader.expect("SET")
        if reader.peek().startswith("@"):
            name = reader.name().lstrip("@") or reader.name()
            reader.expect("=")
            typed = QueryTranslator(self).expression(
                dialect.parse_expression(reader.rest()), Scope()
            )
            self._assign(name, typed)
        elif reader.accept("TRANSACTION", "ISOLATION", "LEVEL"):
            level = reader.rest().rstrip("; ").upper()
            if level not in _ISOLATION:
                raise SqlServerError(102, f"Incorrect syntax near '{level}'.", severity=15)
            if (
                self.transactions
                and self._in_duckdb
                and (level == "SNAPSHOT") != (self.isolation == "SNAPSHOT")
            ):
                raise SqlServerError(
                    3951,
                    "Transaction failed because this session tried to change to SNAPSHOT "
                    "isolation inside a transaction.",
                )
            self.isolation = level
        elif reader.accept("IDENTITY_INSERT"):
            _, table = self.find_table(reader.object_name())
            self.identity_insert = table if reader.name().upper() == "ON" else None
        else:
            self._plain_option(reader)
        yield Done()

    def _plain_option(self, reader: Reader) -> None:
        name = reader.name().upper()
        value = reader.rest().rstrip("; ").upper()
        if name == "NOCOUNT":
            self.nocount = value == "ON"
        elif name == "IMPLICIT_TRANSACTIONS":
            self.implicit = value == "ON"
        elif name not in _HARMLESS_OPTIONS:
            raise unsupported(f"SET {name}")
        elif (name, value) in _REFUSED_SETTINGS:
            raise unsupported(f"SET {name} {value}")

    def use(self, statement: Statement) -> Iterator[Event]:
        """USE."""
        reader = Reader(statement.text)
        reader.expect("USE")
        name = reader.name()
        reader.finish()
        old = self.database.name
        self.database = self.find_database(name)
        yield Change(tokens.env_text(1, self.database.name, old))
        yield Notice(
            SqlServerError(5701, f"Changed database context to '{self.database.name}'.", 0, 2)
        )
        yield Done()

    def transaction(self, statement: Statement) -> Iterator[Event]:
        """BEGIN TRAN, COMMIT, ROLLBACK; SAVE and blocks are refused."""
        words = statement.text.upper().rstrip("; ").split()
        if words[0] == "BEGIN" and (len(words) < 2 or not words[1].startswith("TRAN")):
            raise unsupported(f"BEGIN {' '.join(words[1:3])}")
        step = {"BEGIN": self.begin, "COMMIT": self.commit, "ROLLBACK": self.rollback}
        if words[0] not in step:
            raise unsupported(words[0])
        yield from step[words[0]]()
        yield Done()

    def declare(self, statement: Statement) -> Iterator[Event]:
        """DECLARE @x type [= value], …"""
        reader = Reader(statement.text)
        reader.expect("DECLARE")
        while True:
            name = reader.name().lstrip("@") or reader.name()
            reader.accept("AS")
            if reader.peek() in {"TABLE", "CURSOR"}:
                raise unsupported(f"DECLARE {reader.peek()}")
            kind = ddl.read_type(reader)
            self.variables[name.lower()] = literal(None, kind)
            if reader.accept("="):
                text = reader.until(",")
                self._assign(
                    name, QueryTranslator(self).expression(dialect.parse_expression(text), Scope())
                )
            if not reader.accept(","):
                reader.finish()
                break
        yield Done()

    def branch(self, statement: Statement) -> Iterator[Event]:
        """IF condition statement [ELSE statement]."""
        reader = Reader(statement.text)
        reader.expect("IF")
        condition = reader.until(*_STATEMENTS)
        first = reader.until("ELSE")
        other = reader.rest() if reader.accept("ELSE") else ""
        self.enter(writes=False)
        chosen = first if self.truth(condition) else other
        for inner in batch.split(chosen):
            yield from self._statement(inner)

    def print_text(self, statement: Statement) -> Iterator[Event]:
        """PRINT."""
        node = dialect.parse_expression(statement.text[len("PRINT") :])
        typed = QueryTranslator(self).expression(node, Scope())
        (text,) = self.fetch(f"SELECT {convert(typed, sql_types.nvarchar(4000))}")[0]
        yield Notice(SqlServerError(0, text or " ", 0))
        yield Done()

    def raise_error(self, statement: Statement) -> Iterator[Event]:
        """RAISERROR and THROW with literal arguments."""
        reader = Reader(statement.text)
        throw = reader.accept("THROW")
        if throw:
            number = reader.integer()
            reader.expect(",")
            raise SqlServerError(number, reader.string(), 16)
        reader.expect("RAISERROR", "(")
        text = reader.string()
        reader.expect(",")
        error = SqlServerError(50000, text, reader.integer())
        if error.severity > 10:
            raise error
        yield Notice(error)
        yield Done()

    def wait(self, statement: Statement) -> Iterator[Event]:
        """WAITFOR DELAY 'hh:mm:ss', which a cancel ends early."""
        reader = Reader(statement.text)
        reader.expect("WAITFOR", "DELAY")
        hours, minutes, seconds = reader.string().split(":")
        deadline = time.monotonic() + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        self.cancelled.wait(max(deadline - time.monotonic(), 0))
        if self.cancelled.is_set():
            raise duckdb.InterruptException("interrupted")
        yield Done()

    def execute(self, statement: Statement) -> Iterator[Event]:
        """EXEC of a string, of sp_executesql without parameters, or of sp_rename."""
        reader = Reader(statement.text)
        reader.name()
        if reader.accept("("):
            text = reader.string()
            reader.expect(")")
            reader.finish()
            yield from self._nested(text)
            return
        name = reader.object_name()[-1].lower()
        if name == "sp_executesql":
            text = reader.string()
            reader.finish()
            yield from self._nested(text)
        elif name == "sp_rename":
            self.enter(writes=True, defines=True)
            ddl.rename(self, reader)
            yield Done()
        else:
            raise SqlServerError(2812, f"Could not find stored procedure '{name}'.")

    def _nested(self, text: str) -> Iterator[Event]:
        outer = self.variables
        self.variables = {}
        for inner in batch.split(text):
            yield from self._statement(inner)
        self.variables = outer

    def define(self, statement: Statement) -> Iterator[Event]:
        """CREATE, ALTER, DROP, TRUNCATE."""
        yield from self._implicit_begin()
        with self.engine.lock:
            self.enter(writes=True, defines=True)
            yield from ddl.run(self, statement)
            self.database.version += 1

    def change(self, statement: Statement) -> Iterator[Event]:
        """INSERT, UPDATE, DELETE."""
        yield from self._implicit_begin()
        yield from dml.run(self, dialect.parse(statement.text))


def literal(text: str | None, kind: sql_types.SqlType) -> Typed:
    """A value given as DuckDB's text of it (hex digits for binaries) as a literal expression."""
    if text is None:
        return Typed(f"CAST(NULL AS {kind.duckdb})", kind)
    quoted = "'" + text.replace("'", "''") + "'"
    if kind.family == "binary":
        return Typed(f"unhex({quoted})", kind, nullable=False)
    if kind.family == "string":
        return Typed(quoted, kind, nullable=False, constant=text)
    return Typed(f"CAST({quoted} AS {kind.duckdb})", kind, nullable=False)


def _assigned(node: exp.Expression) -> list[str] | None:
    """Variables of SELECT @a = …, or None for a plain SELECT."""
    if not isinstance(node, exp.Select):
        return None
    names = []
    for item in node.expressions:
        if not (isinstance(item, exp.EQ) and isinstance(item.this, exp.Parameter)):
            if names:
                raise SqlServerError(
                    141,
                    "A SELECT statement that assigns a value to a variable must not be combined "
                    "with data-retrieval operations.",
                    15,
                )
            continue
        names.append(item.this.name)
    return names or None


_HARMLESS_OPTIONS = {
    "ANSI_DEFAULTS", "ANSI_NULLS", "ANSI_NULL_DFLT_ON", "ANSI_PADDING", "ANSI_WARNINGS",
    "ARITHABORT", "ARITHIGNORE", "CONCAT_NULL_YIELDS_NULL", "CURSOR_CLOSE_ON_COMMIT", "DATEFIRST",
    "DATEFORMAT", "DEADLOCK_PRIORITY", "FMTONLY", "LANGUAGE", "LOCK_TIMEOUT", "NUMERIC_ROUNDABORT",
    "NO_BROWSETABLE", "QUOTED_IDENTIFIER", "ROWCOUNT", "TEXTSIZE", "XACT_ABORT", "QUERY_GOVERNOR_COST_LIMIT",
}  # fmt: skip
_REFUSED_SETTINGS = {
    ("FMTONLY", "ON"), ("QUOTED_IDENTIFIER", "OFF"), ("ANSI_NULLS", "OFF"),
    ("CONCAT_NULL_YIELDS_NULL", "OFF"), ("ANSI_DEFAULTS", "OFF"),
}  # fmt: skip

_STATEMENTS: dict[str, Callable[[Session, Statement], Iterator[Event]]] = {
    "SELECT": Session.select,
    "WITH": Session.select,
    "SET": Session.set_option,
    "USE": Session.use,
    "BEGIN": Session.transaction,
    "COMMIT": Session.transaction,
    "ROLLBACK": Session.transaction,
    "SAVE": Session.transaction,
    "DECLARE": Session.declare,
    "IF": Session.branch,
    "PRINT": Session.print_text,
    "RAISERROR": Session.raise_error,
    "THROW": Session.raise_error,
    "WAITFOR": Session.wait,
    "EXEC": Session.execute,
    "EXECUTE": Session.execute,
    "CREATE": Session.define,
    "ALTER": Session.define,
    "DROP": Session.define,
    "TRUNCATE": Session.define,
    "INSERT": Session.change,
    "UPDATE": Session.change,
    "DELETE": Session.change,
    "MERGE": Session.change,
}
