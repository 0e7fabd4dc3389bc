"""All partitions of a table, read in transactions that show one state: all of them or none.

A partition that fails takes the others with it: another attempt sees another state, and partitions
of two states must not pass for one. Memory is bounded by the batches of as many readers as there are
connections. Nothing here imports Dagster.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from migration_assets.assets.extractor import Extraction
from migration_assets.errors import MigrationError, OperationTimeoutError
from migration_assets.iceberg.lake import Lake
from migration_assets.mssql.barrier import Barrier, Transaction, open_barrier
from migration_assets.mssql.client import SqlServer
from migration_assets.receipts import ExtractReceipt

if TYPE_CHECKING:
    from migration_assets.mssql.reader import PartitionRead


def extract_at_barrier(
    mssql: SqlServer, lake: Lake, extraction: Extraction, partition_keys: Sequence[str]
) -> dict[str, ExtractReceipt]:
    """Extract all partitions of a table as of one point in time.

    Args:
        mssql: where the table is.
        lake: where its files go.
        extraction: what is the same for all; its standpoint is not looked at.
        partition_keys: all that the table has.

    Returns:
        The receipts in the order of the keys.

    Raises:
        MigrationError: whatever went wrong first; no file of any partition is left then.
    """
    with open_barrier(mssql, extraction.table) as barrier:
        memory = extraction.memory.shared(len(barrier.readers))
        at_barrier = replace(extraction, standpoint=barrier.standpoint, memory=memory)
        receipts = OneSet(at_barrier, barrier, lake, partition_keys).extract()
    return {key: receipts[key] for key in partition_keys}


def discard(lake: Lake, receipts: Iterable[ExtractReceipt]) -> None:
    """Remove the files of receipts that will never be stored, as far as that is possible now.

    What stays is an orphan, which maintenance removes.
    """
    with suppress(MigrationError):
        lake.store.delete([file.path for receipt in receipts for file in receipt.files])


class OneSet:
    """The partitions that the transactions of one barrier extract, a thread for each of these."""

    def __init__(
        self, extraction: Extraction, barrier: Barrier, lake: Lake, partition_keys: Iterable[str]
    ) -> None:
        """Extract nothing yet."""
        self._extraction = extraction
        self._barrier = barrier
        self._lake = lake
        self._waiting = deque(partition_keys)
        self._made: dict[str, ExtractReceipt] = {}
        self._reads: list[PartitionRead] = []
        self._error: BaseException | None = None
        self._state = threading.Lock()

    def extract(self) -> Mapping[str, ExtractReceipt]:
        """Extract all; when one fails, or the caller is interrupted, the others are broken off.

        Raises:
            MigrationError: whatever went wrong first; no file is left then.
        """
        readers = self._barrier.readers
        try:
            with ThreadPoolExecutor(len(readers), thread_name_prefix="barrier") as threads:
                try:
                    wait([threads.submit(self._work, reader) for reader in readers])
                except BaseException as error:
                    self._void(error)  # or leaving the block would wait until all is read
                    raise
            if self._error is not None:
                raise self._error
        except BaseException:
            discard(self._lake, self._made.values())
            raise
        return self._made

    def _work(self, reader: Transaction) -> None:
        """Extract one partition after the other, as long as there are any."""
        try:
            while (partition_key := self._next()) is not None:
                receipt = self._read(reader, partition_key)
                with self._state:
                    self._made[partition_key] = receipt
                self._barrier.check(reader)
        except BaseException as error:  # noqa: BLE001 - raised again by who waits for all
            self._void(error)

    def _read(self, reader: Transaction, partition_key: str) -> ExtractReceipt:
        extraction = self._extraction
        with (
            reader.partition(
                extraction.table.key_range(partition_key),
                batch_rows=extraction.batch_rows,
                memory=extraction.memory,
                level=extraction.level,
                consistency=self._barrier.consistency,
            ) as source,
            self._reading(source),
        ):
            return extraction.write(self._lake, partition_key, source)

    @contextmanager
    def _reading(self, source: PartitionRead) -> Iterator[None]:
        """Let a failure elsewhere break this reading off."""
        with self._state:
            if self._error is not None:
                raise OperationTimeoutError(
                    "Another partition failed.", code="MA-MS-103"
                )  # which is what is told
            self._reads.append(source)
        try:
            yield
        finally:
            with self._state:
                self._reads.remove(source)

    def _next(self) -> str | None:
        with self._state:
            return self._waiting.popleft() if self._waiting and self._error is None else None

    def _void(self, error: BaseException) -> None:
        """Note what went wrong first, and end what is being read."""
        with self._state:
            if self._error is not None:
                return
            self._error = error
            reads = list(self._reads)
        for read in reads:
            read.cancel()
