"""Key ranges over a cluster: one Spark job, a task per range or group of ranges.

What a task does is given by the caller: reading with a driver of SQL Server's and writing with
Iceberg's Parquet writer are none of Spark's business. A range that fails fails alone: its error
comes back as a value, beside the receipts of the others.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from migration_assets.errors import MigrationError, StatementError
from migration_assets.receipts import ExtractReceipt
from migration_assets.spark.failures import is_crash, translate

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

ReadAndWrite = Callable[[str], ExtractReceipt]
"""Extracts the range of a partition key by itself; sent to the executors."""

Write = Callable[[str, Iterator["pa.RecordBatch"]], ExtractReceipt]
"""Writes the rows of a partition key's range; sent to the executors."""

ReadRanges = Callable[["SparkSession", Sequence[str]], "DataFrame"]
"""Makes a frame whose partitions are the ranges of the keys, in order."""

Result = tuple[str, ExtractReceipt | MigrationError]


@dataclass(frozen=True)
class Extracted:
    """What became of the ranges, by partition key; each is in one of the two."""

    receipts: Mapping[str, ExtractReceipt] = field(default_factory=dict)
    errors: Mapping[str, MigrationError] = field(default_factory=dict)

    def updated(self, newer: Extracted) -> Extracted:
        """What became of the ranges after some were tried again."""
        rest = {key: error for key, error in self.errors.items() if key not in newer.receipts}
        return Extracted({**self.receipts, **newer.receipts}, {**rest, **newer.errors})


def extract_with_arrow(
    session: SparkSession, partition_keys: Sequence[str], extract: ReadAndWrite, *, connections: int
) -> Extracted:
    """Extract each range in a task that reads by itself.

    Ranges are dealt out over at most `connections` tasks, each of which takes its ranges one after
    the other: that bounds the readers whatever the number of executors.

    Args:
        session: where it runs.
        partition_keys: what to extract.
        extract: does it; pickled.
        connections: to SQL Server, at most.
    """
    tasks = min(len(partition_keys), connections)
    # Neighbours are likely of one size: dealt out like cards, big ones do not meet in one task.
    dealt = [key for start in range(tasks) for key in partition_keys[start::tasks]]
    ranges = session.sparkContext.parallelize(dealt, tasks)
    return _gathered(ranges.map(partial(_attempt, extract)).collect())


def extract_with_jdbc(
    session: SparkSession,
    partition_keys: Sequence[str],
    read: ReadRanges,
    write: Write,
    *,
    connections: int,
    doing: str,
) -> Extracted:
    """Extract each range in a task that gets its rows from Spark's own JDBC reader.

    A task of Spark's reader holds one connection, so ranges go in jobs of at most `connections`. A
    job fails as a whole: its ranges are then tried one by one, to find out which cannot be read.

    Args:
        session: where it runs.
        partition_keys: what to extract.
        read: makes the frame of some ranges.
        write: writes a range's rows; pickled.
        connections: to SQL Server, at most.
        doing: what for, for messages.

    Raises:
        Exception: what PySpark raises when its JVM is gone.
    """
    results: list[Result] = []
    waiting = [
        partition_keys[start : start + connections]
        for start in range(0, len(partition_keys), connections)
    ]
    while waiting:
        keys = waiting.pop(0)
        rows = partial(_write_ranges, tuple(keys), write)
        try:
            answer = read(session, keys).mapInArrow(rows, "result binary").collect()
        except Exception as error:
            if is_crash(error):
                raise
            if len(keys) > 1:
                waiting += [[key] for key in keys]
            else:
                results.append((keys[0], translate(error, doing)))
        else:
            # Pickled by our own executors, and came over Spark's own connection.
            results += [pickle.loads(row.result) for row in answer]  # noqa: S301 - see above
    return _gathered(results)


def _attempt(extract: ReadAndWrite, partition_key: str) -> Result:
    try:
        return partition_key, extract(partition_key)
    except MigrationError as error:
        return partition_key, error


def _write_ranges(
    partition_keys: tuple[str, ...], write: Write, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Runs in a task: the number of the frame's partition is that of the key."""
    import pyarrow as pa
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        raise StatementError(
            "A Spark task has no context, so it cannot tell which range it has.", code="MA-SP-007"
        )
    partition_key = partition_keys[context.partitionId()]
    result: Result
    try:
        result = partition_key, write(partition_key, iter(batches))
    except MigrationError as error:
        result = partition_key, error
    yield pa.RecordBatch.from_pydict({"result": [pickle.dumps(result)]})


def _gathered(results: Iterable[Result]) -> Extracted:
    receipts: dict[str, ExtractReceipt] = {}
    errors: dict[str, MigrationError] = {}
    for partition_key, result in results:
        if isinstance(result, MigrationError):
            errors[partition_key] = result
        else:
            receipts[partition_key] = result
    return Extracted(receipts, errors)
