"""One partition on its way from rows to data files: read ahead, conform, measure, write.

Who reads and who writes is given by the caller, so the arrow engine and Spark's tasks run this same
function. Nothing here knows a driver, Dagster or Iceberg.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from migration_assets.choices import VerificationLevel
from migration_assets.errors import SchemaDriftError
from migration_assets.plan import TablePlan
from migration_assets.receipts import DataFile, ExtractReceipt, Fingerprint

if TYPE_CHECKING:
    import pyarrow as pa

READ_AHEAD_BATCHES = 2
"""Batches that may wait between reading and encoding; with the one on each side they bound memory."""

T = TypeVar("T")

WriteFiles = Callable[[Iterable["pa.RecordBatch"]], tuple[DataFile, ...]]
"""Writes batches of the table's Arrow schema and returns the files; leaves none after an error."""


class PartitionSource(Protocol):
    """The rows of one key range, read once."""

    @property
    def consistency(self) -> str:
        """How the rows are read, for the receipt."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, with the planned columns under their target names, in any Arrow type."""

    def fingerprint(self) -> Fingerprint | None:
        """The server's own aggregates of the range; asked after the last batch."""

    @property
    def replacement(self) -> str:
        """The character that the reader puts in the place of what is no valid text."""

    def refuse_invalid_text(self, columns: Sequence[str]) -> Sequence[str]:
        """Refuse the range when texts of these columns are not valid; asked after the last batch.

        Returns:
            Columns that somebody else has to ask the server about.
        """


