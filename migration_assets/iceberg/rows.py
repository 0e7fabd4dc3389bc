"""Reads the rows of a partition from the data files of an Iceberg table."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING

from migration_assets.errors import ObjectNotFoundError, ReceiptError, UnsupportedError
from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.footers import EXTRACT_AGAIN
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.partitions import read_partitions
from migration_assets.iceberg.tables import open_own_table, table_name
from migration_assets.plan import TablePlan

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 16_384
FIELD_ID = b"PARQUET:field_id"


def partition_paths(lake: Lake, table: TablePlan, source_partition: int) -> tuple[str, ...]:
    """The data files that hold a partition in the table's current snapshot.

    Raises:
        ObjectNotFoundError: there is no such table.
        UnsupportedError: somebody deleted single rows of it, which no data file shows.
        PlanError, ExistingObjectError, SchemaDriftError: the table is not the planned one.
    """
    found = open_own_table(lake, table)
    if found is None:
        raise ObjectNotFoundError(
            f"{table_name(table)} does not exist.",
            code="MA-IC-109",
            next_step="Migrate the table first.",
        )
    with translate_errors(table_name(table)):
        held = read_partitions(found, [source_partition])[source_partition]
    if held.has_deletes:
        raise UnsupportedError(
            f"{table_name(table)}: rows of source_partition {source_partition} were deleted one by "
            "one, which the data files do not show.",
            code="MA-IC-111",
            next_step="Compact the table, or extract the partition again.",
        )
    return tuple(file.file_path for file in held.files)


def read_files(
    lake: Lake, table: TablePlan, paths: Sequence[str]
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the rows of data files: the source's columns under their target names.

    Columns are found by their field ids: Java's writers change names that Avro could not have
    (https://iceberg.apache.org/spec/#column-projection).

    Args:
        lake: where the files are.
        table: the plan of the table.
        paths: URIs of the files.

    Raises:
        ReceiptError: a file is gone, or is no data file of this table.
        MigrationError: the object store refused.
    """
    import pyarrow as pa

    from migration_assets.type_mapping import arrow_type

    schema = pa.schema([(c.name, arrow_type(c.iceberg_type)) for c in table.columns])
    for path in paths:
        try:
            with translate_errors(path):
                yield from _read_file(lake, table, path, schema)
        except ObjectNotFoundError:
            raise ReceiptError(
                f"{path} is gone.", code="MA-RC-008", next_step=EXTRACT_AGAIN
            ) from None


def _read_file(
    lake: Lake, table: TablePlan, path: str, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with closing(lake.store.open_input(path)) as stream, pq.ParquetFile(stream) as file:
            names = _names(file.schema_arrow, table, path)
            present = [name for name in names if name is not None]
            # One by one: a batch of rows from several row groups would be bounded by nothing.
            groups = ([number] for number in range(file.num_row_groups))
            read = (file.iter_batches(BATCH_ROWS, group, columns=present) for group in groups)
            for batch in chain.from_iterable(read):
                columns = [
                    pa.nulls(batch.num_rows, field.type) if name is None else batch.column(name)
                    for name, field in zip(names, schema, strict=True)
                ]
                arrays = [
                    values if values.type == field.type else values.cast(field.type)
                    for values, field in zip(columns, schema, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
    except pa.ArrowInvalid as error:
        raise ReceiptError(
            f"{path} is no data file of {table_name(table)} ({error}).",
            code="MA-RC-009",
            next_step=EXTRACT_AGAIN,
        ) from error


def _names(schema: pa.Schema, table: TablePlan, path: str) -> list[str | None]:
    """The names that the planned columns have in a file, in the plan's order.

    None for a column that came later than the file may have: Iceberg reads NULL there.
    """
    came = {name for evolution in table.evolutions for name in evolution.added}
    by_id = {int((field.metadata or {}).get(FIELD_ID, -1)): field.name for field in schema}
    lacking = [column.name for column in table.columns if column.field_id not in by_id]
    missing = [name for name in lacking if name not in came]
    if missing:
        raise ReceiptError(
            f"{path} has no columns {', '.join(missing)} of {table_name(table)}.",
            code="MA-RC-009",
            next_step=EXTRACT_AGAIN,
        )
    return [by_id.get(column.field_id) for column in table.columns]
