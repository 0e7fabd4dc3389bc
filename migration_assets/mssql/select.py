"""SQL text that reads and measures key ranges; pure."""

from __future__ import annotations

from collections.abc import Iterator

from migration_assets import partitioning
from migration_assets.fingerprint import tsql_query
from migration_assets.plan import KeyRange, TablePlan, VerificationLevel

MAX_SELECT_LIST = 4_000
"""SQL Server takes 4,096 expressions in a select list; a fingerprint may have more
(https://learn.microsoft.com/sql/sql-server/maximum-capacity-specifications-for-sql-server)."""


def quote(name: str) -> str:
    """A name as T-SQL identifier: `[a]]b]`."""
    return "[" + name.replace("]", "]]") + "]"


def table_name(schema: str, name: str) -> str:
    """A table's two-part name, quoted."""
    return f"{quote(schema)}.{quote(name)}"


def select_sql(table: TablePlan, key_range: KeyRange) -> str:
    """The query whose rows are a partition: columns in the plan's order, under target names."""
    columns = ", ".join(f"{c.select_expression} AS {quote(c.name)}" for c in table.columns)
    return f"SELECT {columns} {_from(table, key_range)}"


def fingerprint_sql(
    table: TablePlan, key_range: KeyRange, level: VerificationLevel
) -> tuple[str, ...]:
    """Queries of one row each that together give `fingerprint.tsql_query(table, level)`'s row.

    It is one query unless the table is so wide that its aggregates exceed `MAX_SELECT_LIST`.
    """
    source = _from(table, key_range)
    expressions = tsql_query(table, level).expressions
    return tuple(f"SELECT {', '.join(part)} {source}" for part in _pieces(expressions))


def count_sql(schema: str, name: str) -> str:
    """The number of rows of a whole table."""
    return f"SELECT COUNT_BIG(*) FROM {table_name(schema, name)}"


def _from(table: TablePlan, key_range: KeyRange) -> str:
    source = f"FROM {table_name(table.source_schema, table.source_name)}"
    predicate = partitioning.predicate(key_range)
    return source if predicate is None else f"{source} WHERE {predicate}"


def _pieces(expressions: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(expressions), MAX_SELECT_LIST):
        yield expressions[start : start + MAX_SELECT_LIST]
