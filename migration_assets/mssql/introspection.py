"""What a database contains: a handful of catalog queries, whatever the number of tables.

Needs no more than `db_datareader` and `VIEW DEFINITION`; what it had to do without is in `notes`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from migration_assets.errors import (
    MigrationError,
    ObjectNotFoundError,
    PermanentError,
    SchemaDriftError,
    UnsupportedError,
)
from migration_assets.evolution import is_wider
from migration_assets.key_types import text_sql
from migration_assets.mssql.catalog import (
    Catalog,
    CatalogTable,
    read_indexes,
    read_not_migrated,
    read_primary_keys,
    read_server,
    read_sizes,
    read_tables,
    read_views_and_synonyms,
)
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.hazards import Hazards
from migration_assets.mssql.partition_functions import read_partition_functions
from migration_assets.mssql.result_set import describe_query
from migration_assets.mssql.select import count_sql, quote, source_sql
from migration_assets.partitioning import can_reckon
from migration_assets.plan import TablePlan
from migration_assets.schema import (
    MssqlType,
    SourceDatabase,
    SourceTable,
    TableKind,
    TableSchema,
)

_T = TypeVar("_T")

_BATCH = 50
"""Tables asked in one statement where each needs a query of its own."""


def introspect(client: SqlServer) -> SourceDatabase:
    """Describe every table that the login sees, and name its views and synonyms.

    Raises:
        MigrationError: no connection, or not even the list of columns can be read.
    """
    catalog = Catalog(client)
    settings = client.settings
    facts = read_server(catalog, host=settings.host, database=settings.database)
    listed = read_tables(catalog)
    keys = read_primary_keys(catalog)
    hazards = Hazards(catalog, listed)
    sizes = read_sizes(catalog) if listed else ({}, {})
    indexes = read_indexes(catalog) if listed else {}
    functions = read_partition_functions(catalog, listed) if listed else {}
    tables = [
        replace(
            _source_table(table, hazards, keys.get(table.key, ()), sizes),
            object_id=table.object_id,
            indexes=indexes.get(table.object_id or 0, ()),
            partitioned=functions.get(table.object_id or 0),
        )
        for table in listed
    ]
    tables = _with_counts(client, catalog, tables)
    tables += [_other(*found) for found in read_views_and_synonyms(catalog)]
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


def _source_table(
    table: CatalogTable,
    hazards: Hazards,
    key: tuple[str, ...],
    sizes: tuple[dict[int, int], dict[int, int]],
) -> SourceTable:
    rows, pages = (found.get(table.object_id or 0) for found in sizes)
    return SourceTable(
        schema=table.schema,
        name=table.name,
        columns=TableSchema(hazards.columns(table), key),
        rows=rows or 0,
        bytes=pages,
        kind=hazards.kind(table),
        warnings=tuple(hazards.warnings(table)),
        refusal=hazards.refusal(table),
    )


def _other(schema: str, name: str, kind: TableKind) -> SourceTable:
    """What is no table: only its name matters."""
    return SourceTable(schema, name, TableSchema(()), rows=0, kind=kind)


def _with_counts(
    client: SqlServer, catalog: Catalog, tables: list[SourceTable]
) -> list[SourceTable]:
    """Count the tables that no view gave rows for: estimates of 0 may be a view that knows nothing."""
    unknown = [t for t in tables if not t.rows and t.kind is TableKind.TABLE and t.refusal is None]
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
    kind = table.columns.column(column).type
    if not can_reckon(kind):
        raise UnsupportedError(
            f"Column {column} of {table.full_name} is of type {kind.name}, which has no bounds.",
            code="MA-PL-012",
        )
    value = text_sql(kind, f"{aggregate}({quote(column)})")
    return f"(SELECT {value} FROM {source_sql(table)})"


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
        try:
            sql = f"SELECT COUNT_BIG(*) FROM {source_sql(table)}"
            rows = client.query(sql, doing=f"Counting {table.full_name}")
            counts[table.full_name] = int(rows[0][0])
        except ObjectNotFoundError:
            counts[table.full_name] = None
    return counts


def describe_columns(
    client: SqlServer, table: TablePlan
) -> tuple[tuple[str, MssqlType, bool], ...]:
    """A table's columns as they are now: name, type, nullable; empty when there is no such table.

    Raises:
        MigrationError: the catalog cannot be read.
    """
    if table.kind is TableKind.QUERY:
        described = describe_query(client, table.full_name, table.query)
        return tuple((c.name, c.type, c.nullable) for c in described)
    only = (table.source_schema, table.source_name)
    found = read_tables(Catalog(client), only=only, kind=table.kind)
    return tuple((c.name, c.type, c.nullable) for c in found[0].columns) if found else ()


def check_columns(client: SqlServer, table: TablePlan) -> None:
    """Make sure that the columns are still what they were, before the first row is read.

    A column that the plan neither has nor leaves out has come since: its values would be lost
    without a word, so it is an error too. A column that takes NULL no more does no harm.

    Raises:
        ObjectNotFoundError: the table is gone, or this login no longer sees it.
        SchemaDriftError: names the first column that differs.
    """

    def then(command: str) -> str:
        return (
            f"Run `migration-assets plan` again, then `migration-assets {command} "
            f"{table.full_name}`"
        )

    reset, evolve = f"{then('reset')}.", f"{then('evolve')}, which keeps the migrated rows."
    now = {name: (kind, nullable) for name, kind, nullable in describe_columns(client, table)}
    if not now:
        raise ObjectNotFoundError(
            f"Table {table.full_name} is not in database {table.source_database} any more, or "
            "this login does not see it.",
            code="MA-MS-118",
            next_step="Check the permissions, or run `migration-assets plan` again.",
        )
    came = _came(table, now)
    replan = f"Run `migration-assets plan` again: it says what {table.full_name} needs."
    cut = {name for key_range in table.key_ranges for name in key_range.key_columns}
    cut.update(table.primary_key)
    for column in table.columns:
        where = f"Column {column.source_name} of {table.full_name}"
        if column.source_name not in now:
            renamed = f" Or it is one of those that came since: {', '.join(came)}." if came else ""
            raise SchemaDriftError(
                f"{where} does not exist any more.{renamed}", code="MA-MS-119", next_step=reset
            )
        kind, nullable = now[column.source_name]
        # Whether rows stay where such a column changes is for the planner to say.
        easily = replan if column.source_name in cut else evolve
        if kind.declaration != column.mssql_type:
            raise SchemaDriftError(
                f"{where} is {kind.declaration} now, it was {column.mssql_type} when planned.",
                code="MA-MS-119",
                next_step=easily if is_wider(column.mssql_type, kind.declaration) else reset,
            )
        if column.collation and kind.collation and column.collation != kind.collation:
            raise SchemaDriftError(
                f"{where} has the collation {kind.collation} now, it had {column.collation} when "
                "planned.",
                code="MA-MS-119",
                next_step=replan,
            )
        if nullable and not column.nullable:
            raise SchemaDriftError(
                f"{where} takes NULL now, it did not when planned.",
                code="MA-MS-119",
                next_step=easily,
            )
    if came:
        kinds = [f"{name} {now[name][0].declaration}" for name in came]
        raise SchemaDriftError(
            f"{table.full_name} has columns that it did not have when planned: {', '.join(kinds)}.",
            code="MA-MS-119",
            next_step=evolve
            if all(now[name][1] for name in came)
            else f"{reset[:-1]} (a column that takes NULL needs only `evolve`); or leave them out: "
            "exclude_columns in migration.yaml.",
        )


def _came(table: TablePlan, now: Collection[str]) -> list[str]:
    """Columns that the plan neither has nor leaves out; none when it does not say what it leaves."""
    if table.left_out is None:
        return []
    known = {column.source_name for column in table.columns} | set(table.left_out)
    return [name for name in now if name not in known]
