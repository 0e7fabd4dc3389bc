"""Compare the rows of one partition in two of the three systems, value by value."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from migration_assets.choices import VerificationLevel
from migration_assets.plan import TablePlan
from migration_assets.sampling import Sample

if TYPE_CHECKING:
    import pyarrow as pa

    from migration_assets.iceberg.lake import Lake
    from migration_assets.mssql.client import SqlServer
    from migration_assets.receipts import CommitReceipt
    from migration_assets.row_comparison import RowComparison, Rows
    from migration_assets.starrocks.resource import StarRocks


def compare_loaded(
    starrocks: StarRocks, lake: Lake, table: TablePlan, receipt: CommitReceipt
) -> RowComparison:
    """Compare what StarRocks has loaded of a commit with the data files that it was loaded from.

    Unlike SQL Server's rows these do not move.

    Raises:
        SupersededError: the partition was committed again meanwhile.
        MigrationError: whatever reading raises.
    """
    from migration_assets.iceberg.partitions import snapshot_holding
    from migration_assets.iceberg.rows import partition_paths
    from migration_assets.row_comparison import compare_rows
    from migration_assets.row_digest import ComparedColumns

    # Not the receipt's own list: compaction may have replaced the files by others of equal rows.
    paths = partition_paths(lake, table, receipt.source_partition)
    snapshot_holding(lake, table, receipt)
    return compare_rows(
        ComparedColumns.of(table, loaded=True),
        _as_loaded(table, _file_rows(lake, table, paths)),
        _loaded_rows(starrocks, table, receipt.partition_key),
    )


def compare_with_source(
    mssql: SqlServer,
    lake: Lake,
    starrocks: StarRocks | None,
    table: TablePlan,
    partition_key: str,
    *,
    sample: Sample | None = None,
    without: Collection[str] = (),
) -> RowComparison:
    """Compare a partition with SQL Server's rows of it, read afresh.

    Args:
        mssql: what is right.
        lake: where the Iceberg table is.
        starrocks: what is compared; None for the Iceberg table's data files.
        table: the plan of the table.
        partition_key: which partition.
        sample: which rows are compared, in StarRocks only; None for all.
        without: target columns that are not compared.

    Raises:
        ObjectNotFoundError: a table does not exist.
        MigrationError: whatever reading raises.
    """
    from migration_assets.iceberg.rows import partition_paths
    from migration_assets.row_comparison import compare_rows
    from migration_assets.row_digest import ComparedColumns

    chosen = sample or Sample("", "")
    paths: Sequence[str] = ()
    if starrocks is None:
        paths = partition_paths(lake, table, table.key_range(partition_key).source_partition)
    if without:
        columns = tuple(column for column in table.columns if column.name not in without)
        table = table.replaced(columns=columns)
    source = _source_rows(mssql, table, partition_key, chosen.mssql)
    if starrocks is None:
        found = _file_rows(lake, table, paths)
    else:
        source = _as_loaded(table, source)
        found = _loaded_rows(starrocks, table, partition_key, chosen.starrocks)
    compared = ComparedColumns.of(table, loaded=starrocks is not None)
    return compare_rows(compared, source, found)


def _source_rows(
    mssql: SqlServer, table: TablePlan, partition_key: str, condition: str = ""
) -> Rows:
    """Rows that are read from SQL Server as the extraction reads them, each time afresh."""
    from migration_assets.assets.build import memory_limit
    from migration_assets.extraction import conformer, read_ahead
    from migration_assets.mssql.reader import open_partition

    key_range = table.key_range(partition_key)
    conform = conformer(table, key_range.source_partition, datetime.now(UTC))

    @contextmanager
    def opened() -> Iterator[Iterable[pa.RecordBatch]]:
        with (
            open_partition(
                mssql,
                table,
                key_range,
                batch_rows=mssql.settings.batch_rows,
                memory=memory_limit(),
                level=VerificationLevel.NONE,
                # Where the server refuses, it is read committed: see `open_partition`.
                snapshot=True,
                condition=condition,
            ) as read,
            closing(read_ahead(read.batches())) as batches,
        ):
            yield map(conform, batches)

    return opened


def _file_rows(lake: Lake, table: TablePlan, paths: Sequence[str]) -> Rows:
    from migration_assets.iceberg.rows import read_files

    return lambda: closing(read_files(lake, table, paths))


def _loaded_rows(
    starrocks: StarRocks, table: TablePlan, partition_key: str, condition: str = ""
) -> Rows:
    from migration_assets.starrocks.readback import read_back

    return lambda: closing(read_back(starrocks, table, table.key_range(partition_key), condition))


def _as_loaded(table: TablePlan, rows: Rows) -> Rows:
    """The rows with the texts cut that StarRocks gets only the beginning of."""
    if not any(column.cut and column.starrocks_type for column in table.columns):
        return rows

    @contextmanager
    def opened() -> Iterator[Iterable[pa.RecordBatch]]:
        with rows() as batches:
            yield (_cut(table, batch) for batch in batches)

    return opened


def _cut(table: TablePlan, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Shorten long texts as `starrocks/dml.py` does."""
    import pyarrow.compute as pc

    from migration_assets.type_mapping import LONGEST_KEPT, MAX_STARROCKS_BYTES

    for column in table.columns:
        values = batch.column(column.name)
        if not column.cut or (pc.max(pc.binary_length(values)).as_py() or 0) <= MAX_STARROCKS_BYTES:
            continue
        is_long = pc.greater(pc.binary_length(values), MAX_STARROCKS_BYTES)
        beginnings = pc.utf8_slice_codeunits(values, 0, LONGEST_KEPT)
        position = batch.schema.get_field_index(column.name)
        shortened = pc.if_else(is_long, beginnings, values)
        batch = batch.set_column(position, batch.schema.field(position), shortened)
    return batch
