"""Statements that move and measure rows, made from the plan; pure text, nothing is sent here."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence

from migration_assets.column_plan import SOURCE_PARTITION, ColumnPlan, TargetColumn
from migration_assets.errors import PlanError, UnsupportedError
from migration_assets.plan import TablePlan
from migration_assets.starrocks.ddl import column_type, ordered_columns
from migration_assets.starrocks.names import Named, iceberg_table, native_table, quote
from migration_assets.type_mapping import LONGEST_KEPT, MAX_STARROCKS_BYTES

_SMALLEST_SNAPSHOT_ID = 2**31
"""StarRocks takes a smaller number for something else: "Unsupported type for table version"."""


def refresh_sql(table: TablePlan, catalog: str) -> str:
    """The statement that makes StarRocks read the Iceberg table's metadata anew.

    It caches them; without this a snapshot can stay unknown for more than a minute
    (https://docs.starrocks.io/docs/data_source/catalog/iceberg/iceberg_catalog/).
    """
    return f"REFRESH EXTERNAL TABLE {iceberg_table(table, catalog)}"


def insert_overwrite_sql(
    table: TablePlan, *, catalog: str, source_partition: int, snapshot_id: int, label: str
) -> str:
    """The statement that replaces one partition by what one Iceberg snapshot has of it.

    https://docs.starrocks.io/docs/sql-reference/sql-statements/loading_unloading/INSERT/

    Args:
        table: the plan of the table.
        catalog: StarRocks' external catalog.
        source_partition: which partition, 0 or more.
        snapshot_id: the snapshot to read.
        label: names the load in `information_schema.loads`; a new one for each attempt.

    Raises:
        UnsupportedError: a number that StarRocks' grammar cannot express, or a column that it
            cannot have.
    """
    if source_partition < 0:
        # `PARTITION(source_partition=-1)` is a syntax error.
        raise PlanError(
            f"Table {table.full_name}: source_partition {source_partition} is negative.",
            code="MA-PL-006",
            next_step="Run `migration-assets plan` to write a new plan.",
        )
    if snapshot_id < _SMALLEST_SNAPSHOT_ID:
        raise UnsupportedError(
            f"Iceberg table {table.namespace}.{table.iceberg_table}: StarRocks cannot be asked for "
            f"snapshot {snapshot_id}, its id is below 2^31.",
            code="MA-SR-107",
            next_step="Commit the partition again: that makes a snapshot with a new id.",
        )
    columns = ordered_columns(table)
    names = ", ".join(quote(column.name, Named.COLUMN) for column in columns)
    casts = ", ".join(_cast(column) for column in columns)
    # The order of the clauses is the grammar's: target, partition, label, columns. Why each:
    #   PARTITION(…=n)  creates the partition when it is missing, empties it when nothing is
    #                   selected, leaves the others alone, and fails when a row belongs elsewhere.
    #   columns         all of them, `source_partition` too ("must be explicitly mentioned in
    #                   column permutation"); an omitted one would become NULL.
    #   FOR VERSION AS  the rows that were committed, whatever came since; an unknown id is an
    #                   error, never an older snapshot. It must be a bare number: a quoted one is
    #                   taken for the name of a tag.
    #   WHERE           also prunes: Iceberg's metadata tell which files hold the partition.
    return (
        f"INSERT OVERWRITE {native_table(table)} PARTITION({SOURCE_PARTITION}={source_partition}) "
        f"WITH LABEL {quote(label, Named.TABLE)} ({names}) "
        f"SELECT {casts} "
        f"FROM {iceberg_table(table, catalog)} FOR VERSION AS OF {snapshot_id} "
        f"WHERE {quote(SOURCE_PARTITION, Named.COLUMN)} = {source_partition}"
    )


def _cast(column: TargetColumn) -> str:
    name, target = quote(column.name, Named.COLUMN), column_type(column)
    if target.startswith("VARBINARY"):
        # Bytes are bytes on both sides; StarRocks' list of casts has none from binary to binary.
        return name
    value = name
    if isinstance(column, ColumnPlan) and column.cut:
        # `length` counts bytes, `left` characters.
        value = (
            f"CASE WHEN length({name}) > {MAX_STARROCKS_BYTES} "
            f"THEN left({name}, {LONGEST_KEPT}) ELSE {name} END"
        )
    # The frontend refuses no implicit cast at all, so what is meant is written out. A text is not
    # cut by its cast (`_evaluate_string` in cast_expr.cpp): the table refuses one that is too long.
    return f"CAST({value} AS {target})"


def load_label(table: TablePlan, source_partition: int, run_id: str) -> str:
    """A label for one attempt: table, partition and run to be recognized, the rest to be unique.

    StarRocks allows letters, digits, `_` and `-`, 128 at most. A label that was used says nothing
    about a replaced partition (it becomes visible before the swap), so it is never asked for.
    """
    run = re.sub(r"[^0-9A-Za-z_-]", "_", run_id)[:36]
    return f"migration_{table.table_id}_{source_partition}_{run}_{uuid.uuid4().hex[:12]}"


def label_prefix(table: TablePlan, source_partition: int) -> str:
    """What the labels of all loads of a partition begin with."""
    return f"migration_{table.table_id}_{source_partition}_"


def measure_sql(table: TablePlan, source_partition: int, expressions: Sequence[str]) -> str:
    """The query that aggregates one loaded partition, one row."""
    return (
        f"SELECT {', '.join(expressions)} FROM {native_table(table)} "
        f"WHERE {quote(SOURCE_PARTITION, Named.COLUMN)} = {source_partition}"
    )


def partition_rows_sql(table: TablePlan) -> str:
    """The query that counts the rows of each partition."""
    partition = quote(SOURCE_PARTITION, Named.COLUMN)
    return f"SELECT {partition}, COUNT(*) FROM {native_table(table)} GROUP BY {partition}"