def extract(
    table: TablePlan,
    partition_key: str,
    source: PartitionSource,
    write: WriteFiles,
    *,
    attempt: str,
    run_id: str,
    level: VerificationLevel,
) -> ExtractReceipt:
    """Read one partition and write its data files.

    Args:
        table: the table's plan.
        partition_key: which partition.
        source: its rows; the caller closes it.
        write: what makes files of them.
        attempt: fresh unique id, part of the file names.
        run_id: Dagster run, for the receipt.
        level: how much is measured.

    Raises:
        SchemaDriftError: the rows do not have the planned columns.
        MigrationError: whatever reading and writing raise.
    """
    from migration_assets.arrow_fingerprint import ArrowFingerprint

    started, extracted_at = time.perf_counter(), datetime.now(UTC)
    key_range = table.key_range(partition_key)
    conform = conformer(table, key_range.source_partition, extracted_at)
    fingerprint = ArrowFingerprint(table, level)
    doubts = Doubts(table, source.replacement)
    unanswered: list[str] = []

    def passing(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            conformed = conform(batch)
            fingerprint.update(conformed)
            doubts.look(conformed)
            yield conformed
        # Within the writer's reach: it removes its files when this raises.
        if doubts.columns:
            unanswered.extend(source.refuse_invalid_text(doubts.columns))

    with closing(read_ahead(source.batches())) as batches:
        files = write(passing(batches))
    measured = fingerprint.result()
    return ExtractReceipt(
        table_id=table.table_id,
        partition_key=partition_key,
        source_partition=key_range.source_partition,
        attempt=attempt,
        run_id=run_id,
        rows=measured.rows,
        seconds=time.perf_counter() - started,
        files=files,
        fingerprint=measured,
        source_fingerprint=source.fingerprint(),
        consistency=source.consistency,
        extracted_at=extracted_at,
        doubtful=tuple(unanswered),
        range_id=table.range_id(partition_key),
    )


class Doubts:
    """Finds columns in which a reader may have replaced text that was not valid.

    A surrogate without its partner, which SQL Server keeps in nvarchar, has no form in UTF-8:
    readers put another character in its place without a word. Where that character occurs, only
    the server can say whether it was there before.
    """

    def __init__(self, table: TablePlan, replacement: str) -> None:
        """Look out for a character in the columns whose text may be invalid."""
        self._unsuspected = {column.name for column in table.columns if column.utf16}
        self._replacement = replacement.encode()
        self.columns: list[str] = []

    def look(self, batch: pa.RecordBatch) -> None:
        """Look at the rows of a batch of the table's Arrow schema."""
        for name in sorted(self._unsuspected):
            if _has(batch.column(name), self._replacement):
                self._unsuspected.remove(name)
                self.columns.append(name)


def _has(texts: pa.Array, character: bytes) -> bool:
    """Whether a character occurs in the buffer of texts, if only in a part that is not shown."""
    import numpy as np

    data = texts.buffers()[2]
    if data is None or len(data) == 0:
        return False
    # A search takes as long as measuring the texts does; the highest byte is had for nothing.
    may_be = np.frombuffer(data, np.uint8).max() >= character[0]
    return bool(may_be) and re.search(re.escape(character), memoryview(data)) is not None


def read_ahead(items: Iterator[T], depth: int = READ_AHEAD_BATCHES) -> Generator[T, None, None]:
    """Yield the items while a thread of its own fetches up to `depth` more.

    Errors of the iterator come out where the item would have. Closing the generator early stops
    the thread after the item it is fetching, and waits for it.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=depth)
    abandoned = threading.Event()

    def put(entry: tuple[T | None, BaseException | None]) -> None:
        while not abandoned.is_set():
            try:
                ready.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return

    def fetch() -> None:
        try:
            for item in items:
                put((item, None))
                if abandoned.is_set():
                    return
            put((None, StopIteration()))
        except BaseException as error:  # noqa: BLE001 - raised again in the consumer's thread
            put((None, error))

    thread = threading.Thread(target=fetch, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # an item is there whenever no error is
    finally:
        abandoned.set()
        thread.join()


def conformer(
    table: TablePlan, source_partition: int, migrated_at: datetime
) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    """Return what turns a driver's batch into one of the table's Arrow schema.

    Args:
        table: the plan of the table; batches have its columns, in order, under their target names.
        source_partition: value of that audit column.
        migrated_at: likewise.

    The function that is returned raises `SchemaDriftError` where a batch is not as planned.
    """
    import pyarrow as pa

    from migration_assets.type_mapping import arrow_schema

    schema = arrow_schema(table)
    names = [column.name for column in table.columns]
    audit_types = [schema.field(column.name).type for column in table.audit_columns]
    audit = [
        pa.scalar(value, type=kind)
        for value, kind in zip(
            (migrated_at, table.source_schema, source_partition), audit_types, strict=True
        )
    ]

    repeated = [pa.repeat(value, 0) for value in audit]

    def constants(rows: int) -> list[pa.Array]:
        # All batches share these, so that they are made once and fill memory once.
        nonlocal repeated
        if len(repeated[0]) < rows:
            repeated = [pa.repeat(value, rows) for value in audit]
        return [values.slice(0, rows) for values in repeated]

    def conform(batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.schema.names != names:
            raise SchemaDriftError(
                f"{table.full_name} gave columns {batch.schema.names}, planned are {names}.",
                code="MA-MS-120",
                next_step="Run `migration-assets plan` again.",
            )
        arrays = []
        for values, field in zip(batch.columns, schema, strict=False):
            if not field.nullable and values.null_count:
                raise SchemaDriftError(
                    f"{table.full_name}: column {field.name} is planned NOT NULL but has NULLs.",
                    code="MA-MS-120",
                    next_step="Run `migration-assets plan` again.",
                )
            try:
                arrays.append(
                    values if values.type == field.type else exact_cast(values, field.type)
                )
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise SchemaDriftError(
                    f"{table.full_name}: column {field.name} came as {values.type}, which is not "
                    f"the planned {field.type}: {error}.",
                    code="MA-MS-120",
                    next_step="Run `migration-assets plan` again.",
                ) from None
        return pa.RecordBatch.from_arrays(arrays + constants(batch.num_rows), schema=schema)

    return conform


def exact_cast(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Cast values to a type of the same kind, where each keeps its value.

    Arrow's own checks are not enough: it rounds a double to a decimal, and cuts a moment to its
    day, without an error.

    Raises:
        pyarrow.ArrowInvalid: the types are of different kinds, or a value does not fit.
    """
    import pyarrow as pa

    if not _is_same_kind(values.type, target):
        raise pa.ArrowInvalid("no cast between these types is exact")
    if pa.types.is_timestamp(values.type) and pa.types.is_time(target):
        values = values.cast(pa.timestamp(values.type.unit))
        days = values.cast(pa.date32()).cast(pa.int32())
        if any(days.unique().to_pylist()):
            raise pa.ArrowInvalid("a time came with a date that is not 1970-01-01")
    return values.cast(target)


def _is_same_kind(found: pa.DataType, target: pa.DataType) -> bool:
    """Whether a checked cast from one type to the other keeps every value or fails."""
    from pyarrow import types

    if types.is_null(found):
        return True
    if types.is_floating(target):
        return bool(types.is_floating(found) and found.bit_width <= target.bit_width)
    if types.is_time(target):
        # A driver without a type for times gives them as moments of the first day.
        return bool(types.is_time(found) or types.is_timestamp(found))
    kinds: tuple[tuple[Callable[[pa.DataType], bool], ...], ...] = (
        (types.is_string, types.is_large_string, types.is_string_view),
        (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view),
        (types.is_integer,),
        (types.is_decimal,),
        # Without a time zone a moment is one in UTC, for Arrow as for the plan.
        (types.is_timestamp,),
        (types.is_date,),
    )
    return any(
        any(is_a(found) for is_a in kind) and any(is_a(target) for is_a in kind) for kind in kinds
    )
