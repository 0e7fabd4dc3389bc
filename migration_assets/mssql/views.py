"""Views and queries that the rules take in: described and counted, so that they plan like tables.

Nothing is asked where there are none. Otherwise: one query for the columns of all views, one for those
of each query, and one that counts the rows of each, since the catalog knows no sizes of views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from migration_assets import naming
from migration_assets.choices import Consistency
from migration_assets.errors import (
    ConfigurationError,
    OperationTimeoutError,
    PermanentError,
)
from migration_assets.mssql.catalog import Catalog, CatalogTable, read_tables
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.hazards import MASKED, POLICY
from migration_assets.mssql.result_set import describe_query
from migration_assets.mssql.select import quote, source_sql
from migration_assets.rules import Rules
from migration_assets.schema import Column, SourceDatabase, SourceTable, TableKind, TableSchema

_NO_COUNTERS = (
    "Views and queries have no counters of their own: whether the tables behind them are written to "
    "while they are read is told by the database's alone."
)
_MOST_NAMED = 5


def with_views(client: SqlServer, database: SourceDatabase, rules: Rules) -> SourceDatabase:
    """Describe and count the views and queries that the rules take in.

    Args:
        client: where they are.
        database: as `introspect` found it, views by name only.
        rules: the user's wishes.

    Raises:
        ConfigurationError: a query has the name of something else or cannot be a table, or a key
            has a column that is none.
        MigrationError: SQL Server cannot be asked.
    """
    wanted = {
        table.full_name
        for table in database.tables
        if table.kind is TableKind.VIEW and rules.takes_view(table.full_name)
    }
    if not wanted and not rules.queries:
        return database
    catalog = Catalog(client)
    listed = read_tables(catalog, kind=TableKind.VIEW) if wanted else []
    found = {naming.full_name(*view.key): view for view in listed}
    tables = [
        _view(table, found.get(table.full_name)) if table.full_name in wanted else table
        for table in database.tables
    ]
    tables += _queries(client, database, rules)
    concealed = _concealed(database)
    tables = [
        _measured(
            client,
            replace(
                table,
                warnings=(*table.warnings, *concealed),
                where=rules.for_table(table.full_name).where or "",
            ),
            rules.for_table(table.full_name).key,
        )
        if table.kind is not TableKind.TABLE and table.is_candidate and table.refusal is None
        else table
        for table in tables
    ]
    going = sum(t.kind is TableKind.VIEW and t.is_taken_in and not t.refusal for t in tables)
    staying = dict(database.not_migrated)
    staying["views"] = max(staying.get("views", 0) - going, 0)
    return replace(
        database,
        tables=tuple(tables),
        notes=(
            *database.notes,
            *catalog.notes,
            *([_NO_COUNTERS] if rules.consistency is not Consistency.DATABASE_SNAPSHOT else []),
        ),
        not_migrated=staying,
    )


def _concealed(database: SourceDatabase) -> list[str]:
    """What views and queries may hide without a word: nobody knows which tables they read.

    `sys.sql_expression_dependencies` tells it of views, but not through synonyms or dynamic SQL, and
    few logins may read it.
    """
    masked, filtered = [], []
    for table in database.tables:
        columns = [c for c in table.columns.columns if c.refusal == MASKED]
        masked += [f"{table.full_name}.{column.name}" for column in columns]
        if any(warning.startswith(POLICY) for warning in table.warnings):
            filtered.append(table.full_name)
    found = {
        "masked for this login, and so would be their copies": masked,
        "filtered by row-level security, so rows may be missing": filtered,
    }
    return [
        f"If it reads {_listed(names)}: they are {what}." for what, names in found.items() if names
    ]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return f"{', '.join(names[:_MOST_NAMED])}{f' or {more} more' if more > 0 else ''}"


def _view(table: SourceTable, found: CatalogTable | None) -> SourceTable:
    table = replace(table, is_taken_in=True)
    if found is None or not found.columns:
        return replace(table, refusal="its columns are not visible to this login")
    columns = tuple(Column(c.name, c.type, nullable=c.nullable) for c in found.columns)
    return replace(table, columns=TableSchema(columns), object_id=found.object_id)


def _queries(client: SqlServer, database: SourceDatabase, rules: Rules) -> list[SourceTable]:
    there = {table.full_name.casefold(): table for table in database.tables}
    tables = []
    for name, query in rules.queries.items():
        other = there.get(name.casefold())
        if other is not None:
            raise ConfigurationError(
                f"migration.yaml: queries: {name} has the name of a {other.kind.value}.",
                code="MA-CF-021",
                next_step="Give the query a name of its own; its schema need not exist.",
            )
        schema, _, short = name.partition(".")
        table = SourceTable(
            schema, short, TableSchema(()), rows=0, kind=TableKind.QUERY, query=query.select
        )
        removal = rules.removal(name)
        if removal is not None:
            tables.append(replace(table, refusal=removal))
            continue
        try:
            columns = describe_query(client, name, query.select)
        except ConfigurationError:
            raise
        except PermanentError as error:
            reason = f"SQL Server cannot say which columns it has: {error.found}"
            tables.append(replace(table, refusal=reason.rstrip(".")))
        else:
            tables.append(replace(table, columns=TableSchema(columns)))
    return tables


@dataclass(frozen=True)
class _Counted:
    """What one scan found.

    Attributes:
        rows: all of them.
        is_unique: no two rows are equal in the key; None if that is not known.
        has_nulls: the key is NULL somewhere in some of them.
    """

    rows: int
    is_unique: bool | None = None
    has_nulls: bool = False


def _measured(client: SqlServer, table: SourceTable, wanted: Sequence[str]) -> SourceTable:
    """Count rows, and look whether the key that the rules name is one."""
    key = tuple(dict.fromkeys(_column(table, name) for name in wanted))
    table = replace(table, columns=TableSchema(table.columns.columns, key))
    try:
        counted = _count(client, table)
    except ConfigurationError:
        raise
    except PermanentError as error:
        return replace(table, refusal=f"it cannot be read: {error.found.rstrip('.')}")
    except OperationTimeoutError:
        uncounted = (
            "It could not be counted within MSSQL_QUERY_TIMEOUT_S, so `partitions` in "
            "migration.yaml must say how often it is cut."
        )
        return replace(table, warnings=(*table.warnings, uncounted))
    warnings, names = [*table.warnings], ", ".join(key)
    if key and counted.is_unique is None:
        warnings.append(f"It is not known whether the key ({names}) is unique.")
    if counted.is_unique is False:
        warnings.append(f"The key ({names}) is not unique: rows that share it look alike.")
    if counted.has_nulls:
        warnings.append(f"The key ({names}) is NULL in some rows: the first partition has them.")
        table = _with_nullable_key(table)
    return replace(table, rows=counted.rows, rows_exact=True, warnings=tuple(warnings))


def _with_nullable_key(table: SourceTable) -> SourceTable:
    """Believe the rows: cuts over several columns would lose those with NULL.

    What the catalog says of a view's columns is as old as the view, until `sp_refreshview`
    (https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-refreshview-transact-sql).
    """
    columns, key = table.columns.columns, table.columns.primary_key
    if any(column.nullable for column in columns if column.name in key):
        return table  # the catalog knows
    believed = (replace(c, nullable=True) if c.name in key else c for c in columns)
    return replace(table, columns=TableSchema(tuple(believed), key))


def _count(client: SqlServer, table: SourceTable) -> _Counted:
    """One scan; a second one where the key is of a type that makes no groups, or takes too long."""
    source, doing = source_sql(table), f"Counting {table.full_name}"
    names = [quote(name) for name in table.columns.primary_key]
    if names:
        listed = ", ".join(f"{name} AS key_{i}" for i, name in enumerate(names))
        null = " OR ".join(f"g.key_{i} IS NULL" for i in range(len(names)))
        sql = (
            "SELECT COALESCE(SUM(g.rows_of_it), 0), COALESCE(MAX(g.rows_of_it), 0), "
            f"COALESCE(SUM(CASE WHEN {null} THEN g.rows_of_it ELSE 0 END), 0) FROM "
            f"(SELECT {listed}, COUNT_BIG(*) AS rows_of_it FROM {source} "
            f"GROUP BY {', '.join(names)}) AS g"
        )
        try:
            rows, most, without = client.query(sql, doing=f"{doing} by its key")[0]
        except ConfigurationError:
            raise
        except (PermanentError, OperationTimeoutError):
            pass
        else:
            return _Counted(int(rows), is_unique=int(most) <= 1, has_nulls=int(without) > 0)
    return _Counted(int(client.query(f"SELECT COUNT_BIG(*) FROM {source}", doing=doing)[0][0]))


def _column(table: SourceTable, name: str) -> str:
    for same in (str, str.casefold):
        for column in table.columns.columns:
            if same(column.name) == same(name):
                return column.name
    raise ConfigurationError(
        f"migration.yaml: the key of {table.full_name} names {name}, which is no column of it.",
        code="MA-CF-017",
        next_step=f"Its columns are {', '.join(column.name for column in table.columns.columns)}.",
    )
