"""What a plan will have the systems do, as SQL to be read and tried: `plan --show-sql`; pure.

The text is one script of two dialects, and says where each begins. Values that are known only when
data has moved (the snapshot of a load, its label) are stood in for, and said to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from migration_assets.choices import VerificationLevel
from migration_assets.column_plan import SOURCE_PARTITION
from migration_assets.fingerprint import starrocks_query
from migration_assets.mssql.select import fingerprint_sql, select_sql
from migration_assets.partitioning import predicate
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.starrocks import ddl, dml
from migration_assets.statement_layout import commented, folded, laid_out

SNAPSHOT_STAND_IN = 9_223_372_036_854_775_807
"""Where a load names the Iceberg snapshot that its commit has made."""


@dataclass(frozen=True)
class StarRocksNames:
    """What of StarRocks' settings statements hold.

    Attributes:
        catalog: the external catalog.
        replication_num: replicas of each tablet.
    """

    catalog: str
    replication_num: int


def table_statements(plan: MigrationPlan, table: TablePlan, names: StarRocksNames) -> str:
    """The script of one table, at most 80 columns wide where no name or literal is longer.

    Raises:
        MigrationError: StarRocks cannot have such a table.
    """
    parts = [
        commented(f"{'=' * 20} {table.full_name}, table id {table.table_id}"),
        *_source(plan, table),
        *_lake(table),
        *_starrocks(table, names),
    ]
    return "\n".join(parts) + "\n"


def _source(plan: MigrationPlan, table: TablePlan) -> Iterator[str]:
    keys = table.partition_keys
    first = keys[0]
    yield commented(f"SQL Server: the rows of {first}, 1 of {len(keys)} partitions")
    if plan.snapshot_isolation and not table.at_barrier:
        yield commented("(rows and fingerprint in one transaction of isolation level SNAPSHOT)")
    yield laid_out(select_sql(table, table.key_range(first)) + ";")
    if len(keys) > 1:
        yield commented("The partitions differ in their predicates:")
        for key in keys:
            yield commented(f"  {key}: {predicate(table.key_range(key)) or 'all rows'}")
    level = _level(table)
    if level is not VerificationLevel.NONE:
        yield commented(f"SQL Server: its own measure of {first}, at level {level.value}")
        for statement in fingerprint_sql(table, table.key_range(first), level):
            yield laid_out(statement + ";")


def _level(table: TablePlan) -> VerificationLevel:
    """What the servers measure: at level `rows` all that they do at `full`."""
    is_rows = table.verification is VerificationLevel.ROWS
    return VerificationLevel.FULL if is_rows else table.verification


def _lake(table: TablePlan) -> Iterator[str]:
    columns = [
        f"  {c.field_id}: {c.name} {c.iceberg_type}{'' if c.nullable else ' required'}"
        for c in table.target_columns
    ]
    yield commented(
        "\n".join(
            [
                f"Iceberg table {table.namespace}.{table.iceberg_table}, partitioned by "
                f"{SOURCE_PARTITION}, at",
                f"  {table.location}",
                "with the columns, by field id:",
                *columns,
            ]
        )
    )


def _starrocks(table: TablePlan, names: StarRocksNames) -> Iterator[str]:
    key_range = table.key_ranges[0]
    yield commented("StarRocks: database and table")
    yield folded(ddl.create_database_sql(table.starrocks_database) + ";")
    yield folded(ddl.create_table_sql(table, names.replication_num) + ";")
    yield commented(
        f"StarRocks: the load of {table.partition_keys[0]}. Number of the snapshot and label are "
        "those of the commit and the run; here they stand for them."
    )
    yield laid_out(dml.refresh_sql(table, names.catalog) + ";")
    load = dml.insert_overwrite_sql(
        table,
        catalog=names.catalog,
        source_partition=key_range.source_partition,
        snapshot_id=SNAPSHOT_STAND_IN,
        label=f"{dml.label_prefix(table, key_range.source_partition)}shown",
    )
    yield laid_out(load + ";")
    level = _level(table)
    if level is not VerificationLevel.NONE:
        yield commented("StarRocks: its measure of what was loaded")
        measured = starrocks_query(table, level).expressions
        yield laid_out(dml.measure_sql(table, key_range.source_partition, measured) + ";")
