"""What a database contains: a handful of catalog queries, whatever the number of tables.

Needs no more than `db_datareader` and `VIEW DEFINITION`; what it had to do without is in `notes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from migration_assets.errors import (
    MigrationError,
    ObjectNotFoundError,
    PermanentError,
    SchemaDriftError,
    UnsupportedError,
)
from migration_assets.mssql.catalog import (
    Catalog,
    CatalogColumn,
    CatalogTable,
    Row,
    Source,
    read_not_migrated,
    read_primary_keys,
    read_server,
    read_sizes,
    read_tables,
)
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.select import count_sql, quote, table_name
from migration_assets.plan import TablePlan
from migration_assets.schema import (
    Column,
    MssqlType,
    SourceDatabase,
    SourceTable,
    TableKind,
    TableSchema,
)

_T = TypeVar("_T")

_BATCH = 50
"""Tables asked in one statement where each needs a query of its own."""

_COLUMN_FLAGS = {
    "is_identity": "identity columns are",
    "is_computed": "computed columns are",
    "is_sparse": "sparse columns are",
    "is_column_set": "column sets are",
    "is_filestream": "FILESTREAM columns are",
    "is_hidden": "hidden columns are",
    "generated_always_type": "generated columns are",
    "is_masked": "masked columns, whose masked values would be copied, are",
    "encryption_type": "columns under Always Encrypted are",
    "graph_type": "graph columns are",
}
_TABLE_FLAGS = {
    "is_ms_shipped": "Microsoft's own tables are",
    "temporal_type": "temporal history tables are",
    "is_external": "external tables are",
    "is_memory_optimized": "memory-optimized tables are",
    "is_filetable": "FileTables are",
    "is_node": "graph node tables are",
    "is_edge": "graph edge tables are",
    "ledger_type": "ledger history tables are",
}


def introspect(client: SqlServer) -> SourceDatabase:
    """Describe every table that the login sees.

    Raises:
        MigrationError: no connection, or not even the list of columns can be read.
    """
    catalog = Catalog(client)
    settings = client.settings
    facts = read_server(catalog, host=settings.host, database=settings.database)
    listed = read_tables(catalog)
    assembly = _Assembly(catalog, listed)
    rows, sizes = read_sizes(catalog) if listed else ({}, {})
    tables = [
        assembly.source_table(
            table, rows.get(table.object_id or 0), sizes.get(table.object_id or 0)
        )
        for table in listed
    ]
    tables = _with_counts(client, catalog, tables)
    not_migrated = read_not_migrated(catalog)
    return SourceDatabase(
        server=facts.server,
        database=facts.database,
        version=facts.version,
        collation=facts.collation,
        snapshot_isolation=facts.snapshot_isolation,
        read_committed_snapshot=facts.read_committed_snapshot,
        tables=tuple(tables),
        notes=tuple(catalog.notes),
        not_migrated=not_migrated,
    )


class _Assembly:
    """Joins the optional facts to tables and columns."""

    def __init__(self, catalog: Catalog, tables: Sequence[CatalogTable]) -> None:
        self._keys = read_primary_keys(catalog)
        self._computed: dict[Row, tuple[str | None, bool]] = {}
        self._columns: dict[Row, dict[str, Any]] = {}
        self._tables: dict[Row, dict[str, Any]] = {}
        self._policies: dict[int, list[str]] = {}
        self._tools: set[int] = set()
        self._unmasked = True
        if any(table.object_id is not None for table in tables):
            self._read_flags(catalog)

    def _read_flags(self, catalog: Catalog) -> None:
        self._columns = catalog.flags("sys.columns", ("object_id", "column_id"), _COLUMN_FLAGS)
        self._tables = catalog.flags("sys.tables", ("object_id",), _TABLE_FLAGS)
        if any("is_computed" in flags for flags in self._columns.values()):
            sql = "SELECT object_id, column_id, definition, is_persisted FROM sys.computed_columns"
            rows = catalog.read("Computed columns", Source("sys.computed_columns", sql)) or ()
            self._computed = {row[:2]: (row[2], bool(row[3])) for row in rows}
        if any("is_masked" in flags for flags in self._columns.values()):
            sql = "SELECT HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'UNMASK')"
            answer = catalog.read("Permission UNMASK", Source("HAS_PERMS_BY_NAME", sql))
            self._unmasked = bool(answer and answer[0][0])
        policies = Source(
            "sys.security_policies",
            "SELECT f.target_object_id, p.name FROM sys.security_policies AS p "
            "JOIN sys.security_predicates AS f ON f.object_id = p.object_id "
            "WHERE p.is_enabled = 1 AND f.predicate_type = 0",
        )
        for object_id, name in catalog.read("Row-level security", policies) or ():
            self._policies.setdefault(object_id, []).append(name)
        tools = Source(
            "sys.extended_properties",
            "SELECT major_id FROM sys.extended_properties "
            "WHERE class = 1 AND minor_id = 0 AND name = 'microsoft_database_tools_support'",
        )
        self._tools = {row[0] for row in catalog.read("Tables of SQL Server's tools", tools) or ()}

    def source_table(self, table: CatalogTable, rows: int | None, size: int | None) -> SourceTable:
        flags = self._tables.get((table.object_id,), {})
        columns = tuple(self._column(table, column) for column in table.columns)
        return SourceTable(
            schema=table.schema,
            name=table.name,
            columns=TableSchema(columns, self._keys.get(table.key, ())),
            rows=rows or 0,
            bytes=size,
            kind=self._kind(table, flags),
            warnings=tuple(self._table_warnings(table, flags)),
        )

    def _kind(self, table: CatalogTable, flags: dict[str, Any]) -> TableKind:
        if flags.get("temporal_type") == 1 or flags.get("ledger_type") == 1:
            return TableKind.HISTORY
        if flags.get("is_external"):
            return TableKind.EXTERNAL
        if flags.get("is_ms_shipped") or table.object_id in self._tools:
            return TableKind.SYSTEM
        return TableKind.TABLE

    def _table_warnings(self, table: CatalogTable, flags: dict[str, Any]) -> Iterator[str]:
        for policy in self._policies.get(table.object_id or 0, ()):
            yield (
                f"Row-level security policy {policy} filters it: only rows that this login sees "
                "are copied."
            )
        if flags.get("is_memory_optimized"):
            yield "It is memory-optimized: SNAPSHOT isolation may be refused for it."
        if flags.get("temporal_type") == 2:
            yield "It is a temporal table: its history is not migrated."
        if flags.get("is_filetable"):
            yield "It is a FileTable: its files are read as rows."
        if flags.get("is_node") or flags.get("is_edge"):
            yield "It is a graph table: its internal columns cannot be read."

    def _column(self, table: CatalogTable, column: CatalogColumn) -> Column:
        key = (table.object_id, column.column_id)
        flags = self._columns.get(key, {})
        definition, persisted = self._computed.get(key, (None, False))
        is_computed = bool(flags.get("is_computed"))
        return Column(
            name=column.name,
            type=column.type,
            nullable=column.nullable,
            identity=bool(flags.get("is_identity")),
            computed=(definition or "(definition not visible)") if is_computed else None,
            warnings=tuple(
                _column_warnings(
                    column.name,
                    flags,
                    unmasked=self._unmasked,
                    recomputed=is_computed and not persisted,
                )
            ),
            refusal=_refusal(flags),
        )


_GRAPH_INTERNAL = {1, 3, 4, 6, 7}
"""`graph_type` of columns that no query may name
(https://learn.microsoft.com/sql/relational-databases/graphs/sql-graph-architecture)."""


def _refusal(flags: dict[str, Any]) -> str | None:
    if flags.get("encryption_type"):
        return "it is under Always Encrypted, only its ciphertext can be read"
    if flags.get("graph_type") in _GRAPH_INTERNAL:
        return "it is an internal graph column, which no query may read"
    return None


def _column_warnings(
    name: str, flags: dict[str, Any], *, unmasked: bool, recomputed: bool
) -> Iterator[str]:
    if flags.get("is_masked") and not unmasked:
        yield f"{name} is masked and this login has no UNMASK: masked values would be copied."
    if recomputed:
        yield f"{name} is computed anew by each read, not stored."
    if flags.get("generated_always_type"):
        yield f"{name} is generated by SQL Server."
    if flags.get("is_hidden"):
        yield f"{name} is hidden: SELECT * does not show it, the copy does."
    if flags.get("is_column_set"):
        yield f"{name} is a column set: it repeats the sparse columns as XML."
    if flags.get("is_filestream"):
        yield f"{name} is FILESTREAM: its files are read as values."


def _with_counts(
    client: SqlServer, catalog: Catalog, tables: list[SourceTable]
) -> list[SourceTable]:
    """Count the tables that no view gave rows for: estimates of 0 may be a view that knows nothing."""
    unknown = [t for t in tables if not t.rows and t.kind is TableKind.TABLE]
    counted = _count(client, unknown)
    surprises = sum(1 for count in counted.values() if isinstance(count, int) and count)
    if surprises:
        catalog.notes.append(f"Rows of {surprises} tables were counted: no view had an estimate.")
    return [_counted(table, counted.get(table.full_name)) for table in tables]


def _counted(table: SourceTable, count: int | MigrationError | None) -> SourceTable:
    if count is None:
        return table
    if isinstance(count, int):
        return replace(table, rows=count, rows_exact=True)
    return replace(table, warnings=(*table.warnings, f"It could not be counted: {count.found}"))


def _count(client: SqlServer, tables: Sequence[SourceTable]) -> dict[str, int | MigrationError]:
    counts: dict[str, int | MigrationError] = {}
    for batch in _batches(tables):
        statements = [count_sql(table.schema, table.name) for table in batch]
        numbered = [
            statement.replace("SELECT ", f"SELECT {position} AS position, ", 1)
            for position, statement in enumerate(statements)
        ]
        try:
            rows = client.query(" UNION ALL ".join(numbered), doing="Counting tables")
            counts |= {batch[position].full_name: int(count) for position, count in rows}
        except PermanentError:
            # One of them cannot be read; only asking one by one tells which.
            for table, statement in zip(batch, statements, strict=True):
                try:
                    counted = client.query(statement, doing=f"Counting {table.full_name}")
                    counts[table.full_name] = int(counted[0][0])
                except PermanentError as error:
                    counts[table.full_name] = error
    return counts


def _batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


_BOUND_TEXT = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), "CONVERT(varchar(20), {x})"),
    **dict.fromkeys(("decimal", "numeric"), "CONVERT(varchar(42), {x})"),
    **dict.fromkeys(("money", "smallmoney"), "CONVERT(varchar(30), {x}, 2)"),
    "date": "CONVERT(varchar(10), {x}, 23)",
    **dict.fromkeys(("smalldatetime", "datetime", "datetime2"), "CONVERT(varchar(33), {x}, 126)"),
}
"""Styles: https://learn.microsoft.com/sql/t-sql/functions/cast-and-convert-transact-sql"""


