"""A trial: the plan of a few rows of each table, in targets of their own; pure.

The rows are `TOP (n)` by the key, written as the query that stands for the table. So the SELECT that
reads them and the one that measures them see the same rows, and all that a table goes through on its
way (types, names, checks, atomic writes) is the code of a whole migration, with one partition.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from migration_assets.choices import Consistency, OnExisting, VerificationLevel
from migration_assets.column_plan import ColumnPlan
from migration_assets.errors import ConfigurationError
from migration_assets.key_range import KeyRange
from migration_assets.mssql.select import quote, source_sql
from migration_assets.plan import MigrationPlan, TablePlan

SUFFIX = "_trial"
"""What the names of a trial's target tables end with."""

MAX_NAME = 255
"""Longest name of a table in Glue and StarRocks, as `naming` has it."""

MAX_SORT_BYTES = 8_000
"""ORDER BY takes 8,060 bytes of columns in all
(https://learn.microsoft.com/sql/t-sql/queries/select-order-by-clause-transact-sql)."""

_OF_THE_TABLE = {"where": "", "create": True, "prevent_reset": False}
"""Wishes about the table itself: its condition stands in the query of a trial, whose targets the tool
makes and removes."""

_FIXED = (
    *("bit", "tinyint", "smallint", "int", "bigint", "decimal", "numeric", "money", "smallmoney"),
    *("real", "float", "date", "time", "datetime", "smalldatetime", "datetime2", "datetimeoffset"),
    *("uniqueidentifier", "rowversion", "timestamp"),
)
"""Types that ORDER BY takes, of 17 bytes at most."""
_TYPE = re.compile(r"(\w+)(?:\((\d+)[^)]*\))?")


def trial_plan(plan: MigrationPlan, tables: Sequence[TablePlan], rows: int) -> MigrationPlan:
    """Plan a trial of some tables.

    Args:
        plan: what they are from; none of its targets becomes one of the trial.
        tables: of the plan.
        rows: how many of each table, at most.

    Raises:
        ConfigurationError: a target's name becomes too long with the suffix.
    """
    chosen = {table.full_name for table in tables}
    trials = tuple(
        trial_table(table, rows, suffix)
        for table, suffix in zip(plan.tables, _suffixes(plan.tables), strict=True)
        if table.full_name in chosen
    )
    changes = {
        "tables": trials,
        "skipped": (),
        "notes": (),
        # One partition needs no state that partitions share, and the snapshot is the migration's.
        "database_snapshot": None,
        "consistency": plan.consistency
        if plan.consistency is Consistency.NONE
        else Consistency.STATEMENT,
    }
    return MigrationPlan(**{**dict(plan), **changes})


def trial_table(table: TablePlan, rows: int, suffix: str = SUFFIX) -> TablePlan:
    """Plan a table's trial: one partition of its first rows, checked at level `full` at least.

    Raises:
        ConfigurationError: a target's name becomes too long with the suffix.
    """
    names = {
        "iceberg_table": table.iceberg_table + suffix,
        "starrocks_table": table.starrocks_table + suffix,
    }
    for name in names.values():
        if len(name) > MAX_NAME:
            raise ConfigurationError(
                f"{table.full_name} cannot be tried: {name} has {len(name)} characters, and tables "
                f"have {MAX_NAME} at most.",
                next_step="Give it a shorter target name in migration.yaml, and plan again.",
                code="MA-SR-103",
            )
    full = table.verification is not VerificationLevel.ROWS
    return table.replaced(
        **names,
        **_OF_THE_TABLE,
        location=table.location + suffix,
        trial_rows=rows,
        query=first_rows_sql(table, rows),
        rows=min(table.rows, rows),
        bytes=None,
        key_ranges=(KeyRange(source_partition=0),),
        cut_by="",
        window=None,
        range_rows=(),
        isolated=False,
        buckets=1,
        verification=VerificationLevel.FULL if full else VerificationLevel.ROWS,
        on_existing=OnExisting.REFUSE,
        evolutions=(),
        consistency=None,
        block_writers=False,
        warnings=tuple(filter(None, (what_is_compared(table),))),
    )


def first_rows_sql(table: TablePlan, rows: int) -> str:
    """The query of the first rows by the key: all columns that the plan reads, unchanged."""
    listed = ", ".join(quote(column.source_name) for column in _read_columns(table)) or "1 AS [n]"
    order = ", ".join(map(quote, sort_columns(table)))
    condition = table.where
    source = source_sql(table.replaced(where="") if condition else table)
    return "".join(
        [
            f"SELECT TOP ({rows}) {listed} FROM {source}",
            f" WHERE (\n{condition}\n)" if condition else "",
            f" ORDER BY {order}" if order else "",
        ]
    )


def sort_columns(table: TablePlan) -> tuple[str, ...]:
    """Source names of the columns that say which rows are the first ones.

    The key's; without one all columns that ORDER BY takes, as many as it takes.
    """
    if table.primary_key:
        return table.primary_key
    names, size = [], 0
    for column in _read_columns(table):
        width = _sort_bytes(column.mssql_type)
        if width and size + width <= MAX_SORT_BYTES:
            names.append(column.source_name)
            size += width
    return tuple(names)


def what_is_compared(table: TablePlan) -> str:
    """What to know of a table without a key before its trial is relied on; empty where it has one."""
    if table.primary_key:
        return ""
    names = sort_columns(table)
    by = f"by {', '.join(names)}, for which SQL Server reads the whole table" if names else "any"
    return (
        f"{table.full_name} has no key: the rows of its trial are the first ones {by}. Rows that are "
        "equal there may be others when SQL Server counts them than when they were read; a check "
        "then fails although the copy is right."
    )


def _read_columns(table: TablePlan) -> list[ColumnPlan]:
    """One column of the plan for each that is read: a value that a mask replaces whole is not."""
    first = {column.source_name: column for column in reversed(table.columns)}
    read = [first[name] for name in dict.fromkeys(column.source_name for column in table.columns)]
    return [column for column in read if column.mask not in {"null", "fixed"}]


def _sort_bytes(mssql_type: str) -> int:
    """Bytes that a column takes in ORDER BY at most; 0 where it cannot stand there."""
    found = _TYPE.fullmatch(mssql_type)
    name, length = (found[1], int(found[2] or 1)) if found else ("", 0)
    if name in _FIXED:
        return 17
    if name in {"char", "varchar", "binary", "varbinary"}:
        return length
    return 2 * length if name in {"nchar", "nvarchar"} else 0


def _suffixes(tables: Sequence[TablePlan]) -> list[str]:
    """For each table what to append, so that no target is one of the plan's or of another trial."""
    taken = {target for table in tables for target in _targets(table, "")}
    found = []
    for table in tables:
        suffix = SUFFIX
        while taken & (targets := _targets(table, suffix)):
            suffix += SUFFIX
        taken |= targets
        found.append(suffix)
    return found


def _targets(table: TablePlan, suffix: str) -> set[tuple[str, ...]]:
    return {
        ("iceberg", table.namespace, table.iceberg_table + suffix),
        ("starrocks", table.starrocks_database, (table.starrocks_table + suffix).lower()),
        ("location", table.location + suffix),
    }
