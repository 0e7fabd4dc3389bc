"""Record batches to Parquet files under a table's location; no catalog is touched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from migration_assets.column_plan import SOURCE_PARTITION
from migration_assets.errors import MigrationError
from migration_assets.iceberg.file_store import FileStore
from migration_assets.iceberg.output_files import OutputFile
from migration_assets.plan import TablePlan
from migration_assets.receipts import DataFile

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

TARGET_BYTES = 512 * 2**20
"""Size at which a file is finished and the next begun."""

ROW_GROUP_BYTES = 64 * 2**20
"""Arrow bytes collected for one row group, unless a caller bounds memory otherwise."""

WRITE_BUFFER_BYTES = 4 * 2**20
"""What Arrow collects before it calls the output file: a file of 100 MiB is written in thousands of
pieces, and each call has to wait for the interpreter, which the reading thread uses too."""

DICTIONARY_SAMPLE_ROWS = 32_768
DICTIONARY_SHARE = 0.5
"""A column of which more than this share of a file's first values differ gets no dictionary: one
that Parquet gives up when it has grown too large cost a quarter of the encoding's CPU, and made
files larger, since what was encoded with it stays."""


class DataFileWriter:
    """Writes the rows of one partition as files named after the attempt.

    ```python
    with DataFileWriter(table, 7, attempt, schema, lake.store) as writer:
        for batch in batches:
            writer.write(batch)
    files = writer.files
    ```

    Nothing is visible of a file before it is complete. Leaving the context with an error removes
    what was written. Used from one thread.

    Attributes:
        files: the finished files in order; all of them after the context was left without an error.
    """

    def __init__(
        self,
        table: TablePlan,
        source_partition: int,
        attempt: str,
        schema: pa.Schema,
        store: FileStore,
        *,
        target_bytes: int = TARGET_BYTES,
        row_group_bytes: int = ROW_GROUP_BYTES,
    ) -> None:
        """Open nothing yet: no rows, no file.

        Args:
            table: its location and columns.
            source_partition: the partition that all rows are of.
            attempt: fresh UUID of this attempt, part of each file's name.
            schema: of every batch, with field ids (`PARQUET:field_id`).
            store: where the files go; the caller closes it.
            target_bytes: size at which a file is finished and the next begun.
            row_group_bytes: Arrow bytes collected for one row group.
        """
        self.files: tuple[DataFile, ...] = ()
        self._folder = f"{table.location}/data/{SOURCE_PARTITION}={source_partition}"
        self._attempt = attempt
        self._schema = schema
        self._store = store
        self._target_bytes = target_bytes
        self._row_group_bytes = row_group_bytes
        self._keys = {column.name for column in table.columns if column.distinct}
        self._batches: list[pa.RecordBatch] = []
        self._batch_bytes = 0
        self._output: OutputFile | None = None
        self._stream: pa.BufferedOutputStream | None = None
        self._parquet: pq.ParquetWriter | None = None
        self._rows = 0

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the last file; on an error remove all."""
        if kind is not None:
            self.abort()
            return
        try:
            self._finish_file()
        except BaseException:
            self.abort()
            raise

    def write(self, batch: pa.RecordBatch) -> None:
        """Take rows. The batch may be held until its row group is full.

        Raises:
            MigrationError: the object store refused.
        """
        if batch.num_rows == 0:
            return
        self._batches.append(batch)
        self._batch_bytes += batch.get_total_buffer_size()
        if self._batch_bytes >= self._row_group_bytes:
            self._write_row_group()
            if self._stream is not None and self._stream.tell() >= self._target_bytes:
                self._finish_file()

    def abort(self) -> None:
        """Remove what was written, as far as the store allows; orphan cleanup finds the rest."""
        self._batches.clear()
        if self._output is not None:
            self._output.abort()
        self._output = self._stream = self._parquet = None
        with contextlib.suppress(MigrationError):
            self._store.delete([file.path for file in self.files])
        self.files = ()

    def _write_row_group(self) -> None:
        import pyarrow as pa

        if not self._batches:
            return
        if self._parquet is None:
            self._parquet = self._open_file(_repeating(self._batches[0], self._keys))
        rows = pa.Table.from_batches(self._batches, self._schema)
        self._batches, self._batch_bytes = [], 0
        self._parquet.write_table(rows, row_group_size=rows.num_rows)
        self._rows += rows.num_rows

    def _open_file(self, with_dictionary: list[str]) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        uri = f"{self._folder}/{self._attempt}-{len(self.files)}.parquet"
        self._output = self._store.open_output(uri)
        self._stream = pa.BufferedOutputStream(
            pa.PythonFile(self._output, mode="w"), WRITE_BUFFER_BYTES
        )
        return pq.ParquetWriter(
            self._stream,
            self._schema,
            compression="zstd",
            use_dictionary=with_dictionary or False,
            write_statistics=True,
            write_page_index=True,
            # As Iceberg's specification stores decimals, and smaller:
            # https://iceberg.apache.org/spec/#parquet
            store_decimal_as_integer=True,
            store_schema=False,
        )

    def _finish_file(self) -> None:
        self._write_row_group()
        if self._parquet is None or self._stream is None or self._output is None:
            return
        self._parquet.close()
        self._stream.detach()  # flushes
        self._output.close()
        self.files += (DataFile(path=self._output.uri, bytes=self._output.size, rows=self._rows),)
        self._parquet = self._stream = self._output = None
        self._rows = 0


def _repeating(batch: pa.RecordBatch, keys: set[str]) -> list[str]:
    """The columns whose values repeat often enough in a batch for a dictionary to pay.

    Args:
        batch: the first one of a file.
        keys: columns of which the plan knows that their values differ.
    """
    import pyarrow.compute as pc

    sample = batch.slice(0, DICTIONARY_SAMPLE_ROWS)
    repeating = []
    for name in sample.schema.names:
        if name in keys:
            continue
        values = sample.column(name)
        present = len(values) - values.null_count
        if pc.count_distinct(values).as_py() <= max(DICTIONARY_SHARE * present, 1):
            repeating.append(name)
    return repeating


def write_data_files(
    batches: Iterable[pa.RecordBatch],
    table: TablePlan,
    source_partition: int,
    attempt: str,
    store: FileStore,
    *,
    target_bytes: int = TARGET_BYTES,
    row_group_bytes: int = ROW_GROUP_BYTES,
) -> tuple[DataFile, ...]:
    """Write all batches; see `DataFileWriter`.

    Args:
        batches: in the schema of `type_mapping.arrow_schema(table)`.
        table: its location and columns.
        source_partition: the partition that all rows are of.
        attempt: fresh UUID of this attempt.
        store: where the files go.
        target_bytes: size at which a file is finished and the next begun.
        row_group_bytes: Arrow bytes collected for one row group.

    Returns:
        The files; none when there were no rows.

    Raises:
        MigrationError: the object store refused; what was written is removed.
    """
    from migration_assets.type_mapping import arrow_schema

    schema = arrow_schema(table)
    with DataFileWriter(
        table,
        source_partition,
        attempt,
        schema,
        store,
        target_bytes=target_bytes,
        row_group_bytes=row_group_bytes,
    ) as writer:
        for batch in batches:
            writer.write(batch)
    return writer.files