def key_bounds(
    client: SqlServer, requests: Sequence[tuple[SourceTable, str]]
) -> dict[tuple[str, str], tuple[str, str] | None]:
    """Lowest and highest value of columns, as T-SQL literals without quotes.

    Args:
        client: where the tables are.
        requests: tables and the exact name of a column of each, which should begin an index.

    Returns:
        `(full name, column)` to `("42", "977")`, `("-12.50", …)`, `("2024-01-31", …)`,
        `("2024-01-31T10:00:00.1234567", …)`; None where no row has a value.

    Raises:
        UnsupportedError: a column's type has no such literal.
        MigrationError: a query failed.
    """
    bounds: dict[tuple[str, str], tuple[str, str] | None] = {}
    for batch in _batches(requests):
        selects = [
            f"SELECT {position} AS position, {_bound('MIN', *request)} AS lower_bound, "
            f"{_bound('MAX', *request)} AS upper_bound"
            for position, request in enumerate(batch)
        ]
        rows = client.query(" UNION ALL ".join(selects), doing="Reading the bounds of keys")
        for position, lower, upper in rows:
            table, column = batch[position]
            empty = lower is None or upper is None
            bounds[table.full_name, column] = None if empty else (lower.strip(), upper.strip())
    return bounds


def _bound(aggregate: str, table: SourceTable, column: str) -> str:
    """A subquery each for MIN and MAX, so that each is one seek in an index."""
    type_name = table.columns.column(column).type.name
    if type_name not in _BOUND_TEXT:
        raise UnsupportedError(
            f"Column {column} of {table.full_name} is of type {type_name}, which has no bounds."
        )
    value = _BOUND_TEXT[type_name].replace("{x}", f"{aggregate}({quote(column)})")
    return f"(SELECT {value} FROM {table_name(table.schema, table.name)})"


