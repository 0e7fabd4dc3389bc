"""One client's session: takes statements, gives rows or an OK. Knows nothing of the wire.

`Session.execute` blocks; it runs in a worker thread, and `Session.cancel` stops it from another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.starrocks import (
    ddl,
    information_schema,
    insert,
    privileges,
    select,
    show,
)
from migration_assets.sandbox.starrocks.catalogs import ExternalCatalog, ExternalSource
from migration_assets.sandbox.starrocks.column_types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DATETIME,
    DOUBLE,
    STRING,
)
from migration_assets.sandbox.starrocks.errors import (
    StarRocksError,
    analysis_error,
    table_not_found,
    unknown_database,
    unknown_table,
    unsupported,
)
from migration_assets.sandbox.starrocks.expressions import literal, name
from migration_assets.sandbox.starrocks.functions import Typed
from migration_assets.sandbox.starrocks.lexer import Reader, clean, masked
from migration_assets.sandbox.starrocks.select import OutputColumn, SelectCompiler, Source
from migration_assets.sandbox.starrocks.tables import INTERNAL_CATALOG, Database, Table
from migration_assets.sandbox.starrocks.variables import VERSION, Variables, in_zone

if TYPE_CHECKING:
    from migration_assets.sandbox.starrocks.server import Shared

BATCH_ROWS = 10_000


@dataclass
class Rows:
    """A result set; `batches` yields lists of rows whose values are text, bytes or None."""

    columns: list[OutputColumn]
    batches: Iterator[Sequence[Sequence[Any]]]


@dataclass
class Done:
    """An OK packet."""

    affected: int = 0
    info: str = ""


@dataclass
class _Statement:
    """The statement that runs now.

    Attributes:
        externals: external tables it has met, for the refresh after an INSERT's analysis.
        sources: those whose rows it reads.
    """

    externals: list[tuple[ExternalCatalog, str, str]] = field(default_factory=list)
    sources: list[ExternalSource] = field(default_factory=list)


class Session:
    """A session over the tables that all sessions share."""

    def __init__(self, shared: Shared, connection_id: int, user: str, host: str = "") -> None:
        """Open a DuckDB connection of its own; close it with `close`."""
        self.server = shared
        self.id = connection_id
        self.user = user
        self.host = host
        self.variables = Variables(shared.variables)
        self.cursor = shared.duckdb.cursor()
        self.catalog = INTERNAL_CATALOG
        self.database: str | None = None
        self.running = ""
        self.since = time.time()
        self._statement = _Statement()
        self._stop: StarRocksError | None = None
        self._stopped = threading.Event()
        self._registered: list[str] = []

    def close(self) -> None:
        """Close the DuckDB connection."""
        self.cursor.close()

    def cancel(self, error: StarRocksError) -> None:
        """Stop the statement that runs now, which then fails with `error`."""
        if self.running:
            self._stop = error
            self._stopped.set()
            self.cursor.interrupt()

    def check(self) -> None:
        """Raise the error of `cancel` when it was called."""
        if self._stop is not None:
            raise self._stop

    def pause(self, fault: Fault) -> None:
        """Wait as part of the running statement."""
        self.server.board.hold(fault, self._stopped.is_set)
        self.check()

    def execute(self, statement: str, delay: Fault | None = None) -> Rows | Done:
        """Run one statement.

        Args:
            statement: without a semicolon.
            delay: a fault to wait for first; it counts for the statement's timeout.

        Raises:
            StarRocksError: whatever StarRocks, or this stand-in, has against it.
        """
        self._release()
        self._statement, self._stop = _Statement(), None
        self._stopped.clear()
        self.running, self.since = masked(statement), time.time()
        try:
            with self._timeout(statement):
                if delay:
                    self.pause(delay)
                answer = self._dispatch(clean(statement))
                self.check()
                return answer
        except duckdb.Error as error:
            raise self._translated(error) from error
        finally:
            self.running, self.since = "", time.time()

    @contextmanager
    def _timeout(self, statement: str) -> Iterator[None]:
        loading = statement.lstrip()[:6].upper() == "INSERT"
        name_ = "insert_timeout" if loading else "query_timeout"
        seconds = int(str(self.variables[name_]))
        what = "Insert" if loading else "Query"
        error = StarRocksError(
            f"{what} reached its timeout of {seconds} seconds, please increase the '{name_}' "
            "session variable and retry",
            5024,
        )
        timer = threading.Timer(seconds, self.cancel, [error])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _translated(self, error: duckdb.Error) -> StarRocksError:
        if self._stop is not None:
            return self._stop
        text = str(error).splitlines()[0]
        if isinstance(error, duckdb.ConversionException | duckdb.InvalidInputException):
            return StarRocksError(f"Expr evaluate meet error: {text}")
        if isinstance(error, duckdb.BinderException):
            return analysis_error(f"(stand-in) {text}")
        return StarRocksError(f"stand-in: {type(error).__name__}: {text}")

    def _dispatch(self, statement: str) -> Rows | Done:
        reader = Reader(statement)
        for words, run in _STATEMENTS.items():
            if reader.take(*words.split()):
                answer: Rows | Done | None = run(self, reader)
                return answer or Done()
        if any(reader.at(word) for word in ("SELECT", "WITH", "(")):
            return self._select(statement)
        raise unsupported(f"statement {statement[:200]!r}")

    # Names

    def database_of(self, names: list[str]) -> str:
        """The internal database of a table's name of one to three parts."""
        catalog, database, _ = self.qualified(names)
        if catalog is not None:
            raise unsupported(f"{'.'.join(names)}: definitions in an external catalog")
        return database

    def qualified(self, names: list[str]) -> tuple[ExternalCatalog | None, str, str]:
        """Catalog (None: the internal one), database and table of a name."""
        *around, table = names
        catalog = around[-2] if len(around) > 1 else self.catalog
        database = around[-1] if around else self.database
        if database is None:
            raise StarRocksError("No database selected", 1046)
        return self.external(catalog), database, table

    def external(self, catalog: str) -> ExternalCatalog | None:
        """Find a catalog; None for the internal one."""
        if catalog == INTERNAL_CATALOG:
            return None
        found = self.server.catalogs.get(catalog)
        if found is None:
            raise analysis_error(f"Unknown catalog '{catalog}'")
        self.require("USAGE", "CATALOG", catalog)
        return found

    def require(self, privilege: str, kind: str, *names: str) -> None:
        """Let the user pass who has a privilege on an object; see `Privileges.check`."""
        self.server.privileges.check(self.user, privilege, kind, *names)

    def table(self, names: list[str], *, described: bool = False) -> tuple[Database, Table]:
        """Find an internal table.

        Raises:
            StarRocksError: missing; 5502 where DESC asks (`described`), 1064 elsewhere.
        """
        found = self.server.metadata.find(self.database_of(names), names[-1])
        if found is None:
            raise unknown_table(names[-1]) if described else table_not_found(names[-1])
        return found

    def use(self, names: list[str]) -> None:
        """Run USE: `db` or `catalog.db`."""
        if len(names) > 1:
            self.external(names[0])
        catalog = names[0] if len(names) > 1 else self.catalog
        known = {*self.server.metadata.databases, "information_schema"}
        if self.external(catalog) is None and names[-1] not in known:
            raise unknown_database(names[-1])
        self.catalog, self.database = catalog, names[-1]

    def set_catalog(self, catalog: str) -> None:
        """Run SET CATALOG."""
        self.external(catalog)
        self.catalog, self.database = catalog, None

    # Queries

    def compiler(self) -> SelectCompiler:
        """A query compiler that sees this session's tables and variables."""
        return SelectCompiler(self, self._resolve)

    def _select(self, statement: str) -> Rows:
        compiled = self.compiler().compile(select.parse(statement))
        self._load_sources()
        self.cursor.execute(compiled.as_text)
        return Rows(compiled.columns, self._batches())

    def _batches(self) -> Iterator[list[tuple[Any, ...]]]:
        try:
            while rows := self.cursor.fetchmany(BATCH_ROWS):
                yield rows
        except duckdb.Error as error:
            raise self._translated(error) from error

    def _resolve(self, node: exp.Table) -> Source:
        names = [part.name for part in node.parts]
        alias = node.alias or node.name
        version = select.pinned_version(node)
        if len(names) > 1 and names[-2].lower() == "information_schema":
            return self._information(names[-1], alias)
        if len(names) == 1 and (self.database or "").lower() == "information_schema":
            return self._information(names[-1], alias)
        catalog, database, table = self.qualified(names)
        if catalog is not None:
            return self._external_source(catalog, database, table, alias, version)
        if version is not None:
            raise analysis_error("Unsupported table type for time travel")
        found = self.server.metadata.find(database, table)
        if found is None:
            raise unknown_table(table)
        owner, definition = found
        self.require("SELECT", "TABLE", INTERNAL_CATALOG, owner.name, definition.name)
        columns = {c.name.lower(): OutputColumn(c.name, c.type) for c in definition.columns}
        return Source(alias, f"{name(owner.storage)}.{name(definition.storage)}", columns)

    def _external_source(
        self, catalog: ExternalCatalog, database: str, table: str, alias: str, version: Any
    ) -> Source:
        self.require("SELECT", "TABLE", catalog.name, database, table)
        self._statement.externals.append((catalog, database, table))
        zone = str(self.variables["time_zone"])
        source = catalog.source((database, table), alias, version, zone)
        self._statement.sources.append(source)
        return source

    def _information(self, table: str, alias: str) -> Source:
        import pyarrow as pa

        columns, rows = information_schema.read(self, table.lower())
        arrays = [
            pa.array([row[i] for row in rows], pa.int64() if c.type == BIGINT else pa.string())
            for i, c in enumerate(columns)
        ]
        view = f"standin_information_{len(self._registered)}"
        self._register(view, pa.table(arrays, names=[c.name for c in columns]))
        return Source(alias, view, {c.name.lower(): c for c in columns})

    def _load_sources(self) -> None:
        for source in self._statement.sources:
            rows = source.load()
            self.check()
            self._register(source.sql, rows)

    def _register(self, view: str, rows: Any) -> None:
        self.cursor.register(view, rows)
        self._registered.append(view)

    def _release(self) -> None:
        for view in self._registered:
            self.cursor.unregister(view)
        self._registered.clear()

    # What expressions ask: see expressions.Environment

    @property
    def throw(self) -> bool:
        """Whether a failing cast is an error."""
        return self.variables.throw

    def information(self, function: str) -> Typed | None:
        """The value of a function without arguments that is about the session."""
        texts = {
            "database": self.database,
            "schema": self.database,
            "catalog": self.catalog,
            "user": f"'{self.user}'@'{self.host}'",
            "current_user": f"'{self.user}'@'%'",
            "version": str(self.variables["version"]),
            "current_version": VERSION,
        }
        if function in texts:
            text = texts[function]
            return Typed("CAST(NULL AS VARCHAR)" if text is None else literal(text), STRING)
        if function == "connection_id":
            return Typed(str(self.id), BIGINT)
        now = in_zone("date_trunc('second', now())", str(self.variables["time_zone"]))
        moments = {
            "now": Typed(now, DATETIME),
            "current_timestamp": Typed(now, DATETIME),
            "utc_timestamp": Typed(in_zone("date_trunc('second', now())", "UTC"), DATETIME),
            "current_date": Typed(f"CAST({now} AS DATE)", DATE),
            "curdate": Typed(f"CAST({now} AS DATE)", DATE),
        }
        return moments.get(function)

    def variable(self, variable: str) -> Typed:
        """The value of `@@variable`."""
        value = self.variables[variable]
        if isinstance(value, bool):
            return Typed(str(value).lower(), BOOLEAN)
        if isinstance(value, int):
            return Typed(str(value), BIGINT)
        if isinstance(value, float):
            return Typed(f"CAST({value} AS DOUBLE)", DOUBLE)
        return Typed(literal(str(value)), STRING)

    # Statements

    def insert(self, reader: Reader, *, only_analyse: bool = False) -> Done:
        """Run INSERT, or check it for EXPLAIN."""
        read = insert.read_insert(reader)
        self.require("INSERT", "TABLE", INTERNAL_CATALOG, *self.qualified(read.target)[1:])
        try:
            job = insert.analyse(
                read, self.server.metadata, self.database, self.compiler(), self.variables
            )
        finally:
            # Loads refresh external tables, but too late for their own analysis.
            for catalog, database, table in self._statement.externals:
                catalog.refresh(database, table)
        if only_analyse:
            return Done()
        labels, started = job.database.labels, time.time()
        labels[job.label] = "LOADING"
        loaded, problem = 0, None
        try:
            insert.choose_partitions(job)
            self._load_sources()
            loaded = insert.run(job, self.cursor, self.check)
        except (StarRocksError, duckdb.Error) as error:
            del labels[job.label]
            problem = self._translated(error) if isinstance(error, duckdb.Error) else error
            raise problem from None
        except BaseException:
            del labels[job.label]
            raise
        else:
            labels[job.label] = "FINISHED"
        finally:
            self.server.metadata.loads.append(
                information_schema.load_row(job, loaded, problem, started, self.user)
            )
        info = f"'label':'{job.label}', 'status':'VISIBLE', 'txnId':'{job.transaction}'"
        late = self.server.board.strike("late", f"INSERT {job.table.name}")
        if late is not None:
            # The rows are there at once; what a client may rely on is only what it is told.
            self.server.metadata.loads[-1]["VISIBLE_AT"] = time.time() + late.seconds
            info = info.replace("VISIBLE", "COMMITTED") + ", 'err':'Publish timeout'"
        return Done(loaded, f"{{{info}}}")

    def delete(self, reader: Reader) -> Done:
        """Run DELETE FROM t WHERE ...; duplicate key tables take plain comparisons only."""
        reader.expect("FROM")
        owner, table = self.table(reader.dotted_name())
        self.require("DELETE", "TABLE", INTERNAL_CATALOG, owner.name, table.name)
        if not reader.at("WHERE"):
            raise unsupported("DELETE without WHERE, with PARTITION or USING")
        quoted = f"`{owner.name}`.`{table.name}`"
        query = select.parse(f"SELECT 1 FROM {quoted} {reader.rest}")
        condition = query.args["where"].this
        plain = (exp.And, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.In, exp.Is)
        leaves = (exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Neg)
        if table.model != "PRIMARY":
            for node in condition.walk():
                if not isinstance(node, (*plain, *leaves)):
                    raise analysis_error(
                        f"Where clause only supports compound predicate, not {node.sql()}"
                    )
        source = query.find(exp.Table)
        assert source is not None  # noqa: S101 - written above
        where = self.compiler().condition(source, condition)
        stored = f"{name(owner.storage)}.{name(table.storage)}"
        with table.lock:
            rows = self.cursor.execute(
                f"DELETE FROM {stored} AS {name(table.name)} WHERE {where}"
            ).fetchall()
        return Done(int(rows[0][0]))

    def explain(self, reader: Reader) -> Rows:
        """Run EXPLAIN: analysis only."""
        if reader.take("INSERT"):
            self.insert(reader, only_analyse=True)
        else:
            self.compiler().compile(select.parse(reader.rest))
        return text_rows(["Explain String"], [["PLAN FRAGMENT 0 (stand-in)"]])

    def set(self, reader: Reader) -> None:
        """Run SET."""
        if reader.take("DEFAULT", "ROLE"):
            privileges.set_default_role(self, reader)
        elif reader.take("CATALOG"):
            self.set_catalog(reader.name_or_string())
        else:
            self.variables.assign(reader)

    def kill(self, reader: Reader) -> None:
        """Run KILL [CONNECTION | QUERY] id."""
        kind = reader.one_of("QUERY", "CONNECTION")
        target = reader.integer()
        reader.end()
        self.server.kill(target, query_only=kind == "QUERY")


