"""Why a StarRocks table is made as it is: its DDL, and one sentence for each choice in it."""

from __future__ import annotations

from dataclasses import dataclass

from migration_assets.choices import StarRocksModel
from migration_assets.column_plan import SOURCE_PARTITION
from migration_assets.errors import MigrationError
from migration_assets.plan import TablePlan
from migration_assets.planner import TABLET_BYTES
from migration_assets.schema import TableKind
from migration_assets.starrocks.ddl import create_table_sql
from migration_assets.table_model import MAX_SORT_COLUMNS


@dataclass(frozen=True)
class TableDesign:
    """A StarRocks table.

    Attributes:
        name: `database.table`.
        source: the table's full name in SQL Server.
        ddl: the statement that creates it; empty when it cannot be made.
        refusal: why it cannot be made.
        reasons: what was chosen, and why, in the order of the statement's clauses.
        summary: the choices in a few words.
    """

    name: str
    source: str
    ddl: str
    refusal: str
    reasons: tuple[tuple[str, str], ...]
    summary: str


def table_design(table: TablePlan, replication_num: int) -> TableDesign:
    """Explain one table."""
    try:
        ddl, refusal = create_table_sql(table, replication_num), ""
    except MigrationError as error:
        ddl, refusal = "", error.message
    ranges = len(table.key_ranges)
    tablets = ranges * table.buckets * replication_num
    return TableDesign(
        name=f"{table.starrocks_database}.{table.starrocks_table}",
        source=table.full_name,
        ddl=ddl,
        refusal=refusal,
        reasons=(
            ("Model", _model(table)),
            ("Sort key", _key(table)),
            ("Partitions", _partitions(table)),
            ("Buckets", _buckets(table)),
            ("Replicas", f"{replication_num}, as STARROCKS_REPLICATION_NUM says."),
        ),
        summary=(
            f"{table.model.value.upper()} KEY ({', '.join(table.sort_key)}), {_counted(ranges, 'partition')}, "
            f"{_counted(table.buckets, 'bucket')} each, {_counted(tablets, 'tablet')}"
        ),
    )


def _model(table: TablePlan) -> str:
    made_by = "" if table.create else " Its owner makes the table (create: false)."
    if table.model is not StarRocksModel.DUPLICATE:
        return (
            f"{table.model.value.upper()} KEY, as migration.yaml says: one row for each key, which the "
            f"source keeps distinct. {SOURCE_PARTITION} is part of the key, as StarRocks wants of "
            f"the column that partitions it, so rows are distinct within a partition.{made_by}"
        )
    return (
        "DUPLICATE KEY: every row arrives as it is, also twice if the source has it twice, and a "
        f"partition can be replaced in one step (INSERT OVERWRITE).{made_by}"
    )


def _key(table: TablePlan) -> str:
    key = ", ".join(table.sort_key)
    kind = "primary key" if table.kind is TableKind.TABLE else "key"
    sources = {column.name: column.source_name for column in table.columns}
    named = tuple(sources[name] for name in table.sort_key if name in sources)
    if named and named != table.primary_key[: len(named)]:
        return f"{key}: the keys that migration.yaml names."
    if table.sort_key == (SOURCE_PARTITION,) or not table.sort_key:
        why = (
            f"the {table.kind.value} has no {kind}"
            if not table.primary_key
            else f"StarRocks cannot sort by the {kind} ({', '.join(table.primary_key)})"
        )
        return f"{key or SOURCE_PARTITION}: {why}, so rows are spread over the buckets at random."
    if len(named) == len(table.primary_key):
        return f"{key}: the {kind} of the source, so that look-ups by it read little."
    limit = (
        f"StarRocks advises no more than {MAX_SORT_COLUMNS}"
        if len(table.sort_key) == MAX_SORT_COLUMNS
        else "StarRocks cannot sort by the next one"
    )
    return f"{key}: the first columns of the {kind} ({', '.join(table.primary_key)}); {limit}."


def _partitions(table: TablePlan) -> str:
    ranges = len(table.key_ranges)
    by = f"By {SOURCE_PARTITION}, as in Iceberg and Dagster, so that one can be replaced alone: "
    if ranges == 1:
        return f"{by}one, since the table is small or has no key that is cut."
    if table.window is not None:
        return (
            f"{by}{ranges - 1:,} windows {table.window}, as migration.yaml says, and one for what "
            "is before and NULL."
        )
    many = "so many by rows and bytes (or migration.yaml)"
    first = table.key_ranges[0]
    if first.hash_of:
        columns = _counted(len(first.hash_columns), "column")
        return (
            f"{by}{ranges:,} parts by a checksum over {columns}, {many}; split: hash asks for it, "
            "and each reads the whole table."
        )
    names = dict.fromkeys(name for r in table.key_ranges for name in r.key_columns)
    cut = f"{ranges:,} ranges of {', '.join(names)}"
    how = _HOW.get(table.cut_by)
    return f"{by}{cut}{f', {how}' if how else ''}; {many}."


_HOW = {
    "histogram": "as even as SQL Server's histogram says",
    "walk": "as even as the rows that were counted along an index",
    "arithmetic": "equally wide, since SQL Server's histogram says that its values are even",
    "bounds": "equally wide between the lowest and the highest value, whatever is between",
    "partition_function": "along SQL Server's own partitions (small ones together, large ones cut "
    "further where statistics or an index tell how)",
}
"""How ranges were cut, by `TablePlan.cut_by`."""


def _buckets(table: TablePlan) -> str:
    spread = "at random" if table.sort_key in {(), (SOURCE_PARTITION,)} else "by the sort key"
    if table.distributed_by:
        spread = f"by {', '.join(table.distributed_by)}"
    if table.buckets == 1:
        return f"1 for each partition: below 1 GiB one tablet is enough; rows are spread {spread}."
    return (
        f"{table.buckets:,} for each partition, rows spread {spread}: about "
        f"{TABLET_BYTES >> 30} GiB of data a tablet, or what migration.yaml says."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
