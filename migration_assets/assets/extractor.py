"""Extraction of a partition with our own reader and writer, in this process or in a Spark task.

Nothing here imports Dagster: executors need not have it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from migration_assets.choices import VerificationLevel
from migration_assets.extraction import PartitionSource, extract
from migration_assets.iceberg.lake import Lake, shared_lake
from migration_assets.memory import FetchSize, MemoryLimit
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.jdbc_numbers import from_numbers
from migration_assets.mssql.point_in_time import Standpoint, start_watch
from migration_assets.plan import TablePlan
from migration_assets.receipts import (
    READ_COMMITTED,
    ROWS_OF_A_STATEMENT,
    Difference,
    ExtractReceipt,
    Fingerprint,
)
from migration_assets.settings import LakeSettings, MssqlSettings

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Extraction:
    """What is the same for all partitions of a table that a step extracts.

    Attributes:
        run_id: Dagster run, for the receipts.
        level: how much is measured.
        standpoint: from where in time its rows are read.
        batch_rows: rows of a record batch, at most.
        memory: what bounds batches and row groups by bytes.
    """

    table: TablePlan
    run_id: str
    level: VerificationLevel
    standpoint: Standpoint
    batch_rows: int
    memory: MemoryLimit = field(default_factory=MemoryLimit)

    @property
    def fetch_rows(self) -> int:
        """Rows of a fetch, as far as they can be told before any have come."""
        return FetchSize(self.table, self.memory, self.batch_rows).rows

    def read(self, mssql: SqlServer, lake: Lake, partition_key: str) -> ExtractReceipt:
        """Extract one partition with the arrow reader.

        Raises:
            MigrationError: whatever reading and writing raise; no file is left then.
        """
        from migration_assets.mssql.reader import open_partition

        watch = start_watch(mssql, self.table) if self.standpoint.watched else None
        with open_partition(
            mssql,
            self.table,
            self.table.key_range(partition_key),
            batch_rows=self.batch_rows,
            memory=self.memory,
            level=self.level,
            snapshot=self.standpoint.snapshot,
        ) as source:
            receipt = self.write(lake, partition_key, source)
            return receipt if watch is None else with_moved(receipt, watch.moved(source.ask))

    def write(self, lake: Lake, partition_key: str, source: PartitionSource) -> ExtractReceipt:
        """Write the rows of a source as one partition.

        Raises:
            MigrationError: whatever reading and writing raise; no file is left then.
        """
        from migration_assets.iceberg.data_files import write_data_files

        attempt = uuid.uuid4().hex
        files = partial(
            write_data_files,
            table=self.table,
            source_partition=self.table.key_range(partition_key).source_partition,
            attempt=attempt,
            store=lake.store,
            row_group_bytes=self.memory.row_group_bytes,
        )
        receipt = extract(
            self.table,
            partition_key,
            source,
            files,
            attempt=attempt,
            run_id=self.run_id,
            level=self.level,
        )
        return receipt.model_copy(
            update={
                "consistency": self.standpoint.consistency(receipt.consistency),
                "point_in_time": self.standpoint.point,
            }
        )


def with_moved(receipt: ExtractReceipt, moved: tuple[Difference, ...]) -> ExtractReceipt:
    """The receipt with the counters that moved while its rows were read."""
    return receipt.model_copy(update={"moved": moved})


@dataclass(frozen=True)
class ExecutorExtraction:
    """An extraction as it travels to Spark's executors: it connects there.

    The settings carry passwords. They go over Spark's own connections, as part of a task, and
    appear in no property, page or event log of Spark's.
    """

    extraction: Extraction
    mssql: MssqlSettings
    lake: LakeSettings

    def read(self, partition_key: str) -> ExtractReceipt:
        """Extract one partition with the arrow reader. See `Extraction.read`."""
        with SqlServer(self.mssql) as mssql:
            return self.extraction.read(mssql, shared_lake(self.lake), partition_key)

    def write(self, partition_key: str, batches: Iterator[pa.RecordBatch]) -> ExtractReceipt:
        """Write what Spark's JDBC reader gives. See `Extraction.write`."""
        consistency = ROWS_OF_A_STATEMENT if self.extraction.standpoint.snapshot else READ_COMMITTED
        table = self.extraction.table
        rows = (from_numbers(batch, table) for batch in batches)
        source = _Given(rows, consistency)
        return self.extraction.write(shared_lake(self.lake), partition_key, source)


@dataclass(frozen=True)
class _Given:
    """Rows that somebody else reads."""

    rows: Iterator[pa.RecordBatch]
    consistency: str

    replacement = "?"
    """What Java writes into UTF-8 in the place of a surrogate without its partner."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from self.rows

    def fingerprint(self) -> Fingerprint | None:
        """None: who gives the rows asks SQL Server, too."""
        return None

    def refuse_invalid_text(self, columns: Sequence[str]) -> Sequence[str]:
        """All of them: likewise."""
        return columns