def text_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Rows:
    """Rows of text, as SHOW gives them."""
    shown = [[None if v is None else str(v) for v in row] for row in rows]
    return Rows([OutputColumn(c, STRING) for c in columns], iter([shown] if shown else []))


def _nothing(_session: Session, _reader: Reader) -> None:
    """A bare COMMIT or ROLLBACK does nothing."""


_STATEMENTS: dict[str, Callable[[Session, Reader], Any]] = {
    "INSERT": Session.insert,
    "DELETE": Session.delete,
    "EXPLAIN": Session.explain,
    "CREATE": ddl.create,
    "ALTER": ddl.alter,
    "DROP": ddl.drop,
    "TRUNCATE": ddl.truncate,
    "REFRESH": ddl.refresh,
    "SHOW": show.show,
    "DESCRIBE": show.describe,
    "DESC": show.describe,
    "ADMIN SET FRONTEND CONFIG": show.set_config,
    "ADMIN SHOW FRONTEND CONFIG": show.show_config,
    "SET": Session.set,
    "USE": lambda session, reader: session.use(reader.dotted_name()),
    "KILL": Session.kill,
    "GRANT": privileges.grant,
    "REVOKE": privileges.revoke,
    "COMMIT": _nothing,
    "ROLLBACK": _nothing,
}