def row_counts(
    client: SqlServer, tables: Iterable[SourceTable | TablePlan]
) -> dict[str, int | None]:
    """Count whole tables exactly, one query each: every count is a scan with its own timeout.

    Returns:
        Full name to rows, None where there is no such table any more.

    Raises:
        MigrationError: a table cannot be read.
    """
    counts: dict[str, int | None] = {}
    for table in tables:
        schema, name = _names(table)
        try:
            rows = client.query(count_sql(schema, name), doing=f"Counting {table.full_name}")
            counts[table.full_name] = int(rows[0][0])
        except ObjectNotFoundError:
            counts[table.full_name] = None
    return counts


def _names(table: SourceTable | TablePlan) -> tuple[str, str]:
    if isinstance(table, TablePlan):
        return table.source_schema, table.source_name
    return table.schema, table.name


def describe_columns(
    client: SqlServer, table: TablePlan
) -> tuple[tuple[str, MssqlType, bool], ...]:
    """A table's columns as they are now: name, type, nullable; empty when there is no such table.

    Raises:
        MigrationError: the catalog cannot be read.
    """
    found = read_tables(Catalog(client), only=(table.source_schema, table.source_name))
    return tuple((c.name, c.type, c.nullable) for c in found[0].columns) if found else ()


def check_columns(client: SqlServer, table: TablePlan) -> None:
    """Make sure that the planned columns are still what they were, before the first row is read.

    Columns that the plan does not have are no matter: they may have been left out on purpose.

    Raises:
        ObjectNotFoundError: the table is gone, or this login no longer sees it.
        SchemaDriftError: names the first column that differs.
    """
    remedy = f"Run `migration-assets plan` again, then `migration-assets reset {table.full_name}`."
    now = {name: (kind, nullable) for name, kind, nullable in describe_columns(client, table)}
    if not now:
        raise ObjectNotFoundError(
            f"Table {table.full_name} is not in database {table.source_database} any more, or "
            "this login does not see it.",
            next_step="Check the permissions, or run `migration-assets plan` again.",
        )
    for column in table.columns:
        where = f"Column {column.source_name} of {table.full_name}"
        if column.source_name not in now:
            raise SchemaDriftError(f"{where} does not exist any more.", next_step=remedy)
        kind, nullable = now[column.source_name]
        if kind.declaration != column.mssql_type:
            raise SchemaDriftError(
                f"{where} is {kind.declaration} now, it was {column.mssql_type} when planned.",
                next_step=remedy,
            )
        if nullable and not column.nullable:
            raise SchemaDriftError(
                f"{where} takes NULL now, it did not when planned.", next_step=remedy
            )
