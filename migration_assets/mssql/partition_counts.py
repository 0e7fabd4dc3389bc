"""How many rows each key range has, counted: one scan of a table's key, never made unasked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from migration_assets.errors import MigrationError
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.select import range_count_sql
from migration_assets.plan import TablePlan

_RANGES = 64
"""Ranges asked for in one statement: SQL Server compiles long chains of UNION ALL slowly."""


def partition_counts_sql(table: TablePlan) -> Iterator[str]:
    """Statements whose rows are `source_partition` and its number of rows."""
    for start in range(0, len(table.key_ranges), _RANGES):
        ranges = table.key_ranges[start : start + _RANGES]
        yield " UNION ALL ".join(range_count_sql(table, key_range) for key_range in ranges)


def partition_counts(
    client: SqlServer, tables: Iterable[TablePlan]
) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """Count the rows of each range of the tables that are cut.

    Returns:
        Full name to the rows of its ranges, in their order; and a note for each table that could
        not be counted.
    """
    counts: dict[str, tuple[int, ...]] = {}
    notes = []
    for table in tables:
        if len(table.key_ranges) < 2:
            continue
        try:
            counts[table.full_name] = _counted(client, table)
        except MigrationError as error:
            notes.append(f"The partitions of {table.full_name} were not counted: {error.found}")
    return counts, notes


def _counted(client: SqlServer, table: TablePlan) -> tuple[int, ...]:
    rows: list[Sequence[int]] = []
    for sql in partition_counts_sql(table):
        rows += client.query(sql, doing=f"Counting the partitions of {table.full_name}")
    found = {int(partition): int(count) for partition, count in rows}
    return tuple(found.get(key_range.source_partition, 0) for key_range in table.key_ranges)
