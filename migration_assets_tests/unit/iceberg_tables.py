"""A planned table, extracts of it and local lakes, for the tests of the Iceberg side."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from migration_assets.column_plan import ColumnPlan
from migration_assets.iceberg.commit import commit
from migration_assets.iceberg.data_files import write_data_files
from migration_assets.iceberg.intents import Intent, IntentStore
from migration_assets.iceberg.lake import Lake
from migration_assets.key_range import KeyRange
from migration_assets.plan import TablePlan
from migration_assets.receipts import CommitReceipt, ExtractReceipt, Fingerprint
from migration_assets.setting_choices import CatalogType
from migration_assets.settings import LakeSettings
from migration_assets.type_mapping import arrow_schema, audit_columns

EXTRACTED_AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
WORDS = ("alpha", "βeta", None, "😀")


def local_settings(folder: Path) -> LakeSettings:
    """A warehouse in a folder, whatever the environment says."""
    return LakeSettings(
        catalog_type=CatalogType.SQL, warehouse_path=str(folder), bucket=None, catalog_uri=None
    )


def local_lake(folder: Path) -> Lake:
    return Lake(local_settings(folder))


def planned_column(name: str, field_id: int, iceberg_type: str, **other: Any) -> ColumnPlan:
    return ColumnPlan(
        name=name,
        field_id=field_id,
        iceberg_type=iceberg_type,
        starrocks_type="STRING",
        source_name=name,
        mssql_type="int",
        select_expression=f"[{name}]",
        measure="integer",
        **other,
    )


def planned_table(
    warehouse: str, name: str = "orders", partitions: int = 4, **other: Any
) -> TablePlan:
    """A table of three columns; its rows come from `rows_of`."""
    columns = other.get("columns") or (
        planned_column("order id", 1, "long", nullable=False, distinct=True),
        planned_column("name", 2, "string"),
        planned_column("amount", 3, "decimal(18, 4)"),
    )
    given: dict[str, Any] = {
        "source_server": "db1",
        "source_database": "shop",
        "source_schema": "dbo",
        "source_name": name,
        "rows": 100,
        "columns": columns,
        "audit_columns": audit_columns(max(column.field_id for column in columns) + 1),
        "key_ranges": tuple(KeyRange(source_partition=number) for number in range(partitions)),
        "namespace": "shop_dbo",
        "iceberg_table": name,
        "location": f"{warehouse}/shop_dbo/{name}",
        "starrocks_database": "shop",
        "starrocks_table": name,
        "sort_key": ("order id",),
    }
    return TablePlan(**(given | other))


def rows_of(table: TablePlan, number: int, rows: int, first: int = 0) -> pa.RecordBatch:
    """Rows `first`, `first + 1`, … of a partition."""
    from decimal import Decimal

    ids = range(first, first + rows)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([number * 1_000_000 + i for i in ids], pa.int64()),
            pa.array([WORDS[i % len(WORDS)] for i in ids], pa.large_string()),
            pa.array([Decimal(i).scaleb(-4) for i in ids], pa.decimal128(18, 4)),
            pa.array([EXTRACTED_AT] * rows, pa.timestamp("us", tz="UTC")),
            pa.array(["dbo"] * rows, pa.large_string()),
            pa.array([number] * rows, pa.int32()),
        ],
        schema=arrow_schema(table),
    )


def extract(
    lake: Lake, table: TablePlan, number: int, rows: int = 10, first: int = 0
) -> ExtractReceipt:
    """Write a partition's files as an extraction does, and return its receipt."""
    attempt = str(uuid.uuid4())
    batches = [rows_of(table, number, rows, first)] if rows else []
    files = write_data_files(batches, table, number, attempt, lake.store)
    return ExtractReceipt(
        table_id=table.table_id,
        partition_key=table.partition_keys[number],
        source_partition=number,
        attempt=attempt,
        run_id="run-1",
        rows=rows,
        seconds=0.5,
        files=files,
        fingerprint=Fingerprint(rows=rows, values={"order id.sum": 7}),
        source_fingerprint=None,
        consistency="snapshot",
        extracted_at=EXTRACTED_AT,
    )


class Intents:
    """Intents in a dictionary; `store` may be shared to play a later process."""

    def __init__(self, store: dict[str, Intent] | None = None) -> None:
        self.store = {} if store is None else store

    def load(self, partition_keys: Sequence[str]) -> Mapping[str, Sequence[Intent]]:
        return {key: [self.store[key]] for key in partition_keys if key in self.store}

    def save(self, intents: Mapping[str, Intent]) -> None:
        self.store |= intents

    def clear(self, partition_key: str) -> None:
        self.store.pop(partition_key, None)


def commit_all(
    lake: Lake,
    table: TablePlan,
    receipts: Sequence[ExtractReceipt],
    intents: IntentStore | None = None,
) -> tuple[CommitReceipt, ...]:
    return commit(
        lake, table, receipts, run_id="run-1", plan_id="plan-1", intents=intents or Intents()
    )


def iceberg_table(lake: Lake, table: TablePlan) -> Any:
    return lake.catalog.load_table((table.namespace, table.iceberg_table))


def stored_rows(lake: Lake, table: TablePlan) -> list[dict[str, Any]]:
    """All rows as pyiceberg reads them, in order of partition and key."""
    rows: list[dict[str, Any]] = iceberg_table(lake, table).scan().to_arrow().to_pylist()
    return sorted(rows, key=lambda row: (row["source_partition"], row["order id"]))


def expected_rows(
    table: TablePlan, *parts: tuple[int, int] | tuple[int, int, int]
) -> list[dict[str, Any]]:
    """What `stored_rows` must return for parts `(number, rows[, first])`."""
    return [row for part in sorted(parts) for row in rows_of(table, *part).to_pylist()]


def compact(lake: Lake, table: TablePlan, number: int, *, rows: int | None = None) -> None:
    """Rewrite a partition's files into one, as compaction does: a `replace` snapshot.

    Args:
        lake: where the table is.
        table: the table.
        number: the partition.
        rows: rewrite it with other rows instead, which a compaction must not do.
    """
    from pyiceberg.expressions import EqualTo
    from pyiceberg.io.pyarrow import parquet_file_to_data_file
    from pyiceberg.table.snapshots import Operation, Summary
    from pyiceberg.table.update.snapshot import _OverwriteFiles

    class Rewrite(_OverwriteFiles):
        def _summary(self, snapshot_properties: Any = None) -> Any:
            summary = super()._summary(snapshot_properties or {})
            return Summary(operation=Operation.REPLACE, **summary.additional_properties)

    found = iceberg_table(lake, table)
    old = [task.file for task in found.scan(EqualTo("source_partition", number)).plan_files()]
    count = sum(file.record_count for file in old) if rows is None else rows
    batches = [rows_of(table, number, count)]
    files = write_data_files(batches, table, number, str(uuid.uuid4()), lake.store)
    with (
        found.transaction() as transaction,
        Rewrite(operation=Operation.OVERWRITE, transaction=transaction, io=found.io) as rewrite,
    ):
        for file in old:
            rewrite.delete_data_file(file)
        for written in files:
            rewrite.append_data_file(
                parquet_file_to_data_file(found.io, found.metadata, written.path)
            )
