"""What Parquet files say of themselves, compared with the receipt that names them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from migration_assets.errors import ObjectNotFoundError, ReceiptError
from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.file_store import FileStore
from migration_assets.iceberg.tables import schema_differences
from migration_assets.plan import TablePlan
from migration_assets.receipts import DataFile, ExtractReceipt

if TYPE_CHECKING:
    import pyiceberg.manifest
    from pyiceberg.io.pyarrow import StatisticsCollector
    from pyiceberg.table.metadata import TableMetadata

TAIL_BYTES = 128 * 1024
"""Read first from a file's end: enough for the footer of most, in one request."""

THREADS = 16
EXTRACT_AGAIN = "Extract again: re-materialize the mssql asset of this partition."


def check_files(
    table: TablePlan,
    receipts: Sequence[ExtractReceipt],
    metadata: TableMetadata,
    store: FileStore,
) -> list[pyiceberg.manifest.DataFile]:
    """Read the footers of all files of some receipts and compare them with what the receipts say.

    `Transaction.add_files` compares none of this, and reads each footer with two requests more.

    Files of a receipt that is older than an evolution of the table may lack the columns that came,
    and have narrower types.

    Args:
        table: the plan of the table.
        receipts: of that table.
        metadata: the table's, whose schema the files must have.
        store: where the files are.

    Returns:
        The files as Iceberg wants them, in order of the receipts.

    Raises:
        ReceiptError: a file is missing, or its size, rows, schema (field id, name, type) or
            partition is another one.
    """
    from pyiceberg.io.pyarrow import compute_statistics_plan, parquet_path_to_id_mapping

    work = [(receipt, file) for receipt in receipts for file in receipt.files]
    schema = metadata.schema()
    check = partial(
        _check_file,
        table=table,
        metadata=metadata,
        store=store,
        statistics_plan=compute_statistics_plan(schema, metadata.properties),
        field_ids=parquet_path_to_id_mapping(schema),
    )
    if len(work) <= 1:
        return [check(receipt, file) for receipt, file in work]
    with ThreadPoolExecutor(THREADS, thread_name_prefix="footer") as threads:
        return list(threads.map(lambda item: check(*item), work))


def _check_file(
    receipt: ExtractReceipt,
    file: DataFile,
    *,
    table: TablePlan,
    metadata: TableMetadata,
    store: FileStore,
    statistics_plan: dict[int, StatisticsCollector],
    field_ids: dict[str, int],
) -> pyiceberg.manifest.DataFile:
    from pyiceberg.io.pyarrow import (
        compute_statistics_plan,
        data_file_statistics_from_parquet_metadata,
        parquet_path_to_id_mapping,
        pyarrow_to_schema,
    )
    from pyiceberg.manifest import DataFile as IcebergFile
    from pyiceberg.manifest import DataFileContent, FileFormat

    with translate_errors(file.path):
        footer, size = _read_footer(file, store)
    if size != file.bytes:
        raise _unfit(receipt, f"{file.path} has {size} bytes, the receipt says {file.bytes}")
    if footer.num_rows != file.rows:
        found = footer.num_rows
        raise _unfit(receipt, f"{file.path} has {found} rows, the receipt says {file.rows}")
    schema = metadata.schema()
    try:
        written = pyarrow_to_schema(footer.schema.to_arrow_schema())
    except ValueError as error:
        raise _unfit(receipt, f"{file.path} has no usable schema ({error})") from error
    if differing := schema_differences(schema, written, *_allowed(table, receipt)):
        raise _unfit(receipt, f"{file.path} does not fit the table: {'; '.join(differing)}")
    if receipt.table_id != table.table_id:
        # Its own, perhaps narrower types; readers promote bounds as they promote values.
        statistics_plan = compute_statistics_plan(written, metadata.properties)
        field_ids = parquet_path_to_id_mapping(written)
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=footer,
        stats_columns=statistics_plan,
        parquet_column_mapping=field_ids,
    )
    try:
        # Inferred from the bounds of `source_partition`; fails where they are not one value.
        partition = statistics.partition(metadata.spec(), schema)
    except ValueError as error:
        raise _unfit(receipt, f"{file.path} has rows of several partitions") from error
    if partition[0] != receipt.source_partition:
        raise _unfit(
            receipt,
            f"{file.path} has rows of source_partition {partition[0]}, the receipt says "
            f"{receipt.source_partition}",
        )
    return IcebergFile.from_args(
        content=DataFileContent.DATA,
        file_path=file.path,
        file_format=FileFormat.PARQUET,
        partition=partition,
        file_size_in_bytes=size,
        sort_order_id=None,
        spec_id=metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def _allowed(table: TablePlan, receipt: ExtractReceipt) -> tuple[frozenset[int], bool]:
    """Field ids that a receipt's files may lack, and whether types may be narrower."""
    came = table.added_since(receipt.table_id)
    ids = frozenset(column.field_id for column in table.columns if column.name in came)
    return ids, receipt.table_id != table.table_id


def _read_footer(file: DataFile, store: FileStore) -> tuple[Any, int]:
    """Return a file's Parquet metadata and its size in bytes.

    Raises:
        ReceiptError: it is gone, or no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        tail, size = store.read_tail(file.path, TAIL_BYTES)
        # The last 8 bytes: length of the footer, then "PAR1"
        # (https://parquet.apache.org/docs/file-format/).
        length = int.from_bytes(tail[-8:-4], "little") + 8
        if tail[-4:] == b"PAR1" and len(tail) < length <= size:
            tail, size = store.read_tail(file.path, length)
        return pq.read_metadata(pa.BufferReader(tail)), size
    except ObjectNotFoundError:
        raise ReceiptError(
            f"{file.path} is gone.", code="MA-RC-008", next_step=EXTRACT_AGAIN
        ) from None
    except pa.ArrowInvalid as error:
        raise ReceiptError(
            f"{file.path} is no Parquet file ({error}).", code="MA-RC-009", next_step=EXTRACT_AGAIN
        ) from error


def _unfit(receipt: ExtractReceipt, found: str) -> ReceiptError:
    return ReceiptError(
        f"Partition {receipt.partition_key}, attempt {receipt.attempt}: {found}.",
        code="MA-RC-009",
        next_step=EXTRACT_AGAIN,
    )
