"""SQL text that reads and measures key ranges; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migration_assets import partitioning
from migration_assets.choices import VerificationLevel
from migration_assets.fingerprint import tsql_query
from migration_assets.key_range import KeyRange
from migration_assets.naming import bracketed
from migration_assets.plan import TablePlan
from migration_assets.schema import SourceTable
from migration_assets.source_query import derived_table, filtered

MAX_SELECT_LIST = 4_000
"""SQL Server takes 4,096 expressions in a select list; a fingerprint may have more
(https://learn.microsoft.com/sql/sql-server/maximum-capacity-specifications-for-sql-server)."""


GIVE_WAY = "SET DEADLOCK_PRIORITY -10"
"""What every session of ours begins with: in a deadlock it is the one that ends, and tries again
(https://learn.microsoft.com/sql/t-sql/statements/set-deadlock-priority-transact-sql)."""


def quote(name: str) -> str:
    """A name as T-SQL identifier: `[a]]b]`."""
    return bracketed(name)


def table_name(schema: str, name: str) -> str:
    """A table's two-part name, quoted."""
    return f"{quote(schema)}.{quote(name)}"


def source_sql(table: TablePlan | SourceTable) -> str:
    """What stands behind FROM: the quoted name of a table or view, a query in parentheses.

    Where rules have a condition it is a derived table of the rows that fulfil it: SQL Server merges
    that with the statement around it, and no statement can forget the condition.
    """
    source = unfiltered_sql(table)
    if not table.where:
        return source
    return filtered(source, [quote(name) for name in _read(table)], table.where, _alias(table))


def masked_sql(table: TablePlan) -> str:
    """`source_sql` with masks in the place of the columns, for statements that read values.

    Each mask stands there once, however often a statement names the column: a hash of each value is
    dear, and no statement can forget it. One of a column that ranges are cut by there is none of.
    """
    if not any(column.mask for column in table.columns):
        return source_sql(table)
    masks = {c.source_name: c.select_expression for c in table.columns if c.mask}
    columns = [quote(name) for name in _read(table) if name not in masks]
    columns += [f"{mask} AS {quote(name)}" for name, mask in masks.items()]
    return filtered(unfiltered_sql(table), columns, table.where, _alias(table))


def unfiltered_sql(table: TablePlan | SourceTable) -> str:
    """`source_sql` with the rows too that the condition of the rules leaves out."""
    if table.query:
        return derived_table(table.query)
    if isinstance(table, TablePlan):
        return table_name(table.source_schema, table.source_name)
    return table_name(table.schema, table.name)


def _read(table: TablePlan | SourceTable) -> list[str]:
    """Source columns that statements about a table name: no more, so that none is read for nothing."""
    if isinstance(table, SourceTable):
        # Nobody is sure to be allowed to read the others.
        return [column.name for column in table.columns.columns if column.refusal is None]
    names = [c.source_name for c in table.columns if c.mask not in {"null", "fixed"}]
    for key_range in table.key_ranges:
        names += [*key_range.key_columns, *key_range.hash_columns]
    return list(dict.fromkeys(names))


def _alias(table: TablePlan | SourceTable) -> str:
    return quote(table.source_name if isinstance(table, TablePlan) else table.name)


def select_sql(table: TablePlan, key_range: KeyRange, condition: str = "") -> str:
    """The query whose rows are a partition: columns in the plan's order, under target names.

    Args:
        table: the plan of the table.
        key_range: which partition.
        condition: T-SQL that rows must also fulfil; empty for all rows.
    """
    columns = ", ".join(f"{c.expression} AS {quote(c.name)}" for c in table.columns)
    return f"SELECT {columns} {_from(masked_sql(table), key_range, condition)}"


def fingerprint_sql(
    table: TablePlan, key_range: KeyRange, level: VerificationLevel
) -> tuple[str, ...]:
    """Queries of one row each that together give `fingerprint.tsql_query(table, level)`'s row.

    It is one query unless the table is so wide that its aggregates exceed `MAX_SELECT_LIST`.
    """
    source = _from(masked_sql(table), key_range)
    expressions = tsql_query(table, level).expressions
    return tuple(f"SELECT {', '.join(part)} {source}" for part in _pieces(expressions))


def invalid_text_sql(table: TablePlan, key_range: KeyRange, columns: Sequence[str]) -> str:
    """The query that counts, for each column, the rows with a surrogate without its partner.

    Args:
        table: the plan.
        key_range: which rows.
        columns: target names.
    """
    by_name = {column.name: column for column in table.columns}
    counts = [
        f"COUNT_BIG(CASE WHEN {_invalid_text(by_name[name].expression)} THEN 1 END)"
        for name in columns
    ]
    return f"SELECT {', '.join(counts)} {_from(masked_sql(table), key_range)}"


def _invalid_text(expression: str) -> str:
    """T-SQL that is true of text that is no valid UTF-16.

    A binary collation without `_SC` compares UTF-16 units, so a range holds units too
    (https://learn.microsoft.com/sql/relational-databases/collations/collation-and-unicode-support).
    """
    text = f"{expression} COLLATE Latin1_General_BIN2"
    high = "NCHAR(55296) + N'-' + NCHAR(56319) + N']"
    low = "NCHAR(56320) + N'-' + NCHAR(57343) + N']"
    patterns = (
        f"N'%[' + {high}[^' + {low}%'",  # a first half, then no second
        f"N'%[' + {high}'",  # a first half at the end
        f"N'[' + {low}%'",  # a second half at the beginning
        f"N'%[^' + {high}[' + {low}%'",  # a second half after no first
    )
    return " OR ".join(f"{text} LIKE {pattern}" for pattern in patterns)


def count_sql(schema: str, name: str) -> str:
    """The number of rows of a whole table."""
    return f"SELECT COUNT_BIG(*) FROM {table_name(schema, name)}"


def range_count_sql(table: TablePlan, key_range: KeyRange) -> str:
    """The number of the partition and its rows, as one row."""
    return f"SELECT {key_range.source_partition} AS p, COUNT_BIG(*) AS n {_from(source_sql(table), key_range)}"


def _from(rows: str, key_range: KeyRange, condition: str = "") -> str:
    source = f"FROM {rows}"
    predicates = [p for p in (partitioning.predicate(key_range), condition) if p]
    if len(predicates) > 1:
        predicates = [f"({predicate})" for predicate in predicates]
    return f"{source} WHERE {' AND '.join(predicates)}" if predicates else source


def _pieces(expressions: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(expressions), MAX_SELECT_LIST):
        yield expressions[start : start + MAX_SELECT_LIST]
